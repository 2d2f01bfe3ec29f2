// SPDX-License-Identifier: Apache-2.0
#include "app/worker/policy_compare.h"

#include "engine/sim/replay.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

namespace kvilt::worker {

namespace {

using api::CacheEvent;
using api::EventKind;

// One sequence: the nodes of its prompt in order, then those of its reply.
struct Request {
    std::vector<std::uint64_t> nodes;
    std::uint64_t promptTokens = 0;
};

// Requests in the order in which they began.
class Accesses {
public:
    void take(const CacheEvent &event)
    {
        if (event.sequence == 0)
            return;
        if (event.kind == EventKind::hit || event.kind == EventKind::miss) {
            const std::uint64_t tokens = event.kind == EventKind::hit ? event.b : std::uint64_t(event.a) + event.b;
            Request &request = of(event.sequence);
            request.promptTokens = std::max(request.promptTokens, tokens);
            return;
        }
        const bool access = event.kind == EventKind::reference || event.kind == EventKind::restore || event.kind == EventKind::seal;
        if (!access || event.group != 0 || event.node == 0)
            return;
        std::vector<std::uint64_t> &nodes = of(event.sequence).nodes;
        if (std::find(nodes.rbegin(), nodes.rend(), event.node) == nodes.rend()) // taken again after a preemption
            nodes.push_back(event.node);
    }

    const std::vector<Request> &requests() const { return m_requests; }

private:
    Request &of(std::uint64_t sequence)
    {
        const auto [at, added] = m_indices.emplace(sequence, m_requests.size());
        if (added)
            m_requests.emplace_back();
        return m_requests[at->second];
    }

    std::vector<Request> m_requests;
    std::map<std::uint64_t, std::size_t> m_indices;
};

std::string traceOf(const std::vector<Request> &requests)
{
    std::string lines;
    for (const Request &request : requests) {
        lines += "{\"hash_ids\":[";
        for (std::size_t i = 0; i < request.nodes.size(); ++i)
            lines += (i ? "," : "") + std::to_string(request.nodes[i]);
        lines += "]}\n";
    }
    return lines;
}

std::vector<std::uint64_t> sizes(std::uint64_t capacity)
{
    std::vector<std::uint64_t> all;
    for (const std::uint64_t part : {1u, 2u, 4u, 8u})
        if (capacity / part > 0)
            all.push_back(capacity / part);
    return all;
}

} // namespace

api::update::PoliciesCompared comparePolicies(const PolicyQuestion &question)
{
    api::update::PoliciesCompared answer;
    answer.capacity = question.capacity;
    answer.policy = question.policy;
    Accesses accesses;
    const auto visited = question.journal.visit({.firstNumber = question.firstEvent},
                                                [&](const CacheEvent &event) { accesses.take(event); });
    if (!visited) {
        answer.problem = visited.error().message;
        return answer;
    }
    std::uint64_t all = 0;
    for (const Request &request : accesses.requests()) {
        const std::uint64_t full = request.promptTokens / std::max(question.blockSize, 1u);
        answer.promptBlocks += std::min<std::uint64_t>(full, request.nodes.size());
        all += request.nodes.size();
    }
    answer.requests = accesses.requests().size();
    if (answer.promptBlocks == 0) {
        answer.problem = "Nothing has been asked since the model was loaded; send a message, then compare.";
        return answer;
    }
    // The replay divides by every block it was given; here only those of prompts count.
    const double scale = double(all) / double(answer.promptBlocks);
    const std::string trace = traceOf(accesses.requests());
    for (const std::uint64_t blocks : sizes(question.capacity)) {
        for (const char *policy : {"lru", "fifo", "lfu", "belady"}) {
            std::istringstream in(trace);
            const auto played = sim::runTrace(in, blocks, policy);
            if (!played) {
                answer.problem = played.error().message;
                return answer;
            }
            answer.unlimitedHitRatio = std::min(1.0, played->infiniteHitRatio * scale);
            answer.outcomes.push_back({policy, blocks, std::min(1.0, played->hitRatio * scale), played->evictions,
                                       played->regrettedEvictions});
        }
    }
    return answer;
}

} // namespace kvilt::worker

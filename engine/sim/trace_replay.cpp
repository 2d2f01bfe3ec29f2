// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/block_pool.h"
#include "engine/kv/eviction_policy.h"
#include "engine/sim/replay.h"
#include "engine/sim/trace.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kvilt::sim {
namespace {

tl::unexpected<Error> wrong(std::size_t line, const char *what)
{
    return fail(ErrorCode::badInput, "Line " + std::to_string(line) + " of the trace: " + what);
}

Result<void> readLine(std::size_t number, const std::string &text, Trace &trace,
                      std::unordered_map<std::uint64_t, std::uint32_t> &dense)
{
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object())
        return wrong(number, "it is not a JSON object; each line has to be one request.");
    const auto ids = json.find("hash_ids");
    if (ids == json.end() || !ids->is_array())
        return wrong(number, "\"hash_ids\" has to be an array of block ids.");
    for (const auto &id : *ids) {
        if (!id.is_number_unsigned())
            return wrong(number, "\"hash_ids\" has to hold whole numbers from 0 to 18446744073709551615.");
        if (dense.size() == std::numeric_limits<std::uint32_t>::max() - 1)
            return wrong(number, "there are more than 4294967294 different blocks, which is too many to replay.");
        trace.ids.push_back(dense.emplace(id.get<std::uint64_t>(), std::uint32_t(dense.size())).first->second);
    }
    trace.ends.push_back(trace.ids.size());
    return {};
}

Result<Trace> readTrace(std::istream &in)
{
    Trace trace;
    std::unordered_map<std::uint64_t, std::uint32_t> dense;
    std::string text;
    for (std::size_t number = 1; std::getline(in, text); ++number)
        if (text.find_first_not_of(" \t\r") != std::string::npos)
            KVILT_TRY_VOID(readLine(number, text, trace, dense));
    trace.distinct = std::uint32_t(dense.size());
    return trace;
}

// For each place in the trace the next one with the same id, in a later request.
std::vector<std::uint64_t> nextUses(const Trace &trace)
{
    std::vector<std::uint64_t> next(trace.ids.size(), kNeverUsed), seen(trace.distinct, kNeverUsed);
    for (std::size_t r = trace.requests(); r-- > 0;) {
        for (std::size_t i = trace.begin(r); i < trace.ends[r]; ++i)
            next[i] = seen[trace.ids[i]];
        for (std::size_t i = trace.ends[r]; i-- > trace.begin(r);)
            seen[trace.ids[i]] = i;
    }
    return next;
}

std::uint64_t infiniteHits(const Trace &trace)
{
    std::vector<bool> seen(trace.distinct);
    std::uint64_t hits = 0;
    for (std::size_t r = 0; r < trace.requests(); ++r) {
        std::size_t i = trace.begin(r);
        while (i < trace.ends[r] && seen[trace.ids[i]])
            ++i;
        hits += i - trace.begin(r);
        for (; i < trace.ends[r]; ++i)
            seen[trace.ids[i]] = true;
    }
    return hits;
}

// One pool of the engine under one of its policies. A request holds the blocks it keeps until all are admitted, so it
// never evicts its own, and gives them back tail before head, as a sequence does.
class Replay {
public:
    Replay(const Trace &trace, std::uint32_t blocks, const kv::EvictionPolicy &policy)
        : m_trace(trace), m_policy(policy), m_pool(blocks), m_nodes(trace.distinct)
    {
    }

    TraceCounts run()
    {
        for (std::size_t r = 0; r < m_trace.requests(); ++r)
            admit(r, m_trace.begin(r), m_trace.ends[r]);
        return m_counts;
    }

private:
    struct Node {
        BlockId block = kNoBlock;
        bool evicted = false;
        std::uint64_t heldBy = kNeverUsed; // request
        kv::BlockUse use;
    };

    void admit(std::size_t request, std::size_t begin, std::size_t end)
    {
        std::size_t run = begin;
        while (run < end && m_nodes[m_trace.ids[run]].block != kNoBlock)
            ++run;
        m_counts.hits += run - begin;
        const std::size_t kept = std::min<std::size_t>(end, begin + m_pool.capacity());
        hold(request, begin, kept);
        for (std::size_t i = run; i < end; ++i)
            bringIn(request, i, i < kept);
        release(request, begin, kept);
    }

    void hold(std::size_t request, std::size_t begin, std::size_t end)
    {
        for (std::size_t i = begin; i < end; ++i) {
            Node &node = m_nodes[m_trace.ids[i]];
            if (node.block == kNoBlock || node.heldBy == request)
                continue;
            m_pool.reference(node.block);
            node.heldBy = request;
            ++node.use.uses;
        }
    }

    void bringIn(std::size_t request, std::size_t place, bool keeps)
    {
        const std::uint32_t id = m_trace.ids[place];
        Node &node = m_nodes[id];
        if (node.block != kNoBlock)
            return;
        m_counts.regretted += node.evicted;
        node.evicted = false;
        if (!keeps)
            return;
        node.block = m_pool.take().id;
        node.heldBy = request;
        node.use = {.admission = request + 1};
        if (node.block.value == m_holds.size())
            m_holds.push_back(id);
        else
            evict(std::exchange(m_holds[node.block.value], id));
    }

    void evict(std::uint32_t id)
    {
        m_nodes[id].block = kNoBlock;
        m_nodes[id].evicted = true;
        ++m_counts.evictions;
    }

    void release(std::size_t request, std::size_t begin, std::size_t end)
    {
        for (std::size_t i = end; i-- > begin;) {
            Node &node = m_nodes[m_trace.ids[i]];
            if (node.heldBy != request)
                continue; // the same id twice in one request
            node.heldBy = kNeverUsed;
            m_pool.unreference(node.block);
            m_pool.enqueue(node.block, kv::BlockPool::Queue::cached, m_policy.rank(node.use));
        }
    }

    const Trace &m_trace;
    const kv::EvictionPolicy &m_policy;
    kv::BlockPool m_pool;
    std::vector<Node> m_nodes;           // by dense id
    std::vector<std::uint32_t> m_holds;  // by block: the id in it
    TraceCounts m_counts;
};

double ratio(std::uint64_t part, std::uint64_t whole)
{
    return whole == 0 ? 0 : double(part) / double(whole);
}

} // namespace

Result<TraceResult> runTrace(std::istream &in, std::uint64_t blocks, std::string_view policyName)
{
    const bool wantsOptimum = policyName == "belady";
    const auto policy = kv::makeEvictionPolicy(wantsOptimum ? "lru" : policyName);
    if (!policy)
        return fail(ErrorCode::badInput, "The eviction policy \"" + std::string(policyName) +
                                             "\" is unknown: use lru, fifo, lfu or belady.");
    if (blocks == 0)
        return fail(ErrorCode::badInput, "A trace needs a pool of at least 1 block.");
    KVILT_TRY(const Trace trace, readTrace(in));

    // More blocks than there are different ids change nothing.
    const auto capacity = std::uint32_t(std::min<std::uint64_t>(blocks, std::max<std::uint32_t>(trace.distinct, 1)));
    const std::vector<std::uint64_t> nextUse = nextUses(trace);
    const TraceCounts best = replayOptimum(trace, nextUse, capacity);

    const auto start = std::chrono::steady_clock::now();
    const TraceCounts counts = wantsOptimum ? replayOptimum(trace, nextUse, capacity)
                                            : Replay(trace, capacity, *policy).run();
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;

    TraceResult result;
    result.requests = trace.requests();
    result.blocksReferenced = trace.ids.size();
    result.hitRatio = ratio(counts.hits, trace.ids.size());
    result.infiniteHitRatio = ratio(infiniteHits(trace), trace.ids.size());
    result.optimalHitRatio = ratio(best.hits, trace.ids.size());
    result.evictions = counts.evictions;
    result.regrettedEvictions = counts.regretted;
    result.nsPerBlock = trace.ids.empty() ? 0 : time.count() / double(trace.ids.size());
    return result;
}

std::string toJson(const TraceResult &result)
{
    return nlohmann::ordered_json{{"requests", result.requests},
                                  {"blocks_referenced", result.blocksReferenced},
                                  {"hit_ratio", result.hitRatio},
                                  {"infinite_hit_ratio", result.infiniteHitRatio},
                                  {"optimal_hit_ratio", result.optimalHitRatio},
                                  {"evictions", result.evictions},
                                  {"regretted_evictions", result.regrettedEvictions},
                                  {"ns_per_block", result.nsPerBlock}}
        .dump();
}

} // namespace kvilt::sim

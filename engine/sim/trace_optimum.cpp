// SPDX-License-Identifier: Apache-2.0
#include "engine/sim/trace.h"

#include <algorithm>
#include <set>
#include <utility>

namespace kvilt::sim {
namespace {

class Optimum {
public:
    Optimum(const Trace &trace, std::span<const std::uint64_t> nextUse, std::size_t blocks)
        : m_trace(trace), m_nextUse(nextUse), m_blocks(blocks), m_nodes(trace.distinct)
    {
    }

    TraceCounts run()
    {
        for (std::size_t r = 0; r < m_trace.requests(); ++r)
            admit(m_trace.begin(r), m_trace.ends[r]);
        return m_counts;
    }

private:
    struct Node {
        bool resident = false, evicted = false;
        std::uint64_t nextUse = kNeverUsed;
    };

    void admit(std::size_t begin, std::size_t end)
    {
        std::size_t run = begin;
        while (run < end && m_nodes[m_trace.ids[run]].resident)
            ++run;
        m_counts.hits += run - begin;
        const std::size_t kept = std::min(end, begin + m_blocks);
        for (std::size_t i = begin; i < end; ++i)
            use(m_trace.ids[i], m_nextUse[i], i < kept);
    }

    void use(std::uint32_t id, std::uint64_t next, bool keeps)
    {
        Node &node = m_nodes[id];
        if (node.resident) {
            m_order.erase({node.nextUse, id});
        } else {
            m_counts.regretted += std::exchange(node.evicted, false);
            if (!keeps)
                return;
            if (m_order.size() == m_blocks)
                evictFurthest();
        }
        node.resident = true;
        node.nextUse = next;
        m_order.emplace(next, id);
    }

    void evictFurthest()
    {
        const auto last = std::prev(m_order.end());
        Node &victim = m_nodes[last->second];
        victim.resident = false;
        victim.evicted = true;
        m_order.erase(last);
        ++m_counts.evictions;
    }

    const Trace &m_trace;
    std::span<const std::uint64_t> m_nextUse;
    std::size_t m_blocks;
    std::vector<Node> m_nodes;                               // by dense id
    std::set<std::pair<std::uint64_t, std::uint32_t>> m_order; // residents by next use; as many as there are
    TraceCounts m_counts;
};

} // namespace

TraceCounts replayOptimum(const Trace &trace, std::span<const std::uint64_t> nextUse, std::size_t blocks)
{
    return Optimum(trace, nextUse, blocks).run();
}

} // namespace kvilt::sim

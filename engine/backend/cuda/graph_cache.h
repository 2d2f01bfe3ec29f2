// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"

#include <compare>
#include <cstdint>
#include <map>
#include <memory>

namespace kvilt::backend::cuda {

// What a recorded decode step depends on besides the contents of device memory: its counts, and the generations of everything
// whose address is in its parameters.
struct GraphKey {
    std::uint32_t rows = 0;
    std::uint32_t samples = 0;
    bool greedyOnly = false;
    std::uint32_t longest = 0; // positions, a power of two
    std::uint64_t stepMemory = 0, logits = 0, scratch = 0;
    auto operator<=>(const GraphKey &) const = default;
};

// Recorded decode steps. A key is recorded when it comes the second time: recording costs some milliseconds, a batch that
// shrinks passes many sizes once.
class GraphCache {
public:
    // Null: run it without a graph, or record it if `seenBefore`.
    const Graph *find(const GraphKey &key, bool &seenBefore)
    {
        const auto [at, fresh] = m_graphs.try_emplace(key);
        seenBefore = !fresh;
        return at->second.get();
    }
    const Graph *keep(const GraphKey &key, std::unique_ptr<Graph> graph)
    {
        // Those of older generations can never be found again.
        std::erase_if(m_graphs, [&](const auto &entry) {
            return entry.first.stepMemory != key.stepMemory || entry.first.logits != key.logits || entry.first.scratch != key.scratch;
        });
        if (m_graphs.size() > kMost)
            m_graphs.clear();
        return (m_graphs[key] = std::move(graph)).get();
    }
    void clear() { m_graphs.clear(); }

private:
    static constexpr std::size_t kMost = 256; // each holds some hundred kilobytes of device memory
    std::map<GraphKey, std::unique_ptr<Graph>> m_graphs;
};

} // namespace kvilt::backend::cuda

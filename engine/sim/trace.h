// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace kvilt::sim {

constexpr std::uint64_t kNeverUsed = std::numeric_limits<std::uint64_t>::max();

// A trace with its ids made dense, requests one after the other.
struct Trace {
    std::vector<std::uint32_t> ids;
    std::vector<std::size_t> ends; // of each request in `ids`
    std::uint32_t distinct = 0;

    std::size_t requests() const { return ends.size(); }
    std::size_t begin(std::size_t request) const { return request == 0 ? 0 : ends[request - 1]; }
};

struct TraceCounts {
    std::uint64_t hits = 0, evictions = 0, regretted = 0;
};

// The most hits that any choice of victims can have, whatever it knows: Belady 1966, with mandatory admission. Blocks
// are brought in one after the other, and each takes the place of the block whose next use is furthest, be it one that
// the same request brought in before it: a prompt that nobody asks for again then costs the others one block, not all
// of its own. Next uses are counted in places of the trace, so that of one later request the tail goes first and what
// stays is always the beginning of a prompt; therefore each resident block of a request is a hit, and Belady's proof
// for single references holds for the runs that are counted here. `nextUse`: of each place, kNeverUsed if none.
TraceCounts replayOptimum(const Trace &trace, std::span<const std::uint64_t> nextUse, std::size_t blocks);

} // namespace kvilt::sim

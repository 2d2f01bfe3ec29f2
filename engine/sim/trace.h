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

// The offline optimum: Belady 1966, with mandatory admission. Blocks are brought in one after the other, and each takes
// the place of the block whose next use is furthest, be it one that the same request brought in before it: a prompt that
// nobody asks for again then costs the others one block, not all of its own. Next uses are counted in places of the trace
// (`nextUse`: of each place, kNeverUsed if none), so that of one later request the tail goes first.
//
// Belady's rule is the best there is for references that count one by one. Here only the run from the start of a request
// counts, and the last block of a prompt has to be admitted even where its beginning had to go for it: on small random
// trees 1 in 40 has a choice of victims with one hit more (tests/engine/sim).
TraceCounts replayOptimum(const Trace &trace, std::span<const std::uint64_t> nextUse, std::size_t blocks);

} // namespace kvilt::sim

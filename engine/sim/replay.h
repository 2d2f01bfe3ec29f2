// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"

#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <string_view>

// The block manager without a model: scripts step through the real KvCache, traces measure policies on real pools.
// Formats: "A block script" and "A trace" in engine/sim/FORMATS.md.
namespace kvilt::sim {

// Runs a script; `line` gets one JSON document (without newline) a step. badInput names the line that is wrong; steps
// before it have been printed already.
Result<void> runBlockScript(std::istream &script, const std::function<void(std::string_view)> &line);

struct TraceResult {
    std::uint64_t requests = 0;
    std::uint64_t blocksReferenced = 0;
    double hitRatio = 0;
    double infiniteHitRatio = 0; // a pool that never evicts
    double optimalHitRatio = 0;  // Belady with mandatory admission (engine/sim/trace.h)
    std::uint64_t evictions = 0;
    std::uint64_t regrettedEvictions = 0; // blocks that a later request wanted again
    double nsPerBlock = 0;
};
std::string toJson(const TraceResult &result); // the keys of the command line's contract

// policy: lru, fifo, lfu; belady: the optimum itself.
Result<TraceResult> runTrace(std::istream &trace, std::uint64_t blocks, std::string_view policy);

} // namespace kvilt::sim

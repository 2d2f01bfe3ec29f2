// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"

#include <cstdint>
#include <optional>
#include <vector>

// Which sequence runs how many tokens in the next step: a pure function of the state it is given. No I/O, no clock,
// no threads; rates come in as numbers measured by the engine.
namespace kvilt::sched {

struct SequenceState {
    SequenceId id;
    std::uint64_t arrival = 0;      // ascending in order of submission
    int priority = 0;
    bool running = false;           // holds blocks
    std::uint32_t tokens = 0;       // known: prompt and reply so far
    std::uint32_t computed = 0;     // of these with KV; a running sequence decodes when tokens − computed == 1
    std::uint32_t blocks = 0;       // held and its own to write into, of the tightest group: a shared tail counts not
    std::uint32_t cachedTokens = 0; // waiting: what a lookup would find in memory now
};

struct SchedulerState {
    std::vector<SequenceState> sequences; // in any order
    std::uint32_t blockSize = 16;
    std::uint32_t freeBlocks = 0;         // free and evictable, of the tightest group
    std::uint32_t totalBlocks = 0;
};

// Cost of a step as the engine measured it, in seconds.
struct StepCost {
    double fixed = 0;     // a step with nothing in it
    double decode = 0;    // each decoding sequence
    double prefill = 0;   // each prompt token; 0: not measured yet
};

struct SchedulerLimits {
    double stepSeconds = 0.1;
    std::uint32_t maxStepTokens = 512;
    std::uint32_t maxSequences = 64;
    std::uint32_t firstChunk = 32;  // while the rate is unknown
    std::uint32_t minChunk = 16;    // progress is made even where the time is spent
    std::uint32_t fixedChunk = 0;   // tests: exactly this many prompt tokens a step
};

struct PlannedSlice {
    SequenceId id;
    std::uint32_t first = 0, count = 0; // positions
    bool operator==(const PlannedSlice &) const = default;
};

// In this order: preempt, admit, run.
struct StepDecision {
    std::vector<SequenceId> preempt; // release all blocks; their tokens wait at the head of the queue
    std::vector<SequenceId> admit;   // look up and allocate; they run from the next decision on
    std::vector<PlannedSlice> run;
};

// First come, first served: decoding sequences all run in each step, the oldest prompts fill what time is left.
// When blocks run out the latest arrival of the lowest priority gives up its own (recompute) — never the last one.
class Scheduler {
public:
    explicit Scheduler(const SchedulerLimits &limits) : m_limits(limits) {}
    StepDecision plan(const SchedulerState &state, const StepCost &cost) const;
    // Prompt tokens that fit into the time left beside `decoding` sequences.
    std::uint32_t chunkTokens(const StepCost &cost, std::uint32_t decoding) const;
    const SchedulerLimits &limits() const { return m_limits; }

private:
    SchedulerLimits m_limits;
};

} // namespace kvilt::sched

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/engine_port.h"
#include "engine/trace/event_journal.h"

#include <cstdint>
#include <string>

namespace kvilt::worker {

// What the cache was asked for, and where that is written.
struct PolicyQuestion {
    const trace::EventJournal &journal;
    std::uint64_t firstEvent = 0; // since the engine was made: nodes are numbered anew with each
    std::uint32_t blockSize = 16;
    std::uint64_t capacity = 0;   // blocks of the first layer group
    std::string policy;
};

// Plays the accesses of the journal (hits, restores and new blocks of the first layer group, a request a sequence)
// through lru, fifo, lfu and the offline optimum, with the pool as it is, half, a quarter and an eighth of it. A hit
// ratio counts the full blocks of prompts; the blocks a reply adds take room but nobody asked for them. Any thread.
api::update::PoliciesCompared comparePolicies(const PolicyQuestion &question);

} // namespace kvilt::worker

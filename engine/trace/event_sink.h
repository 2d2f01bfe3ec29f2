// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"

namespace kvilt::trace {

// The one place every decision about a block goes to. Called by the engine's thread only; it never blocks and
// never fails. The sink gives the event its place in the journal (`sequenceNumber`); what the caller put there is
// ignored. Time, ids and reason are the caller's.
class EventSink {
public:
    virtual ~EventSink() = default;
    virtual void emit(const api::CacheEvent &event) noexcept = 0;
};

} // namespace kvilt::trace

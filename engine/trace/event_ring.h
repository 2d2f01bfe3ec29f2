// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace kvilt::trace {

// Events on their way to a view: one producer, one consumer, neither ever waits. When the ring is full the event is
// dropped and counted; the consumer sees the gap in the sequence numbers and asks for a snapshot.
// Invariant: m_read <= m_written <= m_read + capacity; the producer alone writes m_written, the consumer m_read.
class EventRing {
public:
    explicit EventRing(std::size_t capacity); // rounded up to a power of two

    bool push(const api::CacheEvent &event) noexcept;               // producer; false: dropped
    std::size_t pop(std::span<api::CacheEvent> out) noexcept;       // consumer; oldest first
    std::uint64_t dropped() const noexcept { return m_dropped.load(std::memory_order_relaxed); }
    std::size_t capacity() const noexcept { return m_mask + 1; }

private:
    std::size_t m_mask;
    std::unique_ptr<api::CacheEvent[]> m_slots;
    // A cache line each: the two sides would otherwise take each other's line at every event.
    alignas(64) std::atomic<std::uint64_t> m_written{0};
    alignas(64) std::atomic<std::uint64_t> m_read{0};
    alignas(64) std::atomic<std::uint64_t> m_dropped{0};
};

} // namespace kvilt::trace

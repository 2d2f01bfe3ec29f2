// SPDX-License-Identifier: Apache-2.0
#include "engine/trace/event_ring.h"

#include <algorithm>
#include <bit>

namespace kvilt::trace {

EventRing::EventRing(std::size_t capacity)
    : m_mask(std::bit_ceil(std::max<std::size_t>(capacity, 2)) - 1),
      m_slots(std::make_unique<api::CacheEvent[]>(m_mask + 1))
{
}

bool EventRing::push(const api::CacheEvent &event) noexcept
{
    const std::uint64_t written = m_written.load(std::memory_order_relaxed);
    if (written - m_read.load(std::memory_order_acquire) > m_mask) {
        m_dropped.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    m_slots[written & m_mask] = event;
    m_written.store(written + 1, std::memory_order_release);
    return true;
}

std::size_t EventRing::pop(std::span<api::CacheEvent> out) noexcept
{
    const std::uint64_t read = m_read.load(std::memory_order_relaxed);
    const std::uint64_t ready = m_written.load(std::memory_order_acquire) - read;
    const std::size_t count = std::min<std::uint64_t>(ready, out.size());
    for (std::size_t i = 0; i < count; ++i)
        out[i] = m_slots[(read + i) & m_mask];
    m_read.store(read + count, std::memory_order_release);
    return count;
}

} // namespace kvilt::trace

// SPDX-License-Identifier: Apache-2.0
#include "engine/trace/event_journal.h"

#include <new>

namespace kvilt::trace {

bool EventFilter::matches(const api::CacheEvent &event) const
{
    return event.sequenceNumber >= firstNumber && event.sequenceNumber < endNumber &&
           (!session || std::int64_t(event.session) == session->value) && (!turn || event.turn == turn->value);
}

EventJournal::EventJournal(JournalOptions options) : m_options(options)
{
    if (m_options.store)
        m_next = m_options.store->nextNumber();
    m_turnFirst = m_next;
    m_open.events.reserve(m_options.chunkEvents);
}

EventJournal::~EventJournal() { flush(); }

void EventJournal::emit(const api::CacheEvent &event) noexcept
{
    api::CacheEvent numbered = event;
    {
        const std::lock_guard lock(m_mutex);
        numbered.sequenceNumber = m_next++;
        try {
            m_open.events.push_back(numbered);
            if (m_open.events.size() >= m_options.chunkEvents)
                closeChunk();
        } catch (const std::bad_alloc &) {
            ++m_lost;
        }
    }
    if (m_options.ring)
        m_options.ring->push(numbered);
}

void EventJournal::closeChunk() noexcept
{
    if (m_open.events.empty())
        return;
    const std::size_t count = m_open.events.size();
    try {
        EventChunk full;
        full.events.reserve(m_options.chunkEvents);
        std::swap(full, m_open);
        if (m_options.store)
            m_options.store->save(std::move(full));
        else
            keep(std::move(full));
    } catch (const std::bad_alloc &) { // the open chunk gives its memory to the events to come
        m_lost += count;
        m_open.events.clear();
    }
}

void EventJournal::keep(EventChunk chunk)
{
    m_keptEvents += chunk.events.size();
    m_kept.push_back(std::move(chunk));
    while (m_keptEvents > m_options.memoryEvents && m_kept.size() > 1) {
        m_keptEvents -= m_kept.front().events.size();
        m_lost += m_kept.front().events.size();
        m_kept.pop_front();
    }
}

void EventJournal::endTurn(SessionId session, TurnId turn) noexcept
{
    const std::lock_guard lock(m_mutex);
    closeChunk();
    if (m_options.store)
        m_options.store->turnEnded(session, turn, m_turnFirst, m_next);
    m_turnFirst = m_next;
}

void EventJournal::flush() noexcept
{
    const std::lock_guard lock(m_mutex);
    closeChunk();
}

std::uint64_t EventJournal::nextNumber() const
{
    const std::lock_guard lock(m_mutex);
    return m_next;
}

std::uint64_t EventJournal::lost() const
{
    const std::lock_guard lock(m_mutex);
    return m_lost;
}

Result<void> EventJournal::visit(const EventFilter &filter,
                                 const std::function<void(const api::CacheEvent &)> &visitor) const
{
    // What is in memory is copied first; then the store is asked for what came before it. In the other order a chunk
    // that leaves in between would be missed.
    std::vector<api::CacheEvent> recent;
    EventFilter older = filter;
    {
        const std::lock_guard lock(m_mutex);
        for (const EventChunk &chunk : m_kept)
            recent.insert(recent.end(), chunk.events.begin(), chunk.events.end());
        recent.insert(recent.end(), m_open.events.begin(), m_open.events.end());
        older.endNumber = std::min(filter.endNumber, recent.empty() ? m_next : recent.front().sequenceNumber);
    }
    if (m_options.store)
        KVILT_TRY_VOID(m_options.store->visit(older, visitor));
    for (const api::CacheEvent &event : recent)
        if (filter.matches(event))
            visitor(event);
    return {};
}

} // namespace kvilt::trace

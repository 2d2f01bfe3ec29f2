// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/event_log.h"

#include <algorithm>

namespace kvilt::ui {

EventLog::EventLog(QObject *parent, std::size_t capacity)
    : QObject(parent), m_maxChunks(std::max<std::size_t>(2, (capacity + kChunk - 1) / kChunk + 1))
{
    // One chunk more than the capacity: the oldest goes whole, and what is left still holds the capacity.
}

void EventLog::append(const std::vector<api::CacheEvent> &events, std::uint64_t lost)
{
    m_lost += lost;
    for (const api::CacheEvent &event : events) {
        const std::uint64_t offset = m_end - m_begin;
        if (offset == m_chunks.size() * kChunk) {
            if (m_chunks.size() == m_maxChunks) {
                m_chunks.push_back(std::move(m_chunks.front()));
                m_chunks.pop_front();
                m_begin += kChunk;
            } else {
                m_chunks.push_back(std::make_unique<Chunk>());
            }
        }
        const std::uint64_t place = m_end - m_begin;
        (*m_chunks[place / kChunk])[place % kChunk] = event;
        ++m_end;
    }
    if (!events.empty() || lost)
        emit appended();
}

void EventLog::clear()
{
    m_chunks.clear();
    m_begin = m_end;
    m_lost = 0;
    emit cleared();
}

} // namespace kvilt::ui

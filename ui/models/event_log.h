// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/cache_event.h"

#include <QObject>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace kvilt::ui {

// The last million cache events, as they came. An event keeps its index for as long as it is here; the oldest go in
// chunks when the log is full. GUI thread.
class EventLog : public QObject {
    Q_OBJECT
public:
    static constexpr std::size_t kChunk = 4096;
    static constexpr std::size_t kDefaultCapacity = 1u << 20;

    explicit EventLog(QObject *parent = nullptr, std::size_t capacity = kDefaultCapacity);

    // `lost`: events missing before these.
    void append(const std::vector<api::CacheEvent> &events, std::uint64_t lost);
    void clear();

    std::uint64_t begin() const { return m_begin; }
    std::uint64_t end() const { return m_end; }
    std::size_t size() const { return std::size_t(m_end - m_begin); }
    const api::CacheEvent &at(std::uint64_t index) const
    {
        const std::uint64_t offset = index - m_begin;
        return (*m_chunks[offset / kChunk])[offset % kChunk];
    }
    std::uint64_t lost() const { return m_lost; }

signals:
    void appended();                      // end() grew, begin() may have
    void cleared();

private:
    using Chunk = std::array<api::CacheEvent, kChunk>;

    std::size_t m_maxChunks;
    std::deque<std::unique_ptr<Chunk>> m_chunks;
    std::uint64_t m_begin = 0, m_end = 0, m_lost = 0;
};

} // namespace kvilt::ui

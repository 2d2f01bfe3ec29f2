// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace kvilt::ui {

class EventLog;

// Which events show. A text is looked for in words that stand for whole classes of events (kinds, reasons, titles)
// and in block numbers, so that a million events are searched without writing a sentence for each.
struct EventFilter {
    std::uint32_t kinds = (1u << api::kEventKinds) - 1;
    std::optional<SessionId> session;
    std::optional<std::uint32_t> block;   // with blockGroup
    std::uint16_t blockGroup = 0;
    std::optional<TurnId> turn;

    // A text search, compiled: it matches when any of these does.
    bool searching = false;
    std::uint32_t textKinds = 0;
    std::uint32_t textReasons = 0;
    std::set<std::uint32_t> textSessions;
    std::optional<std::uint32_t> textBlock;

    bool matches(const api::CacheEvent &event) const;
    bool everything() const;
};

// One line of the list: an event, or several of one kind that one step made for one session.
struct EventRow {
    std::uint64_t first = 0, last = 0;    // indices in the log
    std::uint32_t count = 0;
    std::uint64_t sumA = 0, sumB = 0;
};

// Filters and groups a log into rows, oldest first, as it grows. Events of a step interleave (evict, allocate, evict,
// ...), so one is added to any of the latest rows that it belongs to. Knows no widget.
class EventRows {
public:
    explicit EventRows(const EventLog &log) : m_log(log) {}

    void setFilter(const EventFilter &filter);
    const EventFilter &filter() const { return m_filter; }
    // Takes in what the log gained; drops rows whose events are gone. What changed, for the view:
    struct Change {
        std::size_t dropped = 0;          // at the old end
        std::size_t added = 0;            // at the new end
        std::size_t touched = 0;          // latest rows before those added that may have grown
    };
    Change update();
    void rebuild();

    std::size_t size() const { return m_rows.size(); }
    const EventRow &operator[](std::size_t index) const { return m_rows[index]; } // 0: oldest

private:
    bool join(std::uint64_t index, const api::CacheEvent &event);
    void take(std::uint64_t index);

    static constexpr std::size_t kLookBack = 4;
    static constexpr std::uint64_t kTogetherNs = 200'000'000;

    const EventLog &m_log;
    EventFilter m_filter;
    std::deque<EventRow> m_rows;
    std::uint64_t m_seen = 0;
};

} // namespace kvilt::ui

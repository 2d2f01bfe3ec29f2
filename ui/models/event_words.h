// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/cache_event.h"
#include "ui/models/event_rows.h"

#include <QColor>
#include <QString>

#include <functional>

namespace kvilt::ui {

// What the words of an event need to know besides it.
struct EventContext {
    std::function<QString(SessionId)> titleOf;      // empty: unknown
    std::function<QString(std::uint16_t)> groupName; // empty: there is only one
    std::uint16_t blockSize = 16;
};

// "evict", "alloc", "copy": short enough for a column.
QString kindWord(api::EventKind kind);
// "evictions", for menus.
QString kindsWord(api::EventKind kind);
// "never stored", "lru", "reply regenerated".
QString reasonWord(api::EventReason reason);
// A block's colour in the map where the event concerns one; grey for misses.
QColor kindColour(const api::CacheEvent &event, const QColor &grey);

// "block 118", "68 blocks", "17 tokens".
QString eventObject(const EventRow &row, const api::CacheEvent &event, const EventContext &context);
// "lru, idle 84 s, used 3×: Heap sort". `event` is the row's first.
QString eventDetail(const EventRow &row, const api::CacheEvent &event, const EventContext &context);

// Fills the text part of a filter.
void compileSearch(EventFilter &filter, const QString &text,
                   const std::vector<std::pair<SessionId, QString>> &titles);

} // namespace kvilt::ui

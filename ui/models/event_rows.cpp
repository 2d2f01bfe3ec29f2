// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/event_rows.h"

#include "ui/models/event_log.h"

#include <algorithm>

namespace kvilt::ui {

using api::CacheEvent;
using api::EventKind;

bool EventFilter::everything() const
{
    return kinds == (1u << api::kEventKinds) - 1 && !session && !block && !turn && !searching;
}

bool EventFilter::matches(const CacheEvent &event) const
{
    if (!((kinds >> unsigned(event.kind)) & 1u))
        return false;
    if (session && std::int64_t(event.session) != session->value)
        return false;
    if (block && (event.block != *block || event.group != blockGroup))
        return false;
    if (turn && event.turn != turn->value)
        return false;
    if (!searching)
        return true;
    return ((textKinds >> unsigned(event.kind)) & 1u) || ((textReasons >> unsigned(event.reason)) & 1u)
           || (textBlock && event.block == *textBlock) || textSessions.contains(event.session);
}

void EventRows::setFilter(const EventFilter &filter)
{
    m_filter = filter;
    rebuild();
}

void EventRows::rebuild()
{
    m_rows.clear();
    m_seen = m_log.begin();
    update();
}

EventRows::Change EventRows::update()
{
    Change change;
    while (!m_rows.empty() && m_rows.front().first < m_log.begin()) {
        m_rows.pop_front();
        ++change.dropped;
    }
    const std::size_t before = m_rows.size();
    m_seen = std::max(m_seen, m_log.begin());
    for (; m_seen < m_log.end(); ++m_seen)
        take(m_seen);
    change.added = m_rows.size() - before;
    change.touched = std::min(before, kLookBack);
    return change;
}

void EventRows::take(std::uint64_t index)
{
    const CacheEvent &event = m_log.at(index);
    if (!m_filter.matches(event) || join(index, event))
        return;
    m_rows.push_back({index, index, 1, event.a, event.b});
}

bool EventRows::join(std::uint64_t index, const CacheEvent &event)
{
    if (event.kind == EventKind::hit || event.kind == EventKind::miss) // each is a lookup of its own
        return false;
    const std::size_t oldest = m_rows.size() > kLookBack ? m_rows.size() - kLookBack : 0;
    for (std::size_t i = m_rows.size(); i-- > oldest;) {
        EventRow &row = m_rows[i];
        if (row.last < m_log.begin())
            return false;
        const CacheEvent &last = m_log.at(row.last);
        if (last.kind != event.kind || last.session != event.session || last.sequence != event.sequence
            || last.reason != event.reason || last.tier != event.tier || event.timeNs > last.timeNs + kTogetherNs)
            continue;
        row.last = index;
        ++row.count;
        row.sumA += event.a;
        row.sumB += event.b;
        return true;
    }
    return false;
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/map_feed.h"

#include "ui/widgets/theme.h"

#include <QDateTime>

namespace kvilt::ui {

MapFeed::MapFeed(Workbench &workbench, QObject *parent)
    : QObject(parent), m_workbench(workbench),
      m_model(BlockMapModel::Options{.traces = !workbench.theme().reducedMotion()})
{
    m_clock.start();
    m_traces.setInterval(66);
    m_looks.setInterval(1000);
    connect(&m_traces, &QTimer::timeout, this, &MapFeed::tick);
    connect(&m_looks, &QTimer::timeout, this, &MapFeed::refreshLooks);
    connect(&workbench, &Workbench::eventsArrived, this, &MapFeed::foldEvents);
    connect(&workbench, &Workbench::snapshotArrived, this, &MapFeed::applySnapshot);
    connect(&workbench, &Workbench::modelChanged, this, &MapFeed::modelChanged);
    connect(&workbench.theme(), &Theme::changed, this, [this] {
        m_model.setTraces(!m_workbench.theme().reducedMotion(), m_clock.elapsed());
        emit changed();
    });
    modelChanged();
}

void MapFeed::modelChanged()
{
    if (m_workbench.modelReady()) {
        m_model.expectSnapshot();
        m_workbench.post(api::command::RequestSnapshot{});
    } else if (!m_model.empty()) {
        m_model.clear();
        emit reshaped();
    }
}

void MapFeed::foldEvents(const std::vector<api::CacheEvent> &events, quint64 lost)
{
    if (lost)
        m_model.noteGap();
    m_model.fold(events, m_clock.elapsed());
    askIfWanted();
    if (!m_traces.isActive())
        m_traces.start();
    emit changed();
}

void MapFeed::applySnapshot(const api::PoolSnapshot &snapshot)
{
    const std::size_t groups = m_model.groupCount();
    const std::uint32_t capacity = groups ? m_model.capacity(0) : 0;
    m_model.apply(snapshot, m_clock.elapsed());
    askIfWanted();
    if (m_model.groupCount() != groups || (groups && m_model.capacity(0) != capacity))
        emit reshaped();
    emit changed();
}

void MapFeed::askIfWanted()
{
    if (m_workbench.modelReady() && m_model.takeSnapshotRequest())
        m_workbench.post(api::command::RequestSnapshot{});
}

void MapFeed::tick()
{
    if (!m_model.advance(m_clock.elapsed()))
        m_traces.stop();
    emit changed();
}

void MapFeed::setColourBy(ColourBy by)
{
    m_model.setColourBy(by);
    const bool drifts = by == ColourBy::age || by == ColourBy::eviction;
    if (drifts)
        m_looks.start();
    else
        m_looks.stop();
    m_rankedAt = 0;
    if (drifts)
        refreshLooks();
    emit changed();
}

// Ranks come with snapshots only: while they are looked at and something happens, a fresh one is asked for.
void MapFeed::refreshLooks()
{
    if (m_workbench.paused())
        return;
    if (m_model.colourBy() == ColourBy::eviction && m_rankedAt != m_model.lastSequenceNumber()) {
        m_rankedAt = m_model.lastSequenceNumber();
        m_model.expectSnapshot();
        m_workbench.post(api::command::RequestSnapshot{});
    }
    m_model.refreshLooks(std::uint64_t(QDateTime::currentMSecsSinceEpoch()) * 1'000'000);
    emit changed();
}

} // namespace kvilt::ui

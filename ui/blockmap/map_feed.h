// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/blockmap/block_map_model.h"
#include "ui/models/workbench.h"

#include <QElapsedTimer>
#include <QTimer>

namespace kvilt::ui {

// Ties a BlockMapModel to the workbench: feeds it, asks for its snapshots, gives it the time.
class MapFeed : public QObject {
    Q_OBJECT
public:
    explicit MapFeed(Workbench &workbench, QObject *parent = nullptr);

    BlockMapModel &model() { return m_model; }
    void setColourBy(ColourBy by);

signals:
    void changed();  // cells
    void reshaped(); // groups, capacity, or nothing at all any more

private:
    void foldEvents(const std::vector<api::CacheEvent> &events, quint64 lost);
    void applySnapshot(const api::PoolSnapshot &snapshot);
    void askIfWanted();
    void tick();
    void refreshLooks();
    void modelChanged();

    Workbench &m_workbench;
    BlockMapModel m_model;
    QElapsedTimer m_clock;
    QTimer m_traces; // runs while something fades
    QTimer m_looks;  // ages and ranks drift
    std::uint64_t m_rankedAt = 0;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"
#include "ui/models/time_series.h"

#include <QObject>

#include <deque>

namespace kvilt::ui {

// What the plots show, collected from the first update on, whether a plot is open or not. Times are seconds since
// 1970, those of the engine's counts. GUI thread.
class PlotHistory : public QObject {
    Q_OBJECT
public:
    using QObject::QObject;

    void addCounts(const api::PoolCounts &counts);
    void addSpeed(double timeSeconds, double tokensPerSecond);
    void addRestore(std::uint64_t bytes, std::uint64_t microseconds);
    void clear();

    const TimeSeries &hitRate() const { return m_hitRate; }     // 0..1, of the lookups of the last minute
    const TimeSeries &inUse() const { return m_inUse; }         // blocks
    const TimeSeries &occupied() const { return m_occupied; }   // blocks in use and cached
    const TimeSeries &evictions() const { return m_evictions; } // running totals
    const TimeSeries &regrets() const { return m_regrets; }
    const TimeSeries &speed() const { return m_speed; }         // tokens a second
    double latest() const { return m_latest; }                  // time of the newest sample; 0: none
    double earliest() const { return m_earliest; }
    const api::PoolCounts &counts() const { return m_counts; }
    // Measured rate of restoring; 0 before the first.
    double restoreBytesPerSecond() const;

    static constexpr double kRateWindow = 60; // seconds

signals:
    void changed();

private:
    struct Lookups {
        double time;
        std::uint64_t tokens, hits;
    };
    double windowRate(double now);
    void note(double time);

    TimeSeries m_hitRate, m_inUse, m_occupied, m_evictions, m_regrets, m_speed;
    std::deque<Lookups> m_lookups;
    api::PoolCounts m_counts;
    double m_latest = 0, m_earliest = 0, m_rate = 0;
    std::uint64_t m_restoredBytes = 0, m_restoreMicroseconds = 0;
};

} // namespace kvilt::ui

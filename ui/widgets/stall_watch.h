// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QString>
#include <QTimer>

#include <cstdint>
#include <vector>

namespace kvilt::ui {

// Measures how long the event loop was away: a 5 ms heartbeat that comes late by more than 50 ms is a stall, whether
// the time went into one of our handlers or the machine gave the thread no processor. Which of the two it was is told by
// the processor time that this thread took meanwhile.
class StallWatch : public QObject {
    Q_OBJECT
public:
    static constexpr double kStallMs = 50;
    static constexpr int kBeatMs = 5;

    explicit StallWatch(QObject *parent = nullptr);
    void start();
    void stop();
    // One heartbeat at this time, with the processor time of the thread so far; the timer calls it.
    void beat(std::int64_t nowNs, std::int64_t cpuNs = 0);

    std::uint64_t beats() const { return m_beats; }
    std::uint64_t stalls() const { return m_stalls; }
    double longestMs() const { return m_longestMs; }
    double longestOwnMs() const { return m_longestOwnMs; } // most processor time between two beats
    double percentileMs(double share) const; // of the last 4,096 delays
    // "event loop: 12,345 beats, 0 stalls over 50 ms, longest 7.4 ms (most own work at a stretch 6.0 ms), 99.9 % under 3.1 ms"
    QString report() const;

signals:
    void stalled(double ms);

private:
    QTimer m_timer;
    QElapsedTimer m_clock;
    std::int64_t m_lastNs = -1, m_lastCpuNs = 0;
    std::uint64_t m_beats = 0;
    std::uint64_t m_stalls = 0;
    double m_longestMs = 0, m_longestOwnMs = 0;
    std::vector<double> m_delays;
};

} // namespace kvilt::ui

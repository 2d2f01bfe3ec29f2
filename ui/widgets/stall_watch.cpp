// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/stall_watch.h"

#include "ui/widgets/format.h"

#include <algorithm>
#include <ctime>

namespace kvilt::ui {

namespace {
constexpr std::size_t kKept = 4096;

std::int64_t threadCpuNs()
{
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::int64_t(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}
} // namespace

StallWatch::StallWatch(QObject *parent) : QObject(parent)
{
    m_timer.setTimerType(Qt::PreciseTimer);
    m_timer.setInterval(kBeatMs);
    connect(&m_timer, &QTimer::timeout, this, [this] { beat(m_clock.nsecsElapsed(), threadCpuNs()); });
}

void StallWatch::start()
{
    m_clock.start();
    m_lastNs = 0;
    m_lastCpuNs = threadCpuNs();
    m_timer.start();
}

void StallWatch::stop()
{
    m_timer.stop();
    m_lastNs = -1;
}

void StallWatch::beat(std::int64_t nowNs, std::int64_t cpuNs)
{
    if (m_lastNs >= 0) {
        const double late = std::max(0.0, double(nowNs - m_lastNs) / 1e6 - kBeatMs);
        if (m_delays.size() < kKept)
            m_delays.push_back(late);
        else
            m_delays[m_beats % kKept] = late;
        ++m_beats;
        m_longestMs = std::max(m_longestMs, late);
        m_longestOwnMs = std::max(m_longestOwnMs, double(cpuNs - m_lastCpuNs) / 1e6);
        if (late > kStallMs) {
            ++m_stalls;
            emit stalled(late);
        }
    }
    m_lastNs = nowNs;
    m_lastCpuNs = cpuNs;
}

double StallWatch::percentileMs(double share) const
{
    if (m_delays.empty())
        return 0;
    std::vector<double> sorted = m_delays;
    const auto at = std::min(std::size_t(share * double(sorted.size())), sorted.size() - 1);
    std::nth_element(sorted.begin(), sorted.begin() + std::ptrdiff_t(at), sorted.end());
    return sorted[at];
}

QString StallWatch::report() const
{
    return QStringLiteral("event loop: %1 beats, %2 over %3 ms, longest %4 ms (most own work at a stretch %5 ms), 99.9 %% under %6 ms")
        .arg(grouped(m_beats), count(m_stalls, tr("stall"), tr("stalls")))
        .arg(int(kStallMs))
        .arg(m_longestMs, 0, 'f', 1)
        .arg(m_longestOwnMs, 0, 'f', 1)
        .arg(percentileMs(0.999), 0, 'f', 1)
        .replace(QStringLiteral("%%"), QStringLiteral("%"));
}

} // namespace kvilt::ui

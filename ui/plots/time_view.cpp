// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/time_view.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace kvilt::ui {

namespace {
constexpr double kLeast = 30; // what a view that has just begun to fill shows
}

void TimeView::setPresent(double now, double earliest)
{
    m_now = now;
    m_earliest = earliest;
    if (!m_following)
        return;
    m_to = now;
    if (!m_chosenSpan)
        m_span = earliest > 0 ? std::clamp(now - earliest, kLeast, kUsual) : kLeast;
    emit changed();
}

void TimeView::zoom(double factor, double around)
{
    const double span = std::clamp(m_span * factor, kShortest, kLongest);
    const double at = std::clamp(around, from(), m_to);
    const double share = (at - from()) / m_span;
    m_span = span;
    m_chosenSpan = true;
    if (!m_following)
        m_to = std::min(at + (1 - share) * span, std::max(m_now, at));
    emit changed();
}

void TimeView::pan(double seconds)
{
    m_following = false;
    m_chosenSpan = true;
    m_to = std::min(m_to + seconds, m_now);
    if (m_earliest > 0)
        m_to = std::max(m_to, std::min(m_now, m_earliest + m_span * 0.1));
    if (seconds > 0 && m_to >= m_now)
        m_following = true;
    emit changed();
}

void TimeView::follow()
{
    m_following = true;
    m_chosenSpan = false;
    setPresent(m_now, m_earliest);
}

double TimeView::tickStep(double span, int most)
{
    static constexpr std::array steps{1.0,  2.0,   5.0,   10.0,  15.0,   30.0,   60.0,    120.0,   300.0,  600.0,
                                      900., 1800., 3600., 7200., 14400., 21600., 43200.0, 86400.0, 172800.};
    for (const double step : steps)
        if (span / step <= most)
            return step;
    return steps.back();
}

std::vector<double> TimeView::ticks(double from, double to, int most)
{
    std::vector<double> times;
    const double step = tickStep(to - from, std::max(1, most));
    for (double t = std::ceil(from / step) * step; t <= to && int(times.size()) <= most; t += step)
        times.push_back(t);
    return times;
}

} // namespace kvilt::ui

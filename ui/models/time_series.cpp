// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/time_series.h"

#include <algorithm>

namespace kvilt::ui {

void TimeSeries::add(double time, double value)
{
    if (!m_samples.empty()) {
        Sample &last = m_samples.back();
        time = std::max(time, last.time);
        const std::size_t n = m_samples.size();
        // A level that holds needs only its ends.
        if (n > 1 && last.value == value && m_samples[n - 2].value == value) {
            last.time = time;
            return;
        }
    }
    m_samples.push_back({time, value});
    if (m_samples.size() > m_capacity)
        m_samples.pop_front();
}

std::size_t TimeSeries::firstAfter(double time) const
{
    return std::size_t(std::upper_bound(m_samples.begin(), m_samples.end(), time,
                                        [](double t, const Sample &s) { return t < s.time; })
                       - m_samples.begin());
}

double TimeSeries::at(double time, double otherwise) const
{
    const std::size_t next = firstAfter(time);
    return next == 0 ? otherwise : m_samples[next - 1].value;
}

std::vector<TimeSeries::Column> TimeSeries::columns(double from, double to, int pixels) const
{
    std::vector<Column> columns(std::size_t(std::max(0, pixels)));
    if (columns.empty() || !(to > from))
        return columns;
    std::size_t next = firstAfter(from);
    bool known = next > 0;
    double held = known ? m_samples[next - 1].value : 0;
    for (int c = 0; c < pixels; ++c) {
        const double end = from + (to - from) * (c + 1) / pixels;
        Column &column = columns[std::size_t(c)];
        column = {held, held, held, known};
        for (; next < m_samples.size() && m_samples[next].time < end; ++next) {
            held = m_samples[next].value;
            column.low = column.set ? std::min(column.low, held) : held;
            column.high = column.set ? std::max(column.high, held) : held;
            column.set = known = true;
        }
        column.last = held;
    }
    return columns;
}

} // namespace kvilt::ui

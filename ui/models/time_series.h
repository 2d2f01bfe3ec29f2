// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace kvilt::ui {

// Samples of one figure over time, bounded; times (seconds) never go back. Draws as the smallest and largest value of
// each pixel column, so that a spike shows however far the plot is zoomed out. Knows no widget.
class TimeSeries {
public:
    explicit TimeSeries(std::size_t capacity = 1u << 17) : m_capacity(capacity) {}

    struct Sample {
        double time = 0, value = 0;
    };
    // A column's span; `set` false: no sample in it and none before.
    struct Column {
        double low = 0, high = 0, last = 0;
        bool set = false;
    };

    void add(double time, double value);
    void clear() { m_samples.clear(); }
    bool empty() const { return m_samples.empty(); }
    std::size_t size() const { return m_samples.size(); }
    const Sample &back() const { return m_samples.back(); }
    const Sample &front() const { return m_samples.front(); }
    // The value in force at `time` (that of the last sample before); `otherwise` when there is none.
    double at(double time, double otherwise) const;
    // `pixels` columns over [from, to). A value holds until the next sample.
    std::vector<Column> columns(double from, double to, int pixels) const;

private:
    std::size_t firstAfter(double time) const;

    std::size_t m_capacity;
    std::deque<Sample> m_samples;
};

} // namespace kvilt::ui

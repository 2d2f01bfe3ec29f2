// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QObject>

#include <cstdint>
#include <utility>
#include <vector>

namespace kvilt::ui {

// The stretch of time that every plot of a page shows: it follows the present until someone zooms or drags. Seconds
// since 1970; the present is given by whoever has a clock.
class TimeView : public QObject {
    Q_OBJECT
public:
    using QObject::QObject;

    static constexpr double kShortest = 1, kLongest = 7 * 86400, kUsual = 180;

    double from() const { return m_to - m_span; }
    double to() const { return m_to; }
    double span() const { return m_span; }
    bool following() const { return m_following; }

    // The present moved; `earliest` is the first sample's time (0: none yet).
    void setPresent(double now, double earliest);
    void zoom(double factor, double around); // factor < 1: closer
    void pan(double seconds);                // > 0: later
    void follow();

    // Times for labels in [from, to], on round minutes or seconds, at most `most`.
    static std::vector<double> ticks(double from, double to, int most);
    // Seconds between those ticks.
    static double tickStep(double span, int most);

signals:
    void changed();

private:
    double m_to = 0, m_span = kUsual;
    double m_now = 0, m_earliest = 0;
    bool m_following = true;
    bool m_chosenSpan = false;
};

} // namespace kvilt::ui

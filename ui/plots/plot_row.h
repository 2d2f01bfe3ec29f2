// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/time_series.h"
#include "ui/plots/time_view.h"
#include "ui/widgets/theme.h"

#include <QWidget>

#include <functional>
#include <optional>
#include <vector>

class QCustomPlot;
class QLabel;

namespace kvilt::ui {

// What a plot draws of the time that shows: its layers from back to front, the top of its scale, its figure.
struct PlotContent {
    struct Layer {
        std::vector<TimeSeries::Column> columns; // one a pixel
        QColor colour;
        bool filled = false;
    };
    std::vector<Layer> layers;
    double top = 1;
    QString scale;  // what the top stands for
    QString figure; // "87 %": now, or at the pointer
};

// One plot with its title, its figure and the time below. Draws the smallest and largest value of each pixel column,
// without antialiasing, and replots at most once an event loop turn.
class PlotRow : public QWidget {
    Q_OBJECT
public:
    // `content(from, to, pixels, at)`: `at` is the time under the pointer, none: the present.
    using Content = std::function<PlotContent(double from, double to, int pixels, std::optional<double> at)>;

    PlotRow(const QString &title, Content content, TimeView &time, Theme &theme, QWidget *parent = nullptr);

    void setPlotHeight(int height);
    void replot();

protected:
    void paintEvent(QPaintEvent *event) override;
    bool eventFilter(QObject *watched, QEvent *event) override;

private:
    void applyTheme();
    void drawLayers(const PlotContent &content);
    double timeAt(int x) const;

    TimeView &m_time;
    Theme &m_theme;
    Content m_content;
    QLabel *m_title = nullptr, *m_figure = nullptr, *m_scale = nullptr;
    QCustomPlot *m_plot = nullptr;
    std::optional<double> m_pointed;
    std::optional<int> m_dragFrom;
};

} // namespace kvilt::ui

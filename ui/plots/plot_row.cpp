// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/plot_row.h"

#include <qcustomplot.h>

#include <QDateTime>
#include <QHBoxLayout>
#include <QLabel>
#include <QMouseEvent>
#include <QPainter>
#include <QVBoxLayout>

#include <cmath>

namespace kvilt::ui {

namespace {

constexpr int kLabelHeight = 20;

// Both ends of each column where they differ, nearest to the last value first, so that the line never jumps back.
QVector<QCPGraphData> points(const PlotContent::Layer &layer, double from, double to)
{
    QVector<QCPGraphData> data;
    data.reserve(qsizetype(layer.columns.size() * 2));
    const double step = (to - from) / double(std::max<std::size_t>(1, layer.columns.size()));
    for (std::size_t c = 0; c < layer.columns.size(); ++c) {
        const TimeSeries::Column &column = layer.columns[c];
        if (!column.set)
            continue;
        const double x = from + (double(c) + 0.5) * step;
        if (layer.filled || column.low == column.high) {
            data.push_back({x, column.high});
            continue;
        }
        const bool fromLow = !data.isEmpty() && data.back().value - column.low < column.high - data.back().value;
        data.push_back({x, fromLow ? column.low : column.high});
        data.push_back({x, fromLow ? column.high : column.low});
        data.push_back({x, column.last});
    }
    return data;
}

} // namespace

PlotRow::PlotRow(const QString &title, Content content, TimeView &time, Theme &theme, QWidget *parent)
    : QWidget(parent), m_time(time), m_theme(theme), m_content(std::move(content))
{
    setAccessibleName(title);
    auto *layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, kLabelHeight);
    layout->setSpacing(metrics::kGrid - 2);
    auto *heading = new QHBoxLayout;
    m_title = new QLabel(title, this);
    m_figure = new QLabel(this);
    m_figure->setAlignment(Qt::AlignRight);
    heading->addWidget(m_title);
    heading->addStretch(1);
    heading->addWidget(m_figure);
    layout->addLayout(heading);
    m_plot = new QCustomPlot(this);
    m_plot->setNotAntialiasedElements(QCP::aeAll);
    m_plot->setNoAntialiasingOnDrag(true);
    m_plot->axisRect()->setAutoMargins(QCP::msNone);
    m_plot->axisRect()->setMargins(QMargins(0, 1, 0, 1));
    m_plot->plotLayout()->setMargins({});
    for (QCPAxis *axis : {m_plot->xAxis, m_plot->yAxis}) {
        axis->setTicks(axis == m_plot->yAxis);
        axis->setTickLabels(false);
        axis->setTickLength(0, 0);
        axis->setSubTicks(false);
        axis->setBasePen(Qt::NoPen);
        axis->setTickPen(Qt::NoPen);
        axis->setSubTickPen(Qt::NoPen);
        axis->grid()->setZeroLinePen(Qt::NoPen);
    }
    m_plot->yAxis->setVisible(true);
    m_plot->xAxis->grid()->setVisible(false);
    m_plot->setMouseTracking(true);
    m_plot->installEventFilter(this);
    m_plot->setFocusPolicy(Qt::NoFocus);
    layout->addWidget(m_plot);
    m_scale = new QLabel(m_plot);
    m_scale->setProperty("tone", "tertiary");
    m_scale->setAttribute(Qt::WA_TransparentForMouseEvents);
    m_scale->move(0, 1);
    connect(&m_theme, &Theme::changed, this, &PlotRow::applyTheme);
    applyTheme();
    setPlotHeight(62);
}

void PlotRow::setPlotHeight(int height)
{
    m_plot->setFixedHeight(height);
}

void PlotRow::applyTheme()
{
    const Palette &p = m_theme.palette();
    m_title->setFont(m_theme.font(TextSize::secondary, QFont::DemiBold));
    m_figure->setFont(m_theme.font(TextSize::secondary, QFont::Medium));
    m_scale->setFont(m_theme.font(TextSize::caption));
    m_figure->setProperty("tone", "secondary");
    m_plot->setBackground(QBrush(p.window));
    m_plot->yAxis->grid()->setPen(QPen(p.border, 1));
    replot();
    update();
}

void PlotRow::replot()
{
    if (m_plot->width() < 8)
        return;
    const PlotContent content = m_content(m_time.from(), m_time.to(), m_plot->width(), m_pointed);
    m_figure->setText(content.figure);
    m_scale->setText(content.scale);
    m_scale->adjustSize();
    m_plot->setAccessibleName(accessibleName() + QStringLiteral(": ") + content.figure);
    m_plot->xAxis->setRange(m_time.from(), m_time.to());
    const double top = content.top > 0 ? content.top : 1;
    m_plot->yAxis->setRange(0, top);
    QSharedPointer<QCPAxisTickerFixed> ticker(new QCPAxisTickerFixed);
    ticker->setTickStep(top / 2);
    m_plot->yAxis->setTicker(ticker);
    drawLayers(content);
    m_plot->replot(QCustomPlot::rpQueuedReplot);
    update(0, height() - kLabelHeight, width(), kLabelHeight);
}

void PlotRow::drawLayers(const PlotContent &content)
{
    while (m_plot->graphCount() < int(content.layers.size())) {
        QCPGraph *graph = m_plot->addGraph();
        graph->setAdaptiveSampling(false); // the columns are sampled already
        graph->setSelectable(QCP::stNone);
    }
    for (int g = 0; g < m_plot->graphCount(); ++g) {
        QCPGraph *graph = m_plot->graph(g);
        const bool drawn = g < int(content.layers.size());
        graph->setVisible(drawn);
        if (!drawn)
            continue;
        const PlotContent::Layer &layer = content.layers[std::size_t(g)];
        graph->setPen(layer.filled ? QPen(Qt::NoPen) : QPen(layer.colour, 1));
        graph->setBrush(layer.filled ? QBrush(layer.colour) : QBrush(Qt::NoBrush));
        graph->data()->set(points(layer, m_time.from(), m_time.to()), true);
    }
}

double PlotRow::timeAt(int x) const
{
    return m_time.from() + m_time.span() * x / std::max(1, m_plot->width());
}

// Times stand below the plot: the first at its left edge, the last at its right.
void PlotRow::paintEvent(QPaintEvent *)
{
    QPainter painter(this);
    painter.setFont(m_theme.font(TextSize::caption));
    painter.setPen(m_theme.palette().tertiary);
    const QRect area(0, height() - kLabelHeight, width(), kLabelHeight);
    const double step = TimeView::tickStep(m_time.span(), 5);
    for (const double time : TimeView::ticks(m_time.from(), m_time.to(), 5)) {
        const QString text = QDateTime::fromSecsSinceEpoch(qint64(std::llround(time)))
                                 .toString(step < 60 ? QStringLiteral("HH:mm:ss") : QStringLiteral("HH:mm"));
        const int half = painter.fontMetrics().horizontalAdvance(text) / 2 + 1;
        const int centre = int((time - m_time.from()) / m_time.span() * width());
        const int x = std::clamp(centre, half, std::max(half, width() - half));
        painter.drawText(QRect(x - half, area.top() + 3, 2 * half, kLabelHeight - 3), Qt::AlignCenter, text);
    }
}

bool PlotRow::eventFilter(QObject *watched, QEvent *event)
{
    switch (event->type()) {
    case QEvent::Wheel: {
        auto *wheel = static_cast<QWheelEvent *>(event);
        if (wheel->angleDelta().y() != 0)
            m_time.zoom(wheel->angleDelta().y() > 0 ? 0.8 : 1.25, timeAt(int(wheel->position().x())));
        m_pointed = timeAt(int(wheel->position().x()));
        replot();
        return true;
    }
    case QEvent::MouseButtonPress:
        m_dragFrom = int(static_cast<QMouseEvent *>(event)->position().x());
        return true;
    case QEvent::MouseButtonRelease: m_dragFrom.reset(); return true;
    case QEvent::MouseButtonDblClick:
        m_dragFrom.reset();
        m_time.follow();
        return true;
    case QEvent::MouseMove: {
        const int x = int(static_cast<QMouseEvent *>(event)->position().x());
        if (m_dragFrom) {
            m_time.pan(m_time.span() * (*m_dragFrom - x) / std::max(1, m_plot->width()));
            m_dragFrom = x;
        } else {
            m_pointed = timeAt(x);
            replot();
        }
        return true;
    }
    case QEvent::Leave:
        m_pointed.reset();
        replot();
        break;
    case QEvent::Resize: replot(); break;
    default: break;
    }
    return QWidget::eventFilter(watched, event);
}

} // namespace kvilt::ui

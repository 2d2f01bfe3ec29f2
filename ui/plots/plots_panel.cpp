// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/plots_panel.h"

#include "ui/plots/plot_row.h"
#include "ui/widgets/theme.h"
#include "ui/widgets/format.h"

#include <QDateTime>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>

namespace kvilt::ui {

namespace {

constexpr double kSpeedHolds = 5; // seconds: replies report theirs several times a second

QString clockPrefix(std::optional<double> at)
{
    return at ? QDateTime::fromMSecsSinceEpoch(qint64(*at * 1000)).toString(QStringLiteral("HH:mm:ss  ")) : QString();
}

QString share(double value)
{
    return QStringLiteral("%1 %").arg(int(std::lround(value * 100)));
}

// The next of 1, 2, 5 × 10ⁿ, so that the scale does not wander with every sample.
double roundUp(double value)
{
    if (value <= 0)
        return 1;
    const double decade = std::pow(10.0, std::floor(std::log10(value)));
    for (const double step : {1.0, 2.0, 5.0, 10.0})
        if (value <= step * decade * (1 + 1e-12))
            return step * decade;
    return value;
}

double highest(const std::vector<TimeSeries::Column> &columns)
{
    double top = 0;
    for (const TimeSeries::Column &column : columns)
        top = column.set ? std::max(top, column.high) : top;
    return top;
}

// A rate says something of the time it was measured in and a little after; then nothing ran.
std::vector<TimeSeries::Column> whileItHolds(const TimeSeries &series, double from, double to, int pixels, double hold)
{
    std::vector<TimeSeries::Column> columns = series.columns(from, to, pixels);
    const double end = series.empty() ? from : series.back().time + hold;
    for (int c = 0; c < pixels; ++c)
        if (from + (to - from) * c / pixels > end)
            columns[std::size_t(c)].set = false;
    return columns;
}

// The value in force, as `words` puts it; a dash before the first and where the last one no longer holds.
QString whileItHolds(const TimeSeries &series, double at, double hold, QString (*words)(double))
{
    const bool known = !series.empty() && at >= series.front().time && at <= series.back().time + hold;
    return known ? words(series.at(at, 0)) : QStringLiteral("–");
}

// Of a running total, what was added in each stretch of pixels.
std::vector<TimeSeries::Column> increments(const TimeSeries &total, double from, double to, int pixels)
{
    constexpr int kBar = 4;
    std::vector<TimeSeries::Column> columns(std::size_t(std::max(0, pixels)));
    if (total.empty() || pixels <= 0)
        return columns;
    const double step = (to - from) / pixels;
    for (int c = 0; c < pixels; c += kBar) {
        const double begin = from + c * step;
        const double before = total.at(begin, total.front().value);
        const double added = std::max(0.0, total.at(begin + kBar * step, total.front().value) - before);
        for (int i = c; i < std::min(pixels, c + kBar); ++i)
            columns[std::size_t(i)] = {added, added, added, true};
    }
    return columns;
}

} // namespace

struct PlotsPanel::Impl : QObject {
    Impl(Workbench &w, PlotsPanel &p) : workbench(w), panel(p) {}

    Workbench &workbench;
    PlotsPanel &panel;
    TimeView time;
    QTimer soon, clock;
    QVBoxLayout *layout = nullptr;
    std::vector<PlotRow *> rows;
    QToolButton *followButton = nullptr;
    QLabel *hint = nullptr;
    QWidget *footer = nullptr;
    bool compact = false;
    double present = 0; // seconds, as of the last look at the clock

    void build();
    void addRow(const QString &title, PlotRow::Content content);
    void applyCompact();
    void follow();
    void replot();
    PlotContent hitRate(double from, double to, int pixels, std::optional<double> at) const;
    PlotContent occupancy(double from, double to, int pixels, std::optional<double> at) const;
    PlotContent evictions(double from, double to, int pixels, std::optional<double> at) const;
    PlotContent speed(double from, double to, int pixels, std::optional<double> at) const;
};

PlotContent PlotsPanel::Impl::hitRate(double from, double to, int pixels, std::optional<double> at) const
{
    const PlotHistory &h = workbench.history();
    PlotContent content{.layers = {{whileItHolds(h.hitRate(), from, to, pixels, PlotHistory::kRateWindow),
                                    workbench.theme().palette().accent}}};
    content.scale = share(1);
    content.figure = clockPrefix(at) + whileItHolds(h.hitRate(), at.value_or(present), PlotHistory::kRateWindow, share);
    return content;
}

PlotContent PlotsPanel::Impl::occupancy(double from, double to, int pixels, std::optional<double> at) const
{
    const PlotHistory &h = workbench.history();
    PlotContent content;
    content.layers = {{h.occupied().columns(from, to, pixels), stateColour(api::BlockState::cached), true},
                      {h.inUse().columns(from, to, pixels), stateColour(api::BlockState::inUse), true}};
    const std::uint32_t capacity = h.counts().capacity;
    const double now = h.occupied().empty() ? 0 : at ? h.occupied().at(*at, 0) : h.occupied().back().value;
    // A pool that is far from full would show as a line on the floor: the scale then is a round part of it.
    content.top = std::min<double>(capacity, roundUp(std::max(highest(content.layers[0].columns) * 1.6, 16.0)));
    content.scale = grouped(std::uint64_t(content.top));
    content.figure = clockPrefix(at) + PlotsPanel::tr("%1 of %2").arg(grouped(std::uint64_t(now)), grouped(capacity));
    return content;
}

PlotContent PlotsPanel::Impl::evictions(double from, double to, int pixels, std::optional<double> at) const
{
    const PlotHistory &h = workbench.history();
    PlotContent content;
    content.layers = {{increments(h.evictions(), from, to, pixels), stateColour(api::BlockState::deadBranch), true},
                      {increments(h.regrets(), from, to, pixels), workbench.theme().palette().text, true}};
    content.top = roundUp(std::max(4.0, highest(content.layers[0].columns)));
    content.scale = grouped(std::uint64_t(content.top));
    const double all = at ? h.evictions().at(*at, 0) : double(h.counts().evictions);
    const double again = at ? h.regrets().at(*at, 0) : double(h.counts().regretted);
    content.figure = clockPrefix(at) + PlotsPanel::tr("%1, %2 wanted again").arg(grouped(std::uint64_t(all)), grouped(std::uint64_t(again)));
    return content;
}

PlotContent PlotsPanel::Impl::speed(double from, double to, int pixels, std::optional<double> at) const
{
    const PlotHistory &h = workbench.history();
    PlotContent content{.layers = {{whileItHolds(h.speed(), from, to, pixels, kSpeedHolds), workbench.theme().palette().accent}}};
    content.top = roundUp(std::max(10.0, highest(content.layers[0].columns)));
    content.scale = rate(content.top);
    content.figure = clockPrefix(at) + whileItHolds(h.speed(), at.value_or(present), kSpeedHolds, rate);
    return content;
}

void PlotsPanel::Impl::build()
{
    layout = new QVBoxLayout(&panel);
    layout->setContentsMargins(metrics::kPanelMargin, metrics::kPanelMargin, metrics::kPanelMargin, metrics::kGrid);
    layout->setSpacing(metrics::kGrid);
    const auto bind = [this](PlotContent (Impl::*draw)(double, double, int, std::optional<double>) const) {
        return [this, draw](double from, double to, int pixels, std::optional<double> at) {
            return (this->*draw)(from, to, pixels, at);
        };
    };
    addRow(PlotsPanel::tr("Hit rate, last minute"), bind(&Impl::hitRate));
    addRow(PlotsPanel::tr("Blocks in use and cached"), bind(&Impl::occupancy));
    addRow(PlotsPanel::tr("Evictions"), bind(&Impl::evictions));
    addRow(PlotsPanel::tr("Writing speed"), bind(&Impl::speed));
    footer = new QWidget(&panel);
    auto *line = new QHBoxLayout(footer);
    line->setContentsMargins({});
    hint = new QLabel(PlotsPanel::tr("Wheel zooms, dragging moves, a double click follows again."), footer);
    hint->setProperty("tone", "tertiary");
    hint->setFont(workbench.theme().font(TextSize::caption));
    followButton = new QToolButton(footer);
    followButton->setText(PlotsPanel::tr("Follow"));
    followButton->setCheckable(true);
    followButton->setFont(workbench.theme().font(TextSize::secondary));
    followButton->setAccessibleName(PlotsPanel::tr("Follow the present"));
    line->addWidget(hint);
    line->addStretch(1);
    line->addWidget(followButton);
    layout->addWidget(footer);
    layout->addStretch(1);
    connect(followButton, &QToolButton::clicked, this, [this] { time.follow(); });
    connect(&time, &TimeView::changed, this, [this] { replot(); });
    soon.setSingleShot(true);
    soon.setInterval(100);
    clock.setInterval(1000);
    connect(&soon, &QTimer::timeout, this, [this] { follow(); });
    connect(&clock, &QTimer::timeout, this, [this] { follow(); });
    connect(&workbench.history(), &PlotHistory::changed, this, [this] {
        if (panel.isVisible() && !soon.isActive() && !workbench.paused())
            soon.start();
    });
    applyCompact();
    follow();
}

void PlotsPanel::Impl::addRow(const QString &title, PlotRow::Content content)
{
    rows.push_back(new PlotRow(title, std::move(content), time, workbench.theme(), &panel));
    layout->addWidget(rows.back());
}

void PlotsPanel::Impl::applyCompact()
{
    rows[2]->setVisible(!compact);
    rows[3]->setVisible(!compact);
    footer->setVisible(!compact);
    for (PlotRow *row : rows)
        row->setPlotHeight(compact ? 62 : 110);
    layout->setContentsMargins(metrics::kPanelMargin, compact ? 0 : metrics::kPanelMargin, metrics::kPanelMargin, metrics::kGrid);
    panel.setSizePolicy(QSizePolicy::Preferred, compact ? QSizePolicy::Fixed : QSizePolicy::Expanding);
}

// The axis follows the clock, and samples that are ahead of it.
void PlotsPanel::Impl::follow()
{
    if (workbench.paused())
        return;
    const double now = double(QDateTime::currentMSecsSinceEpoch()) * 1e-3;
    const PlotHistory &h = workbench.history();
    const bool old = h.latest() > 0 && h.latest() < now - 3600; // a replayed recording lies in the past
    present = old ? h.latest() : std::max(now, h.latest());
    time.setPresent(present, h.earliest());
}

void PlotsPanel::Impl::replot()
{
    followButton->setChecked(time.following());
    for (PlotRow *row : rows)
        if (!row->isHidden())
            row->replot();
}

PlotsPanel::PlotsPanel(Workbench &workbench, QWidget *parent)
    : QWidget(parent), m_impl(std::make_unique<Impl>(workbench, *this))
{
    setAccessibleName(tr("Plots"));
    setFocusPolicy(Qt::StrongFocus);
    m_impl->build();
}

PlotsPanel::~PlotsPanel() = default;

void PlotsPanel::setCompact(bool compact)
{
    m_impl->compact = compact;
    m_impl->applyCompact();
    setFocusPolicy(compact ? Qt::NoFocus : Qt::StrongFocus);
}

void PlotsPanel::showEvent(QShowEvent *)
{
    m_impl->follow();
    m_impl->clock.start();
}

void PlotsPanel::hideEvent(QHideEvent *)
{
    m_impl->clock.stop();
}

void PlotsPanel::keyPressEvent(QKeyEvent *event)
{
    TimeView &time = m_impl->time;
    switch (event->key()) {
    case Qt::Key_Left: time.pan(-time.span() / 10); break;
    case Qt::Key_Right: time.pan(time.span() / 10); break;
    case Qt::Key_Plus:
    case Qt::Key_Equal: time.zoom(0.8, time.to()); break;
    case Qt::Key_Minus: time.zoom(1.25, time.to()); break;
    case Qt::Key_0:
    case Qt::Key_End: time.follow(); break;
    case Qt::Key_Space: m_impl->workbench.setPaused(!m_impl->workbench.paused()); break;
    default: QWidget::keyPressEvent(event);
    }
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/side_panel.h"

#include "ui/blockmap/block_map_panel.h"
#include "ui/inspector/inspector_panel.h"
#include "ui/plots/event_list_panel.h"
#include "ui/plots/plots_panel.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QButtonGroup>
#include <QHBoxLayout>
#include <QPainter>
#include <QStackedWidget>
#include <QToolButton>
#include <QVBoxLayout>

namespace kvilt::ui {

namespace {

// A tab: its word, and a line under it when it is the one shown.
class TabButton : public QToolButton {
public:
    TabButton(const QString &text, Theme &theme, QWidget *parent) : QToolButton(parent), m_theme(theme)
    {
        setText(text);
        setCheckable(true);
        setAutoExclusive(false);
        setProperty("role", "tab");
        setAccessibleName(text);
        setFocusPolicy(Qt::StrongFocus);
        setToolTip(text);
    }
    QSize sizeHint() const override
    {
        const QFontMetrics wide(m_theme.font(TextSize::body, QFont::DemiBold));
        return {wide.horizontalAdvance(text()) + 2, metrics::kHeaderHeight};
    }

protected:
    void paintEvent(QPaintEvent *) override
    {
        const Palette &p = m_theme.palette();
        QPainter painter(this);
        painter.setFont(m_theme.font(TextSize::body, isChecked() ? QFont::DemiBold : QFont::Normal));
        painter.setPen(isChecked() || underMouse() ? p.text : p.secondary);
        painter.drawText(rect(), Qt::AlignLeft | Qt::AlignVCenter, text());
        if (isChecked())
            painter.fillRect(QRect(0, height() - 2, width(), 2), p.accent);
        if (hasFocus()) {
            painter.setPen(p.accent);
            painter.drawRoundedRect(rect().adjusted(-2, 12, 1, -12), 4, 4);
        }
    }

private:
    Theme &m_theme;
};

} // namespace

SidePanel::SidePanel(Workbench &workbench, QWidget *parent)
    : QWidget(parent), m_workbench(workbench), m_pages(4, nullptr)
{
    setAccessibleName(tr("Cache"));
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    m_header = buildHeader();
    column->addWidget(m_header);
    auto *rule = new QFrame(this);
    rule->setProperty("role", "rule");
    rule->setFixedHeight(1);
    column->addWidget(rule);
    m_stack = new QStackedWidget(this);
    m_stack->setMinimumHeight(240); // a small window clips the lowest rows instead of growing
    for (int i = 0; i < 4; ++i)
        m_stack->addWidget(new QWidget(m_stack));
    column->addWidget(m_stack, 1);
    connect(&workbench, &Workbench::pausedChanged, this, &SidePanel::refreshHeader);
    connect(&workbench.theme(), &Theme::changed, this, &SidePanel::refreshHeader);
    connect(&workbench, &Workbench::inspectorWanted, this, [this] { showPage(Page::inspector); });
    connect(&workbench, &Workbench::mapWanted, this, [this] { showPage(Page::map); });
    refreshHeader();
}

QWidget *SidePanel::buildHeader()
{
    auto *header = new QWidget(this);
    header->setFixedHeight(metrics::kHeaderHeight);
    auto *row = new QHBoxLayout(header);
    row->setContentsMargins(metrics::kPanelMargin, 0, 4, 0);
    row->setSpacing(20);
    const QString names[] = {tr("Map"), tr("Plots"), tr("Events"), tr("Inspector")};
    for (int i = 0; i < 4; ++i) {
        auto *tab = new TabButton(names[i], m_workbench.theme(), header);
        connect(tab, &QToolButton::clicked, this, [this, i] { showPage(Page(i)); });
        row->addWidget(tab);
        m_tabs.push_back(tab);
    }
    m_tabs[0]->setChecked(true);
    row->addStretch(1);
    m_live = new QToolButton(header);
    m_live->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
    m_live->setLayoutDirection(Qt::RightToLeft); // the word first, the sign after it
    m_live->setIconSize({14, 14});
    connect(m_live, &QToolButton::clicked, this, [this] { m_workbench.setPaused(!m_workbench.paused()); });
    row->addWidget(m_live);
    return header;
}

void SidePanel::refreshHeader()
{
    const Palette &p = m_workbench.theme().palette();
    const bool paused = m_workbench.paused();
    m_live->setText(paused ? tr("Paused") : tr("Live"));
    m_live->setIcon(icon(paused ? QStringLiteral("play") : QStringLiteral("pause"), p.secondary));
    m_live->setFont(m_workbench.theme().font(TextSize::secondary, QFont::Medium));
    m_live->setStyleSheet(QStringLiteral("QToolButton { color: %1; }").arg((paused ? p.lost : p.saved).name()));
    m_live->setAccessibleName(paused ? tr("Resume the views of the cache") : tr("Pause the views of the cache"));
    m_live->setToolTip(paused ? tr("Resume (Space)") : tr("Pause (Space)"));
}

SidePanel::Page SidePanel::page() const
{
    return Page(m_stack->currentIndex());
}

// The map page brings the short forms of plots and events itself, because the map takes the room they leave.
QWidget *SidePanel::buildPage(Page page)
{
    switch (page) {
    case Page::plots: return new PlotsPanel(m_workbench, m_stack);
    case Page::events: return new EventListPanel(m_workbench, m_stack);
    case Page::inspector: return new InspectorPanel(m_workbench, m_stack);
    case Page::map: break;
    }
    return new BlockMapPanel(m_workbench, m_stack);
}

void SidePanel::showPage(Page page)
{
    const auto index = std::size_t(page);
    if (!m_pages[index]) {
        m_pages[index] = buildPage(page);
        QWidget *seat = m_stack->widget(int(page));
        m_stack->insertWidget(int(page), m_pages[index]);
        m_stack->removeWidget(seat);
        delete seat;
    }
    m_stack->setCurrentIndex(int(page));
    for (std::size_t i = 0; i < m_tabs.size(); ++i)
        m_tabs[i]->setChecked(i == index);
    emit pageChanged(int(page));
}

} // namespace kvilt::ui

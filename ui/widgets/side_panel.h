// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QWidget>

#include <functional>

class QStackedWidget;
class QToolButton;

namespace kvilt::ui {

// The right side of the window: Map, Plots, Events, Inspector under one row of tabs, with Live/Paused at its end.
// The views come from ui/blockmap, ui/plots and ui/inspector, each built when it is first shown, as
//   BlockMapPanel(Workbench &, QWidget *parent)    map with its legend, two small plots and the last events
//   PlotsPanel(Workbench &, QWidget *parent)
//   EventListPanel(Workbench &, QWidget *parent)
//   InspectorPanel(Workbench &, QWidget *parent)
//   RibbonWidget(Workbench &, QWidget *parent)     sits in the composer
// Panels bring their own inner margins (metrics::kPanelMargin left and right) and no frame.
class SidePanel : public QWidget {
    Q_OBJECT
public:
    enum class Page : int { map, plots, events, inspector };
    SidePanel(Workbench &workbench, QWidget *parent = nullptr);

    // The row of tabs; stands above the panel until someone else gives it a place.
    QWidget *header() { return m_header; }
    Page page() const;
    void showPage(Page page);

signals:
    void pageChanged(int page);

private:
    QWidget *buildPage(Page page);
    QWidget *buildHeader();
    void refreshHeader();

    Workbench &m_workbench;
    QWidget *m_header = nullptr;
    QStackedWidget *m_stack = nullptr;
    std::vector<QToolButton *> m_tabs;
    std::vector<QWidget *> m_pages;
    QToolButton *m_live = nullptr;
};

} // namespace kvilt::ui

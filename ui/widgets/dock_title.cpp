// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/dock_title.h"

#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QContextMenuEvent>
#include <QDockWidget>
#include <QHBoxLayout>
#include <QLabel>
#include <QMainWindow>
#include <QMenu>

namespace kvilt::ui {

// Presses that no control takes go on to the dock, which then drags: nothing here may accept them.
DockTitle::DockTitle(QWidget *inside, Theme &theme, QDockWidget *dock) : QWidget(dock), m_theme(theme), m_dock(*dock)
{
    setAccessibleName(tr("Head of the panel %1").arg(dock->windowTitle()));
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    auto *row = new QHBoxLayout(this);
    row->setContentsMargins(0, 0, 6, 0);
    row->setSpacing(0);
    row->addWidget(inside, 1);
    m_grip = new QLabel(this);
    m_grip->setFixedWidth(12);
    m_grip->setAlignment(Qt::AlignCenter);
    m_grip->setCursor(Qt::OpenHandCursor);
    m_grip->setToolTip(tr("Drag to move this panel. Double click: a window of its own. Right click: more."));
    row->addWidget(m_grip);
    connect(&theme, &Theme::changed, this, &DockTitle::recolour);
    recolour();
}

void DockTitle::recolour()
{
    m_grip->setPixmap(iconPixmap(QStringLiteral("grip"), m_theme.palette().tertiary, 14, devicePixelRatioF()));
}

void DockTitle::moveOver()
{
    auto *window = qobject_cast<QMainWindow *>(m_dock.parentWidget());
    if (!window)
        return;
    const bool left = window->dockWidgetArea(&m_dock) == Qt::LeftDockWidgetArea;
    m_dock.setFloating(false);
    window->addDockWidget(left ? Qt::RightDockWidgetArea : Qt::LeftDockWidgetArea, &m_dock);
}

void DockTitle::contextMenuEvent(QContextMenuEvent *event)
{
    QMenu menu(this);
    menu.addAction(m_dock.isFloating() ? tr("Back into the window") : tr("A window of its own"), this,
                   [this] { m_dock.setFloating(!m_dock.isFloating()); });
    menu.addAction(tr("To the other side"), this, &DockTitle::moveOver);
    menu.addSeparator();
    menu.addAction(tr("Close"), &m_dock, &QDockWidget::close);
    menu.exec(event->globalPos());
}

} // namespace kvilt::ui

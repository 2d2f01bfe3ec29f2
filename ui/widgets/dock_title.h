// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QWidget>

class QDockWidget;
class QLabel;

namespace kvilt::ui {

class Theme;

// The head of a dock: what its panel puts there, and at its end the handle by which the dock is dragged. Everywhere that
// is no control drags as well. A double click makes it a window of its own, the menu closes it or moves it over.
class DockTitle : public QWidget {
    Q_OBJECT
public:
    DockTitle(QWidget *inside, Theme &theme, QDockWidget *dock);

protected:
    void contextMenuEvent(QContextMenuEvent *event) override;

private:
    void recolour();
    void moveOver();

    Theme &m_theme;
    QDockWidget &m_dock;
    QLabel *m_grip = nullptr;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QWidget>

#include <memory>

namespace kvilt::ui {

// The Map page: how many blocks there are, the map, its legend, two small plots and the last events.
// Space pauses all of it; the arrow keys move the map's cursor.
class BlockMapPanel : public QWidget {
    Q_OBJECT
public:
    explicit BlockMapPanel(Workbench &workbench, QWidget *parent = nullptr);
    ~BlockMapPanel() override;

protected:
    void resizeEvent(QResizeEvent *event) override;
    void hideEvent(QHideEvent *event) override;
    void keyPressEvent(QKeyEvent *event) override;

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::ui

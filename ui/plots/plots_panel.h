// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QWidget>

#include <memory>

namespace kvilt::ui {

// Hit rate, occupancy, evictions and speed over one shared time axis: wheel zooms, drag moves, a double click
// follows the present again. Compact: hit rate and occupancy only, as they stand below the map.
class PlotsPanel : public QWidget {
    Q_OBJECT
public:
    explicit PlotsPanel(Workbench &workbench, QWidget *parent = nullptr);
    ~PlotsPanel() override;

    void setCompact(bool compact);

protected:
    void showEvent(QShowEvent *event) override;
    void hideEvent(QHideEvent *event) override;
    void keyPressEvent(QKeyEvent *event) override;

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::ui

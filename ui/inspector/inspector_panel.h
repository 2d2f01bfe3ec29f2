// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QWidget>

#include <memory>

namespace kvilt::ui {

// Why a turn reused what it reused: matched, computed, lost; the prompt block by block against what the cache held;
// the first difference with both texts; what became of the blocks; what to do. Shows the latest turn of the
// current session until another one is asked for, and below it what the chat costs as a whole.
class InspectorPanel : public QWidget {
    Q_OBJECT
public:
    explicit InspectorPanel(Workbench &workbench, QWidget *parent = nullptr);
    ~InspectorPanel() override;

protected:
    void showEvent(QShowEvent *event) override;
    void keyPressEvent(QKeyEvent *event) override;

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::ui

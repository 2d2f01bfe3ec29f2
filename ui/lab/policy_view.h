// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QDialog>

class QLabel;
class QTableWidget;

namespace kvilt::ui {

// What would another policy have done? The accesses since the model was loaded, played through lru, fifo, lfu and the
// optimum, with the pool as it is and smaller ones. A window of its own beside the chat, never in its way.
class PolicyView : public QDialog {
    Q_OBJECT
public:
    explicit PolicyView(Workbench &workbench, QWidget *parent = nullptr);
    void compare();

private:
    void showComparison(const api::update::PoliciesCompared &compared);

    Workbench &m_workbench;
    QLabel *m_sentence = nullptr;
    QLabel *m_note = nullptr;
    QTableWidget *m_table = nullptr;
};

} // namespace kvilt::ui

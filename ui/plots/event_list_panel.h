// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QWidget>

#include <memory>

namespace kvilt::ui {

// Every decision about a block, newest first, with its reason in words: filter by kind, session and block, text
// search, follow. A click selects the block in the map. Compact: a heading and the last rows.
class EventListPanel : public QWidget {
    Q_OBJECT
public:
    explicit EventListPanel(Workbench &workbench, QWidget *parent = nullptr);
    ~EventListPanel() override;

    void setCompact(bool compact);
    // Shows only events of this block.
    void filterBlock(GroupIndex group, BlockId block);

signals:
    void blockActivated(kvilt::GroupIndex group, kvilt::BlockId block);

protected:
    void keyPressEvent(QKeyEvent *event) override;

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::ui

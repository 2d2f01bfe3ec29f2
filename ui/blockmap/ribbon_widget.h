// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QWidget>

#include <memory>

namespace kvilt::ui {

// The current chat's block table as a strip, one cell a block, with "1,204 of 8,192 tokens" at its right. When
// there are more blocks than columns, a cell stands for several and shows the worst of them. Hovering links to the
// text and to the map; a click shows the block there. Left and right move between cells.
class RibbonWidget : public QWidget {
    Q_OBJECT
public:
    explicit RibbonWidget(Workbench &workbench, QWidget *parent = nullptr);
    ~RibbonWidget() override;

    // What the prompt will take with the text that is being written; 0: as it is now.
    void setDraft(std::uint32_t tokens, std::uint32_t context);

    QSize sizeHint() const override;
    QSize minimumSizeHint() const override;

signals:
    void activated(int firstToken); // a click or Enter on a cell: where its text begins in the prompt

protected:
    bool event(QEvent *event) override;
    void paintEvent(QPaintEvent *event) override;
    void mouseMoveEvent(QMouseEvent *event) override;
    void mousePressEvent(QMouseEvent *event) override;
    void leaveEvent(QEvent *event) override;
    void keyPressEvent(QKeyEvent *event) override;
    void resizeEvent(QResizeEvent *event) override;

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/widgets/theme.h"

#include <QWidget>

#include <utility>
#include <vector>

namespace kvilt::ui {

// What the card says of a block: a title, its state, and rows of name and value.
struct CardText {
    QString title, state;
    std::vector<std::pair<QString, QString>> rows;
    QString tokens; // the block's text; empty: none or not known yet
    bool operator==(const CardText &) const = default;
};

// The tooltip of a cell: floats over the window, never takes the pointer, stands beside what it explains.
class BlockCard : public QWidget {
    Q_OBJECT
public:
    explicit BlockCard(Theme &theme, QWidget *window);

    void setText(const CardText &text);
    const CardText &text() const { return m_text; }
    // `anchor` and `bounds` in the coordinates of the window given at construction.
    void showBeside(const QRect &anchor, const QRect &bounds);

protected:
    void paintEvent(QPaintEvent *event) override;

private:
    QSize wantedSize() const;

    Theme &m_theme;
    CardText m_text;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/inspector/inspector_text.h"
#include "ui/models/hover_link.h"
#include "ui/widgets/theme.h"

#include <QAbstractButton>
#include <QWidget>

namespace kvilt::ui {

// Two strips of cells, one above the other: what was asked, and what the cache held. Hovering links a cell to text
// and map.
class PromptStrips : public QWidget {
    Q_OBJECT
public:
    PromptStrips(Theme &theme, HoverLink &hover, QWidget *parent = nullptr);

    void setTurn(const api::update::TurnInspected &turn);
    QSize sizeHint() const override { return {432, 34}; }

protected:
    void paintEvent(QPaintEvent *event) override;
    void mouseMoveEvent(QMouseEvent *event) override;
    void leaveEvent(QEvent *event) override;

private:
    QRectF cellRect(std::size_t index, int line) const;
    double pitch() const;
    void paintLine(QPainter &painter, const std::vector<api::RibbonCell> &cells, int line);

    Theme &m_theme;
    HoverLink &m_hover;
    api::update::TurnInspected m_turn;
    std::size_t m_parting = 0; // first cell that differs
};

// One of the two texts, its token highlighted.
class ExcerptLine : public QWidget {
    Q_OBJECT
public:
    ExcerptLine(const QString &name, const InspectorText::Excerpt &excerpt, const QColor &mark, Theme &theme,
                QWidget *parent = nullptr);
    QSize sizeHint() const override { return {432, 34}; }

protected:
    void paintEvent(QPaintEvent *event) override;

private:
    QString m_name;
    InspectorText::Excerpt m_excerpt;
    QColor m_mark;
    Theme &m_theme;
};

// Something to do: what, and what it brings.
class RemedyButton : public QAbstractButton {
    Q_OBJECT
public:
    RemedyButton(const QString &title, const QString &effect, Theme &theme, QWidget *parent = nullptr);
    QSize sizeHint() const override { return {432, m_effect.isEmpty() ? 30 : 44}; }

protected:
    void paintEvent(QPaintEvent *event) override;

private:
    QString m_effect;
    Theme &m_theme;
};

} // namespace kvilt::ui

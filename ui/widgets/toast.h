// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QFrame>
#include <QTimer>

#include <functional>

class QLabel;
class QPushButton;

namespace kvilt::ui {

// A line at the bottom of the window that something has happened, with Undo where it can be undone. Goes by itself
// after 8 s; stays while the pointer or the focus is on it.
class Toast : public QFrame {
    Q_OBJECT
public:
    explicit Toast(QWidget *parent);
    void say(const QString &text, const QString &action = {}, std::function<void()> act = {});
    void place();
    // Stands above this widget instead of at the window's bottom.
    void setAnchor(const QWidget *anchor) { m_anchor = anchor; }

protected:
    bool eventFilter(QObject *object, QEvent *event) override;

private:
    const QWidget *m_anchor = nullptr;
    QLabel *m_text = nullptr;
    QPushButton *m_action = nullptr;
    std::function<void()> m_act;
    QTimer m_timer;
};

} // namespace kvilt::ui

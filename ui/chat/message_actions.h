// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/conversation.h"

#include <QFrame>

#include <vector>

class QHBoxLayout;
class QLabel;
class QToolButton;

namespace kvilt::ui {

class Theme;

// The row of buttons below the message under the pointer (or reached by keyboard): copy, edit, regenerate,
// continue, branches, pin, delete. One row serves the whole chat.
class MessageActions : public QFrame {
    Q_OBJECT
public:
    explicit MessageActions(Theme &theme, QWidget *parent = nullptr);
    void showFor(const api::Message &message, bool busy, bool last);

signals:
    void triggered(const QString &action); // copy, edit, regenerate, continue, back, forward, pin, delete

private:
    QToolButton *add(QHBoxLayout &row, const QString &action, const QString &iconName, const QString &name);
    void recolour();

    Theme &m_theme;
    std::vector<std::pair<QToolButton *, QString>> m_buttons;
    QToolButton *m_edit = nullptr, *m_regenerate = nullptr, *m_continue = nullptr, *m_back = nullptr,
                *m_forward = nullptr, *m_pin = nullptr, *m_delete = nullptr;
    bool m_pinned = false;
    QHBoxLayout *m_row = nullptr;
    QWidget *m_branches = nullptr;
    QLabel *m_branch = nullptr;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <QFrame>

#include <functional>
#include <utility>
#include <vector>

class QHBoxLayout;
class QLabel;
class QToolButton;

namespace kvilt::ui {

class Theme;

// A sentence in the place it concerns, with what can be done about it. Never modal; Close hides it. showNotice()
// replaces the one before, addNotice() stands below what has not been closed yet.
class NoticeBar : public QFrame {
    Q_OBJECT
public:
    using Choice = std::pair<QString, std::function<void()>>;

    explicit NoticeBar(Theme &theme, QWidget *parent = nullptr);
    void showNotice(api::update::Severity severity, const QString &text, std::vector<Choice> choices = {});
    void addNotice(api::update::Severity severity, const QString &text);
    void dismiss();
    QString text() const; // empty while hidden
    api::update::Severity severity() const { return m_severity; }

private:
    void recolour();

    Theme &m_theme;
    api::update::Severity m_severity = api::update::Severity::info;
    QLabel *m_icon = nullptr;
    QLabel *m_text = nullptr;
    QHBoxLayout *m_buttons = nullptr;
    QToolButton *m_close = nullptr;
};

} // namespace kvilt::ui

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
// replaces the one before; addNotice() leaves what has not been closed yet, errors first.
class NoticeBar : public QFrame {
    Q_OBJECT
public:
    using Choice = std::pair<QString, std::function<void()>>;

    explicit NoticeBar(Theme &theme, QWidget *parent = nullptr);
    void showNotice(api::update::Severity severity, const QString &text, std::vector<Choice> choices = {});
    void addNotice(api::update::Severity severity, const QString &text);
    void removeNotice(const QString &text); // what it said is no longer so
    using Line = std::pair<api::update::Severity, QString>;
    const std::vector<Line> &lines() const { return m_lines; } // empty while hidden
    void dismiss();
    QString text() const; // empty while hidden
    api::update::Severity severity() const { return m_severity; }

private:
    void recolour();
    void showLines();

    Theme &m_theme;
    api::update::Severity m_severity = api::update::Severity::info;
    std::vector<Line> m_lines;
    QLabel *m_icon = nullptr;
    QLabel *m_text = nullptr;
    QHBoxLayout *m_buttons = nullptr;
    QToolButton *m_close = nullptr;
};

} // namespace kvilt::ui

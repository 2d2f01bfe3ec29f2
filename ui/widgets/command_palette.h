// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QFrame>

#include <functional>
#include <vector>

class QLineEdit;
class QListWidget;

namespace kvilt::ui {

class Theme;

// Everything the program can do, by typing a part of its name (Ctrl+K).
class CommandPalette : public QFrame {
    Q_OBJECT
public:
    struct Entry {
        QString name;
        QString keys;
        std::function<void()> run;
    };
    CommandPalette(Theme &theme, QWidget *parent);
    void open(std::vector<Entry> entries);

    // Letters of `query` in order within `text`; higher is nearer. -1: no match.
    static int score(const QString &query, const QString &text);

protected:
    bool eventFilter(QObject *object, QEvent *event) override;

private:
    void filter();
    void runCurrent();

    Theme &m_theme;
    std::vector<Entry> m_entries;
    QLineEdit *m_query = nullptr;
    QListWidget *m_list = nullptr;
};

} // namespace kvilt::ui

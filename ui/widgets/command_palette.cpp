// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/command_palette.h"

#include "ui/widgets/theme.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QVBoxLayout>

#include <algorithm>

namespace kvilt::ui {

CommandPalette::CommandPalette(Theme &theme, QWidget *parent) : QFrame(parent, Qt::Popup | Qt::FramelessWindowHint), m_theme(theme)
{
    setProperty("role", "popover");
    setAccessibleName(tr("Commands"));
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(8, 8, 8, 8);
    m_query = new QLineEdit(this);
    m_query->setPlaceholderText(tr("What would you like to do?"));
    m_query->setAccessibleName(tr("Command"));
    m_query->installEventFilter(this);
    m_list = new QListWidget(this);
    m_list->setAccessibleName(tr("Matching commands"));
    m_list->setFocusPolicy(Qt::NoFocus);
    m_list->setStyleSheet(QStringLiteral("QListWidget::item { padding: 0px; border-radius: 6px; }"
                                         "QListWidget::item:selected { background: palette(alternate-base); }"));
    column->addWidget(m_query);
    column->addWidget(m_list);
    connect(m_query, &QLineEdit::textChanged, this, &CommandPalette::filter);
    connect(m_list, &QListWidget::itemClicked, this, &CommandPalette::runCurrent);
}

int CommandPalette::score(const QString &query, const QString &text)
{
    if (query.isEmpty())
        return 0;
    if (const auto at = text.indexOf(query, 0, Qt::CaseInsensitive); at >= 0)
        return 10000 - int(std::min<qsizetype>(at, 999)) - int(std::min<qsizetype>(text.size(), 999));
    qsizetype from = 0;
    int gaps = 0;
    for (const QChar c : query) {
        const auto at = text.indexOf(c, from, Qt::CaseInsensitive);
        if (at < 0)
            return -1;
        gaps += int(at - from);
        from = at + 1;
    }
    return std::max(1, 5000 - gaps * 10);
}

void CommandPalette::open(std::vector<Entry> entries)
{
    m_entries = std::move(entries);
    m_query->clear();
    filter();
    const QWidget *over = parentWidget();
    resize(std::min(560, over->width() - 48), 400);
    move(over->mapToGlobal(QPoint((over->width() - width()) / 2, 72)));
    show();
    m_query->setFocus();
}

void CommandPalette::filter()
{
    const QString query = m_query->text().trimmed();
    std::vector<std::pair<int, std::size_t>> ranked;
    for (std::size_t i = 0; i < m_entries.size(); ++i)
        if (const int s = score(query, m_entries[i].name); s >= 0)
            ranked.emplace_back(s, i);
    std::stable_sort(ranked.begin(), ranked.end(), [](const auto &a, const auto &b) { return a.first > b.first; });
    m_list->clear();
    for (std::size_t i = 0; i < std::min<std::size_t>(ranked.size(), 60); ++i) {
        const Entry &entry = m_entries[ranked[i].second];
        auto *item = new QListWidgetItem(m_list);
        item->setData(Qt::UserRole, int(ranked[i].second));
        item->setData(Qt::AccessibleTextRole, entry.name);
        item->setSizeHint({100, 32});
        auto *row = new QWidget(m_list);
        auto *layout = new QHBoxLayout(row);
        layout->setContentsMargins(10, 0, 10, 0);
        layout->addWidget(new QLabel(entry.name, row), 1);
        auto *keys = new QLabel(entry.keys, row);
        keys->setProperty("tone", "tertiary");
        keys->setFont(m_theme.font(TextSize::secondary));
        layout->addWidget(keys);
        m_list->setItemWidget(item, row);
    }
    m_list->setCurrentRow(0);
}

void CommandPalette::runCurrent()
{
    const QListWidgetItem *item = m_list->currentItem();
    hide();
    if (item)
        m_entries[std::size_t(item->data(Qt::UserRole).toInt())].run();
}

bool CommandPalette::eventFilter(QObject *object, QEvent *event)
{
    if (event->type() == QEvent::KeyPress) {
        const int key = static_cast<QKeyEvent *>(event)->key();
        const int step = key == Qt::Key_Down ? 1 : key == Qt::Key_Up ? -1 : 0;
        if (step != 0) {
            m_list->setCurrentRow(std::clamp(m_list->currentRow() + step, 0, std::max(m_list->count() - 1, 0)));
            return true;
        }
        if (key == Qt::Key_Return || key == Qt::Key_Enter) {
            runCurrent();
            return true;
        }
    }
    return QFrame::eventFilter(object, event);
}

} // namespace kvilt::ui

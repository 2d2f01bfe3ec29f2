// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/key_list.h"

#include "ui/widgets/theme.h"

#include <QGridLayout>
#include <QLabel>

namespace kvilt::ui {

KeyList::KeyList(Theme &theme, const std::vector<std::pair<QString, QString>> &keys, QWidget *parent)
    : QFrame(parent, Qt::Popup | Qt::FramelessWindowHint)
{
    setProperty("role", "popover");
    setAccessibleName(tr("Keys"));
    auto *grid = new QGridLayout(this);
    grid->setContentsMargins(24, 20, 24, 24);
    grid->setHorizontalSpacing(16);
    grid->setVerticalSpacing(8);
    auto *title = new QLabel(tr("Keys"), this);
    title->setFont(theme.font(TextSize::title, QFont::DemiBold));
    grid->addWidget(title, 0, 0, 1, 5);
    grid->setColumnMinimumWidth(2, 24);
    const int rows = int(keys.size() + 1) / 2;
    for (int i = 0; i < int(keys.size()); ++i) {
        const int column = i < rows ? 0 : 3, row = 1 + (i < rows ? i : i - rows);
        auto *key = new QLabel(keys[std::size_t(i)].first, this);
        key->setFont(theme.monoFont());
        key->setProperty("tone", "secondary");
        grid->addWidget(key, row, column);
        grid->addWidget(new QLabel(keys[std::size_t(i)].second, this), row, column + 1);
    }
}

void KeyList::open()
{
    adjustSize();
    const QWidget *over = parentWidget();
    move(over->mapToGlobal(QPoint((over->width() - width()) / 2, (over->height() - height()) / 3)));
    show();
    setFocus();
}

} // namespace kvilt::ui

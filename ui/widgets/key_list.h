// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QFrame>

#include <utility>
#include <vector>

namespace kvilt::ui {

class Theme;

// The keys of the program (?), in two columns.
class KeyList : public QFrame {
    Q_OBJECT
public:
    KeyList(Theme &theme, const std::vector<std::pair<QString, QString>> &keys, QWidget *parent);
    void open();
};

} // namespace kvilt::ui

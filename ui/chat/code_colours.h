// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>
#include <QTextLayout>

namespace kvilt::ui {

struct Palette;

// Colours for one line of code: numbers, strings, comments and the words that most languages share. Line by line, so
// that streamed code never changes colour above its last line.
QVector<QTextLayout::FormatRange> codeColours(const QString &line, const QString &language, const Palette &palette);

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QIcon>
#include <QString>

class QColor;

namespace kvilt::ui {

// An icon of the program's own family (resources/icons/NAME.svg, drawn with currentColor) in the given colour.
// An unknown name gives an empty icon.
QIcon icon(const QString &name, const QColor &colour);
QPixmap iconPixmap(const QString &name, const QColor &colour, int size, qreal ratio);

} // namespace kvilt::ui

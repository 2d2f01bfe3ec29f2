// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>

namespace kvilt::ui {

struct Palette;

// The style sheet of the program's standard controls. Widgets that paint themselves take the palette directly.
// Roles are told apart by the dynamic property "role": primary, quiet, link, chip, field, card.
QString styleSheet(const Palette &palette);

} // namespace kvilt::ui

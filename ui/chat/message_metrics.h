// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QtGlobal>

// Distances within a message, shared by what measures it and what paints it. Pixels.
namespace kvilt::ui::measure {

inline constexpr qreal kBoxPadX = 16;
inline constexpr qreal kBoxPadY = 9;
inline constexpr qreal kFoldHeight = 24;   // the line that stands for a thinking block
inline constexpr qreal kFileHeight = 34;   // the box that stands for an attached file
inline constexpr qreal kFileGap = 8;
inline constexpr qreal kPrefillHeight = 64;
inline constexpr qreal kReceiptGap = 6;
inline constexpr qreal kReceiptHeight = 24;
inline constexpr qreal kStateHeight = 24;
inline constexpr qreal kActionsHeight = 26; // the row of actions stands in the gap below the message
inline constexpr qreal kBranchWidth = 60;   // its ‹ 2/3 ›, which stays when the pointer leaves
inline constexpr qreal kPinWidth = 74;      // the mark of a pinned message, beside the arrows
inline constexpr qreal kGapAfter = 28;

} // namespace kvilt::ui::measure

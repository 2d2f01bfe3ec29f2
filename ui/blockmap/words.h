// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/conversation.h"
#include "ui/blockmap/cell.h"

#include <QString>

// States, orders and colourings in the window's words.
namespace kvilt::ui {

QString stateWord(api::BlockState state);       // "Cached, idle"
QString ribbonWord(api::RibbonState state);     // "evicted, will be computed again"
QString colourByWord(ColourBy by);              // "next to be evicted"
QString arrangeByWord(ArrangeBy by);            // "prefix tree"
QString ordinal(std::uint64_t n);               // 1st, 2nd, 9th, 11th
QString lowerFirst(QString text);

} // namespace kvilt::ui

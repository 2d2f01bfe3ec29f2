// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/pool_view.h"

#include <cstdint>
#include <vector>

// How a block table becomes a strip of columns. No Qt: tested without a window.
namespace kvilt::ui {

inline constexpr int kRibbonCell = 4;
inline constexpr int kRibbonHeight = 12;
inline constexpr int kRibbonPitch = kRibbonCell + 1;

// A column stands for the cells [begin, end); several when there are more cells than columns.
struct RibbonColumn {
    std::uint32_t begin = 0, end = 0;
    // The states of its cells from top to bottom with the pixels each takes; they add up to the height. Every state
    // that occurs shows, what has to be done again first.
    struct Part {
        api::RibbonState state;
        int pixels;
        bool inHost = false; // state disk, but the host's memory has it: it need not be read
    };
    std::vector<Part> parts;
};

struct RibbonLayout {
    std::vector<RibbonColumn> columns; // used cells
    int unused = 0;                    // small grey columns after them
    double blocksPerColumn = 1;
    int width() const { return (int(columns.size()) + unused) * kRibbonPitch - (columns.empty() && !unused ? 0 : 1); }
    // Column at x, -1: none. Unused ones count on after the others.
    int columnAt(int x) const;
};

RibbonLayout layOutRibbon(const api::Ribbon &ribbon, int width);

} // namespace kvilt::ui

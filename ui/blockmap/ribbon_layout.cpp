// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/ribbon_layout.h"

#include <algorithm>
#include <array>

namespace kvilt::ui {

namespace {

using api::RibbonState;

constexpr int kUnusedReserve = 6; // columns left to say that there is room, once cells share columns

// From what costs most to what costs nothing.
constexpr std::array kWorstFirst{RibbonState::evicted, RibbonState::disk,   RibbonState::writing, RibbonState::pinned,
                                 RibbonState::shared,  RibbonState::memory, RibbonState::droppedByWindow,
                                 RibbonState::unused};

std::vector<RibbonColumn::Part> partsOf(const std::vector<api::RibbonCell> &cells, std::uint32_t begin,
                                        std::uint32_t end)
{
    std::array<std::uint32_t, 8> counts{};
    std::uint32_t inHost = 0;
    for (std::uint32_t i = begin; i < end; ++i) {
        const bool host = cells[i].state == RibbonState::disk && cells[i].tier == api::Tier::host;
        ++(host ? inHost : counts[std::size_t(cells[i].state)]);
    }
    std::vector<RibbonColumn::Part> parts;
    int left = kRibbonHeight;
    const auto add = [&](RibbonState state, std::uint32_t n, bool host) {
        if (n == 0)
            return;
        const int pixels = std::max(2, int(std::uint64_t(n) * kRibbonHeight / (end - begin)));
        parts.push_back({state, std::min(pixels, std::max(left, 0)), host});
        left -= parts.back().pixels;
    };
    for (const RibbonState state : kWorstFirst) {
        add(state, counts[std::size_t(state)], false);
        if (state == RibbonState::disk)
            add(state, inHost, true);
    }
    auto largest = std::max_element(parts.begin(), parts.end(),
                                    [](const auto &a, const auto &b) { return a.pixels < b.pixels; });
    if (largest != parts.end())
        largest->pixels += left;
    return parts;
}

} // namespace

int RibbonLayout::columnAt(int x) const
{
    if (x < 0)
        return -1;
    const int column = x / kRibbonPitch;
    return column < int(columns.size()) + unused ? column : -1;
}

RibbonLayout layOutRibbon(const api::Ribbon &ribbon, int width)
{
    RibbonLayout layout;
    std::uint32_t used = std::uint32_t(ribbon.cells.size());
    while (used > 0 && ribbon.cells[used - 1].state == RibbonState::unused)
        --used;
    const int room = std::max(0, (width + 1) / kRibbonPitch);
    const std::uint32_t blockSize = std::max<std::uint32_t>(1, ribbon.blockSize);
    const std::uint32_t limit = (ribbon.contextTokens + blockSize - 1) / blockSize;
    const std::uint32_t free = limit > used ? limit - used : 0;
    const int reserve = std::min<int>(kUnusedReserve, int(std::min<std::uint32_t>(free, kUnusedReserve)));
    int columns = int(std::min<std::uint32_t>(used, std::uint32_t(room)));
    if (used > std::uint32_t(room))
        columns = std::max(1, room - reserve);
    columns = std::min(columns, room);
    layout.unused = int(std::min<std::uint32_t>(free, std::uint32_t(room - columns)));
    if (columns > 0)
        layout.blocksPerColumn = double(used) / columns;
    for (int c = 0; c < columns; ++c) {
        const auto begin = std::uint32_t(std::uint64_t(used) * std::uint32_t(c) / std::uint32_t(columns));
        const auto end = std::uint32_t(std::uint64_t(used) * std::uint32_t(c + 1) / std::uint32_t(columns));
        layout.columns.push_back({begin, end, partsOf(ribbon.cells, begin, end)});
    }
    return layout;
}

} // namespace kvilt::ui

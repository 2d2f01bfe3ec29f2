// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/blockmap/cell.h"
#include "ui/widgets/theme.h"

#include <QImage>

#include <array>
#include <vector>

class QPainter;

namespace kvilt::ui {

// How cells look at one size: a colour for each code, and for sizes with border and texture a small picture for
// each look, drawn once when first wanted. Sizes are device pixels.
class CellSprites {
public:
    CellSprites(const Palette &palette, ColourBy by, int size, double ratio);

    // Premultiplied ARGB of the code's fill.
    QRgb colour(std::uint8_t code) const { return m_colours[code]; }
    // size × size pixels, row by row.
    const QRgb *pixels(std::uint8_t code, api::BlockState state, api::Tier tier);
    int size() const { return m_size; }

private:
    QImage draw(std::uint8_t code, api::BlockState state, api::Tier tier) const;

    const Palette &m_palette;
    int m_size;
    double m_ratio;
    bool m_coloursAreStates;
    std::array<QRgb, 256> m_colours;
    std::vector<QImage> m_sprites; // by key; null until drawn
};

// One cell at any place, for the legend, ribbon and inspector. `edge` > 0 adds the red edge of an eviction.
void paintCell(QPainter &painter, const QRectF &rect, const Palette &palette, api::BlockState state,
               api::Tier tier = api::Tier::device);
void paintTexture(QPainter &painter, const QRectF &rect, api::Tier tier, const QColor &ink);

// The colour table of a ColourBy.
std::array<QColor, 256> colourTable(const Palette &palette, ColourBy by);

} // namespace kvilt::ui

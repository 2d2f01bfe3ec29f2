// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/map_raster.h"

#include <algorithm>
#include <cstring>

namespace kvilt::ui {

void MapRaster::setLook(const Palette &palette, ColourBy by, int size, double ratio)
{
    const Look look{&palette, by, size, ratio};
    if (m_sprites && look == m_look)
        return;
    m_look = look;
    m_sprites = std::make_unique<CellSprites>(palette, by, size, ratio);
    m_background = palette.window.rgba();
    m_fillsOnly = size < 4 * ratio;
}

void MapRaster::paintAll(QImage &image, const Scene &scene)
{
    image.fill(m_background);
    if (scene.geometry.count() == 0)
        return;
    const int last = scene.geometry.lastRow(scene.scroll, image.height());
    for (int row = scene.geometry.firstRow(scene.scroll); row <= last; ++row) {
        if (m_fillsOnly)
            paintFills(image, scene, row);
        else
            paintRow(image, scene, row);
    }
}

void MapRaster::paintRow(QImage &image, const Scene &scene, int row)
{
    const MapGeometry &g = scene.geometry;
    const std::uint32_t begin = std::uint32_t(row) * std::uint32_t(g.columns());
    const std::uint32_t end = std::min<std::uint32_t>(begin + std::uint32_t(g.columns()), g.count());
    const auto codes = scene.model.codes(scene.group);
    for (std::uint32_t position = begin; position < end; ++position) {
        const std::uint32_t block = scene.order.empty() ? position : scene.order[position];
        copySprite(image,
                   m_sprites->pixels(codes[block], scene.model.state(scene.group, block),
                                     scene.model.shownTier(scene.group, block)),
                   g.left(int(position - begin)), g.top(row) - scene.scroll);
    }
}

// One line of pixels is made from the codes, the others of the row are copies of it.
void MapRaster::paintFills(QImage &image, const Scene &scene, int row)
{
    const MapGeometry &g = scene.geometry;
    const int top = std::max(0, g.top(row) - scene.scroll);
    const int bottom = std::min(image.height(), g.top(row) - scene.scroll + g.size());
    if (top >= bottom)
        return;
    const std::uint32_t begin = std::uint32_t(row) * std::uint32_t(g.columns());
    const std::uint32_t end = std::min<std::uint32_t>(begin + std::uint32_t(g.columns()), g.count());
    const auto codes = scene.model.codes(scene.group);
    auto *line = reinterpret_cast<QRgb *>(image.scanLine(top));
    if (g.size() == 1 && scene.order.empty()) { // a pixel a cell, side by side: 500,000 of them in a frame
        for (std::uint32_t position = begin; position < end; ++position)
            line[position - begin] = m_sprites->colour(codes[position]);
        return;
    }
    for (std::uint32_t position = begin; position < end; ++position) {
        const std::uint32_t block = scene.order.empty() ? position : scene.order[position];
        const int x = g.left(int(position - begin));
        std::fill(line + x, line + std::min(x + g.size(), image.width()), m_sprites->colour(codes[block]));
    }
    for (int y = top + 1; y < bottom; ++y)
        std::memcpy(image.scanLine(y), line, std::size_t(image.bytesPerLine()));
}

QRect MapRaster::paintOne(QImage &image, const Scene &scene, std::uint32_t position)
{
    const MapGeometry &g = scene.geometry;
    const int x = g.left(g.columnOf(position));
    const int y = g.top(g.rowOf(position)) - scene.scroll;
    const QRect rect = QRect(x, y, g.size(), g.size()).intersected(image.rect());
    if (rect.isEmpty())
        return {};
    const std::uint32_t block = scene.order.empty() ? position : scene.order[position];
    const std::uint8_t code = scene.model.codes(scene.group)[block];
    if (!m_fillsOnly) {
        copySprite(image,
                   m_sprites->pixels(code, scene.model.state(scene.group, block),
                                     scene.model.shownTier(scene.group, block)),
                   x, y);
        return rect;
    }
    for (int line = rect.top(); line <= rect.bottom(); ++line) {
        auto *pixels = reinterpret_cast<QRgb *>(image.scanLine(line));
        std::fill(pixels + rect.left(), pixels + rect.right() + 1, m_sprites->colour(code));
    }
    return rect;
}

void MapRaster::copySprite(QImage &image, const QRgb *pixels, int x, int y) const
{
    const int size = m_sprites->size();
    const int width = std::min(size, image.width() - x);
    if (width <= 0)
        return;
    for (int line = std::max(0, -y); line < size && y + line < image.height(); ++line)
        std::memcpy(reinterpret_cast<QRgb *>(image.scanLine(y + line)) + x, pixels + std::ptrdiff_t(line) * size,
                    std::size_t(width) * sizeof(QRgb));
}

} // namespace kvilt::ui

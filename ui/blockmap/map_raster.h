// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/blockmap/block_map_model.h"
#include "ui/blockmap/cell_sprites.h"
#include "ui/blockmap/map_geometry.h"

#include <QImage>
#include <QRect>

#include <memory>
#include <span>

namespace kvilt::ui {

// Paints cells of one group into an image of the visible part, by copying pixels: fills below 4 pixels, small
// pictures above. (A fillRect a cell takes 200 times as long.) Coordinates are device pixels of the image.
class MapRaster {
public:
    // What is to be seen: `order` maps positions to blocks, empty: they are the same.
    struct Scene {
        const BlockMapModel &model;
        std::size_t group = 0;
        std::span<const std::uint32_t> order;
        const MapGeometry &geometry;
        int scroll = 0; // device pixels above the image's top
    };

    void setLook(const Palette &palette, ColourBy by, int size, double ratio);
    // Everything visible.
    void paintAll(QImage &image, const Scene &scene);
    // One position; gives the rectangle that changed, empty when it is not visible.
    QRect paintOne(QImage &image, const Scene &scene, std::uint32_t position);

private:
    void paintRow(QImage &image, const Scene &scene, int row);
    void paintFills(QImage &image, const Scene &scene, int row);
    void copySprite(QImage &image, const QRgb *pixels, int x, int y) const;

    struct Look {
        const Palette *palette = nullptr; // palettes are constants
        ColourBy by = ColourBy::state;
        int size = 0;
        double ratio = 0;
        bool operator==(const Look &) const = default;
    };
    Look m_look;
    std::unique_ptr<CellSprites> m_sprites;
    QRgb m_background = 0;
    bool m_fillsOnly = false;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/cell_sprites.h"

#include "ui/blockmap/map_geometry.h"

#include <QPainter>
#include <QPainterPath>

namespace kvilt::ui {

using api::BlockState;
using api::Tier;

namespace {

QColor withAlpha(QColor colour, double alpha)
{
    colour.setAlphaF(float(alpha));
    return colour;
}

// Owners: hues in steps of the golden angle at two brightnesses, so that neighbours differ in both.
QColor ownerColour(int level, bool dark)
{
    const double hue = std::fmod(0.58 + level * 0.381966, 1.0);
    const double value = (level % 2 ? 0.68 : 0.88) + (dark ? 0.06 : 0.0);
    return QColor::fromHsvF(float(hue), level % 3 == 2 ? 0.45f : 0.68f, float(value));
}

void fillStates(std::array<QColor, 256> &table, const Palette &palette)
{
    for (int s = 0; s < api::kBlockStates; ++s) {
        const QColor own = s == 0 ? palette.window : stateColour(BlockState(s));
        table[s] = own;
        for (int step = 0; step < code::kFadeSteps; ++step) {
            const double share = double(step) / code::kFadeSteps;
            table[code::kRestored + s * code::kFadeSteps + step] = mix(QColor::fromRgb(kRestoredColour), own, share);
            // An evicted cell keeps a breath of red within its edge while the ghost lasts.
            table[code::kEvicted + s * code::kFadeSteps + step] =
                mix(QColor::fromRgb(kEvictedEdge), own, 0.8 + 0.2 * share);
        }
    }
}

void fillRamp(std::array<QColor, 256> &table, const Palette &palette, ColourBy by)
{
    const QColor low = palette.dark ? QColor(0x26, 0x3a, 0x52) : QColor(0xd3, 0xe4, 0xf2);
    const QColor high = by == ColourBy::eviction ? QColor(0xd5, 0x5e, 0x00)
                        : palette.dark           ? QColor(0x9f, 0xd8, 0xff)
                                                 : QColor(0x08, 0x3f, 0x7d);
    for (int level = 0; level < code::kLevels; ++level)
        table[code::kFirst + level] = by == ColourBy::owner ? ownerColour(level, palette.dark)
                                                            : mix(low, high, double(level) / (code::kLevels - 1));
}

// What tells the states apart without colour.
void paintShape(QPainter &painter, const QRectF &r, BlockState state)
{
    const double w = r.width();
    painter.setPen(Qt::NoPen);
    switch (state) {
    case BlockState::shared: // a bar
        painter.setBrush(QColor(255, 255, 255, 225));
        painter.drawRect(QRectF(r.center().x() - std::max(0.5, w / 24), r.top() + w * 0.22, std::max(1.0, w / 12),
                                r.height() * 0.56));
        break;
    case BlockState::pinned: { // a corner tick
        const double c = w * 0.42;
        painter.setBrush(QColor(0x1f, 0x23, 0x28));
        painter.drawPolygon(QPolygonF{QPointF(r.right() - c, r.top()), r.topRight(), QPointF(r.right(), r.top() + c)});
        break;
    }
    case BlockState::writing: // partly filled
        painter.setBrush(QColor(0, 0, 0, 62));
        painter.drawRect(QRectF(r.left() + w * 0.5, r.top(), w * 0.5, r.height()));
        break;
    case BlockState::deadBranch: // a slash
        if (w >= kTextFrom) { // in its corner, where it leaves the token text alone
            painter.setPen(QPen(QColor(255, 255, 255, 225), 1.5));
            painter.drawLine(QPointF(r.right() - 11, r.bottom() - 11), QPointF(r.right() - 3, r.bottom() - 3));
            break;
        }
        painter.setPen(QPen(QColor(255, 255, 255, 225), std::max(1.0, w / 10)));
        painter.drawLine(QPointF(r.left() + w * 0.18, r.top() + w * 0.18),
                         QPointF(r.right() - w * 0.18, r.bottom() - w * 0.18));
        break;
    case BlockState::free:
    case BlockState::inUse:
    case BlockState::cached: break;
    }
}

void paintOutline(QPainter &painter, const QRectF &r, const QColor &ink, double width)
{
    painter.setPen(QPen(ink, width));
    painter.setBrush(Qt::NoBrush);
    const double h = width / 2;
    painter.drawRoundedRect(r.adjusted(h, h, -h, -h), 1.5, 1.5);
}

} // namespace

std::array<QColor, 256> colourTable(const Palette &palette, ColourBy by)
{
    std::array<QColor, 256> table;
    table.fill(palette.window);
    if (by == ColourBy::state)
        fillStates(table, palette);
    else
        fillRamp(table, palette, by);
    table[code::kDimmed] = mix(palette.window, palette.freeCell, 0.35);
    return table;
}

void paintTexture(QPainter &painter, const QRectF &r, Tier tier, const QColor &ink)
{
    if (tier == Tier::device)
        return;
    painter.save();
    painter.setClipRect(r, Qt::IntersectClip);
    if (tier == Tier::host) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(ink);
        for (double y = r.top() + 2; y < r.bottom(); y += 4)
            for (double x = r.left() + 2; x < r.right(); x += 4)
                painter.drawEllipse(QPointF(x, y), 0.9, 0.9);
    } else {
        painter.setPen(QPen(ink, 1.2));
        for (double x = r.left() - r.height(); x < r.right(); x += 4)
            painter.drawLine(QPointF(x, r.bottom()), QPointF(x + r.height(), r.top()));
    }
    painter.restore();
}

void paintCell(QPainter &painter, const QRectF &rect, const Palette &palette, BlockState state, Tier tier)
{
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    if (state == BlockState::free) {
        paintOutline(painter, rect, palette.freeCell, 1);
    } else {
        painter.setPen(Qt::NoPen);
        painter.setBrush(stateColour(state));
        painter.drawRoundedRect(rect, 1, 1);
        paintShape(painter, rect, state);
        paintTexture(painter, rect, tier, QColor(255, 255, 255, 150));
    }
    painter.restore();
}

CellSprites::CellSprites(const Palette &palette, ColourBy by, int size, double ratio)
    : m_palette(palette), m_size(size), m_ratio(ratio), m_coloursAreStates(by == ColourBy::state),
      m_sprites(256 * 8 * 4)
{
    const auto table = colourTable(palette, by);
    for (int c = 0; c < 256; ++c)
        m_colours[c] = qPremultiply(table[c].rgba());
    // Without room for an outline a free cell is a pale fill.
    if (size < 4 * ratio)
        m_colours[code::kFree] = qPremultiply(mix(palette.window, palette.freeCell, 0.7).rgba());
}

const QRgb *CellSprites::pixels(std::uint8_t code, BlockState state, Tier tier)
{
    QImage &sprite = m_sprites[(std::size_t(code) << 5) | (std::size_t(state) << 2) | std::size_t(tier)];
    if (sprite.isNull())
        sprite = draw(code, state, tier);
    return reinterpret_cast<const QRgb *>(sprite.constBits());
}

QImage CellSprites::draw(std::uint8_t code, BlockState state, Tier tier) const
{
    QImage image(m_size, m_size, QImage::Format_ARGB32_Premultiplied);
    image.fill(m_palette.window);
    QPainter painter(&image);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.scale(m_ratio, m_ratio);
    const double side = m_size / m_ratio;
    const QRectF rect(0, 0, side, side);
    const bool detailed = side >= kBorderFrom - 0.5;
    const bool evicted = m_coloursAreStates && code >= code::kEvicted;
    const bool hollow = state == BlockState::free || code == code::kDimmed;
    if (!hollow || evicted) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(QColor::fromRgba(qUnpremultiply(m_colours[code])));
        painter.drawRoundedRect(rect, detailed ? 1 : 0, detailed ? 1 : 0);
    }
    if (hollow)
        paintOutline(painter, rect, code == code::kDimmed ? mix(m_palette.window, m_palette.freeCell, 0.55)
                                                          : m_palette.freeCell, 1);
    if (detailed && !hollow) {
        paintShape(painter, rect, state);
        paintTexture(painter, rect, tier, QColor(255, 255, 255, 150));
        if (side >= 20)
            paintOutline(painter, rect, QColor(0, 0, 0, 46), 1);
    }
    if (evicted) {
        const double left = 1.0 - double((code - code::kEvicted) % code::kFadeSteps) / code::kFadeSteps;
        paintOutline(painter, rect, withAlpha(QColor::fromRgb(kEvictedEdge), left), detailed ? 1.5 : 1);
    }
    return image;
}

} // namespace kvilt::ui

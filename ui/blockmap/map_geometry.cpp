// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/map_geometry.h"

#include <algorithm>
#include <cmath>

namespace kvilt::ui {

double gapFor(int cell)
{
    if (cell < 3)
        return 0;
    return cell < kRestCell ? 1 : 1.5;
}

MapGeometry::MapGeometry(std::uint32_t count, int cell, int width, double ratio)
    : m_count(count), m_cell(cell), m_size(std::max(1, int(cell * ratio))), m_pitch((cell + gapFor(cell)) * ratio)
{
    // Without gaps a fraction of a pixel would show as seams or overlap.
    if (gapFor(cell) == 0)
        m_pitch = m_size;
    m_columns = 1;
    if (width > m_size)
        m_columns = 1 + int((width - m_size) / m_pitch);
    while (m_columns > 1 && this->width() > width)
        --m_columns;
}

int MapGeometry::fitting(std::uint32_t count, int width, int height, double ratio)
{
    int best = kCellSizes.front();
    for (const int cell : kCellSizes)
        if (cell <= kRestCell && MapGeometry(count, cell, width, ratio).height() <= height)
            best = cell;
    return best;
}

int MapGeometry::rows() const
{
    return int((std::uint64_t(m_count) + std::uint32_t(m_columns) - 1) / std::uint32_t(m_columns));
}

int MapGeometry::height() const
{
    return m_count ? edge(rows() - 1) + m_size : 0;
}

int MapGeometry::slot(int pixel) const
{
    int index = std::max(0, int(pixel / m_pitch));
    if (edge(index + 1) <= pixel)
        ++index;
    return index > 0 && edge(index) > pixel ? index - 1 : index;
}

std::int64_t MapGeometry::positionAt(int x, int y) const
{
    if (x < 0 || y < 0 || m_count == 0)
        return -1;
    const int column = slot(x);
    const int row = slot(y);
    if (column >= m_columns)
        return -1;
    const std::int64_t position = std::int64_t(row) * m_columns + column;
    return position < std::int64_t(m_count) ? position : -1;
}

int MapGeometry::lastRow(int y, int height) const
{
    return std::min(rows() - 1, slot(std::max(0, y + height - 1)));
}

} // namespace kvilt::ui

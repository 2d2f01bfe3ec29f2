// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <array>
#include <cstdint>

// Where cells lie: positions (0.. in display order) to device pixels and back. No Qt, so that the mapping is tested
// without a window. x and y are device pixels of the whole map, y not yet scrolled.
namespace kvilt::ui {

inline constexpr std::array kCellSizes{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96}; // logical pixels
inline constexpr int kRestCell = 12;
inline constexpr int kBorderFrom = 12; // border and texture
inline constexpr int kTextFrom = 24;   // token text

double gapFor(int cell); // logical pixels between cells

class MapGeometry {
public:
    MapGeometry() = default;
    // `count` cells of `cell` logical pixels in a viewport `width` device pixels wide.
    MapGeometry(std::uint32_t count, int cell, int width, double ratio = 1.0);

    // The largest cell up to the size at rest with which all cells fit into width × height device pixels.
    static int fitting(std::uint32_t count, int width, int height, double ratio = 1.0);

    std::uint32_t count() const { return m_count; }
    int cell() const { return m_cell; }                // logical
    int size() const { return m_size; }                // device
    int columns() const { return m_columns; }
    int rows() const;
    int left(int column) const { return edge(column); }
    int top(int row) const { return edge(row); }
    int height() const;                                // of all rows
    int width() const { return m_columns ? edge(m_columns - 1) + m_size : 0; }
    int columnOf(std::uint32_t position) const { return int(position % std::uint32_t(m_columns)); }
    int rowOf(std::uint32_t position) const { return int(position / std::uint32_t(m_columns)); }
    // -1: beside every cell. The gap belongs to the cell before it, so that the pointer never falls between two.
    std::int64_t positionAt(int x, int y) const;
    // Rows that show in [y, y + height).
    int firstRow(int y) const { return slot(y); }
    int lastRow(int y, int height) const;

private:
    int edge(int index) const { return int(index * m_pitch + 0.5); }
    int slot(int pixel) const;

    std::uint32_t m_count = 0;
    int m_cell = kRestCell;
    int m_size = kRestCell;
    int m_columns = 1;
    double m_pitch = kRestCell + 1.5;
};

} // namespace kvilt::ui

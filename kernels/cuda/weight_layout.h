// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/layout/panel_layout.h"

#include <cstdint>

// Where things lie in a matrix in device form. Rows are packed in tiles of 16, columns in units of 64; a tile is a run of
// records, one a unit, or, for types with super-blocks, a header and four units. Missing rows and columns are zeros. A unit is
// one warp's share of a step: each lane's words are its fragments of A (device/mma.cuh, g = lane / 4, c = lane % 4), so that
// nothing is rearranged on the device.
//   low     register r of block b (32 columns) holds row g + 8 (r % 2), columns 32 b + 16 (r / 2) + 4 c + byte. 8 bits: word
//           [b][lane][r]. 4 bits: word [lane][2 b + r / 2], register r in its low (r even) or high nibbles. 2 bits: word
//           [lane][b], bits 2 r and 2 r + 1 of each byte.
//   high    1 bit: word [lane], bit 4 b + r of each byte. 2 bits: word [lane][b], bits 2 r and 2 r + 1 of each byte.
//   scales  block types: per g f16 [b][row g, row g + 8] scale, then as many minima. Super-blocks: per g u8 or i8
//           [group of the unit][row g, row g + 8] scale, then as many minima
//   header  per g f16 d [row g, row g + 8], then dmin
//   16-bit floats: 4 steps of 16 columns, word [step][lane][r] holds row g + 8 (r % 2), columns 16 step + 8 (r / 2) + 2 c + {0, 1}
//   32-bit floats: [16 rows][64]
namespace kvilt::kernels::cuda {

inline constexpr std::uint32_t kTileWeightRows = 16;
inline constexpr std::uint32_t kUnitColumns = 64;

struct WeightLayout {
    PanelFormat format;
    std::uint32_t lowBytes = 0, highBytes = 0;
    std::uint32_t groups = 0;      // of a unit
    std::uint32_t scaleStride = 0; // bytes a g
    std::uint32_t headerStride = 0;
    std::uint32_t unitBytes = 0;
    std::uint32_t headerBytes = 0;
    std::uint32_t unitsPerRecord = 1;
    std::uint32_t recordBytes = 0;

    constexpr std::uint32_t highOffset() const { return lowBytes; }
    constexpr std::uint32_t scaleOffset() const { return lowBytes + highBytes; }
    // From the start of a tile.
    constexpr std::uint64_t header(std::uint32_t unit) const { return std::uint64_t(unit / unitsPerRecord) * recordBytes; }
    constexpr std::uint64_t unit(std::uint32_t index) const
    {
        return header(index) + headerBytes + std::uint64_t(index % unitsPerRecord) * unitBytes;
    }
};

constexpr WeightLayout weightLayout(WeightType type)
{
    WeightLayout l;
    l.format = panelFormat(type);
    if (l.format.floatBytes) {
        l.unitBytes = l.recordBytes = kTileWeightRows * kUnitColumns * l.format.floatBytes;
        return l;
    }
    l.lowBytes = l.format.lowBits * 128;
    l.highBytes = l.format.highBits * 128;
    l.groups = kUnitColumns / l.format.group;
    const std::uint32_t sides = l.format.mins ? 2 : 1;
    l.scaleStride = l.groups * 2 * sides * (l.format.superBlocks ? 1 : 2);
    l.unitBytes = l.lowBytes + l.highBytes + 8 * l.scaleStride;
    if (l.format.superBlocks) {
        l.headerStride = 4 * sides;
        l.headerBytes = 8 * l.headerStride;
        l.unitsPerRecord = 4;
    }
    l.recordBytes = l.unitsPerRecord * l.unitBytes + l.headerBytes;
    return l;
}

constexpr std::uint32_t weightUnits(std::uint32_t cols) { return (cols + kUnitColumns - 1) / kUnitColumns; }

constexpr std::uint64_t weightTileBytes(const WeightLayout &layout, std::uint32_t cols)
{
    return std::uint64_t((weightUnits(cols) + layout.unitsPerRecord - 1) / layout.unitsPerRecord) * layout.recordBytes;
}

} // namespace kvilt::kernels::cuda

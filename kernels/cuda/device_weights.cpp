// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/api/device_weights.h"

#include "kernels/cuda/weight_layout.h"
#include "kernels/layout/dequantise.h"
#include "kernels/layout/gguf_block.h"
#include "kernels/layout/half.h"

#include <algorithm>
#include <cstring>

namespace kvilt::kernels::cuda {
namespace {

// A weight's place in a unit: lane (g, c), block b of 32 columns, register r, byte.
struct Place {
    std::uint32_t lane, block, reg, byte;
};

Place placeOf(std::uint32_t row, std::uint32_t column)
{
    const std::uint32_t within = column % 32;
    return {row % 8 * 4 + within % 16 / 4, column / 32, within / 16 * 2 + row / 8, within % 4};
}

// A bit field of a byte.
struct Field {
    std::uint32_t byte, shift;
};

Field lowField(const WeightLayout &l, const Place &p)
{
    if (l.format.lowBits == 8)
        return {p.block * 512 + p.lane * 16 + p.reg * 4 + p.byte, 0};
    if (l.format.lowBits == 4)
        return {p.lane * 16 + (2 * p.block + p.reg / 2) * 4 + p.byte, p.reg % 2 * 4};
    return {p.lane * 8 + p.block * 4 + p.byte, 2 * p.reg};
}

Field highField(const WeightLayout &l, const Place &p)
{
    if (l.format.highBits == 1)
        return {l.highOffset() + p.lane * 4 + p.byte, 4 * p.block + p.reg};
    return {l.highOffset() + p.lane * 8 + p.block * 4 + p.byte, 2 * p.reg};
}

void put(std::byte *unit, const Field &field, std::uint32_t value)
{
    unit[field.byte] |= std::byte(value << field.shift);
}

std::uint32_t get(const std::byte *unit, const Field &field, std::uint32_t bits)
{
    return (std::to_integer<std::uint32_t>(unit[field.byte]) >> field.shift) & ((1u << bits) - 1);
}

std::uint32_t scaleByte(const WeightLayout &l, std::uint32_t row, std::uint32_t group, bool minimum)
{
    const std::uint32_t size = l.format.superBlocks ? 1 : 2;
    return l.scaleOffset() + row % 8 * l.scaleStride + ((minimum ? l.groups * 2 : 0) + group * 2 + row / 8) * size;
}

std::uint32_t headerByte(const WeightLayout &l, std::uint32_t row, bool minimum)
{
    return row % 8 * l.headerStride + (minimum ? 4 : 0) + row / 8 * 2;
}

std::uint32_t floatByte(std::uint32_t row, std::uint32_t column)
{
    const std::uint32_t within = column % 16;
    const std::uint32_t lane = row % 8 * 4 + within % 8 / 2, reg = within / 8 * 2 + row / 8;
    return (column / 16 * 32 + lane) * 16 + reg * 4 + within % 2 * 2;
}

void packFloatRow(const WeightLayout &l, const std::byte *row, std::uint32_t cols, std::uint32_t inTile, std::byte *tile)
{
    const std::uint32_t size = l.format.floatBytes;
    for (std::uint32_t k = 0; k < cols; ++k) {
        const std::uint32_t column = k % kUnitColumns;
        const std::size_t at = size == 4 ? (inTile * kUnitColumns + column) * 4 : floatByte(inTile, column);
        std::memcpy(tile + l.unit(k / kUnitColumns) + at, row + std::size_t(k) * size, size);
    }
}

void packScales(const WeightLayout &l, const GgufBlock &block, std::uint32_t first, std::uint32_t elements, std::uint32_t inTile,
                std::byte *tile)
{
    if (l.format.superBlocks) {
        std::byte *header = tile + l.header(first / kUnitColumns);
        std::memcpy(header + headerByte(l, inTile, false), &block.d, 2);
        if (l.format.mins)
            std::memcpy(header + headerByte(l, inTile, true), &block.dmin, 2);
    }
    for (std::uint32_t k = first; k < first + elements; k += l.format.group) {
        std::byte *unit = tile + l.unit(k / kUnitColumns);
        const std::uint32_t group = k % kUnitColumns / l.format.group, inBlock = (k - first) / l.format.group;
        if (l.format.superBlocks) {
            unit[scaleByte(l, inTile, group, false)] = std::byte(block.subScale[inBlock]);
            if (l.format.mins)
                unit[scaleByte(l, inTile, group, true)] = std::byte(block.subMin[inBlock]);
            continue;
        }
        std::memcpy(unit + scaleByte(l, inTile, group, false), &block.d, 2);
        if (l.format.mins)
            std::memcpy(unit + scaleByte(l, inTile, group, true), &block.dmin, 2);
    }
}

void packQuantRow(WeightType type, const WeightLayout &l, const std::byte *row, std::uint32_t cols, std::uint32_t inTile,
                  std::byte *tile)
{
    const WeightTypeInfo &typeInfo = info(type);
    GgufBlock block;
    for (std::uint32_t first = 0; first < cols; first += typeInfo.blockElements, row += typeInfo.blockBytes) {
        readGgufBlock(type, row, block);
        for (std::uint32_t i = 0; i < typeInfo.blockElements; ++i) {
            const std::uint32_t k = first + i, code = block.codes[i];
            std::byte *unit = tile + l.unit(k / kUnitColumns);
            const Place place = placeOf(inTile, k % kUnitColumns);
            put(unit, lowField(l, place), code & ((1u << l.format.lowBits) - 1));
            if (l.format.highBits)
                put(unit, highField(l, place), code >> l.format.lowBits);
        }
        packScales(l, block, first, typeInfo.blockElements, inTile, tile);
    }
}

float halfAt(const std::byte *at, bool bfloat = false)
{
    std::uint16_t bits;
    std::memcpy(&bits, at, 2);
    return bfloat ? bf16ToF32(bits) : f16ToF32(bits);
}

float floatWeight(WeightType type, const std::byte *unit, std::uint32_t row, std::uint32_t column)
{
    if (type != WeightType::F32)
        return halfAt(unit + floatByte(row, column), type == WeightType::BF16);
    float value;
    std::memcpy(&value, unit + (row * kUnitColumns + column) * 4, 4);
    return value;
}

int codeValue(const PanelFormat &format, std::uint32_t code)
{
    if (format.table != CodeTable::plain)
        return tableValues(format.table)[code];
    return format.lowBits == 8 ? int(std::int8_t(code)) : int(code) - int(format.offset);
}

float quantWeight(const WeightLayout &l, const std::byte *header, const std::byte *unit, std::uint32_t row, std::uint32_t column)
{
    const PanelFormat &f = l.format;
    const Place place = placeOf(row, column);
    std::uint32_t code = get(unit, lowField(l, place), f.lowBits);
    if (f.highBits)
        code |= get(unit, highField(l, place), f.highBits) << f.lowBits;
    const int value = codeValue(f, code);
    const std::uint32_t group = column / f.group;
    if (!f.superBlocks) {
        const float product = halfAt(unit + scaleByte(l, row, group, false), f.powerScales) * float(value);
        return f.mins ? product + halfAt(unit + scaleByte(l, row, group, true)) : product;
    }
    const auto sub = std::to_integer<std::uint8_t>(unit[scaleByte(l, row, group, false)]);
    const float scale = halfAt(header + headerByte(l, row, false)) * (f.mins ? float(sub) : float(std::int8_t(sub))) * f.unit;
    const float product = scale * float(value);
    if (!f.mins)
        return product;
    const auto subMin = std::to_integer<std::uint8_t>(unit[scaleByte(l, row, group, true)]);
    return product + -(halfAt(header + headerByte(l, row, true)) * float(subMin));
}

} // namespace

std::uint64_t deviceWeightBytes(WeightType type, std::uint32_t rows, std::uint32_t cols)
{
    const std::uint64_t tiles = (std::uint64_t(rows) + kTileWeightRows - 1) / kTileWeightRows;
    return (tiles * weightTileBytes(weightLayout(type), cols) + 255) / 256 * 256;
}

std::uint32_t deviceWeightRun(WeightType, std::uint32_t)
{
    return kTileWeightRows;
}

std::uint64_t deviceWeightOffset(WeightType type, std::uint32_t, std::uint32_t cols, std::uint32_t run)
{
    return run * weightTileBytes(weightLayout(type), cols);
}

void packDeviceRun(const WeightView &from, std::uint32_t run, std::byte *to) noexcept
{
    const WeightLayout l = weightLayout(from.type);
    const std::uint64_t bytes = weightTileBytes(l, from.cols);
    std::memset(to, 0, bytes);
    const std::uint32_t begin = run * kTileWeightRows, end = std::min(from.rows, begin + kTileWeightRows);
    for (std::uint32_t row = begin; row < end; ++row) {
        const std::byte *data = from.data + row * rowBytes(from.type, from.cols);
        if (l.format.floatBytes)
            packFloatRow(l, data, from.cols, row - begin, to);
        else
            packQuantRow(from.type, l, data, from.cols, row - begin, to);
    }
}

void dequantiseDeviceRow(WeightType type, std::uint32_t, std::uint32_t cols, const std::byte *packed, std::uint32_t row,
                         float *out) noexcept
{
    const WeightLayout l = weightLayout(type);
    const std::byte *tile = packed + row / kTileWeightRows * weightTileBytes(l, cols);
    const std::uint32_t inTile = row % kTileWeightRows;
    for (std::uint32_t k = 0; k < cols; ++k) {
        const std::byte *unit = tile + l.unit(k / kUnitColumns);
        out[k] = l.format.floatBytes ? floatWeight(type, unit, inTile, k % kUnitColumns)
                                     : quantWeight(l, tile + l.header(k / kUnitColumns), unit, inTile, k % kUnitColumns);
    }
}

} // namespace kvilt::kernels::cuda

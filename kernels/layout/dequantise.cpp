// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/dequantise.h"

#include "kernels/layout/gguf_block.h"
#include "kernels/layout/half.h"
#include "kernels/layout/panel_layout.h"

#include <cstring>

namespace kvilt::kernels {
namespace {

float floatElement(WeightType type, const std::byte *at)
{
    std::uint16_t half;
    float value;
    switch (type) {
    case WeightType::F32: std::memcpy(&value, at, 4); return value;
    case WeightType::F16: std::memcpy(&half, at, 2); return f16ToF32(half);
    default: std::memcpy(&half, at, 2); return bf16ToF32(half);
    }
}

int codeValue(const PanelFormat &format, std::uint8_t code)
{
    if (format.table != CodeTable::plain)
        return tableValues(format.table)[code];
    return format.lowBits == 8 ? std::int8_t(code) : int(code) - int(format.offset);
}

// The floats of one block in the plain form that both layouts are read into.
void blockToFloats(const PanelFormat &format, const GgufBlock &block, std::uint32_t elements, float *out)
{
    const float d = format.powerScales ? bf16ToF32(block.d) : f16ToF32(block.d);
    const float dmin = f16ToF32(block.dmin);
    for (std::uint32_t first = 0; first < elements; first += format.group) {
        const std::uint32_t group = first / format.group;
        float scale = d;
        float minimum = dmin;
        if (format.superBlocks) { // only types without minima have signed sub-scales
            scale = d * (format.mins ? float(block.subScale[group]) : float(std::int8_t(block.subScale[group]))) * format.unit;
            minimum = format.mins ? -(dmin * float(block.subMin[group])) : 0.0f;
        }
        for (std::uint32_t k = first; k < first + format.group; ++k) {
            const float value = scale * float(codeValue(format, block.codes[k]));
            out[k] = format.mins ? value + minimum : value;
        }
    }
}

std::uint16_t halfAt(const std::byte *at)
{
    std::uint16_t value;
    std::memcpy(&value, at, 2);
    return value;
}

struct PackedRowReader {
    PanelFormat format;
    PanelLayout layout;
    const std::byte *panel;
    std::uint32_t row; // within the panel

    std::uint8_t code(std::uint32_t k) const
    {
        const std::size_t lane = 4 * row + k % 4;
        const auto at = [&](std::size_t offset) { return unsigned(panel[offset + lane]); };
        if (format.lowBits == 8)
            return std::uint8_t(at(layout.low + k / 4 * 64));
        unsigned value = (at(layout.low + k / 8 * 64) >> (k % 8 / 4 * 4)) & 15u;
        if (format.highBits == 1)
            value |= ((at(layout.high + k / 32 * 64) >> (k % 32 / 4)) & 1u) << 4;
        if (format.highBits == 2)
            value |= ((at(layout.high + k / 16 * 64) >> (k % 16 / 4 * 2)) & 3u) << 4;
        return std::uint8_t(value);
    }

    void scales(std::size_t b, GgufBlock &block) const
    {
        if (!format.superBlocks) {
            block.d = halfAt(panel + layout.scales + 32 * b + 2 * row);
            block.dmin = format.mins ? halfAt(panel + layout.mins + 32 * b + 2 * row) : std::uint16_t(0);
            return;
        }
        const std::byte *at = panel + layout.scales + b * superScaleBytes(format);
        const std::uint32_t groups = 256 / format.group;
        block.d = halfAt(at + 2 * row);
        block.dmin = format.mins ? halfAt(at + 32 + 2 * row) : std::uint16_t(0);
        const std::byte *sub = at + (format.mins ? 64 : 32);
        for (std::uint32_t group = 0; group < groups; ++group) {
            block.subScale[group] = std::uint8_t(sub[16 * group + row]);
            block.subMin[group] = format.mins ? std::uint8_t(sub[16 * (groups + group) + row]) : std::uint8_t(0);
        }
    }
};

} // namespace

void dequantiseGgufRow(WeightType type, const std::byte *row, std::uint32_t cols, float *out) noexcept
{
    const PanelFormat format = panelFormat(type);
    const WeightTypeInfo &typeInfo = info(type);
    if (format.floatBytes) {
        for (std::uint32_t k = 0; k < cols; ++k)
            out[k] = floatElement(type, row + std::size_t(k) * format.floatBytes);
        return;
    }
    GgufBlock block;
    for (std::uint32_t k = 0; k < cols; k += typeInfo.blockElements) {
        readGgufBlock(type, row + k / typeInfo.blockElements * std::size_t(typeInfo.blockBytes), block);
        blockToFloats(format, block, typeInfo.blockElements, out + k);
    }
}

void dequantisePackedRow(const PackedMatrix &matrix, std::uint32_t row, float *out) noexcept
{
    const PanelFormat format = panelFormat(matrix.type);
    const std::byte *panel = matrix.data + packedPanelBytes(matrix.type, matrix.cols) * (row / kPanelRows);
    if (format.floatBytes) {
        for (std::uint32_t k = 0; k < matrix.cols; ++k)
            out[k] = floatElement(matrix.type, panel + (std::size_t(k) * 16 + row % kPanelRows) * format.floatBytes);
        return;
    }
    const PackedRowReader reader{format, PanelLayout(format, matrix.cols), panel, row % kPanelRows};
    const std::uint32_t elements = format.superBlocks ? 256 : 32;
    GgufBlock block;
    for (std::uint32_t k = 0; k < matrix.cols; k += elements) {
        for (std::uint32_t i = 0; i < elements; ++i)
            block.codes[i] = reader.code(k + i);
        reader.scales(k / elements, block);
        blockToFloats(format, block, elements, out + k);
    }
}

} // namespace kvilt::kernels

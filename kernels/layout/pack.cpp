// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/packed_matrix.h"
#include "kernels/layout/gguf_block.h"
#include "kernels/layout/panel_layout.h"

#include <algorithm>
#include <cstring>

namespace kvilt::kernels {
namespace {

template <typename T>
void packFloats(const WeightView &from, std::uint32_t firstRow, std::uint32_t rows, std::byte *panel)
{
    auto *out = reinterpret_cast<T *>(panel);
    for (std::uint32_t row = 0; row < rows; ++row) {
        const std::byte *in = from.data + std::size_t(firstRow + row) * from.cols * sizeof(T);
        for (std::uint32_t k = 0; k < from.cols; ++k)
            std::memcpy(out + std::size_t(k) * 16 + row, in + std::size_t(k) * sizeof(T), sizeof(T));
    }
}

std::uint32_t quadAt(const std::uint8_t *codes)
{
    std::uint32_t quad;
    std::memcpy(&quad, codes, 4);
    return quad;
}

void putQuad(std::uint8_t *at, std::uint32_t quad)
{
    std::memcpy(at, &quad, 4);
}

// Places 32 codes of one row, four at a time as the bytes of a word.
void packCodes32(const PanelFormat &format, const std::uint8_t *codes, std::uint32_t row, std::uint8_t *low,
                 std::uint8_t *high)
{
    constexpr std::uint32_t kNibbles = 0x0f0f0f0f;
    low += 4 * row;
    high += 4 * row;
    if (format.lowBits == 8) {
        for (unsigned quad = 0; quad < 8; ++quad)
            putQuad(low + 64 * quad, quadAt(codes + 4 * quad));
        return;
    }
    for (unsigned pair = 0; pair < 4; ++pair)
        putQuad(low + 64 * pair, (quadAt(codes + 8 * pair) & kNibbles) | (quadAt(codes + 8 * pair + 4) & kNibbles) << 4);
    for (unsigned plane = 0; plane < format.highBits; ++plane) { // a plane holds the high bits of 8 or of 4 quads
        const unsigned quads = 8 / format.highBits;
        std::uint32_t bits = 0;
        for (unsigned quad = 0; quad < quads; ++quad)
            bits |= ((quadAt(codes + 4 * (plane * quads + quad)) >> 4) & kNibbles) << (quad * format.highBits);
        putQuad(high + 64 * plane, bits);
    }
}

void putHalf(std::byte *at, std::uint32_t row, std::uint16_t value)
{
    std::memcpy(at + 2 * row, &value, 2);
}

void packSuperScales(const PanelFormat &format, const GgufBlock &block, std::uint32_t row, std::byte *at)
{
    const std::uint32_t groups = 256 / format.group;
    putHalf(at, row, block.d);
    if (format.mins)
        putHalf(at + 32, row, block.dmin);
    std::byte *scales = at + (format.mins ? 64 : 32);
    for (std::uint32_t group = 0; group < groups; ++group) {
        scales[16 * group + row] = std::byte(block.subScale[group]);
        if (format.mins)
            scales[16 * (groups + group) + row] = std::byte(block.subMin[group]);
    }
}

void packQuantRow(const WeightView &from, const std::byte *in, std::uint32_t row, std::byte *panel)
{
    const PanelFormat format = panelFormat(from.type);
    const PanelLayout layout(format, from.cols);
    const WeightTypeInfo &typeInfo = info(from.type);
    auto *low = reinterpret_cast<std::uint8_t *>(panel + layout.low);
    auto *high = reinterpret_cast<std::uint8_t *>(panel + layout.high);
    GgufBlock block;
    for (std::uint32_t b = 0; b < from.cols / typeInfo.blockElements; ++b) {
        readGgufBlock(from.type, in + std::size_t(b) * typeInfo.blockBytes, block);
        for (std::uint32_t k = 0; k < typeInfo.blockElements; k += 32) {
            packCodes32(format, block.codes + k, row, low, high);
            low += 64 * format.lowBits;
            high += 64 * format.highBits;
        }
        if (format.superBlocks) {
            packSuperScales(format, block, row, panel + layout.scales + b * superScaleBytes(format));
        } else {
            putHalf(panel + layout.scales + 32 * std::size_t(b), row, block.d);
            if (format.mins)
                putHalf(panel + layout.mins + 32 * std::size_t(b), row, block.dmin);
        }
    }
}

// Types of one scale a block of 32 codes, `codesAt` bytes into the block: straight from the file, block by block over
// all rows, so that each line of the panel is written once. By way of GgufBlock, row by row, it took four times as
// many instructions, and packing was most of what a model's loading computes.
template <bool kEightBits>
void packBlocks32(const WeightView &from, std::uint32_t firstRow, std::uint32_t rows, std::uint32_t codesAt, std::byte *panel)
{
    constexpr std::uint32_t kNibbles = 0x0f0f0f0f;
    const PanelLayout layout(panelFormat(from.type), from.cols);
    const std::size_t rowLength = rowBytes(from.type, from.cols), blockLength = info(from.type).blockBytes;
    const auto *in = reinterpret_cast<const std::uint8_t *>(from.data) + firstRow * rowLength;
    auto *low = reinterpret_cast<std::uint8_t *>(panel + layout.low);
    for (std::uint32_t b = 0; b < from.cols / 32; ++b, in += blockLength, low += kEightBits ? 512 : 256) {
        for (std::uint32_t row = 0; row < rows; ++row) {
            const std::uint8_t *block = in + row * rowLength;
            const std::uint8_t *codes = block + codesAt;
            std::uint8_t *out = low + 4 * row;
            if constexpr (kEightBits) {
                for (unsigned quad = 0; quad < 8; ++quad)
                    putQuad(out + 64 * quad, quadAt(codes + 4 * quad));
            } else { // a byte of the file holds columns c and c + 16, one of the panel c and c + 4
                for (unsigned pair = 0; pair < 2; ++pair) {
                    const std::uint32_t first = quadAt(codes + 8 * pair), second = quadAt(codes + 8 * pair + 4);
                    putQuad(out + 64 * pair, (first & kNibbles) | (second & kNibbles) << 4);
                    putQuad(out + 64 * (pair + 2), ((first >> 4) & kNibbles) | (second & ~kNibbles));
                }
            }
            std::memcpy(panel + layout.scales + 32 * std::size_t(b) + 2 * row, block, 2);
            if (codesAt == 4)
                std::memcpy(panel + layout.mins + 32 * std::size_t(b) + 2 * row, block + 2, 2);
        }
    }
}

void packPanel(const WeightView &from, std::uint32_t panelIndex, std::byte *panel)
{
    const std::uint32_t firstRow = panelIndex * kPanelRows;
    const std::uint32_t rows = std::min(kPanelRows, from.rows - firstRow);
    if (rows < kPanelRows)
        std::memset(panel, 0, packedPanelBytes(from.type, from.cols));
    switch (panelFormat(from.type).floatBytes) {
    case 4: return packFloats<std::uint32_t>(from, firstRow, rows, panel);
    case 2: return packFloats<std::uint16_t>(from, firstRow, rows, panel);
    default: break;
    }
    switch (from.type) {
    case WeightType::Q4_0:
    case WeightType::IQ4_NL: return packBlocks32<false>(from, firstRow, rows, 2, panel);
    case WeightType::Q4_1: return packBlocks32<false>(from, firstRow, rows, 4, panel);
    case WeightType::Q8_0: return packBlocks32<true>(from, firstRow, rows, 2, panel);
    default: break;
    }
    const std::size_t bytes = rowBytes(from.type, from.cols);
    for (std::uint32_t row = 0; row < rows; ++row)
        packQuantRow(from, from.data + std::size_t(firstRow + row) * bytes, row, panel);
}

} // namespace

std::size_t packedPanelBytes(WeightType type, std::uint32_t cols)
{
    return PanelLayout(panelFormat(type), cols).total;
}

std::size_t packedBytes(WeightType type, std::uint32_t rows, std::uint32_t cols)
{
    return packedPanelBytes(type, cols) * ((std::size_t(rows) + kPanelRows - 1) / kPanelRows);
}

void packPanels(const WeightView &from, std::uint32_t panelBegin, std::uint32_t panelEnd, std::byte *packed) noexcept
{
    const std::size_t bytes = packedPanelBytes(from.type, from.cols);
    for (std::uint32_t panel = panelBegin; panel < panelEnd; ++panel)
        packPanel(from, panel, packed + panel * bytes);
}

ActivationFormat activationFormat(WeightType type)
{
    return panelFormat(type).floatBytes ? ActivationFormat::f32 : ActivationFormat::int8;
}

std::size_t activationRowBytes(ActivationFormat format, std::uint32_t cols)
{
    if (format == ActivationFormat::int8)
        return ActivationLayout(cols).total;
    // Rows a multiple of 4 KiB apart would share a few sets of the first-level cache, and a tile reads 1 KiB of each of several rows:
    // at least so much lies between them in a 4 KiB page. Wider rows are never shorter than narrower ones.
    const std::size_t bytes = roundUp64(std::size_t(cols) * 4);
    return bytes < 4096 ? bytes : std::max(bytes, bytes / 4096 * 4096 + 1088);
}

// Quantised: a decoded chunk of a panel, and the unfinished sums of a pass. Float: unfinished sums and widened columns (see
// generic/matmul.inl).
std::size_t matmulScratchBytes(WeightType type, std::uint32_t cols)
{
    const PanelFormat format = panelFormat(type);
    if (format.floatBytes)
        return std::size_t(kFloatPass) * kMostFloatPanels * 64 + kFloatWidened;
    return decodedBytes(format, quantChunk(cols)) + std::size_t(kQuantPass) * 64;
}

} // namespace kvilt::kernels

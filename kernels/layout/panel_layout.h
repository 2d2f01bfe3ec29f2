// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/packed_matrix.h"

#include <cstddef>
#include <cstdint>

// Where things lie in a packed panel of 16 rows, and in an activation row. Writers (pack.cpp) and readers (the
// decoders in generic/) share these definitions and nothing else.
//
// Quantised panels are regions one after the other, each a multiple of 64 bytes:
//   low     the codes' low bits. 4 bits: per 8 columns 64 bytes, byte 4 * row + j holds column j in the low nibble and
//           column 4 + j in the high one. 8 bits: per 4 columns 64 bytes, byte 4 * row + j is column j.
//   high    the bits above the low four. 1 bit: per 32 columns 64 bytes, byte 4 * row + j holds column 4 * i + j in
//           bit i. 2 bits: per 16 columns 64 bytes, column 4 * i + j in bits 2i and 2i + 1.
//   scales  per block of 32: f16 (MXFP4: bf16) [16 rows] scale, or per super-block of 256: see below
//   mins    per block of 32: f16 [16 rows]
// Super-blocks keep in `scales`: f16 d[16], f16 dmin[16] (where the type has it), u8 or i8 scale[8 or 16][16 rows],
// u8 min[8][16 rows] (where the type has it).
// Float panels are [column][16 rows].
namespace kvilt::kernels {

// What a nibble stands for.
enum class CodeTable : std::uint8_t {
    plain,  // itself, less the offset
    iq4,    // one of sixteen unevenly spaced values (IQ4_NL, IQ4_XS)
    fp4,    // twice an e2m1 float (MXFP4)
    // Codebook types: bits 0..2 say which of the type's magnitudes, bit 3 the sign.
    iq2,    // IQ2_XXS, IQ2_XS, IQ2_S
    iq3,    // IQ3_XXS
    odd,    // IQ3_S
    iq1,    // IQ1_S, IQ1_M: eighths; bits 0..2 are -1, 0, 1 and bit 3 says which way all eight are shifted
};

inline constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr std::int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

inline constexpr std::int8_t kIq2Values[16] = {8, 25, 43, 0, 0, 0, 0, 0, -8, -25, -43, 0, 0, 0, 0, 0};
inline constexpr std::int8_t kIq3Values[16] = {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62};
inline constexpr std::int8_t kOddValues[16] = {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15};
inline constexpr std::int8_t kIq1Values[16] = {-7, 1, 9, 0, 0, 0, 0, 0, -9, -1, 7, 0, 0, 0, 0, 0};

constexpr const std::int8_t *tableValues(CodeTable table)
{
    switch (table) {
    case CodeTable::iq4: return kIq4Values;
    case CodeTable::fp4: return kFp4Values;
    case CodeTable::iq2: return kIq2Values;
    case CodeTable::iq3: return kIq3Values;
    case CodeTable::odd: return kOddValues;
    default: return kIq1Values;
    }
}

struct PanelFormat {
    std::uint32_t lowBits = 0;    // 4 or 8; 0: float
    std::uint32_t highBits = 0;   // 0, 1, 2
    std::uint32_t offset = 0;     // a code's value is code - offset (8-bit codes are signed, offset 0)
    std::uint32_t group = 32;     // columns that share a scale
    bool mins = false;
    bool superBlocks = false;
    std::uint32_t floatBytes = 0; // of an element of a float panel
    CodeTable table = CodeTable::plain;
    bool powerScales = false;     // scales are powers of two and kept as bf16, whose exponent has their range
    float unit = 1;               // of scales, a power of two

    constexpr bool codebook() const { return table >= CodeTable::iq2; }
};

// The codebook types: one layout, and one kernel that is told the table and the unit.
constexpr PanelFormat codebookFormat(CodeTable table, float unit)
{
    return {.lowBits = 4, .group = 16, .superBlocks = true, .table = table, .unit = unit};
}

constexpr PanelFormat panelFormat(WeightType type)
{
    switch (type) {
    case WeightType::F32: return {.floatBytes = 4};
    case WeightType::F16:
    case WeightType::BF16: return {.floatBytes = 2};
    case WeightType::Q4_0: return {.lowBits = 4, .offset = 8};
    case WeightType::Q4_1: return {.lowBits = 4, .mins = true};
    case WeightType::Q5_0: return {.lowBits = 4, .highBits = 1, .offset = 16};
    case WeightType::Q5_1: return {.lowBits = 4, .highBits = 1, .mins = true};
    case WeightType::Q8_0: return {.lowBits = 8};
    case WeightType::Q4_K: return {.lowBits = 4, .mins = true, .superBlocks = true};
    case WeightType::Q5_K: return {.lowBits = 4, .highBits = 1, .mins = true, .superBlocks = true};
    case WeightType::Q6_K: return {.lowBits = 4, .highBits = 2, .offset = 32, .group = 16, .superBlocks = true};
    case WeightType::IQ4_NL: return {.lowBits = 4, .table = CodeTable::iq4};
    case WeightType::IQ4_XS: return {.lowBits = 4, .superBlocks = true, .table = CodeTable::iq4};
    case WeightType::MXFP4: return {.lowBits = 4, .table = CodeTable::fp4, .powerScales = true};
    case WeightType::Q2_K: return {.lowBits = 4, .group = 16, .mins = true, .superBlocks = true};
    case WeightType::Q3_K: return {.lowBits = 4, .offset = 4, .group = 16, .superBlocks = true};
    case WeightType::TQ1_0:
    case WeightType::TQ2_0: return {.lowBits = 4, .offset = 1, .superBlocks = true};
    case WeightType::IQ2_XXS:
    case WeightType::IQ2_XS:
    case WeightType::IQ2_S: return codebookFormat(CodeTable::iq2, 0.125f);
    case WeightType::IQ3_XXS: return codebookFormat(CodeTable::iq3, 0.25f);
    case WeightType::IQ3_S: return codebookFormat(CodeTable::odd, 1.0f);
    case WeightType::IQ1_S:
    case WeightType::IQ1_M: return codebookFormat(CodeTable::iq1, 0.125f);
    default: return {};
    }
}

// Types of one layout share one kernel; the type that it is compiled for.
constexpr WeightType kernelType(WeightType type)
{
    if (panelFormat(type).codebook())
        return WeightType::IQ2_XS;
    return type == WeightType::TQ1_0 ? WeightType::TQ2_0 : type;
}

constexpr std::size_t roundUp64(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// Bytes of the scales of one super-block of 256 columns.
constexpr std::size_t superScaleBytes(const PanelFormat &format)
{
    const std::size_t scales = 256 / format.group * 16;
    return format.mins ? 64 + 2 * scales : 32 + scales;
}

// Offsets of a panel's regions.
struct PanelLayout {
    std::size_t low = 0, high = 0, scales = 0, mins = 0, total = 0;

    constexpr PanelLayout(const PanelFormat &format, std::size_t cols)
    {
        if (format.lowBits == 0) {
            total = roundUp64(cols * 16 * format.floatBytes);
            return;
        }
        high = low + cols * 16 * format.lowBits / 8;
        scales = high + cols * 16 * format.highBits / 8;
        const std::size_t scaleBytes = format.superBlocks ? cols / 256 * superScaleBytes(format) : cols / 32 * 32;
        mins = scales + roundUp64(scaleBytes);
        total = mins + (format.mins && !format.superBlocks ? roundUp64(cols / 32 * 32) : 0);
    }
};

// Float weights times many tokens: tokens of one pass over the panels, and bytes of columns that are widened to floats at a time
// (see generic/matmul.inl).
inline constexpr std::uint32_t kFloatPass = 96;
inline constexpr std::size_t kFloatWidened = 32768;
inline constexpr std::uint32_t kMostFloatPanels = 4; // that any instruction set takes together

// Quantised weights times many tokens: most tokens of one pass, and columns of a panel that are taken at a time: of 16 KiB of codes,
// which is half a first-level cache (2,816 at once: 512 rows of Q8_0 and Q6_K 4 to 5 % slower on Zen 3, Q4_0 as fast). A multiple of 256
// where there are several chunks; the last is what is left.
inline constexpr std::uint32_t kQuantPass = 256;
constexpr std::uint32_t quantChunk(std::uint32_t cols)
{
    constexpr std::uint32_t kMost = 1024;
    const std::uint32_t chunks = (cols + kMost - 1) / kMost;
    return chunks <= 1 ? cols : ((cols + chunks - 1) / chunks + 255) / 256 * 256;
}
// Bytes of `cols` decoded columns: a byte a code, a float scale and minimum a group.
constexpr std::size_t decodedBytes(const PanelFormat &format, std::size_t cols)
{
    return cols * 16 + cols / format.group * 64 * (format.mins ? 2 : 1);
}

// An int8 activation row of `cols` columns (a multiple of 32): x = scale[k / 32] * quants[k].
struct ActivationLayout {
    std::size_t quants = 0;     // int8 [cols]
    std::size_t scales = 0;     // f32 [cols / 32]
    std::size_t scaledSums = 0; // f32 [cols / 32]: scale * sum of the block's quants, what a minimum multiplies
    std::size_t sums32 = 0;     // i32 [cols / 32]
    std::size_t sums16 = 0;     // i32 [cols / 16]
    std::size_t total = 0;

    explicit constexpr ActivationLayout(std::size_t cols)
    {
        const std::size_t blocks = cols / 32;
        scales = roundUp64(cols);
        scaledSums = scales + blocks * 4;
        sums32 = scaledSums + blocks * 4;
        sums16 = sums32 + blocks * 4;
        total = roundUp64(sums16 + blocks * 8);
    }

    // Where things lie from `column` on, a multiple of 32.
    constexpr ActivationLayout from(std::size_t column) const
    {
        ActivationLayout rest = *this;
        rest.quants += column;
        rest.scales += column / 32 * 4;
        rest.scaledSums += column / 32 * 4;
        rest.sums32 += column / 32 * 4;
        rest.sums16 += column / 32 * 8;
        return rest;
    }
};

} // namespace kvilt::kernels

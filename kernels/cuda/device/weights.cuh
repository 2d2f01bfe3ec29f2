// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/vocabulary.cuh"
#include "kernels/cuda/weight_layout.h"

// Reads units of weight tiles (weight_layout.h) as fragments of A and scales.
namespace kvilt::kernels::cuda::device {

KV_DEVICE std::uint32_t wordAt(const std::byte *p) { return *reinterpret_cast<const std::uint32_t *>(p); }
KV_DEVICE Words2 words2At(const std::byte *p) { return *reinterpret_cast<const Words2 *>(p); }
KV_DEVICE Words4 words4At(const std::byte *p) { return *reinterpret_cast<const Words4 *>(p); }
KV_DEVICE std::uint32_t byteOf(std::uint32_t word, std::uint32_t i) { return word >> (8 * i) & 255u; }
KV_DEVICE float lowHalf(std::uint32_t word) { return halfToFloat(std::uint16_t(word)); }
KV_DEVICE float highHalf(std::uint32_t word) { return halfToFloat(std::uint16_t(word >> 16)); }

// From the start of a tile, as WeightLayout::header() and unit() have it.
template <WeightType kType>
KV_DEVICE std::uint64_t headerOffset(std::uint32_t unit)
{
    constexpr WeightLayout kLayout = weightLayout(kType);
    return std::uint64_t(unit / kLayout.unitsPerRecord) * kLayout.recordBytes;
}
template <WeightType kType>
KV_DEVICE std::uint64_t unitOffset(std::uint32_t unit)
{
    constexpr WeightLayout kLayout = weightLayout(kType);
    return headerOffset<kType>(unit) + kLayout.headerBytes + unit % kLayout.unitsPerRecord * kLayout.unitBytes;
}

// Each byte less `offset`, as a signed number; bytes are below 128.
KV_DEVICE std::uint32_t lessOffset(std::uint32_t codes, std::uint32_t offset)
{
    return ((codes | 0x80808080u) - offset * 0x01010101u) ^ 0x80808080u;
}

// Each byte (0..15) looked up among 16 signed bytes.
KV_DEVICE std::uint32_t lookUp(std::uint32_t codes, const std::uint32_t (&table)[4])
{
    const std::uint32_t low = codes & 0x07070707u;
    const std::uint32_t pairs = low | low >> 4;
    const std::uint32_t selector = (pairs & 0xffu) | (pairs >> 8 & 0xff00u);
    const std::uint32_t upper = permuteBytes((codes & 0x08080808u) << 4, 0u, 0xba98u);
    return (permuteBytes(table[2], table[3], selector) & upper) | (permuteBytes(table[0], table[1], selector) & ~upper);
}

// Four of a table's values.
constexpr std::uint32_t tableWord(CodeTable table, int i)
{
    std::uint32_t word = 0;
    for (int j = 0; j < 4; ++j)
        word |= std::uint32_t(std::uint8_t(tableValues(table)[4 * i + j])) << (8 * j);
    return word;
}

// The table and the scales' unit of types that share a kernel; a launch says them.
struct Codebook {
    std::uint32_t table[4];
    float unit;
};

// A unit of one tile as a lane sees it. Both pointers may be shared or global memory.
template <WeightType kType>
struct QuantUnit {
    static constexpr WeightLayout kLayout = weightLayout(kType);
    static constexpr PanelFormat kFormat = kLayout.format;
    static constexpr int kGroups = 32 / kFormat.group; // of a block: 1 or 2

    const std::byte *header;
    const std::byte *unit;
    const Codebook &codebook; // read by codebook types only

    // Fragments of block b (32 columns): signed bytes.
    KV_DEVICE void codes(std::uint32_t b, std::uint32_t (&a)[4]) const
    {
        const std::uint32_t l = lane();
        if constexpr (kFormat.lowBits == 8) {
            const Words4 words = words4At(unit + b * 512 + l * 16);
            KV_UNROLL for (int r = 0; r < 4; ++r)
                a[r] = words.w[r];
        } else if constexpr (kFormat.lowBits == 4) {
            const Words2 words = words2At(unit + l * 16 + b * 8);
            KV_UNROLL for (int r = 0; r < 4; ++r)
                a[r] = words.w[r / 2] >> (r % 2 * 4) & 0x0f0f0f0fu;
        } else {
            const std::uint32_t word = wordAt(unit + l * 8 + b * 4);
            KV_UNROLL for (int r = 0; r < 4; ++r)
                a[r] = word >> (2 * r) & 0x03030303u;
        }
        if constexpr (kFormat.highBits == 1) {
            const std::uint32_t word = wordAt(unit + kLayout.lowBytes + l * 4);
            KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
                a[r] |= (word >> (4 * b + r) & 0x01010101u) << kFormat.lowBits;
        } else if constexpr (kFormat.highBits == 2) {
            const std::uint32_t word = wordAt(unit + kLayout.lowBytes + l * 8 + b * 4);
            KV_UNROLL for (int r = 0; r < 4; ++r)
                a[r] |= (word >> (2 * r) & 0x03030303u) << kFormat.lowBits;
        }
        if constexpr (kFormat.codebook()) {
            KV_UNROLL for (int r = 0; r < 4; ++r)
                a[r] = lookUp(a[r], codebook.table);
        } else if constexpr (kFormat.table != CodeTable::plain) {
            constexpr std::uint32_t kTable[4] = {tableWord(kFormat.table, 0), tableWord(kFormat.table, 1), tableWord(kFormat.table, 2),
                                                 tableWord(kFormat.table, 3)};
            const std::uint32_t table[4] = {kTable[0], kTable[1], kTable[2], kTable[3]};
            KV_UNROLL for (int r = 0; r < 4; ++r)
                a[r] = lookUp(a[r], table);
        } else if constexpr (kFormat.lowBits != 8 && kFormat.offset != 0) {
            KV_UNROLL for (int r = 0; r < 4; ++r)
                a[r] = lessOffset(a[r], kFormat.offset);
        }
    }

    // Scales, and what is added for each unit of the input's sum, of block b: [group of the block][row g, row g + 8].
    KV_DEVICE void scales(std::uint32_t b, float (&scale)[kGroups][2], float (&minimum)[kGroups][2]) const
    {
        const std::uint32_t g = lane() / 4;
        const std::byte *at = unit + (kLayout.lowBytes + kLayout.highBytes) + g * kLayout.scaleStride;
        KV_UNROLL for (int group = 0; group < kGroups; ++group)
            minimum[group][0] = minimum[group][1] = 0;
        if constexpr (!kFormat.superBlocks) {
            const std::uint32_t word = wordAt(at + 4 * b);
            scale[0][0] = kFormat.powerScales ? bfloatToFloat(word & 0xffffu) : lowHalf(word);
            scale[0][1] = kFormat.powerScales ? bfloatToFloat(word >> 16) : highHalf(word);
            if constexpr (kFormat.mins) {
                const std::uint32_t mins = wordAt(at + 8 + 4 * b);
                minimum[0][0] = lowHalf(mins);
                minimum[0][1] = highHalf(mins);
            }
            return;
        }
        const std::byte *super = header + g * kLayout.headerStride;
        const std::uint32_t d = wordAt(super);
        const std::uint32_t word = wordAt(at + (kGroups == 2 ? 4 * b : 0)), first = kGroups == 2 ? 0 : 2 * b;
        const float whole = kFormat.codebook() ? codebook.unit : kFormat.unit;
        KV_UNROLL for (std::uint32_t group = 0; group < std::uint32_t(kGroups); ++group)
        {
            const std::uint32_t s0 = byteOf(word, first + 2 * group), s1 = byteOf(word, first + 2 * group + 1);
            scale[group][0] = lowHalf(d) * (kFormat.mins ? float(s0) : float(std::int32_t(std::int8_t(s0)))) * whole;
            scale[group][1] = highHalf(d) * (kFormat.mins ? float(s1) : float(std::int32_t(std::int8_t(s1)))) * whole;
        }
        if constexpr (kFormat.mins) {
            const std::uint32_t dmin = wordAt(super + 4), m = wordAt(at + 2 * kLayout.groups + (kGroups == 2 ? 4 * b : 0));
            KV_UNROLL for (std::uint32_t group = 0; group < std::uint32_t(kGroups); ++group)
            {
                minimum[group][0] = -(lowHalf(dmin) * float(byteOf(m, first + 2 * group)));
                minimum[group][1] = -(highHalf(dmin) * float(byteOf(m, first + 2 * group + 1)));
            }
        }
    }
};

// One weight of a tile in global memory, by position: embedding rows and row-major copies. Slower, and the same floats.
template <WeightType kType>
KV_DEVICE float weightAt(const std::byte *tile, std::uint32_t row, std::uint32_t k)
{
    constexpr WeightLayout kLayout = weightLayout(kType);
    constexpr PanelFormat kFormat = kLayout.format;
    const std::byte *unit = tile + unitOffset<kType>(k / kUnitColumns);
    const std::uint32_t column = k % kUnitColumns, within = column % 32, high = row / 8;
    const auto byteAt = [](const std::byte *p) { return std::uint32_t(*reinterpret_cast<const std::uint8_t *>(p)); };
    const auto halfAt = [](const std::byte *p) { return *reinterpret_cast<const std::uint16_t *>(p); };
    if constexpr (kFormat.floatBytes == 4) {
        return floatOf(wordAt(unit + (row * kUnitColumns + column) * 4));
    } else if constexpr (kFormat.floatBytes == 2) {
        const std::uint32_t i = column % 16;
        const std::uint16_t bits = halfAt(unit + (column / 16 * 32 + row % 8 * 4 + i % 8 / 2) * 16 + (i / 8 * 2 + high) * 4 + i % 2 * 2);
        return kType == WeightType::BF16 ? bfloatToFloat(bits) : halfToFloat(bits);
    } else {
        const std::uint32_t l = row % 8 * 4 + within % 16 / 4, b = column / 32, r = within / 16 * 2 + high, j = within % 4;
        std::int32_t code;
        if constexpr (kFormat.lowBits == 8)
            code = std::int8_t(byteAt(unit + b * 512 + l * 16 + r * 4 + j));
        else if constexpr (kFormat.lowBits == 4)
            code = std::int32_t(byteAt(unit + l * 16 + (2 * b + r / 2) * 4 + j) >> (r % 2 * 4) & 15u);
        else
            code = std::int32_t(byteAt(unit + l * 8 + b * 4 + j) >> (2 * r) & 3u);
        if constexpr (kFormat.highBits == 1)
            code |= std::int32_t(byteAt(unit + kLayout.lowBytes + l * 4 + j) >> (4 * b + r) & 1u) << kFormat.lowBits;
        else if constexpr (kFormat.highBits == 2)
            code |= std::int32_t(byteAt(unit + kLayout.lowBytes + l * 8 + b * 4 + j) >> (2 * r) & 3u) << kFormat.lowBits;
        if constexpr (kFormat.table != CodeTable::plain) {
            constexpr std::uint32_t k0 = tableWord(kFormat.table, 0), k1 = tableWord(kFormat.table, 1), k2 = tableWord(kFormat.table, 2),
                                    k3 = tableWord(kFormat.table, 3);
            const std::uint32_t i = std::uint32_t(code) / 4;
            const std::uint32_t word = i < 2 ? (i == 0 ? k0 : k1) : (i == 2 ? k2 : k3);
            code = std::int8_t(byteOf(word, std::uint32_t(code) % 4));
        } else if constexpr (kFormat.lowBits != 8) {
            code -= std::int32_t(kFormat.offset);
        }
        const std::byte *at = unit + (kLayout.lowBytes + kLayout.highBytes) + row % 8 * kLayout.scaleStride;
        const std::uint32_t place = column / kFormat.group * 2 + high;
        if constexpr (!kFormat.superBlocks) {
            const std::uint16_t bits = halfAt(at + place * 2);
            const float product = (kFormat.powerScales ? bfloatToFloat(bits) : halfToFloat(bits)) * float(code);
            return kFormat.mins ? product + halfToFloat(halfAt(at + kLayout.groups * 4 + place * 2)) : product;
        } else {
            const std::byte *super = tile + headerOffset<kType>(k / kUnitColumns) + row % 8 * kLayout.headerStride + high * 2;
            const std::uint32_t sub = byteAt(at + place);
            const float scale =
                halfToFloat(halfAt(super)) * (kFormat.mins ? float(sub) : float(std::int32_t(std::int8_t(sub)))) * kFormat.unit;
            const float product = scale * float(code);
            if constexpr (kFormat.mins)
                return product + -(halfToFloat(halfAt(super + 4)) * float(byteAt(at + kLayout.groups * 2 + place)));
            return product;
        }
    }
}

KV_DEVICE float weightAt(WeightType type, const std::byte *tile, std::uint32_t row, std::uint32_t k)
{
    switch (type) {
    case WeightType::F32: return weightAt<WeightType::F32>(tile, row, k);
    case WeightType::F16: return weightAt<WeightType::F16>(tile, row, k);
    case WeightType::BF16: return weightAt<WeightType::BF16>(tile, row, k);
    case WeightType::Q4_0: return weightAt<WeightType::Q4_0>(tile, row, k);
    case WeightType::Q4_1: return weightAt<WeightType::Q4_1>(tile, row, k);
    case WeightType::Q5_0: return weightAt<WeightType::Q5_0>(tile, row, k);
    case WeightType::Q5_1: return weightAt<WeightType::Q5_1>(tile, row, k);
    case WeightType::Q8_0: return weightAt<WeightType::Q8_0>(tile, row, k);
    case WeightType::Q4_K: return weightAt<WeightType::Q4_K>(tile, row, k);
    case WeightType::Q5_K: return weightAt<WeightType::Q5_K>(tile, row, k);
    case WeightType::Q6_K: return weightAt<WeightType::Q6_K>(tile, row, k);
    case WeightType::IQ4_NL: return weightAt<WeightType::IQ4_NL>(tile, row, k);
    case WeightType::IQ4_XS: return weightAt<WeightType::IQ4_XS>(tile, row, k);
    case WeightType::MXFP4: return weightAt<WeightType::MXFP4>(tile, row, k);
    case WeightType::Q2_K: return weightAt<WeightType::Q2_K>(tile, row, k);
    case WeightType::Q3_K: return weightAt<WeightType::Q3_K>(tile, row, k);
    case WeightType::TQ1_0: return weightAt<WeightType::TQ1_0>(tile, row, k);
    case WeightType::TQ2_0: return weightAt<WeightType::TQ2_0>(tile, row, k);
    case WeightType::IQ1_S: return weightAt<WeightType::IQ1_S>(tile, row, k);
    case WeightType::IQ1_M: return weightAt<WeightType::IQ1_M>(tile, row, k);
    case WeightType::IQ2_XXS: return weightAt<WeightType::IQ2_XXS>(tile, row, k);
    case WeightType::IQ2_XS: return weightAt<WeightType::IQ2_XS>(tile, row, k);
    case WeightType::IQ2_S: return weightAt<WeightType::IQ2_S>(tile, row, k);
    case WeightType::IQ3_XXS: return weightAt<WeightType::IQ3_XXS>(tile, row, k);
    case WeightType::IQ3_S: return weightAt<WeightType::IQ3_S>(tile, row, k);
    default: return floatOf(0x7fc00000u);
    }
}

} // namespace kvilt::kernels::cuda::device

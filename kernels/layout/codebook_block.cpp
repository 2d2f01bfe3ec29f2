// SPDX-License-Identifier: Apache-2.0
// The GGUF types below three bits. A codebook type stores, for 8 (IQ3: 4) weights at a time, the number of a lattice point
// and the signs; here that becomes one 4-bit code a weight (CodeTable), so that all of them multiply as IQ4_XS does.
#include "kernels/layout/gguf_block.h"

#include <array>
#include <bit>
#include <cstring>

namespace kvilt::kernels {
namespace {
#include "kernels/layout/code_grids.inc"

using Bytes = const std::uint8_t *;

unsigned word16(Bytes p)
{
    return unsigned(p[0] | (p[1] << 8));
}

std::uint32_t word32(Bytes p)
{
    std::uint32_t word;
    std::memcpy(&word, p, 4);
    return word;
}

// The points of a set in ascending order, each as its digits, the lowest in the lowest byte.
template <unsigned kBase, unsigned kDigits, std::size_t kPoints, std::size_t kWords>
constexpr std::array<std::uint64_t, kPoints> pointsOf(const std::uint64_t (&set)[kWords])
{
    std::array<std::uint64_t, kPoints> points{};
    std::size_t count = 0;
    for (unsigned point = 0; count < kPoints; ++point) {
        if (!(set[point / 64] >> (point % 64) & 1))
            continue;
        unsigned rest = point;
        for (unsigned i = 0; i < kDigits; ++i, rest /= kBase)
            points[count] |= std::uint64_t(rest % kBase) << (8 * i);
        ++count;
    }
    return points;
}

constexpr auto kIq2Xxs = pointsOf<3, 8, 256>(kIq2XxsPoints);
constexpr auto kIq2Xs = pointsOf<3, 8, 512>(kIq2XsPoints);
constexpr auto kIq2S = pointsOf<3, 8, 1024>(kIq2SPoints);
constexpr auto kIq1 = pointsOf<3, 8, 2048>(kIq1Points);
constexpr auto kIq3Xxs = pointsOf<8, 4, 256>(kIq3XxsPoints);
constexpr auto kIq3S = pointsOf<8, 4, 512>(kIq3SPoints);

// Eight codes: digits and, as their bit 3, the bits of `signs`.
void putCodes(std::uint8_t *codes, std::uint64_t digits, unsigned signs)
{
    constexpr std::uint64_t kEachByte = 0x0101010101010101;
    const std::uint64_t chosen = ((signs & 255u) * kEachByte) & 0x8040201008040201;
    const std::uint64_t bit3 = (((chosen + 0x7f * kEachByte) >> 7) & kEachByte) << 3;
    const std::uint64_t word = digits | bit3;
    std::memcpy(codes, &word, 8);
}

// Seven signs are stored; the eighth makes their number even.
unsigned evenSigns(unsigned seven)
{
    return seven | unsigned(std::popcount(seven) & 1) << 7;
}

std::uint8_t oddScale(unsigned code)
{
    return std::uint8_t(2 * code + 1);
}

unsigned nibble(Bytes p, unsigned i)
{
    return (p[i / 2] >> (i % 2 * 4)) & 15u;
}

void readIq2Xxs(Bytes p, GgufBlock &block)
{
    block.d = std::uint16_t(word16(p));
    for (unsigned group = 0; group < 8; ++group) {
        const Bytes at = p + 2 + 8 * group;
        const std::uint32_t word = word32(at + 4);
        block.subScale[2 * group] = block.subScale[2 * group + 1] = oddScale(word >> 28);
        for (unsigned l = 0; l < 4; ++l)
            putCodes(block.codes + 32 * group + 8 * l, kIq2Xxs[at[l]], evenSigns((word >> (7 * l)) & 127u));
    }
}

void readIq2Xs(Bytes p, GgufBlock &block)
{
    block.d = std::uint16_t(word16(p));
    for (unsigned j = 0; j < 32; ++j) {
        const unsigned code = word16(p + 2 + 2 * j);
        putCodes(block.codes + 8 * j, kIq2Xs[code & 511u], evenSigns(code >> 9));
    }
    for (unsigned group = 0; group < 16; ++group)
        block.subScale[group] = oddScale(nibble(p + 66, group));
}

void readIq2S(Bytes p, GgufBlock &block)
{
    block.d = std::uint16_t(word16(p));
    for (unsigned j = 0; j < 32; ++j) {
        const unsigned high = (p[66 + j / 4] >> (2 * (j % 4))) & 3u;
        putCodes(block.codes + 8 * j, kIq2S[p[2 + j] | high << 8], p[34 + j]);
    }
    for (unsigned group = 0; group < 16; ++group)
        block.subScale[group] = oddScale(nibble(p + 74, group));
}

void readIq3Xxs(Bytes p, GgufBlock &block)
{
    block.d = std::uint16_t(word16(p));
    for (unsigned group = 0; group < 8; ++group) {
        const std::uint32_t word = word32(p + 66 + 4 * group);
        block.subScale[2 * group] = block.subScale[2 * group + 1] = oddScale(word >> 28);
        for (unsigned l = 0; l < 4; ++l) {
            const Bytes at = p + 2 + 8 * group + 2 * l;
            putCodes(block.codes + 32 * group + 8 * l, kIq3Xxs[at[0]] | kIq3Xxs[at[1]] << 32, evenSigns((word >> (7 * l)) & 127u));
        }
    }
}

void readIq3S(Bytes p, GgufBlock &block)
{
    block.d = std::uint16_t(word16(p));
    for (unsigned j = 0; j < 32; ++j) {
        const auto point = [p, j](unsigned i) { return kIq3S[p[2 + 2 * j + i] | ((p[66 + j / 4] >> (j % 4 * 2 + i)) & 1u) << 8]; };
        putCodes(block.codes + 8 * j, point(0) | point(1) << 32, p[74 + j]);
    }
    for (unsigned group = 0; group < 16; ++group)
        block.subScale[group] = oddScale(nibble(p + 106, group / 2));
}

void readIq1S(Bytes p, GgufBlock &block)
{
    block.d = std::uint16_t(word16(p));
    for (unsigned group = 0; group < 8; ++group) {
        const unsigned word = word16(p + 34 + 2 * group);
        block.subScale[2 * group] = block.subScale[2 * group + 1] = oddScale((word >> 12) & 7u);
        for (unsigned l = 0; l < 4; ++l)
            putCodes(block.codes + 32 * group + 8 * l, kIq1[p[2 + 4 * group + l] | ((word >> (3 * l)) & 7u) << 8], word >> 15 ? 255u : 0u);
    }
}

// The f16 scale stands in the highest four bits of the four words of scales.
void readIq1M(Bytes p, GgufBlock &block)
{
    unsigned d = 0;
    for (unsigned i = 0; i < 4; ++i)
        d |= (word16(p + 48 + 2 * i) >> 12) << (4 * i);
    block.d = std::uint16_t(d);
    for (unsigned group = 0; group < 16; ++group)
        block.subScale[group] = oddScale((word16(p + 48 + group / 4 * 2) >> (3 * (group % 4))) & 7u);
    for (unsigned j = 0; j < 32; ++j) {
        const unsigned high = nibble(p + 32, j);
        putCodes(block.codes + 8 * j, kIq1[p[j] | (high & 7u) << 8], high & 8u ? 255u : 0u);
    }
}

void oneScale(Bytes d, GgufBlock &block)
{
    block.d = std::uint16_t(word16(d));
    std::memset(block.subScale, 1, sizeof(block.subScale));
}

// Five ternary digits a byte, as a fraction of 256: the next digit is the whole part of three times it.
void readTq1(Bytes p, GgufBlock &block)
{
    oneScale(p + 52, block);
    std::uint8_t *codes = block.codes;
    const auto digits = [&codes](Bytes from, unsigned bytes, unsigned count) {
        for (unsigned digit = 0, power = 1; digit < count; ++digit, power *= 3)
            for (unsigned i = 0; i < bytes; ++i)
                *codes++ = std::uint8_t((std::uint8_t(from[i] * power) * 3u) >> 8);
    };
    digits(p, 32, 5);
    digits(p + 32, 16, 5);
    digits(p + 48, 4, 4);
}

void readTq2(Bytes p, GgufBlock &block)
{
    oneScale(p + 64, block);
    for (unsigned k = 0; k < 256; ++k)
        block.codes[k] = (p[k / 128 * 32 + k % 32] >> (k % 128 / 32 * 2)) & 3u;
}

} // namespace

void readCodebookBlock(WeightType type, const std::uint8_t *p, GgufBlock &block) noexcept
{
    switch (type) {
    case WeightType::IQ2_XXS: return readIq2Xxs(p, block);
    case WeightType::IQ2_XS: return readIq2Xs(p, block);
    case WeightType::IQ2_S: return readIq2S(p, block);
    case WeightType::IQ3_XXS: return readIq3Xxs(p, block);
    case WeightType::IQ3_S: return readIq3S(p, block);
    case WeightType::IQ1_S: return readIq1S(p, block);
    case WeightType::IQ1_M: return readIq1M(p, block);
    case WeightType::TQ1_0: return readTq1(p, block);
    case WeightType::TQ2_0: return readTq2(p, block);
    default: return;
    }
}

} // namespace kvilt::kernels

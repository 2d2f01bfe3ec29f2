// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/gguf_block.h"

#include <cstring>

namespace kvilt::kernels {
namespace {

using Bytes = const std::uint8_t *;

std::uint16_t half(Bytes p)
{
    return std::uint16_t(p[0] | (p[1] << 8));
}

constexpr std::uint64_t kEachByte = 0x0101010101010101;

std::uint64_t eightAt(const std::uint8_t *p)
{
    std::uint64_t bytes;
    std::memcpy(&bytes, p, 8);
    return bytes;
}

void putEight(std::uint8_t *p, std::uint64_t bytes)
{
    std::memcpy(p, &bytes, 8);
}

// Bit i of `bits` as 16 in byte i.
std::uint64_t fifthBits(std::uint32_t bits)
{
    const std::uint64_t chosen = ((bits & 255u) * kEachByte) & 0x8040201008040201;
    return (((chosen + 0x7f * kEachByte) >> 7) & kEachByte) << 4;
}

// 16 bytes of nibbles: columns 0..15 low, 16..31 high. `high`: 32 bits that become bit 4 of each code.
void nibbles32(Bytes from, std::uint32_t high, std::uint8_t *codes)
{
    for (unsigned i = 0; i < 16; i += 8) {
        const std::uint64_t packed = eightAt(from + i);
        putEight(codes + i, (packed & (15 * kEachByte)) | fifthBits(high >> i));
        putEight(codes + i + 16, ((packed >> 4) & (15 * kEachByte)) | fifthBits(high >> (i + 16)));
    }
}

std::uint32_t bits32(Bytes p)
{
    std::uint32_t bits;
    std::memcpy(&bits, p, 4);
    return bits;
}

// Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes.
void sixBitScales(Bytes from, GgufBlock &block)
{
    for (unsigned i = 0; i < 4; ++i) {
        block.subScale[i] = from[i] & 63u;
        block.subMin[i] = from[i + 4] & 63u;
        block.subScale[i + 4] = std::uint8_t((from[i + 8] & 15u) | ((from[i] >> 6) << 4));
        block.subMin[i + 4] = std::uint8_t((from[i + 8] >> 4) | ((from[i + 4] >> 6) << 4));
    }
}

// 128 bytes of nibbles: each 32 bytes hold 32 columns low, the next 32 high.
void nibbles256(Bytes from, std::uint8_t *codes)
{
    for (unsigned pair = 0; pair < 4; ++pair)
        for (unsigned i = 0; i < 32; i += 8) {
            const std::uint64_t packed = eightAt(from + 32 * pair + i);
            putEight(codes + 64 * pair + i, packed & (15 * kEachByte));
            putEight(codes + 64 * pair + 32 + i, (packed >> 4) & (15 * kEachByte));
        }
}

void readQ4K(Bytes p, GgufBlock &block)
{
    block.d = half(p);
    block.dmin = half(p + 2);
    sixBitScales(p + 4, block);
    nibbles256(p + 16, block.codes);
}

void readQ5K(Bytes p, GgufBlock &block)
{
    block.d = half(p);
    block.dmin = half(p + 2);
    sixBitScales(p + 4, block);
    nibbles256(p + 48, block.codes);
    for (unsigned group = 0; group < 8; ++group)
        for (unsigned i = 0; i < 32; i += 8) {
            const std::uint64_t fifth = ((eightAt(p + 16 + i) >> group) & kEachByte) << 4;
            putEight(block.codes + 32 * group + i, eightAt(block.codes + 32 * group + i) | fifth);
        }
}

void readQ6K(Bytes p, GgufBlock &block)
{
    for (unsigned n = 0; n < 2; ++n) {
        const Bytes low = p + 64 * n;
        const Bytes high = p + 128 + 32 * n;
        std::uint8_t *codes = block.codes + 128 * n;
        for (unsigned i = 0; i < 32; i += 8) {
            const std::uint64_t first = eightAt(low + i), second = eightAt(low + 32 + i), top = eightAt(high + i);
            const auto code = [top](std::uint64_t nibbles, unsigned pair) {
                return (nibbles & (15 * kEachByte)) | ((top >> (2 * pair)) & (3 * kEachByte)) << 4;
            };
            putEight(codes + i, code(first, 0));
            putEight(codes + 32 + i, code(second, 1));
            putEight(codes + 64 + i, code(first >> 4, 2));
            putEight(codes + 96 + i, code(second >> 4, 3));
        }
    }
    std::memcpy(block.subScale, p + 192, 16);
    block.d = half(p + 208);
}

// 2-bit codes, each 32 bytes hold 128 columns: 32 in each pair of bits.
void pairs256(Bytes from, std::uint8_t *codes)
{
    for (unsigned n = 0; n < 2; ++n)
        for (unsigned shift = 0; shift < 4; ++shift)
            for (unsigned i = 0; i < 32; i += 8)
                putEight(codes + 128 * n + 32 * shift + i, (eightAt(from + 32 * n + i) >> (2 * shift)) & (3 * kEachByte));
}

// Sixteen 4-bit scales and minima, codes, scale, minimum.
void readQ2K(Bytes p, GgufBlock &block)
{
    for (unsigned group = 0; group < 16; ++group) {
        block.subScale[group] = p[group] & 15u;
        block.subMin[group] = std::uint8_t(p[group] >> 4);
    }
    pairs256(p + 16, block.codes);
    block.d = half(p + 80);
    block.dmin = half(p + 82);
}

// The third bits (0 means less 4), codes, sixteen 6-bit scales less 32, scale.
void readQ3K(Bytes p, GgufBlock &block)
{
    pairs256(p + 32, block.codes);
    for (unsigned run = 0; run < 8; ++run)
        for (unsigned i = 0; i < 32; i += 8) {
            const std::uint64_t third = ((eightAt(p + i) >> run) & kEachByte) << 2;
            putEight(block.codes + 32 * run + i, eightAt(block.codes + 32 * run + i) | third);
        }
    for (unsigned group = 0; group < 16; ++group) {
        const unsigned low = (p[96 + group % 8] >> (group / 8 * 4)) & 15u;
        const unsigned high = (p[104 + group % 4] >> (group / 4 * 2)) & 3u;
        block.subScale[group] = std::uint8_t((low | high << 4) - 32u);
    }
    block.d = half(p + 108);
}

// f16 scale, the high 2 bits of eight scales, their low 4 bits, nibbles; scales are less 32.
void readIq4Xs(Bytes p, GgufBlock &block)
{
    block.d = half(p);
    const unsigned high = half(p + 2);
    for (unsigned group = 0; group < 8; ++group) {
        const unsigned low = (p[4 + group / 2] >> (4 * (group % 2))) & 15u;
        block.subScale[group] = std::uint8_t((low | ((high >> (2 * group)) & 3u) << 4) - 32u);
        nibbles32(p + 8 + 16 * group, 0, block.codes + 32 * group);
    }
}

// 2^(exponent - 128), half of what the shared exponent of MXFP4 says because the table holds doubled values; as bf16.
std::uint16_t powerOfTwo(unsigned exponent)
{
    return std::uint16_t(exponent < 2 ? 0x20u << exponent : (exponent - 1) << 7);
}

} // namespace

void readGgufBlock(WeightType type, const std::byte *from, GgufBlock &block) noexcept
{
    const auto *p = reinterpret_cast<Bytes>(from);
    switch (type) {
    case WeightType::Q4_0:
        block.d = half(p);
        return nibbles32(p + 2, 0, block.codes);
    case WeightType::IQ4_NL:
        block.d = half(p);
        return nibbles32(p + 2, 0, block.codes);
    case WeightType::IQ4_XS: return readIq4Xs(p, block);
    case WeightType::MXFP4:
        block.d = powerOfTwo(p[0]);
        return nibbles32(p + 1, 0, block.codes);
    case WeightType::Q4_1:
        block.d = half(p);
        block.dmin = half(p + 2);
        return nibbles32(p + 4, 0, block.codes);
    case WeightType::Q5_0:
        block.d = half(p);
        return nibbles32(p + 6, bits32(p + 2), block.codes);
    case WeightType::Q5_1:
        block.d = half(p);
        block.dmin = half(p + 2);
        return nibbles32(p + 8, bits32(p + 4), block.codes);
    case WeightType::Q8_0:
        block.d = half(p);
        std::memcpy(block.codes, p + 2, 32);
        return;
    case WeightType::Q4_K: return readQ4K(p, block);
    case WeightType::Q5_K: return readQ5K(p, block);
    case WeightType::Q6_K: return readQ6K(p, block);
    case WeightType::Q2_K: return readQ2K(p, block);
    case WeightType::Q3_K: return readQ3K(p, block);
    default: readCodebookBlock(type, p, block); // float types have no blocks
    }
}

} // namespace kvilt::kernels

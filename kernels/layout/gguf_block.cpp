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

// 16 bytes of nibbles: columns 0..15 low, 16..31 high. `high`: 32 bits that become bit 4 of each code.
void nibbles32(Bytes from, std::uint32_t high, std::uint8_t *codes)
{
    for (unsigned i = 0; i < 16; ++i) {
        codes[i] = std::uint8_t((from[i] & 15u) | (((high >> i) & 1u) << 4));
        codes[i + 16] = std::uint8_t((from[i] >> 4) | (((high >> (i + 16)) & 1u) << 4));
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
        for (unsigned i = 0; i < 32; ++i) {
            codes[64 * pair + i] = from[32 * pair + i] & 15u;
            codes[64 * pair + 32 + i] = from[32 * pair + i] >> 4;
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
        for (unsigned i = 0; i < 32; ++i)
            block.codes[32 * group + i] |= std::uint8_t(((p[16 + i] >> group) & 1u) << 4);
}

void readQ6K(Bytes p, GgufBlock &block)
{
    for (unsigned n = 0; n < 2; ++n) {
        const Bytes low = p + 64 * n;
        const Bytes high = p + 128 + 32 * n;
        std::uint8_t *codes = block.codes + 128 * n;
        for (unsigned i = 0; i < 32; ++i) {
            codes[i] = std::uint8_t((low[i] & 15u) | ((high[i] & 3u) << 4));
            codes[i + 32] = std::uint8_t((low[i + 32] & 15u) | (((high[i] >> 2) & 3u) << 4));
            codes[i + 64] = std::uint8_t((low[i] >> 4) | (((high[i] >> 4) & 3u) << 4));
            codes[i + 96] = std::uint8_t((low[i + 32] >> 4) | ((high[i] >> 6) << 4));
        }
    }
    std::memcpy(block.subScale, p + 192, 16);
    block.d = half(p + 208);
}

} // namespace

void readGgufBlock(WeightType type, const std::byte *from, GgufBlock &block) noexcept
{
    const auto *p = reinterpret_cast<Bytes>(from);
    switch (type) {
    case WeightType::Q4_0:
        block.d = half(p);
        return nibbles32(p + 2, 0, block.codes);
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
    default: return; // float types have no blocks
    }
}

} // namespace kvilt::kernels

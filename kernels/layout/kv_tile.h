// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kv_native.h"

#include <cstddef>
#include <cstdint>

// Byte positions within the native form of one head's 16-token tile (see api/kv_native.h).
namespace kvilt::kernels {

constexpr bool kvQuantised(KvElement type)
{
    return type == KvElement::q8 || type == KvElement::q4;
}

constexpr std::size_t kvElementBytes(KvElement type) // of the types that are not quantised
{
    return type == KvElement::f32 ? 4 : type == KvElement::fp8 ? 1 : 2;
}

// Floats that are turned together before they are quantised: the largest power of two that divides dim, at most 256.
constexpr std::uint32_t kvRotation(std::uint32_t dim)
{
    const std::uint32_t power = dim & (0u - dim);
    return power < 256 ? power : 256;
}

// Where head `head`'s tile number `tile` starts in a block side.
inline std::size_t kvTileOffset(const KvShape &shape, std::uint32_t head, std::uint32_t tile)
{
    const std::size_t tiles = shape.blockSize / kTileTokens;
    return (head * tiles + tile) * kTileTokens * kvRowBytes(shape.type, shape.dim);
}

// Of the f16 scales, [dim / 32][16 tokens].
constexpr std::size_t kvScaleOffset(KvElement type, std::uint32_t dim)
{
    return std::size_t(dim) * (type == KvElement::q8 ? 16 : 8);
}
constexpr std::size_t kvScaleByte(std::uint32_t d, std::uint32_t token)
{
    return (d / 32 * 16 + token) * std::size_t(2);
}

// K: q8 [dim/4][16][4], q4 [dim/8][16][4] with the low nibble for d % 8 < 4.
constexpr std::size_t keyByteQ8(std::uint32_t d, std::uint32_t token) { return d / 4 * std::size_t(64) + token * 4 + d % 4; }
constexpr std::size_t keyByteQ4(std::uint32_t d, std::uint32_t token) { return d / 8 * std::size_t(64) + token * 4 + d % 4; }
// V: q4 per 32 dims 16 bytes, low nibbles first.
constexpr std::size_t valueByteQ4(std::uint32_t d, std::uint32_t token, std::uint32_t dim)
{
    return token * std::size_t(dim / 2) + d / 32 * 16 + d % 16;
}

} // namespace kvilt::kernels

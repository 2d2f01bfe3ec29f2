// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// How the CPU keeps K and V of one layer in a block. A block is a run of 16-token tiles, so its size is a multiple
// of 16. Per head and tile, heads outermost:
//   K: f32, f16, bf16, fp8 [dim][16 tokens]; q8 int8 [dim/4][16][4]; q4 nibbles [dim/8][16][4], low nibble first
//   V: [16 tokens][dim]; q4 per 32 dims 16 bytes, the first 16 dims in the low nibbles
//   q8, q4: then the f16 scales [dim/32][16 tokens]
// The canonical (stored) form is [token][head][dim], quantised types per 32 elements an f16 scale, then the
// integers (q4 as in V), of heads turned by a Hadamard matrix (generic/rotate.inl), K and V alike: queries are turned
// too, results turned back. Both forms have the same size, and converting is a pure permutation.
namespace kvilt::kernels {

inline constexpr std::uint32_t kTileTokens = 16;

enum class KvElement : std::uint8_t { f32, f16, bf16, q8, q4, fp8 };

struct KvShape {
    KvElement type = KvElement::f16;
    std::uint32_t heads = 0;
    std::uint32_t dim = 0;       // a multiple of 32 for q8 and q4; of 16 otherwise
    std::uint32_t blockSize = 0; // tokens, a multiple of 16
};

// True where dim fits the type.
bool kvShapeSupported(const KvShape &shape);
// Bytes of `dim` elements of one token and head: 34 (q8) or 18 (q4) every 32, else the elements' own.
std::size_t kvRowBytes(KvElement type, std::uint32_t dim);
// Bytes of one side (K or V) of one layer in one block; a multiple of 16 * kvRowBytes.
std::size_t kvSideBytes(const KvShape &shape);

// The first `tokens` tokens of a block side between the two forms. A native block keeps the bytes of other tokens.
void keysToCanonical(const KvShape &shape, const std::byte *native, std::uint32_t tokens, std::byte *canonical) noexcept;
void keysFromCanonical(const KvShape &shape, const std::byte *canonical, std::uint32_t tokens, std::byte *native) noexcept;
void valuesToCanonical(const KvShape &shape, const std::byte *native, std::uint32_t tokens, std::byte *canonical) noexcept;
void valuesFromCanonical(const KvShape &shape, const std::byte *canonical, std::uint32_t tokens, std::byte *native) noexcept;

} // namespace kvilt::kernels

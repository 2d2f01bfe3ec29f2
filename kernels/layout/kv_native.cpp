// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/kv_native.h"

#include "kernels/layout/kv_tile.h"

#include <cstring>

namespace kvilt::kernels {
namespace {

// One element (or, for quantised types, one code and, at the first of 32, the scale) between the forms.
enum class Direction { toCanonical, fromCanonical };

template <Direction kDirection, typename NativeByte, typename CanonicalByte>
void move(NativeByte *native, CanonicalByte *canonical, std::size_t bytes)
{
    if constexpr (kDirection == Direction::toCanonical)
        std::memcpy(canonical, native, bytes);
    else
        std::memcpy(native, canonical, bytes);
}

template <Direction kDirection, typename NativeByte, typename CanonicalByte>
void moveNibble(NativeByte *native, bool nativeHigh, CanonicalByte *canonical, bool canonicalHigh)
{
    const auto put = [](std::byte &to, bool high, std::byte nibble) {
        to = high ? (to & std::byte(0x0f)) | (nibble << 4) : (to & std::byte(0xf0)) | nibble;
    };
    const auto get = [](std::byte from, bool high) { return high ? from >> 4 : from & std::byte(0x0f); };
    if constexpr (kDirection == Direction::toCanonical)
        put(*canonical, canonicalHigh, get(*native, nativeHigh));
    else
        put(*native, nativeHigh, get(*canonical, canonicalHigh));
}

// One token's row of one head: `tile` is the native tile, `row` the canonical row.
template <Direction kDirection, bool kKeys, typename NativeByte, typename CanonicalByte>
void moveRow(const KvShape &shape, std::uint32_t token, NativeByte *tile, CanonicalByte *row)
{
    const std::uint32_t dim = shape.dim;
    if (!kvQuantised(shape.type)) {
        const std::size_t bytes = kvElementBytes(shape.type);
        if constexpr (kKeys) {
            for (std::uint32_t d = 0; d < dim; ++d)
                move<kDirection>(tile + (d * std::size_t(16) + token) * bytes, row + d * bytes, bytes);
        } else {
            move<kDirection>(tile + token * dim * bytes, row, dim * bytes);
        }
        return;
    }
    const bool q8 = shape.type == KvElement::q8;
    const std::size_t blockBytes = q8 ? 34 : 18;
    for (std::uint32_t d = 0; d < dim; ++d) {
        CanonicalByte *block = row + d / 32 * blockBytes;
        if (d % 32 == 0)
            move<kDirection>(tile + kvScaleOffset(shape.type, dim) + kvScaleByte(d, token), block, 2);
        if (q8)
            move<kDirection>(tile + (kKeys ? keyByteQ8(d, token) : token * std::size_t(dim) + d), block + 2 + d % 32, 1);
        else
            moveNibble<kDirection>(tile + (kKeys ? keyByteQ4(d, token) : valueByteQ4(d, token, dim)),
                                   kKeys ? d % 8 >= 4 : d % 32 >= 16, block + 2 + d % 16, d % 32 >= 16);
    }
}

template <Direction kDirection, bool kKeys, typename NativeByte, typename CanonicalByte>
void moveSide(const KvShape &shape, NativeByte *native, std::uint32_t tokens, CanonicalByte *canonical)
{
    const std::size_t rowBytes = kvRowBytes(shape.type, shape.dim);
    for (std::uint32_t head = 0; head < shape.heads; ++head)
        for (std::uint32_t token = 0; token < tokens; ++token)
            moveRow<kDirection, kKeys>(shape, token % kTileTokens, native + kvTileOffset(shape, head, token / kTileTokens),
                                       canonical + (std::size_t(token) * shape.heads + head) * rowBytes);
}

} // namespace

bool kvShapeSupported(const KvShape &shape)
{
    const bool dimFits = shape.dim > 0 && shape.dim % (kvQuantised(shape.type) ? 32 : 16) == 0;
    return dimFits && shape.heads > 0 && shape.blockSize > 0 && shape.blockSize % kTileTokens == 0;
}

std::size_t kvRowBytes(KvElement type, std::uint32_t dim)
{
    switch (type) {
    case KvElement::q8: return std::size_t(dim) / 32 * 34;
    case KvElement::q4: return std::size_t(dim) / 32 * 18;
    default: return dim * kvElementBytes(type);
    }
}

std::size_t kvSideBytes(const KvShape &shape)
{
    return kvRowBytes(shape.type, shape.dim) * shape.heads * shape.blockSize;
}

void keysToCanonical(const KvShape &shape, const std::byte *native, std::uint32_t tokens, std::byte *canonical) noexcept
{
    moveSide<Direction::toCanonical, true>(shape, native, tokens, canonical);
}
void keysFromCanonical(const KvShape &shape, const std::byte *canonical, std::uint32_t tokens, std::byte *native) noexcept
{
    moveSide<Direction::fromCanonical, true>(shape, native, tokens, canonical);
}
void valuesToCanonical(const KvShape &shape, const std::byte *native, std::uint32_t tokens, std::byte *canonical) noexcept
{
    moveSide<Direction::toCanonical, false>(shape, native, tokens, canonical);
}
void valuesFromCanonical(const KvShape &shape, const std::byte *canonical, std::uint32_t tokens, std::byte *native) noexcept
{
    moveSide<Direction::fromCanonical, false>(shape, native, tokens, canonical);
}

} // namespace kvilt::kernels

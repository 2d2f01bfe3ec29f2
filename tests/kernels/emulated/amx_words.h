// SPDX-License-Identifier: Apache-2.0
#pragma once

// AMX instructions as the processor's manual describes them, in plain C++: eight tiles a thread, shaped by a configuration.
// What is used without one, or past a tile's shape, becomes 0x7f bytes, which no test mistakes for a product.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h> // before its words are given another meaning

namespace kvilt::emulated {

struct TileUnit {
    bool configured = false;
    std::uint16_t rowBytes[16] = {};
    std::uint8_t rows[16] = {};
    std::uint8_t data[8][16][64] = {};
};

inline TileUnit &tileUnit()
{
    static thread_local TileUnit unit;
    return unit;
}

inline void tileConfigure(const void *from)
{
    std::uint8_t bytes[64];
    std::memcpy(bytes, from, 64);
    TileUnit &unit = tileUnit();
    unit = {};
    unit.configured = bytes[0] == 1 && bytes[1] == 0;
    std::memcpy(unit.rowBytes, bytes + 16, 32);
    std::memcpy(unit.rows, bytes + 48, 16);
}

inline bool usable(int tile)
{
    TileUnit &unit = tileUnit();
    if (unit.configured && unit.rows[tile] > 0 && unit.rows[tile] <= 16 && unit.rowBytes[tile] > 0 && unit.rowBytes[tile] <= 64)
        return true;
    std::memset(unit.data[tile], 0x7f, sizeof(unit.data[tile]));
    return false;
}

inline void tileZero(int tile)
{
    if (usable(tile))
        std::memset(tileUnit().data[tile], 0, sizeof(tileUnit().data[tile]));
}

inline void tileLoad(int tile, const void *from, std::size_t stride)
{
    if (!usable(tile))
        return;
    TileUnit &unit = tileUnit();
    std::memset(unit.data[tile], 0, sizeof(unit.data[tile]));
    for (std::size_t row = 0; row < unit.rows[tile]; ++row)
        std::memcpy(unit.data[tile][row], static_cast<const char *>(from) + row * stride, unit.rowBytes[tile]);
}

inline void tileStore(int tile, void *to, std::size_t stride)
{
    const bool whole = usable(tile);
    TileUnit &unit = tileUnit();
    for (std::size_t row = 0; row < (whole ? unit.rows[tile] : 16u); ++row)
        std::memcpy(static_cast<char *>(to) + row * stride, unit.data[tile][row], whole ? unit.rowBytes[tile] : 64u);
}

// sums[m][n] += four bytes of a[m] at 4 k times four of b[k] at 4 n, for every k; signed times signed or unsigned.
inline void tileDot(int sums, int a, int b, bool bSigned)
{
    TileUnit &unit = tileUnit();
    if (!usable(a) || !usable(b) || !usable(sums) || unit.rowBytes[a] / 4 != unit.rows[b] || unit.rows[sums] != unit.rows[a] ||
        unit.rowBytes[sums] != unit.rowBytes[b]) {
        std::memset(unit.data[sums], 0x7f, sizeof(unit.data[sums]));
        return;
    }
    for (std::size_t m = 0; m < unit.rows[sums]; ++m)
        for (std::size_t n = 0; n < unit.rowBytes[sums] / 4u; ++n) {
            std::uint32_t sum; // wraps, as the instruction does
            std::memcpy(&sum, &unit.data[sums][m][4 * n], 4);
            for (std::size_t k = 0; k < unit.rows[b]; ++k)
                for (std::size_t i = 0; i < 4; ++i) {
                    const int x = static_cast<std::int8_t>(unit.data[a][m][4 * k + i]);
                    const std::uint8_t y = unit.data[b][k][4 * n + i];
                    sum += std::uint32_t(x * (bSigned ? int(static_cast<std::int8_t>(y)) : int(y)));
                }
            std::memcpy(&unit.data[sums][m][4 * n], &sum, 4);
        }
}

} // namespace kvilt::emulated

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbsud
#define _tile_loadconfig(from) kvilt::emulated::tileConfigure(from)
#define _tile_release() (kvilt::emulated::tileUnit() = {})
#define _tile_zero(tile) kvilt::emulated::tileZero(tile)
#define _tile_loadd(tile, from, stride) kvilt::emulated::tileLoad(tile, from, stride)
#define _tile_stored(tile, to, stride) kvilt::emulated::tileStore(tile, to, stride)
#define _tile_dpbssd(sums, a, b) kvilt::emulated::tileDot(sums, a, b, true)
#define _tile_dpbsud(sums, a, b) kvilt::emulated::tileDot(sums, a, b, false)

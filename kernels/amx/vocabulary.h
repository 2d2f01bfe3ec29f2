// SPDX-License-Identifier: Apache-2.0
// AMX words: those of avx512/vocabulary.h (with KVILT_VNNI and KVILT_TILES set), and products of whole tiles. The unit adds
// exact 32-bit integers, so the dots are those of every other instruction set.

// What ldtilecfg reads.
struct TileShapes {
    std::uint8_t palette = 1, startRow = 0, reserved[14] = {};
    std::uint16_t rowBytes[16] = {};
    std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

KVILT_INLINE void loadShapes(TileShapes &shapes)
{
    asm volatile("" : "+m"(shapes)); // g++ 12 believes that only the first 8 bytes are read, and drops stores to the rest
    _tile_loadconfig(&shapes);
}

// The instructions read and write memory of which their intrinsics do not tell g++ 12.
KVILT_INLINE void memoryBarrier() { asm volatile("" : : : "memory"); }

inline constexpr int kBlockTokens = 16;

// Tile 0: dots [token][weight row]; tile 1: activations [token][column]; tile 2: codes [column / 4][weight row][4], which is
// how a decoded panel lies.
template <std::uint32_t kColumns>
struct BlockUnit {
    static KVILT_INLINE void begin()
    {
        TileShapes shapes;
        setShape(shapes, 0, 16, 64);
        setShape(shapes, 1, 16, kColumns);
        setShape(shapes, 2, kColumns / 4, 64);
        loadShapes(shapes);
    }
    static KVILT_INLINE void end() { _tile_release(); }

    template <bool kSigned>
    static KVILT_INLINE void dot(const std::byte *x, std::size_t stride, const std::byte *codes, std::int32_t *dots)
    {
        memoryBarrier();
        _tile_zero(0);
        _tile_loadd(1, x, stride);
        _tile_loadd(2, codes, 64);
        if constexpr (kSigned)
            _tile_dpbssd(0, 1, 2);
        else
            _tile_dpbsud(0, 1, 2);
        _tile_stored(0, dots, 64);
        memoryBarrier();
    }

    // Operations done by tiles of 64 columns that stay where they are.
    static std::uint64_t peak(std::uint64_t rounds)
    {
        TileShapes shapes;
        for (int tile = 0; tile < 8; ++tile)
            setShape(shapes, tile, 16, 64);
        loadShapes(shapes);
        _tile_zero(4);
        _tile_zero(5);
        _tile_zero(6);
        _tile_zero(7);
        for (std::uint64_t round = 0; round < rounds; ++round) {
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 7);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        }
        _tile_release();
        return rounds * 4 * 2 * 16 * 16 * 64;
    }

private:
    static KVILT_INLINE void setShape(TileShapes &shapes, int tile, std::uint32_t rows, std::uint32_t rowBytes)
    {
        shapes.rows[tile] = std::uint8_t(rows);
        shapes.rowBytes[tile] = std::uint16_t(rowBytes);
    }
};

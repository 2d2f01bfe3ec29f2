// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/reference/kv_reference.h"
#include "kernels/cuda/reference/ops_reference.h"
#include "tests/kernels/cuda/cuda_kernel_test.h"

#include <QtGlobal>

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

// Paged sequences for tests of attention kernels.
namespace kvilt::kernels::cuda::test {

using kernels::test::randomFloats;

// AlignedBytes points into itself.
inline std::unique_ptr<AlignedBytes> copyOf(const AlignedBytes &from)
{
    auto to = std::make_unique<AlignedBytes>(from.size());
    std::memcpy(to->data(), from.data(), from.size());
    return to;
}

struct Setup {
    KvElement keys = KvElement::f16, values = KvElement::f16;
    std::uint32_t keyDim = 64, valueDim = 64, kvHeads = 2, heads = 6, blockSize = 16, window = 0;
};

struct Piece { // consecutive rows of a sequence
    std::uint32_t first, rows;
};

// Sequences with their own random history in a shuffled pool. Memory that no row may see stays NaN.
class Rig {
public:
    Rig(const Setup &setup, const std::vector<Piece> &pieces, std::uint32_t seed = 1) : s(setup), m_pieces(pieces), m_random(seed)
    {
        std::uint32_t blocks = 1, rows = 0;
        for (const Piece &piece : pieces) {
            blocks += (piece.first + piece.rows + s.blockSize - 1) / s.blockSize;
            rows += piece.rows;
        }
        k = {s.keys, s.kvHeads, s.keyDim, s.blockSize};
        v = {s.values, s.kvHeads, s.valueDim, s.blockSize};
        stride = (kvSideBytes(k) + kvSideBytes(v) + 255) / 256 * 256;
        pool = std::make_unique<AlignedBytes>(blocks * stride + 256);
        queries = std::make_unique<DeviceArray<float>>(randomFloats(m_random, std::size_t(rows) * s.heads * s.keyDim));
        std::vector<std::uint32_t> ids(blocks);
        std::iota(ids.begin(), ids.end(), 0u);
        std::shuffle(ids.begin(), ids.end(), m_random);
        for (std::uint32_t i = 0, next = 0, row = 0; i < pieces.size(); ++i) {
            slices.push_back({row, pieces[i].rows, pieces[i].first, 0, {std::uint32_t(tables.size()), 0, 0, 0}});
            const std::uint32_t begin = s.window && pieces[i].first + 1 > s.window ? pieces[i].first + 1 - s.window : 0;
            for (std::uint32_t b = 0; b * s.blockSize < pieces[i].first + pieces[i].rows; ++b) {
                const bool hole = (b + 1) * s.blockSize <= begin;
                tables.push_back(hole ? kNoSlot : ids[next++]);
                if (!hole)
                    fillBlock(tables.back(), b * s.blockSize, pieces[i].first + pieces[i].rows);
            }
            for (std::uint32_t r = 0; r < pieces[i].rows; r += kTileRows)
                tiles.push_back({i, r, std::min(kTileRows, pieces[i].rows - r), 0});
            row += pieces[i].rows;
            longest = std::max(longest, pieces[i].first + pieces[i].rows);
            single = single && pieces[i].rows == 1;
        }
    }

    AttentionOp op(DeviceArray<float> &out)
    {
        m_slices = std::make_unique<DeviceArray<StepSlice>>(slices);
        m_tables = std::make_unique<DeviceArray<std::uint32_t>>(tables);
        m_tiles = std::make_unique<DeviceArray<AttentionTile>>(tiles);
        AttentionOp o;
        o.step.slices = m_slices->data();
        o.step.tables = m_tables->data();
        o.rows = std::uint32_t(queries->size() / s.heads / s.keyDim);
        o.slices = std::uint32_t(slices.size());
        o.tiles = m_tiles->data();
        o.tileCount = std::uint32_t(tiles.size());
        o.singleRows = single;
        o.longest = (longest + 127) / 128 * 256; // a bucket beyond the longest
        o.kv = {pool->data(), pool->data() + kvSideBytes(k), stride, k, v, 0};
        o.heads = s.heads;
        o.window = s.window;
        o.scale = 0.3f;
        o.queries = {queries->data(), Element::f32, s.heads * s.keyDim};
        o.out = {out.data(), Element::f32, s.heads * s.valueDim};
        return o;
    }
    std::vector<float> run(bool reference, const DeviceFacts &device = hopper(), std::uint32_t seed = 0)
    {
        DeviceArray<float> out(queries->size() / s.keyDim * s.valueDim);
        const AttentionOp o = op(out);
        if (reference) {
            reference::run(o);
        } else if (const std::string error = emulate(o, device, seed); !error.empty()) {
            qWarning("%s", error.c_str());
            return {};
        }
        return out.values();
    }

    std::size_t outWidth() const { return std::size_t(s.heads) * s.valueDim; }

    // The same memory and queries, but only some of the rows of a rig of one piece that begins at `first`.
    Rig piece(const Piece &wanted, std::uint32_t first)
    {
        Rig part(s, {wanted});
        const std::vector<float> all = queries->values();
        const std::size_t width = std::size_t(s.heads) * s.keyDim, skip = (wanted.first - first) * width;
        part.pool = copyOf(*pool);
        part.tables = tables;
        part.slices[0].table[0] = 0;
        part.queries = std::make_unique<DeviceArray<float>>(
            std::vector<float>(all.begin() + std::ptrdiff_t(skip), all.begin() + std::ptrdiff_t(skip + wanted.rows * width)));
        return part;
    }

    Setup s;
    KvShape k, v;
    std::uint64_t stride = 0;
    std::unique_ptr<AlignedBytes> pool;
    std::unique_ptr<DeviceArray<float>> queries;
    std::vector<StepSlice> slices;
    std::vector<std::uint32_t> tables;
    std::vector<AttentionTile> tiles;
    std::uint32_t longest = 0;
    bool single = true;

private:
    void fillBlock(std::uint32_t block, std::uint32_t firstPosition, std::uint32_t end)
    {
        std::byte *keys = pool->data() + block * stride, *values = keys + kvSideBytes(k);
        for (std::uint32_t slot = 0; slot < s.blockSize && firstPosition + slot < end; ++slot) {
            reference::writeKvRow(k, randomFloats(m_random, s.kvHeads * s.keyDim).data(), slot, keys);
            reference::writeKvRow(v, randomFloats(m_random, s.kvHeads * s.valueDim).data(), slot, values);
        }
    }

    std::vector<Piece> m_pieces;
    Random m_random;
    std::unique_ptr<DeviceArray<StepSlice>> m_slices;
    std::unique_ptr<DeviceArray<std::uint32_t>> m_tables;
    std::unique_ptr<DeviceArray<AttentionTile>> m_tiles;
};

} // namespace kvilt::kernels::cuda::test

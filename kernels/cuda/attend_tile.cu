// SPDX-License-Identifier: Apache-2.0
// Prefill: a block keeps 16 (token, head) rows a warp, all of one sequence and KV head, and walks the key tiles that any of
// them sees. Sums of values stay in shared memory between tiles, maxima and sums of weights in registers.
#include "kernels/cuda/device/attention.cuh"

namespace kvilt::kernels::cuda::device {
namespace {

template <bool kBfKeys, bool kBfValues>
struct TileBlock {
    const AttendParams &p;
    AttentionShared shared;
    std::byte *memory;
    const StepSlice *slice;
    std::uint32_t sliceRow, slicePosition;
    std::uint32_t kvHead, firstToken; // in the slice
    std::uint32_t firstRow, rows;     // of this piece among the tile's (token, head) rows
    std::uint32_t threads;
    Span seen;                        // by any row
    Span spans[2];                    // by this lane's rows
    float most[2], sum[2];

    KV_DEVICE explicit TileBlock(const AttendParams &params)
        : p(params), shared(attentionShared(params.keyDim, params.valueDim, kBfKeys, kBfValues, 16 * params.warps, false)),
          memory(sharedMemory())
    {
        const AttentionTile tile = p.tiles[blockY()];
        slice = p.slices + tile.slice;
        sliceRow = slice->firstRow;
        slicePosition = slice->firstPosition;
        kvHead = blockX() / p.pieces;
        firstToken = tile.firstRow;
        threads = 32 * p.warps;
        firstRow = blockX() % p.pieces * 16 * p.warps;
        const std::uint32_t all = tile.rows * p.share;
        rows = firstRow < all ? minOf(16 * p.warps, all - firstRow) : 0;
        if (rows == 0)
            return;
        seen = {visibleSpan(positionOf(0), p.window).begin, visibleSpan(positionOf(rows - 1), p.window).end};
        KV_UNROLL for (std::uint32_t r = 0; r < 2; ++r)
        {
            const std::uint32_t row = warpRow() + lane() / 4 + 8 * r;
            spans[r] = row < rows ? visibleSpan(positionOf(row), p.window) : Span{0, 0};
            most[r] = negativeInfinity();
            sum[r] = 0;
        }
    }

    KV_DEVICE std::uint32_t warpRow() const { return 16 * warp(); }
    KV_DEVICE std::uint32_t tokenOf(std::uint32_t row) const { return firstToken + (firstRow + row) / p.share; }
    KV_DEVICE std::uint32_t headOf(std::uint32_t row) const { return kvHead * p.share + (firstRow + row) % p.share; }
    KV_DEVICE std::uint32_t positionOf(std::uint32_t row) const { return slicePosition + tokenOf(row); }
    KV_DEVICE float *sums(std::uint32_t row, std::uint32_t d) const
    {
        return reinterpret_cast<float *>(memory + shared.sums) + row * (p.valueDim + 4) + d;
    }

    KV_DEVICE void storeQueries() const
    {
        const std::uint32_t pairs = p.keyDim / 2;
        for (std::uint32_t i = threadIndex(); i < 16 * p.warps * pairs; i += threads) {
            const std::uint32_t row = i / pairs, d = i % pairs * 2;
            std::byte *at = memory + shared.queries + (row * paddedRow(p.keyDim) + d) * 2;
            const bool there = row < rows;
            const float *query =
                p.queries + (sliceRow + tokenOf(there ? row : 0)) * p.ldQueries + std::uint64_t(headOf(there ? row : 0)) * p.keyDim + d;
            storeQuery2<kBfKeys>(at, shared.lowQueries, there ? query[0] : 0.0f, there ? query[1] : 0.0f, p.scale);
        }
    }

    // Values of dims [dim, dim + 8 * kTiles) weighted, folded into the sums.
    template <std::uint32_t kTiles>
    KV_DEVICE void weighValues(const WeightFragment<kBfValues> (&weights)[kKeySteps], std::uint32_t dim, const Fold (&folds)[2]) const
    {
        float c[kTiles][4] = {};
        KV_UNROLL for (std::uint32_t step = 0; step < kKeySteps; ++step)
        {
            KV_UNROLL for (std::uint32_t pair = 0; pair < kTiles / 2; ++pair)
            {
                std::uint32_t b[4];
                loadValues(b, memory + shared.tile, paddedRow(p.valueDim), step, dim + 16 * pair);
                addWeighted<kBfValues>(c[2 * pair], weights[step], b[0], b[1]);
                addWeighted<kBfValues>(c[2 * pair + 1], weights[step], b[2], b[3]);
            }
        }
        KV_UNROLL for (std::uint32_t t = 0; t < kTiles; ++t)
            KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
            {
                float *at = sums(warpRow() + lane() / 4 + r / 2 * 8, dim + 8 * t + lane() % 4 * 2 + r % 2);
                *at = folded(folds[r / 2], *at, c[t][r]);
            }
    }

    // One key tile: keys are in shared memory at the start.
    KV_DEVICE void addTile(std::uint32_t tile, const KvSource &source)
    {
        float s[2 * kKeySteps][4], tileMost[2];
        scoreKeys<kBfKeys, kKeySteps>(s, memory + shared.queries + warpRow() * paddedRow(p.keyDim) * 2, shared.lowQueries,
                                      memory + shared.tile, p.keyDim);
        syncBlock(); // the keys are done with
        source.fetch(false, tile, seen, memory + shared.tile, threads);
        maskScores<2 * kKeySteps>(s, tile * kSplitTokens, spans, tileMost);
        weigh<2 * kKeySteps>(s, tileMost);
        WeightFragment<kBfValues> weights[kKeySteps];
        float total[4] = {};
        KV_UNROLL for (std::uint32_t step = 0; step < kKeySteps; ++step)
        {
            weights[step] = weightFragment<kBfValues>(s[2 * step], s[2 * step + 1]);
            addWeighted<kBfValues>(total, weights[step], onePair<kBfValues>(), onePair<kBfValues>());
        }
        const Fold folds[2] = {foldOf(most[0], tileMost[0]), foldOf(most[1], tileMost[1])};
        waitForCopies<0>();
        syncBlock();
        std::uint32_t dim = 0;
        KV_NO_UNROLL for (; dim + 32 <= p.valueDim; dim += 32)
            weighValues<4>(weights, dim, folds);
        if (dim < p.valueDim)
            weighValues<2>(weights, dim, folds);
        KV_UNROLL for (std::uint32_t r = 0; r < 2; ++r)
        {
            sum[r] = folded(folds[r], sum[r], total[2 * r]);
            most[r] = foldedMost(folds[r], most[r], tileMost[r]);
        }
    }

    KV_DEVICE void storeRows() const
    {
        KV_UNROLL for (std::uint32_t r = 0; r < 2; ++r)
        {
            const std::uint32_t row = warpRow() + lane() / 4 + 8 * r;
            if (row >= rows)
                continue;
            float *out = p.out + (sliceRow + tokenOf(row)) * p.ldOut + std::uint64_t(headOf(row)) * p.valueDim;
            for (std::uint32_t d = lane() % 4 * 2; d < p.valueDim; d += 8) {
                out[d] = divideExact(*sums(row, d), sum[r]);
                out[d + 1] = divideExact(*sums(row, d + 1), sum[r]);
            }
        }
    }

    KV_DEVICE void run()
    {
        if (rows == 0)
            return;
        const KvSource source{p, p.tables + slice->table[p.group], kvHead};
        storeQueries();
        for (std::uint32_t tile = seen.begin / kSplitTokens; tile * kSplitTokens < seen.end; ++tile) {
            source.fetch(true, tile, seen, memory + shared.tile, threads);
            waitForCopies<0>();
            syncBlock();
            addTile(tile, source);
            syncBlock(); // the values are done with
        }
        storeRows();
    }
};

} // namespace
} // namespace kvilt::kernels::cuda::device

#define KV_ATTEND_TILE(name, bfKeys, bfValues)                                                                               \
    KV_KERNEL(attend_tile_##name, ::kvilt::kernels::cuda::AttendParams, 128, 2)                                              \
    {                                                                                                                        \
        using namespace ::kvilt::kernels::cuda;                                                                              \
        device::waitForEarlierLaunches();                                                                                    \
        device::letNextLaunchBegin();                                                                                        \
        device::TileBlock<bfKeys, bfValues> block(p);                                                                        \
        block.run();                                                                                                         \
    }
KV_ATTEND_TILE(f16_f16, false, false)
KV_ATTEND_TILE(f16_bf16, false, true)
KV_ATTEND_TILE(bf16_f16, true, false)
KV_ATTEND_TILE(bf16_bf16, true, true)

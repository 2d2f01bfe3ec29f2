// SPDX-License-Identifier: Apache-2.0
// Prefill on sm_90a, f16 keys and values: two warpgroups of 64 (token, head) rows each multiply key tiles of 128 positions that
// one more warp has the copy engine fetch from the pool's blocks, two tiles ahead. A row's maximum runs
// along the tiles in ascending order, so its bits depend on its own history only; they are others than attend_tile's.
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/device/attention.cuh"
#include "kernels/cuda/device/warpgroup.cuh"

namespace kvilt::kernels::cuda::device {
namespace {

template <std::uint32_t kDim>
struct GroupBlock {
    static constexpr GroupShared kShared = groupShared(kDim);
    static constexpr std::uint32_t kPanels = kDim / 64, kPanelBytes = kSplitTokens * kSwizzleRow;
    static constexpr std::uint32_t kQueryPanel = kGroupRows * kSwizzleRow;

    const AttendGroupParams &g;
    const AttendParams &p;
    std::byte *memory;
    const StepSlice *slice;
    std::uint32_t kvHead, firstToken, firstRow, rows, groups;
    Span seen; // by any row of the block

    KV_DEVICE explicit GroupBlock(const AttendGroupParams &params) : g(params), p(params.a), memory(sharedMemory())
    {
        const AttentionTile tile = p.tiles[blockY()];
        slice = p.slices + tile.slice;
        kvHead = blockX() / p.pieces;
        firstToken = tile.firstRow;
        firstRow = blockX() % p.pieces * kGroups * kGroupRows;
        const std::uint32_t all = tile.rows * p.share;
        rows = firstRow < all ? minOf(kGroups * kGroupRows, all - firstRow) : 0;
        groups = (rows + kGroupRows - 1) / kGroupRows;
        if (rows != 0)
            seen = {visibleSpan(positionOf(0), p.window).begin, positionOf(rows - 1) + 1};
    }

    KV_DEVICE std::uint32_t tokenOf(std::uint32_t row) const { return firstToken + (firstRow + row) / p.share; }
    KV_DEVICE std::uint32_t headOf(std::uint32_t row) const { return kvHead * p.share + (firstRow + row) % p.share; }
    KV_DEVICE std::uint32_t positionOf(std::uint32_t row) const { return slice->firstPosition + tokenOf(row); }
    KV_DEVICE std::uint32_t firstTile() const { return seen.begin / kSplitTokens; }
    KV_DEVICE std::uint32_t endTile() const { return (seen.end + kSplitTokens - 1) / kSplitTokens; }

    KV_DEVICE std::byte *keys(std::uint32_t stage) const { return memory + kShared.stages + stage * 2 * kPanels * kPanelBytes; }
    KV_DEVICE std::byte *values(std::uint32_t stage) const { return keys(stage) + kPanels * kPanelBytes; }
    // [keys there, values there, keys done with, values done with][stage]
    KV_DEVICE Barrier *barrier(std::uint32_t kind, std::uint32_t stage) const
    {
        return reinterpret_cast<Barrier *>(memory + kShared.barriers) + kind * kStages + stage;
    }

    // --- the copying warp
    KV_DEVICE bool wanted(std::uint32_t position) const { return position < seen.end && position + g.boxTokens > seen.begin; }

    // Box i of a side: 64 dims of a run of tokens. Its rows' bytes are expected before any is asked for.
    KV_DEVICE void fetchSide(bool isKeys, std::uint32_t tile, std::uint32_t stage) const
    {
        const std::uint32_t parts = kSplitTokens / g.boxTokens, first = tile * kSplitTokens;
        Barrier *there = barrier(isKeys ? 0 : 1, stage);
        if (lane() == 0) {
            std::uint32_t boxes = 0;
            for (std::uint32_t part = 0; part < parts; ++part)
                boxes += wanted(first + part * g.boxTokens) ? kPanels : 0;
            arriveExpecting(there, boxes * g.boxTokens * kSwizzleRow);
        }
        syncWarp();
        const std::uint32_t *table = p.tables + slice->table[p.group];
        for (std::uint32_t i = lane(); i < parts * kPanels; i += 32) {
            const std::uint32_t part = i / kPanels, panel = i % kPanels, position = first + part * g.boxTokens;
            if (!wanted(position))
                continue;
            const std::uint32_t at[4] = {panel * 64, position & ((1u << p.blockShift) - 1), kvHead, table[position >> p.blockShift]};
            std::byte *to = (isKeys ? keys(stage) : values(stage)) + panel * kPanelBytes + part * g.boxTokens * kSwizzleRow;
            copyBox(to, isKeys ? g.keys : g.values, at, there);
        }
    }

    KV_DEVICE void fetchTiles() const
    {
        for (std::uint32_t tile = firstTile(), i = 0; tile < endTile(); ++tile, ++i) {
            const std::uint32_t stage = i % kStages, parity = i / kStages % 2;
            waitForPhase(barrier(2, stage), parity ^ 1);
            fetchSide(true, tile, stage);
            waitForPhase(barrier(3, stage), parity ^ 1);
            fetchSide(false, tile, stage);
        }
    }

    // --- a warpgroup
    KV_DEVICE std::uint32_t group() const { return warp() / 4; }
    KV_DEVICE std::byte *queries() const { return memory + group() * kPanels * kQueryPanel; }

    KV_DEVICE void storeQueries() const
    {
        constexpr std::uint32_t kPairs = kDim / 2;
        for (std::uint32_t i = threadIndex() % 128; i < kGroupRows * kPairs; i += 128) {
            const std::uint32_t inGroup = i / kPairs, d = i % kPairs * 2, row = group() * kGroupRows + inGroup;
            float a = 0, b = 0;
            if (row < rows) {
                const float *query = p.queries + (slice->firstRow + tokenOf(row)) * p.ldQueries + std::uint64_t(headOf(row)) * kDim + d;
                a = query[0] * p.scale;
                b = query[1] * p.scale;
            }
            std::byte *at = queries() + d / 64 * kQueryPanel + swizzled(inGroup, d % 64 * 2);
            *reinterpret_cast<std::uint32_t *>(at) = pack2<false>(boundedToHalf(a), boundedToHalf(b));
        }
        publishShared();
        syncGroup(1 + group(), 128);
    }

    // What the copy engine did not bring, and rows that nobody may see: their weights are zero, their memory may be NaN.
    KV_DEVICE void clearUnseenValues(std::uint32_t tile, std::uint32_t stage) const
    {
        const std::uint32_t first = tile * kSplitTokens;
        if (first >= seen.begin && first + kSplitTokens <= seen.end)
            return;
        for (std::uint32_t i = threadIndex(); i < kSplitTokens * kPanels * 8; i += 128 * groups) {
            const std::uint32_t key = i / (kPanels * 8), position = first + key, chunk = i % (kPanels * 8);
            if (position < seen.begin || position >= seen.end)
                *reinterpret_cast<Words4 *>(values(stage) + chunk / 8 * kPanelBytes + swizzled(key, chunk % 8 * 16)) = Words4{};
        }
        publishShared();
        syncGroup(1 + kGroups, 128 * groups);
    }

    KV_DEVICE void release(Barrier *done) const
    {
        syncWarp();
        if (lane() == 0)
            arrive(done);
    }

    KV_DEVICE void scoreTile(float (&s)[64], std::uint32_t stage) const
    {
        beginProducts();
        KV_UNROLL for (std::uint32_t step = 0; step < kDim / 16; ++step)
        {
            const std::uint32_t within = step % 4 * 32;
            multiplyShared(s, matrixDescriptor(queries() + step / 4 * kQueryPanel + within, 16, 1024),
                           matrixDescriptor(keys(stage) + step / 4 * kPanelBytes + within, 16, 1024), step != 0);
        }
        commitProducts();
        waitForProducts<0>();
        holdSums(s);
        release(barrier(2, stage));
    }

    struct Rows { // rows g and g + 8 of this lane's warp
        Span spans[2];
        float most[2], sum[2]; // sum: of this lane's columns
    };

    // Scores become weights relative to the new maximum; returns what the sums before are to be multiplied by.
    KV_DEVICE void weighTile(float (&s)[64], std::uint32_t tile, Rows &r, float (&keep)[2]) const
    {
        float most[2];
        maskScores<16>(reinterpret_cast<float(&)[16][4]>(s), tile * kSplitTokens, r.spans, most);
        KV_UNROLL for (std::uint32_t h = 0; h < 2; ++h)
        {
            const float before = r.most[h];
            r.most[h] = maxOf(before, most[h]);
            most[h] = r.most[h];
            keep[h] = before == negativeInfinity() ? 0.0f : exp2Fast(before - r.most[h]);
        }
        weigh<16>(reinterpret_cast<float(&)[16][4]>(s), most);
        float sum[2] = {0, 0};
        KV_UNROLL for (std::uint32_t i = 0; i < 64; ++i)
            sum[i / 2 % 2] = sum[i / 2 % 2] + s[i];
        KV_UNROLL for (std::uint32_t h = 0; h < 2; ++h)
            r.sum[h] = fma(r.sum[h], keep[h], sum[h]);
    }

    KV_DEVICE void addValues(const float (&s)[64], float (&o)[kDim / 2], std::uint32_t stage) const
    {
        std::uint32_t weights[kSplitTokens / 16][4];
        KV_UNROLL for (std::uint32_t step = 0; step < kSplitTokens / 16; ++step)
            KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
                weights[step][r] = pack2<false>(s[step * 8 + r * 2], s[step * 8 + r * 2 + 1]);
        beginProducts();
        KV_UNROLL for (std::uint32_t step = 0; step < kSplitTokens / 16; ++step)
            multiplyByColumns(o, weights[step], matrixDescriptor(values(stage) + step * 16 * kSwizzleRow, kPanelBytes, 1024), true);
        commitProducts();
        waitForProducts<0>();
        holdSums(o);
        release(barrier(3, stage));
    }

    KV_DEVICE void storeRows(const Rows &r, const float (&o)[kDim / 2]) const
    {
        KV_UNROLL for (std::uint32_t h = 0; h < 2; ++h)
        {
            float sum = r.sum[h] + shuffleXor(r.sum[h], 1);
            sum = sum + shuffleXor(sum, 2);
            const std::uint32_t row = group() * kGroupRows + warpInGroup() * 16 + lane() / 4 + 8 * h;
            if (row >= rows)
                continue;
            float *out = p.out + (slice->firstRow + tokenOf(row)) * p.ldOut + std::uint64_t(headOf(row)) * kDim + lane() % 4 * 2;
            KV_UNROLL for (std::uint32_t j = 0; j < kDim / 8; ++j)
                KV_UNROLL for (std::uint32_t i = 0; i < 2; ++i)
                    out[8 * j + i] = divideExact(o[4 * j + 2 * h + i], sum);
        }
    }

    KV_DEVICE void attend() const
    {
        Rows r;
        KV_UNROLL for (std::uint32_t h = 0; h < 2; ++h)
        {
            const std::uint32_t row = group() * kGroupRows + warpInGroup() * 16 + lane() / 4 + 8 * h;
            r.spans[h] = row < rows ? visibleSpan(positionOf(row), p.window) : Span{0, 0};
            r.most[h] = negativeInfinity();
            r.sum[h] = 0;
        }
        storeQueries();
        float o[kDim / 2];
        KV_UNROLL for (std::uint32_t i = 0; i < kDim / 2; ++i)
            o[i] = 0;
        for (std::uint32_t tile = firstTile(), i = 0; tile < endTile(); ++tile, ++i) {
            const std::uint32_t stage = i % kStages, parity = i / kStages % 2;
            float s[64], keep[2];
            waitForPhase(barrier(0, stage), parity);
            scoreTile(s, stage);
            weighTile(s, tile, r, keep);
            KV_UNROLL for (std::uint32_t j = 0; j < kDim / 2; ++j)
                o[j] = o[j] * keep[j / 2 % 2];
            waitForPhase(barrier(1, stage), parity);
            clearUnseenValues(tile, stage);
            addValues(s, o, stage);
        }
        storeRows(r, o);
    }

    KV_DEVICE void run() const
    {
        if (rows == 0)
            return;
        if (threadIndex() == 0) {
            for (std::uint32_t stage = 0; stage < kStages; ++stage) {
                initBarrier(barrier(0, stage), 1);
                initBarrier(barrier(1, stage), 1);
                initBarrier(barrier(2, stage), 4 * groups);
                initBarrier(barrier(3, stage), 4 * groups);
            }
            publishBarriers();
        }
        syncBlock();
        if (warp() == 4 * kGroups)
            fetchTiles();
        else if (group() < groups)
            attend();
    }
};

} // namespace
} // namespace kvilt::kernels::cuda::device

#define KV_ATTEND_GROUP(dim)                                                                                                 \
    KV_KERNEL(attend_group_##dim, ::kvilt::kernels::cuda::AttendGroupParams, 288, 1)                                         \
    {                                                                                                                        \
        using namespace ::kvilt::kernels::cuda;                                                                              \
        device::waitForEarlierLaunches();                                                                                    \
        device::letNextLaunchBegin();                                                                                        \
        const device::GroupBlock<dim> block(p);                                                                              \
        block.run();                                                                                                         \
    }
KV_ATTEND_GROUP(64)
KV_ATTEND_GROUP(128)

// SPDX-License-Identifier: Apache-2.0
// Decode: one query row a sequence. The query heads that share a KV head are the rows of one product, so keys and values are
// read once for all of them; key tiles go to different blocks, and attend_merge folds their results in ascending order.
#include "kernels/cuda/device/attention.cuh"

namespace kvilt::kernels::cuda::device {
namespace {

template <bool kBfKeys, bool kBfValues>
struct SingleBlock {
    const AttendParams &p;
    AttentionShared shared;
    std::byte *memory;
    const StepSlice *slice;
    std::uint32_t sliceRow;
    std::uint32_t tile, kvHead, firstHead, heads; // heads of this block: at most 16
    Span span;

    KV_DEVICE explicit SingleBlock(const AttendParams &params)
        : p(params), shared(attentionShared(params.keyDim, params.valueDim, kBfKeys, kBfValues, kSingleRows, true)), memory(sharedMemory())
    {
        const std::uint32_t groups = (p.share + kSingleRows - 1) / kSingleRows;
        tile = blockX();
        kvHead = blockY() / groups;
        firstHead = kvHead * p.share + blockY() % groups * kSingleRows;
        heads = minOf(kSingleRows, (kvHead + 1) * p.share - firstHead);
        slice = p.slices + blockZ();
        sliceRow = slice->firstRow;
        span = visibleSpan(slice->firstPosition, p.window);
    }

    KV_DEVICE bool seesTile() const { return tile * kSplitTokens < span.end && (tile + 1) * kSplitTokens > span.begin; }

    KV_DEVICE void storeQueries() const
    {
        const std::uint32_t pairs = p.keyDim / 2;
        for (std::uint32_t i = threadIndex(); i < kSingleRows * pairs; i += 32 * kSingleWarps) {
            const std::uint32_t row = i / pairs, d = i % pairs * 2;
            std::byte *at = memory + shared.queries + (row * paddedRow(p.keyDim) + d) * 2;
            const float *query = p.queries + sliceRow * p.ldQueries + std::uint64_t(firstHead + row) * p.keyDim + d;
            const bool there = row < heads;
            storeQuery2<kBfKeys>(at, shared.lowQueries, there ? query[0] : 0.0f, there ? query[1] : 0.0f, p.scale);
        }
    }

    // Warp w takes keys 32 w .. 32 w + 31 of the tile; then all agree on the maximum, and the weights go to shared memory.
    KV_DEVICE void scoresToWeights(float (&most)[2], const KvSource &source) const
    {
        float s[4][4];
        const std::uint32_t firstKey = 32 * warp();
        scoreKeys<kBfKeys, 2>(s, memory + shared.queries, shared.lowQueries,
                              memory + shared.tile + firstKey * paddedRow(p.keyDim) * 2, p.keyDim);
        const Span spans[2] = {span, span};
        maskScores<4>(s, tile * kSplitTokens + firstKey, spans, most);
        auto *maxima = reinterpret_cast<float *>(memory + shared.maxima);
        if (lane() % 4 == 0) {
            maxima[warp() * kSingleRows + lane() / 4] = most[0];
            maxima[warp() * kSingleRows + lane() / 4 + 8] = most[1];
        }
        syncBlock(); // the keys are done with
        source.fetch(false, tile, span, memory + shared.tile, 32 * kSingleWarps);
        KV_UNROLL for (std::uint32_t w = 0; w < kSingleWarps; ++w)
            KV_UNROLL for (std::uint32_t r = 0; r < 2; ++r)
                most[r] = maxOf(most[r], maxima[w * kSingleRows + lane() / 4 + 8 * r]);
        weigh<4>(s, most);
        KV_UNROLL for (std::uint32_t pair = 0; pair < 2; ++pair)
        {
            const auto f = weightFragment<kBfValues>(s[2 * pair], s[2 * pair + 1]);
            KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
            {
                const std::uint32_t row = lane() / 4 + r % 2 * 8, key = firstKey + pair * 16 + r / 2 * 8 + lane() % 4 * 2;
                std::byte *at = memory + shared.weights + (row * paddedRow(kSplitTokens) + key) * 2;
                *reinterpret_cast<std::uint32_t *>(at) = f.high[r];
                if constexpr (kBfValues)
                    *reinterpret_cast<std::uint32_t *>(at + shared.lowWeights) = f.low[r];
            }
        }
    }

    KV_DEVICE WeightFragment<kBfValues> loadWeights(std::uint32_t step) const
    {
        WeightFragment<kBfValues> f;
        loadA(f.high, memory + shared.weights, paddedRow(kSplitTokens), step);
        if constexpr (kBfValues)
            loadA(f.low, memory + shared.weights + shared.lowWeights, paddedRow(kSplitTokens), step);
        return f;
    }

    KV_DEVICE float *partial(std::uint32_t row) const
    {
        return p.partials + ((std::uint64_t(sliceRow) * p.heads + firstHead + row) * p.keyTiles + tile) * partialFloats(p.valueDim);
    }
    KV_DEVICE void putPair(std::uint32_t column, float a, float b, std::uint32_t row) const
    {
        if (row >= heads)
            return;
        partial(row)[column] = a;
        partial(row)[column + 1] = b;
    }

    // Warp w takes 16 dims of each 64.
    KV_DEVICE void weighValues(const float (&most)[2]) const
    {
        for (std::uint32_t dim = 16 * warp(); dim < p.valueDim; dim += 16 * kSingleWarps) {
            float c[2][4] = {};
            KV_UNROLL for (std::uint32_t step = 0; step < kKeySteps; ++step)
            {
                const auto f = loadWeights(step);
                std::uint32_t b[4];
                loadValues(b, memory + shared.tile, paddedRow(p.valueDim), step, dim);
                addWeighted<kBfValues>(c[0], f, b[0], b[1]);
                addWeighted<kBfValues>(c[1], f, b[2], b[3]);
            }
            KV_UNROLL for (std::uint32_t j = 0; j < 2; ++j)
                KV_UNROLL for (std::uint32_t r = 0; r < 2; ++r)
                    putPair(dim + 8 * j + lane() % 4 * 2, c[j][2 * r], c[j][2 * r + 1], lane() / 4 + 8 * r);
        }
        if (warp() != 0)
            return;
        float sum[4] = {};
        KV_UNROLL for (std::uint32_t step = 0; step < kKeySteps; ++step)
            addWeighted<kBfValues>(sum, loadWeights(step), onePair<kBfValues>(), onePair<kBfValues>());
        if (lane() % 4 == 0)
            KV_UNROLL for (std::uint32_t r = 0; r < 2; ++r)
                putPair(p.valueDim, most[r], sum[2 * r], lane() / 4 + 8 * r);
    }

    KV_DEVICE void run() const
    {
        const KvSource source{p, p.tables + slice->table[p.group], kvHead};
        source.fetch(true, tile, span, memory + shared.tile, 32 * kSingleWarps);
        storeQueries();
        waitForCopies<0>();
        syncBlock();
        float most[2];
        scoresToWeights(most, source);
        waitForCopies<0>();
        syncBlock();
        weighValues(most);
    }
};

} // namespace
} // namespace kvilt::kernels::cuda::device

#define KV_ATTEND_SINGLE(name, bfKeys, bfValues)                                                                             \
    KV_KERNEL(attend_single_##name, ::kvilt::kernels::cuda::AttendParams, 128, 4)                                            \
    {                                                                                                                        \
        using namespace ::kvilt::kernels::cuda;                                                                              \
        device::waitForEarlierLaunches();                                                                                    \
        device::letNextLaunchBegin();                                                                                        \
        const device::SingleBlock<bfKeys, bfValues> block(p);                                                                \
        if (block.seesTile())                                                                                                \
            block.run();                                                                                                     \
    }
KV_ATTEND_SINGLE(f16_f16, false, false)
KV_ATTEND_SINGLE(f16_bf16, false, true)
KV_ATTEND_SINGLE(bf16_f16, true, false)
KV_ATTEND_SINGLE(bf16_bf16, true, true)

KV_KERNEL(attend_merge, ::kvilt::kernels::cuda::AttendParams, 128, 4)
{
    using namespace ::kvilt::kernels::cuda;
    using namespace device;
    waitForEarlierLaunches();
    letNextLaunchBegin();
    const std::uint32_t row = p.slices[blockX()].firstRow;
    const Span span = visibleSpan(p.slices[blockX()].firstPosition, p.window);
    const std::uint32_t begin = span.begin / kSplitTokens, end = (span.end + kSplitTokens - 1) / kSplitTokens;
    const float *partials = p.partials + (std::uint64_t(row) * p.heads + blockY()) * p.keyTiles * partialFloats(p.valueDim);
    float *out = p.out + row * p.ldOut + std::uint64_t(blockY()) * p.valueDim;
    for (std::uint32_t d = threadIndex(); d < p.valueDim; d += 128) {
        float value = 0, sum = 0, most = negativeInfinity();
        for (std::uint32_t tile = begin; tile < end; ++tile) {
            const float *from = partials + std::uint64_t(tile) * partialFloats(p.valueDim);
            const float tileMost = from[p.valueDim];
            const Fold f = foldOf(most, tileMost);
            value = folded(f, value, from[d]);
            sum = folded(f, sum, from[p.valueDim + 1]);
            most = foldedMost(f, most, tileMost);
        }
        out[d] = divideExact(value, sum);
    }
}

// SPDX-License-Identifier: Apache-2.0
// Products of many tokens on sm_90a: 16-bit floats by warpgroups, quantised weights widened to f16 in registers on the way.
// Weights and inputs come as the contiguous pieces that weight_layout.h and params.h describe, by the copy engine.
#include "kernels/cuda/device/activation.cuh"
#include "kernels/cuda/device/warpgroup.cuh"
#include "kernels/cuda/device/wide_unit.cuh"
#include "kernels/cuda/matmul_shape.h"

namespace kvilt::kernels::cuda::device {
namespace {

template <WeightType kType>
struct GroupProduct {
    static constexpr WeightLayout kLayout = weightLayout(kType);
    static constexpr std::uint32_t kTileStage = kLayout.unitBytes + kLayout.headerBytes, kStageBytes = groupStageBytes(kType);
    static constexpr bool kBfloat = kType == WeightType::BF16;

    const MatmulParams &p;
    std::uint32_t firstToken, tokens;

    KV_DEVICE explicit GroupProduct(const MatmulParams &params)
        : p(params), firstToken(blockX() * kGroupTokens), tokens(minOf(kGroupTokens, params.tokens - firstToken))
    {
    }

    // Where tile `slot` of the block comes from. A warpgroup has slots 8 g ..: four warps' tiles, then four more; of gated
    // products these are gate and up of the same rows.
    struct Place {
        std::uint32_t segment, tile;
    };
    KV_DEVICE Place placeOf(std::uint32_t slot) const
    {
        if (p.store == Store::gated)
            return {slot / 4 % 2, blockY() * (kGroupTiles / 2) + slot / 8 * 4 + slot % 4};
        const std::uint32_t tile = blockY() * kGroupTiles + slot;
        std::uint32_t segment = 0;
        while (segment + 1 < p.segmentCount && tile >= p.segments[segment + 1].firstTile)
            ++segment;
        return {segment, tile - p.segments[segment].firstTile};
    }
    KV_DEVICE bool there(const Place &place) const { return place.tile * kTileWeightRows < p.segments[place.segment].rows; }

    KV_DEVICE std::byte *stage(std::uint32_t index) const { return sharedMemory() + index % kGroupStages * kStageBytes; }
    KV_DEVICE Barrier *full(std::uint32_t index) const
    {
        return reinterpret_cast<Barrier *>(sharedMemory() + kGroupStages * kStageBytes) + index % kGroupStages;
    }
    KV_DEVICE Barrier *empty(std::uint32_t index) const { return full(index) + kGroupStages; }
    static KV_DEVICE std::uint32_t parityOf(std::uint32_t index) { return index / kGroupStages % 2; }

    // --- the copying warp: lane l < 16 fetches tile l's weights, lane 16 the input
    KV_DEVICE void fetchWeights(std::uint32_t unit) const
    {
        const Place place = placeOf(lane() % kGroupTiles);
        const bool mine = lane() < kGroupTiles && there(place);
        const std::uint32_t bytes = warpSum(std::int32_t(mine ? kTileStage : 0)) + kGroupInputBytes;
        if (lane() == 0)
            arriveExpecting(full(unit), bytes);
        syncWarp();
        if (!mine)
            return;
        const std::byte *tile = p.segments[place.segment].weights + place.tile * p.tileBytes;
        std::byte *to = stage(unit) + kGroupInputBytes + lane() * kTileStage;
        if constexpr (kLayout.headerBytes > 0)
            copyBulk(to, tile + headerOffset<kType>(unit), kLayout.headerBytes, full(unit));
        copyBulk(to + kLayout.headerBytes, tile + unitOffset<kType>(unit), kLayout.unitBytes, full(unit));
    }
    KV_DEVICE void fetchInput(std::uint32_t unit) const
    {
        if (lane() == kGroupTiles)
            copyBulk(stage(unit), p.in.codes + (std::uint64_t(blockX()) * p.units + unit) * kGroupInputBytes, kGroupInputBytes, full(unit));
    }
    KV_DEVICE void fetchAll() const
    {
        const std::uint32_t ahead = minOf(kGroupStages, p.units);
        for (std::uint32_t unit = 0; unit < ahead; ++unit)
            fetchWeights(unit); // nobody writes weights: they may be under way before the launch before is done
        waitForEarlierLaunches();
        for (std::uint32_t unit = 0; unit < ahead; ++unit)
            fetchInput(unit);
        for (std::uint32_t unit = ahead; unit < p.units; ++unit) {
            waitForPhase(empty(unit), parityOf(unit) ^ 1);
            fetchWeights(unit);
            fetchInput(unit);
        }
    }

    // --- a warpgroup: two sums of 64 rows x 128 tokens
    KV_DEVICE std::uint32_t slotOf(std::uint32_t half) const { return warp() / 4 * 8 + half * 4 + warpInGroup(); }

    KV_DEVICE void loadFragments(std::uint32_t unit, std::uint32_t b, std::uint32_t (&a)[2][2][4]) const
    {
        KV_UNROLL for (std::uint32_t half = 0; half < 2; ++half)
        {
            const std::byte *weights = stage(unit) + kGroupInputBytes + slotOf(half) * kTileStage;
            WideUnit<kType>{weights, weights + kLayout.headerBytes}.fragments(b, a[half]);
        }
    }
    KV_DEVICE void multiplyBlock(std::uint32_t unit, std::uint32_t b, const std::uint32_t (&a)[2][2][4], float (&sums)[2][64]) const
    {
        beginProducts();
        KV_UNROLL for (std::uint32_t step = 0; step < 2; ++step)
        {
            const std::uint64_t input = matrixDescriptor(stage(unit) + (2 * b + step) * 32, 16, 1024);
            KV_UNROLL for (std::uint32_t half = 0; half < 2; ++half)
                multiplyByK<kBfloat>(sums[half], a[half][step], input, true);
        }
        commitProducts();
    }
    KV_DEVICE void release(std::uint32_t unit) const
    {
        syncWarp();
        if (lane() == 0)
            arrive(empty(unit));
    }

    // A block's products run while the next block's fragments are made, and while the other warpgroup makes its own. None runs
    // on into the next unit: the compiler would make all of them wait for each other.
    KV_DEVICE void addAllUnits(float (&sums)[2][64]) const
    {
        KV_NO_UNROLL for (std::uint32_t unit = 0; unit < p.units; ++unit)
        {
            std::uint32_t first[2][2][4], second[2][2][4];
            waitForPhase(full(unit), parityOf(unit));
            loadFragments(unit, 0, first);
            multiplyBlock(unit, 0, first, sums);
            loadFragments(unit, 1, second);
            multiplyBlock(unit, 1, second, sums);
            waitForProducts<0>();
            holdSums(sums[0]);
            holdSums(sums[1]);
            release(unit);
        }
    }

    // --- storing: 64 tokens at a time by way of shared memory, so that neighbouring lanes store neighbouring rows
    static constexpr std::uint32_t kTokenFloats = 36, kStoreTokens = 64; // [token][half][16 rows], padded
    static_assert(8 * kStoreTokens * kTokenFloats * 4 <= kGroupStages * kStageBytes);

    KV_DEVICE void storeElement(std::uint32_t half, std::uint32_t row, std::uint32_t token, const float *sums) const
    {
        const Place place = placeOf(slotOf(half));
        const MatmulParams::Segment &segment = p.segments[place.segment];
        const std::uint32_t outRow = place.tile * kTileWeightRows + row;
        if (token >= tokens || outRow >= segment.rows)
            return;
        const float factor = p.in.scales[firstToken + token];
        const std::uint64_t to = (firstToken + token) * p.ldOut + outRow;
        const float value = sums[half * 16 + row] * factor;
        if (p.store == Store::gated)
            storeGated(p, to, value, sums[16 + row] * factor);
        else
            segment.out[to] = p.store == Store::add ? segment.out[to] + value : value;
    }

    KV_DEVICE void storeSums(const float (&sums)[2][64]) const
    {
        float *own = reinterpret_cast<float *>(sharedMemory()) + warp() * kStoreTokens * kTokenFloats;
        syncGroup(1, 256); // the stages are done with
        KV_UNROLL for (std::uint32_t first = 0; first < kGroupTokens; first += kStoreTokens)
        {
            KV_UNROLL for (std::uint32_t half = 0; half < 2; ++half)
                KV_UNROLL for (std::uint32_t i = 0; i < 32; ++i)
                    own[(i / 4 * 8 + lane() % 4 * 2 + i % 2) * kTokenFloats + half * 16 + lane() / 4 + i / 2 % 2 * 8] = sums[half][first / 2 + i];
            syncWarp();
            KV_NO_UNROLL for (std::uint32_t i = lane(); i < kStoreTokens * 16 * (p.store == Store::gated ? 1 : 2); i += 32)
                storeElement(i / (kStoreTokens * 16), i % 16, first + i / 16 % kStoreTokens, own + i / 16 % kStoreTokens * kTokenFloats);
            syncWarp();
        }
    }

    KV_DEVICE void multiplyAndStore() const
    {
        float sums[2][64];
        KV_UNROLL for (std::uint32_t half = 0; half < 2; ++half)
            KV_UNROLL for (std::uint32_t i = 0; i < 64; ++i)
                sums[half][i] = 0;
        addAllUnits(sums);
        waitForEarlierLaunches(); // outputs may be theirs
        storeSums(sums);
    }

    KV_DEVICE void run() const
    {
        if (threadIndex() == 0) {
            for (std::uint32_t i = 0; i < kGroupStages; ++i) {
                initBarrier(full(i), 1);
                initBarrier(empty(i), 8);
            }
            publishBarriers();
        }
        syncBlock();
        letNextLaunchBegin();
        if (warp() >= 8) {
            giveRegisters<24>();
            if (warp() == 8)
                fetchAll();
        } else {
            takeRegisters<240>();
            multiplyAndStore();
        }
    }
};

} // namespace
} // namespace kvilt::kernels::cuda::device

#define KV_MATMUL_GROUP(type)                                                                                                \
    KV_KERNEL(matmul_group_##type, ::kvilt::kernels::cuda::MatmulParams, 384, 1)                                             \
    {                                                                                                                        \
        ::kvilt::kernels::cuda::device::GroupProduct<::kvilt::kernels::WeightType::type>(p).run();                           \
    }
KV_MATMUL_GROUP(F16)
KV_MATMUL_GROUP(BF16)
KV_MATMUL_GROUP(Q4_0)
KV_MATMUL_GROUP(Q4_1)
KV_MATMUL_GROUP(Q5_0)
KV_MATMUL_GROUP(Q5_1)
KV_MATMUL_GROUP(Q8_0)
KV_MATMUL_GROUP(Q4_K)
KV_MATMUL_GROUP(Q5_K)
KV_MATMUL_GROUP(Q6_K)
KV_MATMUL_GROUP(IQ4_NL)
KV_MATMUL_GROUP(IQ4_XS)

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/activation.cuh"
#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/device/prepare.cuh"
#include "kernels/cuda/device/weights.cuh"
#include "kernels/cuda/matmul_shape.h"
#include "kernels/cuda/params.h"

// out[token][row] (+)= sum of weight[row][k] * x[token][k]; see matmul_shape.h for the order of the sum. Quantised weights
// multiply int8 inputs: each block's integer dot is exact, and sum = fma(float(dot), weight scale * input scale, sum), then, for
// types with minima, sum = fma(minimum, input sum, sum). 16-bit floats multiply the input's high and low halves one after the other.
namespace kvilt::kernels::cuda::device {

// Adding an integer below 2^22 to this gives a float's bits: 12582912 + the integer. One subtraction instead of a conversion.
constexpr std::int32_t kMagicBits = 0x4b400000;
constexpr float kMagic = 12582912.0f;

template <WeightType kType, std::uint32_t kRowTiles, std::uint32_t kTokenTiles, std::uint32_t kStages>
struct MatmulBlock {
    static constexpr MatmulShape kShape{kRowTiles, kTokenTiles, kStages};
    static constexpr WeightLayout kLayout = weightLayout(kType);
    static constexpr bool kInt8 = int8Input(kType);
    static constexpr std::uint32_t kStageBytes = stageBytes(kType, kShape), kStageWeights = stageWeightBytes(kType, kShape);
    static constexpr std::uint32_t kStageCodes = stageCodeBytes(kType, kShape), kJoined = joinedTiles(kShape);
    static constexpr std::uint32_t kTokens = kTokenTiles * 8;
    static constexpr std::uint32_t kTileStage = kLayout.unitBytes + kLayout.headerBytes;
    static constexpr std::uint32_t kUnitCodes = kInt8 ? 64 : 256;

    const MatmulParams &p;
    const std::byte *tiles[kRowTiles]; // null: none
    std::uint32_t firstToken;
    std::uint32_t tokens;              // of this block, at least 1
    std::byte *stages;                 // this warp's
    Codebook codebook;

    KV_DEVICE explicit MatmulBlock(const MatmulParams &params) : p(params)
    {
        firstToken = blockX() * kTokens;
        tokens = minOf(kTokens, p.tokens - firstToken);
        KV_UNROLL for (int i = 0; i < 4; ++i)
            codebook.table[i] = p.table[i];
        codebook.unit = p.unit;
        stages = sharedMemory() + warp() * kStages * kStageBytes;
        KV_UNROLL for (std::uint32_t i = 0; i < kRowTiles; ++i)
        {
            const Place place = placeOf(i);
            const MatmulParams::Segment &segment = p.segments[place.segment];
            tiles[i] = place.tile * kTileWeightRows < segment.rows ? segment.weights + place.tile * p.tileBytes : nullptr;
        }
    }

    // Where row tile i of this block comes from. Gated: even ones from gate, odd ones from up.
    struct Place {
        std::uint32_t segment, tile;
    };
    KV_DEVICE Place placeOf(std::uint32_t i) const
    {
        if (p.store == Store::gated)
            return {i % 2, blockY() * (kRowTiles / 2) + i / 2};
        const std::uint32_t tile = blockY() * kRowTiles + i;
        std::uint32_t segment = 0;
        while (segment + 1 < p.segmentCount && tile >= p.segments[segment + 1].firstTile)
            ++segment;
        return {segment, tile - p.segments[segment].firstTile};
    }

    KV_DEVICE bool fused() const { return kTokenTiles == 1 && p.fused != 0; }
    // Not a member: it would take registers that the larger shapes do not have.
    KV_DEVICE Prepared input() const
    {
        if (!fused())
            return p.in;
        std::byte *codes = sharedMemory() + matmulSharedBytes(kType, kShape);
        return {codes, reinterpret_cast<float *>(codes + fusedCodeBytes(kType, p.units))};
    }
    // The input's norm and format, by the block for itself: the same steps as prepare_<format>.
    KV_DEVICE void prepareInput() const
    {
        const Prepared to = input();
        float *scratch = reinterpret_cast<float *>(reinterpret_cast<std::byte *>(to.scales) + fusedScaleBytes(kType, p.units));
        PrepareRow row(p.prepare, to, scratch);
        row.begin();
        if constexpr (kInt8)
            row.toInt8();
        else if constexpr (kType == WeightType::BF16)
            row.toBfloatPairs();
        else
            row.toHalfPairs();
        syncBlock();
    }

    KV_DEVICE std::byte *stage(std::uint32_t index) const { return stages + index % kStages * kStageBytes; }
    KV_DEVICE std::uint32_t ownUnits() const { return (p.units + kMatmulWarps - 1 - warp()) / kMatmulWarps; }
    KV_DEVICE std::uint32_t unitOf(std::uint32_t index) const { return index * kMatmulWarps + warp(); }

    KV_DEVICE void copyRun(std::byte *to, const std::byte *from, std::uint32_t bytes) const
    {
        for (std::uint32_t at = lane() * 16; at < bytes; at += 512)
            copyAsync16(to + at, from + at);
    }

    KV_DEVICE void fetchWeights(std::uint32_t index) const
    {
        std::byte *to = stage(index);
        KV_UNROLL for (std::uint32_t i = 0; i < kRowTiles; ++i)
        {
            if (!tiles[i])
                continue;
            if constexpr (kLayout.headerBytes > 0)
                copyRun(to + i * kTileStage, tiles[i] + headerOffset<kType>(unitOf(index)), kLayout.headerBytes);
            copyRun(to + i * kTileStage + kLayout.headerBytes, tiles[i] + unitOffset<kType>(unitOf(index)), kLayout.unitBytes);
        }
    }

    // Codes to [part of 32 (floats: 64) bytes][token], then scales [token].
    KV_DEVICE void fetchInput(std::uint32_t index) const
    {
        constexpr std::uint32_t kPart = kInt8 ? 32 : 64, kChunks = kUnitCodes / 16;
        std::byte *to = stage(index) + kStageWeights;
        const std::uint64_t row = std::uint64_t(p.units) * kUnitCodes;
        if (fused()) {
            const std::byte *from = input().codes + unitOf(index) * kUnitCodes;
            if (lane() < kChunks) {
                const std::uint32_t at = lane() * 16;
                *reinterpret_cast<Words4 *>(to + at / kPart * kTokens * kPart + at % kPart) = words4At(from + at);
            } else if (kInt8 && lane() == kChunks) {
                *reinterpret_cast<Words4 *>(to + kStageCodes) = *reinterpret_cast<const Words4 *>(input().scales + unitOf(index) * 4);
            }
            return;
        }
        for (std::uint32_t i = lane(); i < tokens * kChunks; i += 32) {
            const std::uint32_t token = i / kChunks, at = i % kChunks * 16;
            copyAsync16(to + (at / kPart * kTokens + token) * kPart + at % kPart,
                        p.in.codes + (firstToken + token) * row + std::uint64_t(unitOf(index)) * kUnitCodes + at);
        }
        if constexpr (kInt8) {
            std::byte *scales = to + kStageCodes;
            for (std::uint32_t token = lane(); token < tokens; token += 32)
                copyAsync16(scales + token * 16, p.in.scales + ((firstToken + token) * std::uint64_t(p.units) + unitOf(index)) * 4);
        }
    }

    // Adds a unit's products to the warp's sums. Columns beyond the last token compute it again; nobody stores them.
    KV_DEVICE void addUnit(std::uint32_t index, float (&sums)[kRowTiles][kTokenTiles][4]) const
    {
        const std::byte *weights = stage(index);
        const std::byte *codes = weights + kStageWeights;
        if constexpr (kInt8 && kRowTiles * kTokenTiles > 16) { // one block's registers at a time
            KV_NO_UNROLL for (std::uint32_t b = 0; b < 2; ++b)
                addBlock(b, weights, codes, sums);
        } else if constexpr (kInt8) {
            addBlock(0, weights, codes, sums);
            addBlock(1, weights, codes, sums);
        } else {
            addFloats(weights, codes, sums);
        }
    }

    KV_DEVICE void addBlock(std::uint32_t b, const std::byte *weights, const std::byte *codes,
                            float (&sums)[kRowTiles][kTokenTiles][4]) const
    {
        using Unit = QuantUnit<kType>;
        std::uint32_t a[kRowTiles][4];
        float scale[kRowTiles][Unit::kGroups][2], minimum[kRowTiles][Unit::kGroups][2];
        KV_UNROLL for (std::uint32_t i = 0; i < kRowTiles; ++i)
        {
            const Unit unit{weights + i * kTileStage, weights + i * kTileStage + kLayout.headerBytes, codebook};
            unit.codes(b, a[i]);
            unit.scales(b, scale[i], minimum[i]);
        }
        const std::byte *inScales = codes + kStageCodes;
        KV_UNROLL for (std::uint32_t t = 0; t < kTokenTiles; ++t)
        {
            const std::uint32_t token = minOf(8 * t + lane() / 4, tokens - 1);
            const Words2 x = words2At(codes + (b * kTokens + token) * 32 + lane() % 4 * 8);
            float inScale[2], inSum[Unit::kGroups][2];
            KV_UNROLL for (std::uint32_t j = 0; j < 2; ++j)
            {
                const std::uint32_t column = minOf(8 * t + lane() % 4 * 2 + j, tokens - 1);
                const Words2 words = words2At(inScales + column * 16 + b * 8);
                inScale[j] = floatOf(words.w[0]);
                inSum[0][j] = floatOf(words.w[1]);
            }
            if constexpr (kLayout.format.mins && Unit::kGroups == 2)
                sumHalves(x, inScale, inSum);
            KV_UNROLL for (std::uint32_t i = 0; i < kRowTiles; ++i)
                addProducts<Unit::kGroups>(a[i], x, scale[i], minimum[i], inScale, inSum, sums[i][t]);
        }
    }

    // Where minima stand for 16 columns, so must the input's sums: products with ones.
    static KV_DEVICE void sumHalves(const Words2 &x, const float (&inScale)[2], float (&inSum)[2][2])
    {
        KV_UNROLL for (int half = 0; half < 2; ++half)
        {
            std::int32_t sum[4] = {};
            mmaInt8Half(sum, 0x01010101u, 0x01010101u, x.w[half]);
            KV_UNROLL for (int j = 0; j < 2; ++j)
                inSum[half][j] = inScale[j] * float(sum[j]);
        }
    }

    template <int kGroups>
    static KV_DEVICE void addProducts(const std::uint32_t (&a)[4], const Words2 &x, const float (&scale)[kGroups][2],
                                      const float (&minimum)[kGroups][2], const float (&inScale)[2],
                                      const float (&inSum)[kGroups][2], float (&sums)[4])
    {
        KV_UNROLL for (int group = 0; group < kGroups; ++group)
        {
            std::int32_t dot[4] = {kMagicBits, kMagicBits, kMagicBits, kMagicBits};
            if constexpr (kGroups == 1)
                mmaInt8(dot, a, x.w[0], x.w[1]);
            else
                mmaInt8Half(dot, a[2 * group], a[2 * group + 1], x.w[group]);
            KV_UNROLL for (int r = 0; r < 4; ++r)
                sums[r] = fma(floatOf(std::uint32_t(dot[r])) - kMagic, scale[group][r / 2] * inScale[r % 2], sums[r]);
        }
        if constexpr (kLayout.format.mins) {
            KV_UNROLL for (int group = 0; group < kGroups; ++group)
                KV_UNROLL for (int r = 0; r < 4; ++r)
                    sums[r] = fma(minimum[group][r / 2], inSum[group][r % 2], sums[r]);
        }
    }

    KV_DEVICE void addFloats(const std::byte *weights, const std::byte *codes, float (&sums)[kRowTiles][kTokenTiles][4]) const
    {
        KV_NO_UNROLL for (std::uint32_t step = 0; step < 4; ++step)
        {
            std::uint32_t a[kRowTiles][4];
            KV_UNROLL for (std::uint32_t i = 0; i < kRowTiles; ++i)
            {
                const Words4 words = words4At(weights + i * kTileStage + step * 512 + lane() * 16);
                KV_UNROLL for (int r = 0; r < 4; ++r)
                    a[i][r] = words.w[r];
            }
            KV_UNROLL for (std::uint32_t t = 0; t < kTokenTiles; ++t)
            {
                const std::uint32_t token = minOf(8 * t + lane() / 4, tokens - 1);
                const Words4 x = words4At(codes + (step * kTokens + token) * 64 + lane() % 4 * 16);
                KV_UNROLL for (std::uint32_t i = 0; i < kRowTiles; ++i)
                {
                    if constexpr (kType == WeightType::BF16) {
                        mmaBfloat(sums[i][t], a[i], x.w[0], x.w[1]);
                        mmaBfloat(sums[i][t], a[i], x.w[2], x.w[3]);
                    } else {
                        mmaHalf(sums[i][t], a[i], x.w[0], x.w[1]);
                        mmaHalf(sums[i][t], a[i], x.w[2], x.w[3]);
                    }
                }
            }
        }
    }

    KV_DEVICE void addAllUnits(float (&sums)[kRowTiles][kTokenTiles][4]) const
    {
        const std::uint32_t count = ownUnits();
        for (std::uint32_t i = 0; i < minOf(kStages, count); ++i)
            fetchWeights(i); // nobody writes weights: they may be under way before the launch before is done
        waitForEarlierLaunches();
        if constexpr (kTokenTiles == 1) {
            if (fused())
                prepareInput();
        }
        KV_NO_UNROLL for (std::uint32_t i = 0; i < kStages; ++i)
        {
            if (i < count)
                fetchInput(i);
            commitCopies();
        }
        KV_NO_UNROLL for (std::uint32_t i = 0; i < count; ++i)
        {
            waitForCopies<int(kStages) - 1>();
            syncWarp();
            addUnit(i, sums);
            syncWarp();
            if (i + kStages < count) {
                fetchWeights(i + kStages);
                fetchInput(i + kStages);
            }
            commitCopies();
        }
        waitForCopies<0>();
    }

    // --- joining
    // Register r of lane l of tile t (row tile * kTokenTiles + token tile) of warp w, among the tiles joined together.
    static KV_DEVICE float *partial(std::uint32_t w, std::uint32_t t, std::uint32_t at)
    {
        return reinterpret_cast<float *>(sharedMemory()) + (w * kJoined + t) * 128 + at;
    }
    static KV_DEVICE float joined(std::uint32_t t, std::uint32_t at)
    {
        const float a = *partial(0, t, at) + *partial(1, t, at), b = *partial(2, t, at) + *partial(3, t, at);
        const float c = *partial(4, t, at) + *partial(5, t, at), d = *partial(6, t, at) + *partial(7, t, at);
        return (a + b) + (c + d);
    }

    KV_DEVICE float factor(std::uint32_t token) const { return kInt8 ? 1.0f : input().scales[firstToken + token]; }

    // Element `at` of the tile is row at % 16 of token at / 16, so that neighbouring threads store neighbouring rows.
    KV_DEVICE void storeElement(std::uint32_t rowTile, std::uint32_t tokenTile, std::uint32_t inGroup, std::uint32_t at) const
    {
        const std::uint32_t row = at % 16, token = tokenTile * 8 + at / 16;
        const Place place = placeOf(rowTile);
        const MatmulParams::Segment &segment = p.segments[place.segment];
        const std::uint32_t outRow = place.tile * kTileWeightRows + row;
        if (token >= tokens || outRow >= segment.rows)
            return;
        const std::uint32_t from = (row / 8 * 2 + at / 16 % 2) * 32 + row % 8 * 4 + at / 16 / 2;
        float value = joined(inGroup, from);
        if constexpr (!kInt8)
            value = value * factor(token);
        const std::uint64_t to = (firstToken + token) * p.ldOut + outRow;
        if (p.store == Store::gated) {
            float up = joined(inGroup + kTokenTiles, from);
            if constexpr (!kInt8)
                up = up * factor(token);
            storeGated(p, to, value, up);
        } else {
            segment.out[to] = p.store == Store::add ? segment.out[to] + value : value;
        }
    }

    KV_DEVICE void joinAndStore(const float (&sums)[kRowTiles][kTokenTiles][4]) const
    {
        constexpr std::uint32_t kTiles = kRowTiles * kTokenTiles;
        KV_UNROLL for (std::uint32_t first = 0; first < kTiles; first += kJoined)
        {
            syncBlock();
            KV_UNROLL for (std::uint32_t t = 0; t < kJoined; ++t)
                KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
                    *partial(warp(), t, r * 32 + lane()) = sums[(first + t) / kTokenTiles][(first + t) % kTokenTiles][r];
            syncBlock();
            KV_NO_UNROLL for (std::uint32_t i = threadIndex(); i < kJoined * 128; i += kMatmulThreads)
            {
                const std::uint32_t t = i / 128, tile = first + t;
                if (p.store == Store::gated && tile / kTokenTiles % 2 == 1)
                    continue;
                storeElement(tile / kTokenTiles, tile % kTokenTiles, t, i % 128);
            }
        }
    }

    KV_DEVICE void run() const
    {
        float sums[kRowTiles][kTokenTiles][4];
        KV_UNROLL for (std::uint32_t i = 0; i < kRowTiles; ++i)
            KV_UNROLL for (std::uint32_t t = 0; t < kTokenTiles; ++t)
                KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
                    sums[i][t][r] = 0;
        addAllUnits(sums);
        letNextLaunchBegin();
        joinAndStore(sums);
    }
};

} // namespace kvilt::kernels::cuda::device

#define KV_MATMUL_KERNEL(type, name, shapeOf, blocks)                                                                        \
    KV_KERNEL(matmul_##type##_##name, ::kvilt::kernels::cuda::MatmulParams, 256, blocks)                                     \
    {                                                                                                                        \
        using namespace ::kvilt::kernels;                                                                                    \
        constexpr cuda::MatmulShape kShape = cuda::shapeOf(WeightType::type);                                                \
        cuda::device::MatmulBlock<WeightType::type, kShape.rowTiles, kShape.tokenTiles, kShape.stages>(p).run();             \
    }
#define KV_MATMUL_FLOAT_KERNELS(type)                                                                                        \
    KV_MATMUL_KERNEL(type, one, shapeOne, 2)                                                                                 \
    KV_MATMUL_KERNEL(type, two, shapeTwo, 2)                                                                                 \
    KV_MATMUL_KERNEL(type, medium, shapeMedium, 1)
#define KV_MATMUL_KERNELS(type)                                                                                              \
    KV_MATMUL_FLOAT_KERNELS(type)                                                                                            \
    KV_MATMUL_KERNEL(type, large, shapeLarge, 1)

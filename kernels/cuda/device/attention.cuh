// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/device/kv.cuh"
#include "kernels/cuda/device/mma.cuh"

// What both attention kernels do alike, so that a row gets the same bits from either: scores by k steps of 16 dims ascending,
// one maximum a key tile, weights 2^(score - maximum), values by steps of 16 keys ascending, the sum of weights as one more
// column of values that is 1 everywhere. bf16 keys (values) multiply the queries' (weights') high and low parts one after the
// other; every other type is f16 in shared memory, which holds it exactly except for the product of a q8 or q4 code and scale.
// Keys that no row of the block sees are zeros there: their memory may hold anything.
namespace kvilt::kernels::cuda::device {

constexpr std::uint32_t kKeySteps = kSplitTokens / 16;

struct Span {
    std::uint32_t begin, end; // positions that a row sees
};
KV_DEVICE Span visibleSpan(std::uint32_t position, std::uint32_t window)
{
    return {window != 0 && position + 1 > window ? position + 1 - window : 0, position + 1};
}

template <bool kBf>
KV_DEVICE std::uint32_t pack2(float a, float b)
{
    if constexpr (kBf)
        return floatToBfloat(a) | floatToBfloat(b) << 16;
    else
        return floatToHalf(a) | std::uint32_t(floatToHalf(b)) << 16;
}
// What pack2<true> left over of a and b.
KV_DEVICE std::uint32_t packRest(std::uint32_t high, float a, float b)
{
    return pack2<true>(a - bfloatToFloat(high & 0xffffu), b - floatOf(high & 0xffff0000u));
}

template <bool kBf>
KV_DEVICE void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1)
{
    if constexpr (kBf)
        mmaBfloat(c, a, b0, b1);
    else
        mmaHalf(c, a, b0, b1);
}

// Saturated: an infinity would make NaNs of other rows' zero weights.
KV_DEVICE float boundedToHalf(float v) { return maxOf(-65504.0f, -maxOf(-65504.0f, -v)); }

// --- shared memory
// Eight elements of a row as f16 (bf16 stays), from 8 * chunk on.
KV_DEVICE Words4 widen8(KvElement type, const std::byte *elements, const std::byte *scales, std::uint32_t chunk)
{
    float v[8];
    if (type == KvElement::fp8) {
        const Words2 words = *reinterpret_cast<const Words2 *>(elements + chunk * 8);
        KV_UNROLL for (std::uint32_t i = 0; i < 8; ++i)
            v[i] = fp8ToFloat(words.w[i / 4] >> (8 * (i % 4)) & 255u);
    } else {
        const float scale = halfToFloat(reinterpret_cast<const std::uint16_t *>(scales)[chunk / 4]);
        if (type == KvElement::q8) {
            const Words2 words = *reinterpret_cast<const Words2 *>(elements + chunk * 8);
            KV_UNROLL for (std::uint32_t i = 0; i < 8; ++i)
                v[i] = scale * float(std::int32_t(std::int8_t(words.w[i / 4] >> (8 * (i % 4)) & 255u)));
        } else { // q4: 16 bytes every 32, the first 16 in the low nibbles
            const Words2 words = *reinterpret_cast<const Words2 *>(elements + chunk / 4 * 16 + chunk % 2 * 8);
            const std::uint32_t shift = chunk / 2 % 2 * 4;
            KV_UNROLL for (std::uint32_t i = 0; i < 8; ++i)
                v[i] = scale * float(std::int32_t(words.w[i / 4] >> (8 * (i % 4) + shift) & 15u) - 8);
        }
    }
    Words4 out;
    KV_UNROLL for (int i = 0; i < 4; ++i)
        out.w[i] = pack2<false>(boundedToHalf(v[2 * i]), boundedToHalf(v[2 * i + 1]));
    return out;
}

struct KvSource {
    const AttendParams &p;
    const std::uint32_t *table; // of the sequence
    std::uint32_t kvHead;

    // Starts the copy of a key tile's keys or values to shared memory; rows outside `seen` become zeros.
    KV_DEVICE void fetch(bool keys, std::uint32_t tile, Span seen, std::byte *to, std::uint32_t threads) const
    {
        const KvElement type = keys ? p.keyType : p.valueType;
        const std::uint32_t dim = keys ? p.keyDim : p.valueDim, chunks = dim / 8;
        const std::byte *side = keys ? p.keys : p.values;
        for (std::uint32_t i = threadIndex(); i < kSplitTokens * chunks; i += threads) {
            const std::uint32_t key = i / chunks, chunk = i % chunks, position = tile * kSplitTokens + key;
            std::byte *at = to + (key * paddedRow(dim) + chunk * 8) * 2;
            if (position < seen.begin || position >= seen.end) {
                *reinterpret_cast<Words4 *>(at) = Words4{};
                continue;
            }
            const std::byte *block = side + table[position >> p.blockShift] * p.blockStride;
            const KvRowPlace place =
                kvRowPlace(type, dim, p.kvHeads, p.blockShift, kvHead, position & ((1u << p.blockShift) - 1));
            if (type == KvElement::f16 || type == KvElement::bf16)
                copyAsync16(at, block + place.elements + chunk * 16);
            else
                *reinterpret_cast<Words4 *>(at) = widen8(type, block + place.elements, block + place.scales, chunk);
        }
        commitCopies();
    }
};

// Two neighbouring elements of a query row, scaled, to shared memory.
template <bool kBfKeys>
KV_DEVICE void storeQuery2(std::byte *at, std::uint32_t lowOffset, float a, float b, float scale)
{
    a = a * scale;
    b = b * scale;
    const std::uint32_t high = kBfKeys ? pack2<true>(a, b) : pack2<false>(boundedToHalf(a), boundedToHalf(b));
    *reinterpret_cast<std::uint32_t *>(at) = high;
    if constexpr (kBfKeys)
        *reinterpret_cast<std::uint32_t *>(at + lowOffset) = packRest(high, a, b);
}

// --- products. A row of 16-bit elements is `ld` elements long; lanes name rows as loadMatrices() wants them.
// Fragment of A: rows 0..15 and columns 16 step ..
KV_DEVICE void loadA(std::uint32_t (&a)[4], const std::byte *rows, std::uint32_t ld, std::uint32_t step)
{
    const std::uint32_t l = lane();
    loadMatrices<false>(a, rows + ((l % 8 + l / 8 % 2 * 8) * ld + step * 16 + l / 16 * 8) * 2);
}
// Fragments of B for 16 keys (two tiles of 8 columns) and dims 16 step ..: b[0], b[1] of the first, b[2], b[3] of the second.
KV_DEVICE void loadKeys(std::uint32_t (&b)[4], const std::byte *keys, std::uint32_t ld, std::uint32_t step)
{
    const std::uint32_t l = lane();
    loadMatrices<false>(b, keys + ((l % 8 + l / 16 * 8) * ld + step * 16 + l / 8 % 2 * 8) * 2);
}
// The same for 16 dims and keys 16 step ..
KV_DEVICE void loadValues(std::uint32_t (&b)[4], const std::byte *values, std::uint32_t ld, std::uint32_t step, std::uint32_t dim)
{
    const std::uint32_t l = lane();
    loadMatrices<true>(b, values + ((step * 16 + l % 8 + l / 8 % 2 * 8) * ld + dim + l / 16 * 8) * 2);
}

// Scores of 16 rows and 16 * kPairs keys.
template <bool kBfKeys, std::uint32_t kPairs>
KV_DEVICE void scoreKeys(float (&s)[2 * kPairs][4], const std::byte *queries, std::uint32_t lowQueries, const std::byte *keys,
                         std::uint32_t dim)
{
    KV_UNROLL for (std::uint32_t i = 0; i < 2 * kPairs; ++i)
        KV_UNROLL for (int r = 0; r < 4; ++r)
            s[i][r] = 0;
    const std::uint32_t ld = paddedRow(dim);
    KV_NO_UNROLL for (std::uint32_t step = 0; step < dim / 16; ++step)
    {
        std::uint32_t high[4], low[4];
        loadA(high, queries, ld, step);
        if constexpr (kBfKeys)
            loadA(low, queries + lowQueries, ld, step);
        KV_UNROLL for (std::uint32_t pair = 0; pair < kPairs; ++pair)
        {
            std::uint32_t b[4];
            loadKeys(b, keys + pair * 16 * ld * 2, ld, step);
            KV_UNROLL for (std::uint32_t j = 0; j < 2; ++j)
            {
                multiply<kBfKeys>(s[2 * pair + j], high, b[2 * j], b[2 * j + 1]);
                if constexpr (kBfKeys)
                    multiply<true>(s[2 * pair + j], low, b[2 * j], b[2 * j + 1]);
            }
        }
    }
}

// Scores of positions outside the rows' spans become -infinity; `most`: of rows g and g + 8, over these keys.
template <std::uint32_t kTiles>
KV_DEVICE void maskScores(float (&s)[kTiles][4], std::uint32_t firstPosition, const Span (&spans)[2], float (&most)[2])
{
    most[0] = most[1] = negativeInfinity();
    KV_UNROLL for (std::uint32_t i = 0; i < kTiles; ++i)
    {
        KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
        {
            const std::uint32_t position = firstPosition + 8 * i + lane() % 4 * 2 + r % 2;
            const Span span = spans[r / 2];
            if (position < span.begin || position >= span.end)
                s[i][r] = negativeInfinity();
            most[r / 2] = maxOf(most[r / 2], s[i][r]);
        }
    }
    KV_UNROLL for (int r = 0; r < 2; ++r)
    {
        most[r] = maxOf(most[r], shuffleXor(most[r], 1));
        most[r] = maxOf(most[r], shuffleXor(most[r], 2));
    }
}

// Scores become weights; all zero where the maximum is -infinity.
template <std::uint32_t kTiles>
KV_DEVICE void weigh(float (&s)[kTiles][4], const float (&most)[2])
{
    const float from[2] = {most[0] == negativeInfinity() ? 0.0f : most[0], most[1] == negativeInfinity() ? 0.0f : most[1]};
    KV_UNROLL for (std::uint32_t i = 0; i < kTiles; ++i)
        KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
            s[i][r] = exp2Fast(s[i][r] - from[r / 2]);
}

// Weights of one step of 16 keys as a fragment of A.
template <bool kBfValues>
struct WeightFragment {
    std::uint32_t high[4];
    std::uint32_t low[4]; // bf16 only
};

template <bool kBfValues>
KV_DEVICE WeightFragment<kBfValues> weightFragment(const float (&first)[4], const float (&second)[4])
{
    WeightFragment<kBfValues> f;
    f.high[0] = pack2<kBfValues>(first[0], first[1]);
    f.high[1] = pack2<kBfValues>(first[2], first[3]);
    f.high[2] = pack2<kBfValues>(second[0], second[1]);
    f.high[3] = pack2<kBfValues>(second[2], second[3]);
    if constexpr (kBfValues) {
        f.low[0] = packRest(f.high[0], first[0], first[1]);
        f.low[1] = packRest(f.high[1], first[2], first[3]);
        f.low[2] = packRest(f.high[2], second[0], second[1]);
        f.low[3] = packRest(f.high[3], second[2], second[3]);
    }
    return f;
}

template <bool kBfValues>
KV_DEVICE void addWeighted(float (&c)[4], const WeightFragment<kBfValues> &f, std::uint32_t b0, std::uint32_t b1)
{
    multiply<kBfValues>(c, f.high, b0, b1);
    if constexpr (kBfValues)
        multiply<true>(c, f.low, b0, b1);
}

template <bool kBfValues>
KV_DEVICE std::uint32_t onePair() { return kBfValues ? 0x3f803f80u : 0x3c003c00u; }

// --- folding: the next tile's result into what came before
struct Fold {
    bool nothing; // the tile has no visible key
    bool first;   // nothing came before
    float keep, take;
};
KV_DEVICE Fold foldOf(float most, float tileMost)
{
    Fold f{tileMost == negativeInfinity(), most == negativeInfinity(), 1, 1};
    if (!f.nothing && !f.first) {
        const float top = maxOf(most, tileMost);
        f.keep = exp2Fast(most - top);
        f.take = exp2Fast(tileMost - top);
    }
    return f;
}
KV_DEVICE float folded(const Fold &f, float before, float tile)
{
    return f.nothing ? before : f.first ? tile : fma(tile, f.take, before * f.keep);
}
KV_DEVICE float foldedMost(const Fold &f, float before, float tile) { return f.nothing ? before : maxOf(before, tile); }

} // namespace kvilt::kernels::cuda::device

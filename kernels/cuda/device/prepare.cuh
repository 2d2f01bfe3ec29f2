// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/vocabulary.cuh"
#include "kernels/cuda/params.h"

// Rows of activations as the products read them (params.h, InputFormat). A row depends on nothing but itself.
namespace kvilt::kernels::cuda::device {

constexpr std::uint32_t kPrepareThreads = 256;

// Sum over the block's 256 threads, the same bits in each; `scratch`: 8 floats of shared memory.
KV_DEVICE float blockSum(float v, float *scratch)
{
    v = warpSum(v);
    syncBlock();
    if (lane() == 0)
        scratch[warp()] = v;
    syncBlock();
    float sum = scratch[0];
    for (std::uint32_t w = 1; w < kPrepareThreads / 32; ++w)
        sum = sum + scratch[w];
    return sum;
}
KV_DEVICE float blockMax(float v, float *scratch)
{
    v = warpMax(v);
    syncBlock();
    if (lane() == 0)
        scratch[warp()] = v;
    syncBlock();
    float most = scratch[0];
    for (std::uint32_t w = 1; w < kPrepareThreads / 32; ++w)
        most = maxOf(most, scratch[w]);
    return most;
}

KV_DEVICE float inverseRms(const float *x, std::uint32_t cols, float epsilon, float *scratch)
{
    float sum = 0;
    for (std::uint32_t k = threadIndex(); k < cols; k += kPrepareThreads)
        sum = fma(x[k], x[k], sum);
    return divideExact(1.0f, sqrtExact(divideExact(blockSum(sum, scratch), float(cols)) + epsilon));
}

struct PrepareRow {
    const PrepareParams &p;
    Prepared to;
    std::uint32_t row;
    float *x;
    float factor;   // of the norm
    float *scratch; // 8 floats of shared memory

    KV_DEVICE explicit PrepareRow(const PrepareParams &params)
        : PrepareRow(params, params.to, reinterpret_cast<float *>(sharedMemory()))
    {
    }
    KV_DEVICE PrepareRow(const PrepareParams &params, const Prepared &where, float *sharedScratch)
        : p(params), to(where), row(blockX()), x(params.x + std::uint64_t(row) * params.cols), factor(1), scratch(sharedScratch)
    {
    }

    // x += rmsNorm(delta) * deltaNorm; then the norm's factor.
    KV_DEVICE void begin()
    {
        if (p.delta) {
            const float *delta = p.delta + std::uint64_t(row) * p.cols;
            const float inverse = inverseRms(delta, p.cols, p.epsilon, scratch);
            for (std::uint32_t k = threadIndex(); k < p.cols; k += kPrepareThreads)
                x[k] = x[k] + delta[k] * inverse * p.deltaNorm[k];
            syncBlock();
        }
        if (p.norm)
            factor = inverseRms(x, p.cols, p.epsilon, scratch);
    }

    KV_DEVICE float at(std::uint32_t k) const
    {
        if (k >= p.cols)
            return 0;
        if (p.input) {
            const std::uint64_t index = row * p.ldInput + k;
            return p.inputBf16 ? bfloatToFloat(static_cast<const std::uint16_t *>(p.input)[index]) : static_cast<const float *>(p.input)[index];
        }
        return p.norm ? x[k] * factor * p.norm[k] : x[k];
    }

    // A warp takes 32 columns: x = scale * q, q = round(x * 127 / most).
    KV_DEVICE void toInt8() const
    {
        std::byte *codes = to.codes + std::uint64_t(row) * p.units * 64;
        float *scales = to.scales + std::uint64_t(row) * p.units * 4;
        for (std::uint32_t block = warp(); block < p.units * 2; block += kPrepareThreads / 32) {
            const float value = at(block * 32 + lane());
            const float most = warpMax(absOf(value));
            const float inverse = most > 0 ? divideExact(127.0f, most) : 0.0f;
            const std::int32_t code = roundToInt(maxOf(-127.0f, -maxOf(-127.0f, -(value * inverse))));
            const std::int32_t sum = warpSum(code);
            const std::uint32_t i = lane() % 16;
            codes[block * 32 + i / 4 * 8 + lane() / 16 * 4 + i % 4] = std::byte(code);
            if (lane() == 0) {
                const float scale = divideExact(most, 127.0f);
                scales[block * 2] = scale;
                scales[block * 2 + 1] = scale * float(sum);
            }
        }
    }

    // Where the high part of column k lies, in 16-bit words; the low part is 4 words on.
    static KV_DEVICE std::uint32_t pairPlace(std::uint32_t k)
    {
        const std::uint32_t i = k % 16;
        return k / 16 * 32 + i % 8 / 2 * 8 + i / 8 * 2 + i % 2;
    }

    KV_DEVICE void toBfloatPairs() const
    {
        auto *codes = reinterpret_cast<std::uint16_t *>(to.codes) + std::uint64_t(row) * p.units * 128;
        for (std::uint32_t k = threadIndex(); k < p.units * 64; k += kPrepareThreads) {
            const float value = at(k);
            const std::uint32_t high = floatToBfloat(value);
            codes[pairPlace(k)] = std::uint16_t(high);
            codes[pairPlace(k) + 4] = std::uint16_t(floatToBfloat(value - bfloatToFloat(high)));
        }
        if (threadIndex() == 0)
            to.scales[row] = 1;
    }

    // f16 has little range: the row is divided by the power of two next above its largest value.
    KV_DEVICE void toHalfPairs() const
    {
        float most = 0;
        for (std::uint32_t k = threadIndex(); k < p.cols; k += kPrepareThreads)
            most = maxOf(most, absOf(at(k)));
        most = blockMax(most, scratch);
        const std::uint32_t exponent = minOf(maxOf(bitsOf(most) >> 23 & 255u, 2u), 251u);
        const float up = floatOf((exponent + 1) << 23), down = floatOf((253 - exponent) << 23);
        auto *codes = reinterpret_cast<std::uint16_t *>(to.codes) + std::uint64_t(row) * p.units * 128;
        for (std::uint32_t k = threadIndex(); k < p.units * 64; k += kPrepareThreads) {
            const float value = at(k) * down;
            const std::uint16_t high = floatToHalf(value);
            codes[pairPlace(k)] = high;
            codes[pairPlace(k) + 4] = floatToHalf(value - halfToFloat(high));
        }
        if (threadIndex() == 0)
            to.scales[row] = up;
    }

    // One piece of 64 columns of one of 128 rows (params.h, matmul_group): where element k of this row lies, in 16-bit words.
    KV_DEVICE std::uint64_t groupPlace(std::uint32_t k) const
    {
        const std::uint32_t inGroup = row % kGroupTokens, i = k % 16;
        const std::uint32_t at = p.fromCodes ? i / 4 * 2 + i % 4 / 2 * 8 + i % 2 : i, byte = (k % 64 / 16 * 16 + at) * 2;
        const std::uint64_t piece = std::uint64_t(row / kGroupTokens) * p.units + k / 64;
        return (piece * kGroupTokens + inGroup) * 64 + ((byte / 16 ^ inGroup % 8) * 16 + byte % 16) / 2;
    }
    // As toHalfPairs() without the low halves; bf16 has range enough. Rows beyond the last are zeros.
    KV_DEVICE void toGroup() const
    {
        auto *codes = reinterpret_cast<std::uint16_t *>(to.codes);
        if (row >= p.rows) {
            for (std::uint32_t k = threadIndex(); k < p.units * 64; k += kPrepareThreads)
                codes[groupPlace(k)] = 0;
            return;
        }
        float most = 0;
        for (std::uint32_t k = threadIndex(); k < p.cols; k += kPrepareThreads)
            most = maxOf(most, absOf(at(k)));
        most = blockMax(most, scratch);
        const std::uint32_t exponent = p.plainHalf ? minOf(maxOf(bitsOf(most) >> 23 & 255u, 2u), 251u) : 126u;
        const float up = floatOf((exponent + 1) << 23), down = floatOf((253 - exponent) << 23);
        for (std::uint32_t k = threadIndex(); k < p.units * 64; k += kPrepareThreads) {
            const float value = at(k) * down;
            codes[groupPlace(k)] = p.plainHalf ? floatToHalf(value) : std::uint16_t(floatToBfloat(value));
        }
        if (threadIndex() == 0)
            to.scales[row] = up;
    }

    KV_DEVICE void toFloats() const
    {
        float *out = reinterpret_cast<float *>(to.codes) + std::uint64_t(row) * p.units * 64;
        for (std::uint32_t k = threadIndex(); k < p.units * 64; k += kPrepareThreads)
            out[k] = at(k);
    }

    KV_DEVICE void toPlain() const
    {
        std::uint16_t *out = p.plain + std::uint64_t(row) * p.cols;
        for (std::uint32_t k = threadIndex(); k < p.cols; k += kPrepareThreads)
            out[k] = p.plainHalf ? floatToHalf(at(k)) : std::uint16_t(floatToBfloat(at(k)));
    }
};

} // namespace kvilt::kernels::cuda::device

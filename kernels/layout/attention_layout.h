// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kv_native.h"
#include "kernels/layout/kv_tile.h"
#include "kernels/layout/panel_layout.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

// Memory of one attention unit. A row is one query head of one token; the rows of a unit share a KV head.
namespace kvilt::kernels {

// Enough rows that reading K and V from the cache costs little beside computing; few enough that their
// accumulators stay in the second-level cache.
inline constexpr std::uint32_t kUnitRows = 48;
inline constexpr std::uint32_t kWidenRows = 12;   // from so many on, 16-bit K and V become floats in the scratch first
inline constexpr std::uint32_t kGroupTokens = 64; // positions between two updates of the running maximum

constexpr std::uint32_t tokensPerTile(std::uint32_t rowsPerToken)
{
    return std::max(1u, kUnitRows / rowsPerToken);
}

// Floats from one row's partial result to the next: accumulators, then the maximum, then the sum.
constexpr std::size_t partialStride(std::uint32_t valueDim)
{
    return valueDim + 16;
}

// Byte offsets in the scratch of a unit.
struct AttentionScratch {
    std::size_t queries = 0, queryStride = 0; // per row: floats, or an activation row
    std::size_t scores = 0;                   // f32 [rows][64], later the weights exp(score - maximum)
    std::size_t scaled = 0;                   // f32 [rows][64]: weights times V's scales
    std::size_t sums = 0;                     // f32 [rows][16]
    std::size_t split = 0, whole = 0;         // f32 [rows][partialStride]: this split, all splits so far
    std::size_t maxima = 0;                   // f32 [rows up to a multiple of 16]; the next ones likewise:
    std::size_t groupMaxima = 0, corrections = 0;
    std::size_t wideKeys = 0, wideValues = 0; // f32 tiles of a group, where rows >= kWidenRows
    std::size_t begins = 0, ends = 0;         // i32: visible positions of the row
    std::size_t total = 0;

    AttentionScratch(std::uint32_t rowsPerToken, const KvShape &keys, std::uint32_t valueDim)
    {
        const std::size_t rows = std::size_t(tokensPerTile(rowsPerToken)) * rowsPerToken;
        const std::size_t padded = (rows + 15) / 16 * 16;
        queryStride = kvQuantised(keys.type) ? ActivationLayout(keys.dim).total : roundUp64(std::size_t(keys.dim) * 4);
        std::size_t at = 0;
        const auto take = [&at](std::size_t bytes) {
            const std::size_t offset = at;
            at += roundUp64(bytes);
            return offset;
        };
        queries = take(rows * queryStride);
        scores = take(rows * 256);
        scaled = take(rows * 256);
        sums = take(rows * 64);
        split = take(rows * partialStride(valueDim) * 4);
        whole = take(rows * partialStride(valueDim) * 4);
        maxima = take(padded * 4);
        groupMaxima = take(padded * 4);
        corrections = take(padded * 4);
        wideKeys = take(std::size_t(kGroupTokens) * keys.dim * 4);
        wideValues = take(std::size_t(kGroupTokens) * valueDim * 4);
        begins = take(padded * 4);
        ends = take(padded * 4);
        total = at;
    }
};

} // namespace kvilt::kernels

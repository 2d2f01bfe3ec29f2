// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/params.h"

// Shared memory of the attention kernels: where things lie, for the kernels and for the launch rules. Rows of 16-bit elements
// are padded by 16 bytes, so that eight of them start in different banks.
namespace kvilt::kernels::cuda {

inline constexpr std::uint32_t kSingleWarps = 4;
inline constexpr std::uint32_t kSingleRows = 16;

constexpr std::uint32_t paddedRow(std::uint32_t dim) { return dim + 8; } // elements

struct AttentionShared {
    std::uint32_t queries = 0;     // [rows][paddedRow(keyDim)], high parts, then (bf16) low parts
    std::uint32_t lowQueries = 0;  // bytes from a high part to its low part
    std::uint32_t tile = 0;        // [kSplitTokens][paddedRow(dim)]: keys, then values
    std::uint32_t weights = 0;     // attend_single: [16][paddedRow(kSplitTokens)], high, then (bf16) low
    std::uint32_t lowWeights = 0;
    std::uint32_t maxima = 0;      // attend_single: [warp][16]
    std::uint32_t sums = 0;        // attend_tile: [rows][valueDim + 4] floats
    std::uint32_t total = 0;
};

constexpr AttentionShared attentionShared(std::uint32_t keyDim, std::uint32_t valueDim, bool bfKeys, bool bfValues, std::uint32_t rows,
                                          bool single)
{
    AttentionShared s;
    s.lowQueries = rows * paddedRow(keyDim) * 2;
    s.tile = s.lowQueries * (bfKeys ? 2 : 1);
    std::uint32_t at = s.tile + kSplitTokens * paddedRow(keyDim > valueDim ? keyDim : valueDim) * 2;
    if (single) {
        s.weights = at;
        s.lowWeights = kSingleRows * paddedRow(kSplitTokens) * 2;
        s.maxima = s.weights + s.lowWeights * (bfValues ? 2 : 1);
        s.total = s.maxima + kSingleWarps * kSingleRows * 4;
    } else {
        s.sums = at;
        s.total = s.sums + rows * (valueDim + 4) * 4;
    }
    return s;
}

// attend_group: queries [group][64 dims][64 rows], then stages of keys and values [64 dims][kSplitTokens], all in rows of 128
// bytes, then barriers.
inline constexpr std::uint32_t kGroups = 2, kGroupRows = 64, kStages = 2;
inline constexpr std::uint32_t kGroupThreads = 128 * kGroups + 32;

struct GroupShared {
    std::uint32_t stages = 0, barriers = 0, total = 0;
};
constexpr GroupShared groupShared(std::uint32_t dim)
{
    GroupShared s;
    s.stages = kGroups * kGroupRows * dim * 2;
    s.barriers = s.stages + kStages * 2 * kSplitTokens * dim * 2;
    s.total = s.barriers + 4 * kStages * 8;
    return s;
}

} // namespace kvilt::kernels::cuda

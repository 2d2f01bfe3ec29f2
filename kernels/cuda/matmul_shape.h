// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/weight_layout.h"

#include <cstdint>

// How the matmul kernels cut their work; read by the kernels and by the launch rules.
//
// A block computes kRowTiles tiles of 16 rows times kTokenTiles tiles of 8 tokens. Its 8 warps share the columns: warp w adds up
// units w, w + 8, ... in ascending order, and the eight sums are added as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). The order
// is the same in every shape, so an output's bits do not depend on the number of tokens or on the shape chosen. Each warp
// copies its own units to shared memory, `stages` of them ahead; no warp waits for another until the sums are joined.
namespace kvilt::kernels::cuda {

inline constexpr std::uint32_t kMatmulWarps = 8;
inline constexpr std::uint32_t kMatmulThreads = 32 * kMatmulWarps;

struct MatmulShape {
    std::uint32_t rowTiles, tokenTiles, stages;
};
constexpr bool int8Input(WeightType type) { return panelFormat(type).floatBytes == 0; }

// One token tile: a generation's step. Gated products need an even number of row tiles. 16-bit floats take four times the
// memory of 4-bit weights, so fewer of their stages fit.
constexpr MatmulShape shapeOne(WeightType type) { return {1, 1, int8Input(type) ? 4u : 2u}; }
constexpr MatmulShape shapeTwo(WeightType type) { return {2, 1, int8Input(type) ? 4u : 2u}; }
constexpr MatmulShape shapeMedium(WeightType type) { return {2, 4, int8Input(type) ? 2u : 1u}; }
// Where scales stand for 16 columns, four row tiles and eight token tiles do not fit the registers (Q6_K: sm_120 spills).
constexpr MatmulShape shapeLarge(WeightType type) { return {panelFormat(type).group == 16 ? 2u : 4u, 8, 2}; }

// Bytes of one warp's stage: weights, input codes, input scales.
constexpr std::uint32_t stageWeightBytes(WeightType type, const MatmulShape &shape)
{
    return shape.rowTiles * (weightLayout(type).unitBytes + weightLayout(type).headerBytes);
}
constexpr std::uint32_t stageCodeBytes(WeightType type, const MatmulShape &shape)
{
    return shape.tokenTiles * 8 * (int8Input(type) ? 64 : 256);
}
constexpr std::uint32_t stageBytes(WeightType type, const MatmulShape &shape)
{
    return stageWeightBytes(type, shape) + stageCodeBytes(type, shape) + (int8Input(type) ? shape.tokenTiles * 8 * 16 : 0);
}

// Tiles of sums that are joined at once, all warps' in shared memory: a pair of row tiles (gate and up).
constexpr std::uint32_t joinedTiles(const MatmulShape &shape)
{
    return (shape.rowTiles < 2 ? shape.rowTiles : 2) * shape.tokenTiles;
}
constexpr std::uint32_t matmulSharedBytes(WeightType type, const MatmulShape &shape)
{
    const std::uint32_t staging = kMatmulWarps * shape.stages * stageBytes(type, shape);
    const std::uint32_t joining = kMatmulWarps * joinedTiles(shape) * 512;
    return staging > joining ? staging : joining;
}

// The prepared row of a fused product: after the above; codes, scales, then the 16 floats that its sums need.
constexpr std::uint32_t fusedCodeBytes(WeightType type, std::uint32_t units) { return units * (int8Input(type) ? 64 : 256); }
constexpr std::uint32_t fusedScaleBytes(WeightType type, std::uint32_t units) { return int8Input(type) ? units * 16 : 16; }
constexpr std::uint32_t fusedBytes(WeightType type, std::uint32_t units)
{
    return fusedCodeBytes(type, units) + fusedScaleBytes(type, units) + 64;
}

// --- matmul_group_<type> (sm_90a): two warpgroups take 8 tiles of rows each, all take 128 tokens; one warp of the third, which
// gives its registers to them, has the copy engine fetch units `kGroupStages` ahead. An output adds up its units in ascending order.
inline constexpr std::uint32_t kGroupTiles = 16, kGroupStages = 4, kGroupMatmulThreads = 384;

// Types that this kernel is compiled for: the common ones.
constexpr bool groupType(WeightType type)
{
    switch (type) {
    case WeightType::F16:
    case WeightType::BF16:
    case WeightType::Q4_0:
    case WeightType::Q4_1:
    case WeightType::Q5_0:
    case WeightType::Q5_1:
    case WeightType::Q8_0:
    case WeightType::Q4_K:
    case WeightType::Q5_K:
    case WeightType::Q6_K:
    case WeightType::IQ4_NL:
    case WeightType::IQ4_XS: return true;
    default: return false;
    }
}
inline constexpr std::uint32_t kGroupInputBytes = 128 * 128; // of a stage, at its start
constexpr std::uint32_t groupStageBytes(WeightType type)
{
    const std::uint32_t weights = kGroupTiles * (weightLayout(type).unitBytes + weightLayout(type).headerBytes);
    return (kGroupInputBytes + weights + 1023) / 1024 * 1024;
}
constexpr std::uint32_t groupSharedBytes(WeightType type) { return kGroupStages * (groupStageBytes(type) + 16); }

} // namespace kvilt::kernels::cuda

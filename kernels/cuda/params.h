// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/emit.h"
#include "kernels/cuda/api/ops.h"

#include <cstdint>

// What kernels are given, one struct by value each; emit_*.cpp fills them, device/*.cuh reads them. Pointers are device memory.
namespace kvilt::kernels::cuda {

// How the input of a product is kept, by what the weights are. A row is `units` units of 64 columns, missing columns zero.
//   int8    codes: 64 bytes a unit, of each block of 32 columns [c 0..3][first or second 16][byte] (B fragments of mma.cuh);
//           scales: 16 bytes a unit, per block float scale (x = scale * code) and float scale * sum of the block's codes
//   bf16x2, f16x2   codes: 256 bytes a unit, [step of 16 columns][c][high r = 0, 1, low r = 0, 1], columns 8 r + 2 c + {0, 1}:
//           x = factor * (high + low), the sum as good as 16 (f16: 22) bits; scales: one float a row, its factor, a power of 2
//   f32     codes: floats
enum class InputFormat : std::uint32_t { int8, bf16x2, f16x2, f32 };

struct Prepared {
    std::byte *codes = nullptr;
    float *scales = nullptr;
};

constexpr std::uint32_t inputUnitBytes(InputFormat format)
{
    return format == InputFormat::int8 ? 64 : 256;
}

// One block a row: [grid.x = rows]. x += rmsNorm(delta) * deltaNorm (where delta is set), then rmsNorm(x) * norm (where norm is
// set) in the given format. `plain` instead of `to`: as bf16 (f16 where plainHalf) rows for cuBLASLt.
struct PrepareParams {
    float *x;
    const void *input;   // instead of x, where set: rows of floats or bf16 that are not changed
    std::uint64_t ldInput; // elements
    const float *norm;
    const float *delta;
    const float *deltaNorm;
    float epsilon;
    std::uint32_t cols;
    std::uint32_t units;
    std::uint32_t inputBf16;
    Prepared to;
    std::uint16_t *plain; // [rows][cols]
    std::uint32_t plainHalf;
    std::uint32_t rows;   // prepare_group: rows from here on are zeros
    std::uint32_t fromCodes;
};

// The input of matmul_group_<type> (sm_90a): 16-bit floats, [128 tokens][unit][token][64 columns], rows of 128 bytes swizzled
// (device/warpgroup.cuh), so that a piece of 16 KiB is copied as it is. x = factor * value, f16 (factor: a power of 2) or bf16
// (plainHalf == 0). fromCodes: each 16 columns in the order in which int8 fragments (weight_layout.h) give them:
// 0 1 4 5 8 9 12 13, 2 3 6 7 10 11 14 15.
inline constexpr std::uint32_t kGroupTokens = 128;

enum class Store : std::uint32_t { set, add, gated };

// Tiles of 16 output rows times groups of tokens: [grid.x = token groups, grid.y = tile groups of all segments]. `gated`:
// segments 0 and 1 are gate and up, and out = activation(gate) * up.
struct MatmulParams {
    struct Segment {
        const std::byte *weights;
        float *out;              // [token][ldOut]
        std::uint32_t rows;
        std::uint32_t firstTile; // of its tiles among the tile groups' (a multiple of what a block takes)
    };
    Segment segments[3];
    std::uint32_t segmentCount;
    std::uint32_t units;
    std::uint64_t tileBytes;
    std::uint32_t tokens;
    std::uint32_t activation; // Gate
    Store store;
    std::uint32_t outBf16;    // gated: out is bf16
    Prepared in;
    std::uint64_t ldOut;      // elements
    std::uint32_t table[4];   // codebook types: what a code stands for, and the unit of the scales
    float unit;
    std::uint32_t fused;      // one token, kernels of one token tile: each block prepares the input itself, in shared memory
    PrepareParams prepare;    // how (without delta); `in` and `to` are not used
};

// One warp an output row of 32-bit float weights, any number of tokens: [grid.x = rows / 8].
struct MatmulF32Params {
    const std::byte *weights;
    const float *in;         // [token][cols rounded up to 64]
    float *out;
    std::uint64_t tileBytes;
    std::uint64_t ldOut;
    std::uint32_t rows, units, tokens;
    std::uint32_t add;
};

// Where gate and up are of different types: out = activation(gate) * up, [grid.x = rows][grid.y = columns / 256].
struct ActivateParams {
    const float *gate, *up;  // [row][cols]
    void *out;
    std::uint64_t ldOut;
    std::uint32_t cols;
    std::uint32_t activation;
    std::uint32_t outBf16;
};

// [grid.x = rows][grid.y = columns / 256]
struct EmbedParams {
    const StepRow *rows;
    const std::int32_t *sampled;
    const std::byte *weights;
    std::uint64_t tileBytes;
    WeightType type;
    std::uint32_t vocabulary;
    std::uint32_t cols;
    float scale;
    float *hidden;
};

// [grid.x = rows][grid.y = columns / 1024]
struct GatherParams {
    const std::uint32_t *rowIndex;
    const float *from;
    float *to;
    std::uint32_t cols;
};

// Rows [firstRow, firstRow + grid.x) of a matrix, row-major, as bf16 or f16 for cuBLASLt: [grid.y = columns / 256].
struct UnpackParams {
    const std::byte *weights;
    std::uint64_t tileBytes;
    WeightType type;
    std::uint32_t firstRow;
    std::uint32_t cols;
    std::uint32_t half;
    std::uint16_t *to;       // [row][cols]
};

// One warp a head of one row: queries, then keys, then values; 4 warps a block: [grid.x = rows][grid.y = heads / 4]. Reads the
// product's rows [queries][keys][values]; norms and rotates; writes queries as floats, keys and values to their blocks.
struct RotateParams {
    const float *product;    // [row][ld]
    std::uint64_t ld;        // floats
    const StepRow *rows;
    const StepSlice *slices;
    const std::uint32_t *tables;
    const std::uint32_t *rowIndex; // or null: row r is rows[r]
    const float *queryNorm, *keyNorm;
    float epsilon;
    const float *rope;
    std::uint32_t rotated;
    std::uint32_t neox;
    std::uint32_t heads;     // of queries; 0: none
    std::uint32_t kvHeads;   // 0: queries only
    std::uint32_t keyDim, valueDim;
    float *queries;
    std::uint64_t ldQueries;
    std::byte *keys, *values;
    std::uint64_t blockStride;
    KvElement keyType, valueType;
    std::uint32_t blockShift; // log2 of the block size
    std::uint32_t group;
};
inline constexpr std::uint32_t kMaxHeadDim = 512;

// Attention. One key tile of kSplitTokens positions gives each query row an unnormalised sum of values, its maximum and its
// sum of weights; tiles are folded in ascending order.
//   attend_single: one row a slice; 4 warps share one key tile and write the tile's result to `partials`:
//     [grid.x = key tiles][grid.y = KV heads * groups of 16 query heads][grid.z = slices]; attend_merge folds:
//     [grid.x = rows][grid.y = heads].
//   attend_tile: each warp keeps 16 (token, head) rows and folds as it goes:
//     [grid.x = KV heads * pieces of a host tile][grid.y = host tiles].
struct AttendParams {
    const StepSlice *slices;
    const std::uint32_t *tables;
    const AttentionTile *tiles;
    const float *queries;      // [row][heads][keyDim]
    std::uint64_t ldQueries;
    float *out;                // [row][heads][valueDim]
    std::uint64_t ldOut;
    float *partials;           // [row][head][key tile][partialFloats(valueDim)]
    const std::byte *keys, *values;
    std::uint64_t blockStride;
    std::uint32_t blockShift;
    KvElement keyType, valueType;
    std::uint32_t group;
    std::uint32_t heads, kvHeads, share; // share: query heads a KV head
    std::uint32_t keyDim, valueDim;
    std::uint32_t window;
    float scale;               // times log2(e): weights are powers of 2
    std::uint32_t keyTiles;    // of the longest context: the stride of partials
    std::uint32_t warps;       // of an attend_tile block
    std::uint32_t pieces;      // of a host tile
};

// attend_group_64, attend_group_128 (sm_90a): a block's two warpgroups keep 64 (token, head) rows each:
//   [grid.x = KV heads * pieces of a host tile][grid.y = host tiles]. `warps` and `partials` are not used.
struct alignas(128) TensorSlot {
    std::byte bytes[kTensorSlotBytes]; // a TensorView, or what the driver makes of it
};
struct AttendGroupParams {
    AttendParams a;
    std::uint32_t boxTokens;
    TensorSlot keys, values;
};
constexpr std::uint32_t partialFloats(std::uint32_t valueDim) { return valueDim + 4; } // values, maximum, sum, 2 unused


// sample_greedy, sample_penalise, sample_draw: one block a slot: [grid.x = count].
struct SampleParams {
    const SampleSlot *slots;
    const std::int32_t *history;
    const float *logits;     // [logit row][vocabulary]
    float *penalised;        // [slot][vocabulary]: sample_penalise writes, sample_draw reads
    std::uint32_t vocabulary;
    std::int32_t *sampled;
};

// One block a token of a block and layer: [grid.x = tokens of a block][grid.y = layers][grid.z = blocks].
struct ConvertParams {
    std::byte *keys, *values; // of the first layer
    std::uint64_t blockStride, layerStride;
    const std::uint32_t *blocks;
    std::byte *stored;
    std::uint64_t storedStride;
    std::uint32_t heads, keyDim, valueDim;
    std::uint32_t blockShift;
    KvElement keyType, valueType;
    std::uint32_t toStored;
};

} // namespace kvilt::kernels::cuda

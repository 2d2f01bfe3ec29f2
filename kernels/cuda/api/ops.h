// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kv_native.h"
#include "kernels/api/rope.h"
#include "kernels/api/weight_type.h"

#include <cstddef>
#include <cstdint>
#include <variant>

// What a step asks of a CUDA device: a short list of operations, each one or several kernels. The engine's CUDA program
// (engine/backend/cuda) makes them; emit() (emit.h) turns one into launches; the reference (kernels/cuda/reference) computes
// the same on the host, for tests and for the fake device. No CUDA header here: both compilers read this file.
//
// Every pointer is device memory, aligned to 256 bytes unless a comment says less. Everything that changes from step to step
// lies in device memory behind StepView, so that a captured graph is replayed without touching its parameters: of an
// operation's own fields only counts that are part of the graph's key differ (rows, slices, the longest context's bucket).
//
// Batch invariance: an output row depends on its own inputs only, never on how many rows, slices or tiles ran with it. With
// DeviceFacts::deterministic this holds bit for bit; without it products may go through cuBLASLt, which chooses its own order.
namespace kvilt::kernels::cuda {

inline constexpr std::uint32_t kMaxGroups = 4;       // layer groups of a model
inline constexpr std::uint32_t kNoSlot = 0xffffffffu; // a hole in a block table: outside every window, never read
inline constexpr std::uint32_t kSplitTokens = 128;   // attention starts a fresh partial result at each multiple of it
inline constexpr std::uint32_t kMaxTopK = 256;       // candidates that are drawn from on the device
inline constexpr std::uint32_t kMaxHistory = 1024;   // tokens that penalties look at on the device

// ---- What a step is -------------------------------------------------------------------------------------------------

// One token to compute.
struct StepRow {
    std::int32_t token;     // its id; below 0: StepView::sampled[-1 - token], which an earlier step wrote
    std::uint32_t position; // in its sequence
    std::uint32_t slice;
    std::uint32_t reserved;
};

// Consecutive tokens of one sequence. Row firstRow + i has position firstPosition + i.
struct StepSlice {
    std::uint32_t firstRow;
    std::uint32_t rows;
    std::uint32_t firstPosition;
    std::uint32_t reserved;
    std::uint32_t table[kMaxGroups]; // where its block table of a group begins in StepView::tables
};

// A run of query rows of one slice that one thread block of a prefill attention works on; made by the host.
struct AttentionTile {
    std::uint32_t slice;
    std::uint32_t firstRow; // in the slice
    std::uint32_t rows;     // 1 to kTileRows, all of one slice
    std::uint32_t reserved;
};
inline constexpr std::uint32_t kTileRows = 64;

struct StepView {
    const StepRow *rows = nullptr;         // [rowCount]
    const StepSlice *slices = nullptr;     // [sliceCount]
    const std::uint32_t *tables = nullptr; // logical block -> block of the group's pool, or kNoSlot
    std::int32_t *sampled = nullptr;       // tokens that SampleOp chose, by slot; they outlive the step
};

// ---- Weights, activations, KV ---------------------------------------------------------------------------------------

// A weight matrix in device form (device_weights.h): `rows` outputs of `cols` inputs. data == null: there is none.
struct Matrix {
    WeightType type = WeightType::F32;
    std::uint32_t rows = 0;
    std::uint32_t cols = 0;
    const std::byte *data = nullptr;
};

// A row-major matrix of activations, rows `stride` elements apart (a multiple of 8).
enum class Element : std::uint32_t { f32, bf16 };
struct Rows {
    void *data = nullptr;
    Element element = Element::f32;
    std::uint32_t stride = 0;
};

// One layer's K and V. Native form of a block side: [head][token][dim] elements, for q8 and q4 the integers of the whole side
// first, then f16 scales [head][token][dim / 32] (q4: as in the stored form, per 32 dims 16 bytes, the first 16 dims in the
// low nibbles). Side K lies at `keys` + block * blockStride, side V at `values` + block * blockStride.
struct KvView {
    std::byte *keys = nullptr;
    std::byte *values = nullptr;
    std::uint64_t blockStride = 0; // bytes from one block to the next: all layers of the group, block-major; a multiple of 256
    KvShape keyShape;              // heads, dim and blockSize (a power of two from 16 to 512) of both sides
    KvShape valueShape;
    std::uint32_t group = 0;       // whose tables to use
};

// cos and sin of every position: row p holds rotated / 2 cosines, then as many sines (kernels::ropeRow, in double on the host).
struct RopeView {
    const float *rows = nullptr;   // [position][rotated]
    std::uint32_t rotated = 0;
    RopeKind kind = RopeKind::norm;
};

// ---- Operations -----------------------------------------------------------------------------------------------------

// hidden[r] = embedding[token of row r] * scale.
struct EmbedOp {
    StepView step;
    std::uint32_t rows = 0;
    Matrix embedding;
    float scale = 1;
    float *hidden = nullptr; // [rows][embedding.cols]
};

// What stands in front of a product. First, where delta is set: x += rmsNorm(delta) * deltaNorm, written back to x (Gemma's
// norm of what a layer adds). Then, where norm is set, the product's input is rmsNorm(x) * norm, else x itself.
struct NormedInput {
    float *x = nullptr;               // [rows][cols], cols apart
    const float *norm = nullptr;      // [cols]
    const float *delta = nullptr;     // [rows][cols]
    const float *deltaNorm = nullptr; // [cols]
    float epsilon = 0;
};

// Queries, keys and values of a layer: products, then per head the norm (where set) and the rotation of queries and keys, then
// K and V into their blocks. Queries go to `queries`, rotated, not yet scaled.
struct QkvOp {
    StepView step;
    std::uint32_t rows = 0;
    std::uint32_t slices = 0;
    NormedInput in;                   // cols = query.cols
    Matrix query, key, value;         // query.data == null: keys and values only. key.data == null: queries only, and then
                                      // row r is StepRow rowIndex[r] (positions for the rotation)
    const std::uint32_t *rowIndex = nullptr;
    const float *queryNorm = nullptr; // [keyDim], or null
    const float *keyNorm = nullptr;
    RopeView rope;
    std::uint32_t heads = 0;          // query heads; kv.keyShape.heads divides it
    KvView kv;
    Rows queries;                     // out: [rows][heads][keyDim]
};

// out[r] = softmax(scale * q[r] . K + causal and window mask) V over the paged KV of the row's sequence; keys beyond a row's
// own position are never read. Rows of all slices at once. Partial results start afresh at each multiple of kSplitTokens
// positions and are merged in ascending order.
struct AttentionOp {
    StepView step;                       // slices may be another list than the step's own: the last layer's final rows
    std::uint32_t rows = 0;
    std::uint32_t slices = 0;
    const AttentionTile *tiles = nullptr; // [tileCount]: covers every row once
    std::uint32_t tileCount = 0;
    bool singleRows = false;             // every slice has exactly one row (decode); then tiles are not needed
    std::uint32_t longest = 0;           // positions of the longest sequence, rounded up to the graph key's bucket
    KvView kv;
    std::uint32_t heads = 0;
    std::uint32_t window = 0;            // a row sees its last `window` positions, itself included; 0: all
    float scale = 1;
    Rows queries;                        // [rows][heads][keyDim]
    Rows out;                            // [rows][heads][valueDim]
};

// out = x W^T, or out += x W^T.
struct ProjectOp {
    std::uint32_t rows = 0;
    NormedInput in;          // used when x.data is null (cols = weights.cols): with a norm
    Rows x;                  // [rows][weights.cols]
    Matrix weights;
    bool add = false;        // out += : the residual
    float *out = nullptr;    // [rows][ldOut]
    std::uint64_t ldOut = 0; // floats
};

// out = activation(gate(x)) * up(x), x = in.
enum class Gate : std::uint32_t { silu, geluTanh };
struct GatedOp {
    std::uint32_t rows = 0;
    NormedInput in;          // cols = gate.cols
    Matrix gate, up;
    Gate activation = Gate::silu;
    Rows out;                // [rows][gate.rows]
};

// to[r] = from[rowIndex[r]], whole rows of `cols` floats; to and from do not overlap. The last layer goes on with the rows
// whose logits are wanted.
struct GatherOp {
    std::uint32_t rows = 0;
    std::uint32_t cols = 0;
    const std::uint32_t *rowIndex = nullptr; // [rows]
    const float *from = nullptr;
    float *to = nullptr;
};

// How one slice's token is chosen from its last row of logits, in device memory. Same tokens as sched::Sampler, bit for bit,
// from the same logits: penalties on the last historyCount tokens, greedy if temperature is 0 (ties: lowest id, NaN never
// wins), else the topK best (1 to kMaxTopK; ties: lowest id), top-p, min-p, temperature, one draw.
struct SampleSlot {
    std::uint32_t logitRow;
    std::uint32_t outSlot;         // in StepView::sampled
    std::uint32_t historyBegin;    // into SampleOp::history
    std::uint32_t historyCount;    // at most kMaxHistory
    std::int32_t historyLast;      // below 0: the newest token is StepView::sampled[-1 - historyLast], not in history; else unused (0)
    std::uint32_t topK;
    float repeatPenalty;           // 1: none
    float presencePenalty;
    float frequencyPenalty;
    std::uint32_t reserved;
    double temperature, topP, minP;
    std::uint64_t seed;            // CounterRandom(seed).unit(position)
    std::uint64_t position;
};

struct SampleOp {
    std::uint32_t count = 0;
    bool greedyOnly = false;               // every slot: no penalties, temperature 0
    const SampleSlot *slots = nullptr;     // [count]
    const std::int32_t *history = nullptr; // token ids
    const float *logits = nullptr;         // [logit row][vocabulary], not changed
    std::uint32_t vocabulary = 0;
    std::int32_t *sampled = nullptr;       // out
};

// Whole blocks between native and stored form (kv_native.h: per layer K rows [token][head][dim], then V rows; q8 and q4 per 32
// elements the scale, then the integers). Stored form of block i begins at stored + i * storedStride; of each, layers
// [firstLayer, firstLayer + layers) of the group, counted within it.
struct KvConvertOp {
    KvView firstLayer;                     // of layer `firstLayer` of the group
    std::uint64_t layerStride = 0;         // bytes from one layer's sides to the next within a block
    std::uint32_t layers = 0;
    const std::uint32_t *blocks = nullptr; // [count]
    std::uint32_t count = 0;
    std::byte *stored = nullptr;
    std::uint64_t storedStride = 0;        // bytes
    bool toStored = false;                 // else from stored
};

using Op = std::variant<EmbedOp, QkvOp, AttentionOp, ProjectOp, GatedOp, GatherOp, SampleOp, KvConvertOp>;

} // namespace kvilt::kernels::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kv_native.h"

#include <cstddef>
#include <cstdint>

// Softmax attention of consecutive queries of one sequence over its block table. The result of a query depends on
// its position, the window and the stored K and V only: keys are taken by absolute position in tiles of 16, a score
// is a sequential FMA over dim (q8, q4: exact integer dots of 32, then FMA), the running maximum moves once per 64
// positions, every 512 positions start a fresh split, and splits are merged left to right. Masked slots are
// skipped: their memory may hold anything.
namespace kvilt::kernels {

inline constexpr std::uint32_t kSplitTokens = 512;

// The blocks of one sequence in one layer group, seen from one layer.
struct PagedKvView {
    const std::byte *const *blocks = nullptr; // logical block -> its memory; null where a hole is (never read)
    std::size_t keyOffset = 0;                // of this layer's K side within a block's memory, and of its V side:
    std::size_t valueOffset = 0;              // multiples of 32
    KvShape keys;
    KvShape values;                           // same heads and blockSize as keys
};

struct AttentionArgs {
    PagedKvView kv;
    const float *queries = nullptr;    // [token][queryHeads][keys.dim], tokens ldQueries floats apart
    std::size_t ldQueries = 0;
    float *out = nullptr;              // [token][queryHeads][values.dim], tokens ldOut floats apart
    std::size_t ldOut = 0;
    std::uint32_t queryHeads = 0;      // a multiple of kv.keys.heads; head h reads KV head h / (queryHeads / heads)
    std::uint32_t firstPosition = 0;   // of queries[0]; K and V of every query's own position are already written
    std::uint32_t tokens = 0;
    std::uint32_t window = 0;          // a query sees its last `window` positions, itself included; 0: all
    float scale = 1;                   // times q.k
};

// What one thread does at a time: queries [tokenBegin, tokenEnd) of one KV head (all its query heads), over splits
// [splitBegin, splitEnd).
struct AttentionUnit {
    std::uint32_t kvHead = 0;
    std::uint32_t tokenBegin = 0;
    std::uint32_t tokenEnd = 0;        // at most AttentionCut::tileTokens after tokenBegin
    std::uint32_t splitBegin = 0;
    std::uint32_t splitEnd = 0;
};

// How a call is cut into units: [kv head][query tile][split range], split ranges innermost. Prefill makes a unit of
// all splits (rangesPerTile == 1, the unit writes `out` itself); decode makes one range a split, whose partial
// results mergeAttention() joins once all are there. Both ways give the same bits.
struct AttentionCut {
    std::uint32_t tileTokens = 1;
    std::uint32_t tiles = 1;           // query tiles a KV head
    std::uint32_t firstSplit = 0;      // splits before it are outside every query's window
    std::uint32_t splits = 1;          // from firstSplit to the last query's position
    std::uint32_t rangesPerTile = 1;
    std::uint32_t units = 0;           // kv heads * tiles * rangesPerTile
};
// `wantedUnits`: cut finer until there are about so many (say 4 a thread, all calls of a step together).
AttentionCut cutAttention(const AttentionArgs &args, std::uint32_t wantedUnits) noexcept;
AttentionUnit attentionUnit(const AttentionArgs &args, const AttentionCut &cut, std::uint32_t index) noexcept;

// Floats for the partial results of all units of a call; 0 when rangesPerTile == 1.
std::size_t attentionPartialFloats(const AttentionArgs &args, const AttentionCut &cut) noexcept;
// Bytes a thread needs for any unit of calls with this shape; 64-byte aligned memory.
std::size_t attentionScratchBytes(std::uint32_t queryHeads, const KvShape &keys, const KvShape &values) noexcept;

} // namespace kvilt::kernels

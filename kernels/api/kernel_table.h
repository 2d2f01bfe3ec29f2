// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/attention.h"
#include "kernels/api/kv_native.h"
#include "kernels/api/packed_matrix.h"
#include "kernels/api/rope.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

// The functions of one instruction set. Every table gives the same bits for the same input (tests compare with
// memcmp). All are noexcept, start no thread, allocate nothing and keep no state, so any thread may call them.
// Vectors need no alignment and no padding unless a comment says so; in and out may be the same where both are
// named, and overlap in no other way.
namespace kvilt::kernels {

struct KernelTable {
    const char *name; // "scalar", "avx2", "avx512-bw", "avx512-vnni", "amx"

    // --- weights
    void (*matmul)(const MatmulArgs &args) noexcept;
    // One activation row in the format that matmul reads: `row` has activationRowBytes(format, cols).
    void (*prepareRow)(ActivationFormat format, const float *x, std::uint32_t cols, std::byte *row) noexcept;
    // rmsNorm, then prepareRow, in one pass: the normalised floats are not needed elsewhere.
    void (*rmsNormPrepare)(ActivationFormat format, const float *x, const float *weight, std::uint32_t cols, float eps,
                           std::byte *row) noexcept;
    // One row of weights as floats (embedding lookup), from the packed matrix or from a row in GGUF layout.
    void (*dequantisePackedRow)(const PackedMatrix &matrix, std::uint32_t row, float *out) noexcept;
    void (*dequantiseRow)(WeightType type, const std::byte *row, std::uint32_t cols, float *out) noexcept;

    // --- vectors of n floats
    // out = x / sqrt(mean(x^2) + eps) * weight; in place allowed.
    void (*rmsNorm)(const float *x, const float *weight, std::uint32_t n, float eps, float *out) noexcept;
    void (*siluMul)(const float *gate, const float *up, std::uint32_t n, float *out) noexcept; // in place on either
    void (*geluMul)(const float *gate, const float *up, std::uint32_t n, float *out) noexcept; // tanh form
    void (*add)(const float *a, const float *b, std::uint32_t n, float *out) noexcept;
    void (*scale)(float factor, std::uint32_t n, float *x) noexcept;
    std::uint32_t (*argmax)(const float *x, std::uint32_t n) noexcept; // the first of equals; NaN never wins

    // Rotates `heads` heads of `dim` floats each, in place, by one row of a RopeTable; dims past the table's stay.
    void (*rope)(RopeKind kind, const float *cosSin, std::uint32_t rotated, std::uint32_t heads, std::uint32_t dim,
                 float *x) noexcept;

    // --- KV
    // One token's row ([heads][dim] floats) into slot `slot` of a block side in native layout.
    void (*writeKeys)(const KvShape &shape, const float *row, std::uint32_t slot, std::byte *side) noexcept;
    void (*writeValues)(const KvShape &shape, const float *row, std::uint32_t slot, std::byte *side) noexcept;
    // `partials` as attentionPartialFloats() says, the same for all units of a call; unused when
    // cut.rangesPerTile == 1, and then the unit writes args.out. `scratch`: one a thread.
    void (*attentionUnit)(const AttentionArgs &args, const AttentionCut &cut, std::uint32_t unit, float *partials,
                          std::byte *scratch) noexcept;
    // After all units of tile `tile` (an index in [0, kv heads * tiles)) ran: joins their partials (which it overwrites)
    // into args.out.
    // Nothing to do when cut.rangesPerTile == 1.
    void (*mergeAttention)(const AttentionArgs &args, const AttentionCut &cut, std::uint32_t tile,
                           float *partials) noexcept;

    // --- probes of the machine (see probe.h)
    std::uint64_t (*readMemory)(const std::byte *data, std::size_t bytes) noexcept; // bytes: a multiple of 1024
    std::uint64_t (*int8Peak)(std::uint64_t rounds) noexcept;                        // returns operations done
    std::uint64_t (*f32Peak)(std::uint64_t rounds) noexcept;
};

// Instruction sets this machine can run, worst first; "scalar" is always there.
std::span<const KernelTable *const> availableKernels();

// The best table, or the one that `forced` names ("": best; "avx512" means the better of avx512-bw and
// avx512-vnni). The error is a sentence that names what this machine has.
std::variant<const KernelTable *, std::string> selectKernels(std::string_view forced);
// selectKernels with the environment variable KVILT_FORCE_ISA.
std::variant<const KernelTable *, std::string> selectKernelsFromEnvironment();

} // namespace kvilt::kernels

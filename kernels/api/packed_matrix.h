// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/weight_type.h"

#include <cstddef>
#include <cstdint>

// Weights as the kernels want them: rows in panels of 16, a panel's codes 16 rows x 4 columns interleaved, its
// scales contiguous, so that a vector's lanes are output rows and no horizontal sum is needed. The packed size is
// about the size of the GGUF rows. One layout for every instruction set. Nothing here owns memory.
namespace kvilt::kernels {

inline constexpr std::uint32_t kPanelRows = 16;

// A matrix in GGUF layout: `rows` rows of `cols` weights; data need not be aligned.
struct WeightView {
    WeightType type = WeightType::F32;
    std::uint32_t rows = 0;
    std::uint32_t cols = 0; // a multiple of the type's block
    const std::byte *data = nullptr;
};

// A packed matrix in memory of the caller: packedBytes() bytes, 64-byte aligned.
struct PackedMatrix {
    WeightType type = WeightType::F32;
    std::uint32_t rows = 0;
    std::uint32_t cols = 0;
    const std::byte *data = nullptr;

    std::uint32_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
};

// Both are multiples of 64. Shapes come from checked input: rows, cols >= 1 and rows * cols < 2^48.
std::size_t packedPanelBytes(WeightType type, std::uint32_t cols);
std::size_t packedBytes(WeightType type, std::uint32_t rows, std::uint32_t cols);

// Packs panels [panelBegin, panelEnd) of `from` to their places in `packed` (the start of the whole matrix).
// Different panels may be packed by different threads. Rows that pad the last panel are zeros.
void packPanels(const WeightView &from, std::uint32_t panelBegin, std::uint32_t panelEnd, std::byte *packed) noexcept;

// What a weight type multiplies with: whole float rows, or rows quantised to 8 bits in groups of 32.
enum class ActivationFormat : std::uint8_t { f32, int8 };
ActivationFormat activationFormat(WeightType type);

// Bytes of one activation row (a multiple of 64). A row must be 64-byte aligned.
std::size_t activationRowBytes(ActivationFormat format, std::uint32_t cols);

// `count` activation rows of one format, activationRowBytes() apart, written by KernelTable::prepareRow.
struct ActivationView {
    ActivationFormat format = ActivationFormat::f32;
    std::uint32_t cols = 0;
    std::uint32_t count = 0;
    const std::byte *data = nullptr;
};

// out[t * ldOut + row] (+)= sum_k weight[row][k] * x[t][k], for every token t of `x` and the rows of panels
// [panelBegin, panelEnd). An element's bits depend on its weight row and its activation row only: not on the
// number of tokens, the panels of the call, or the instruction set.
struct MatmulArgs {
    PackedMatrix weights;
    ActivationView x;
    std::uint32_t panelBegin = 0;
    std::uint32_t panelEnd = 0;
    float *out = nullptr;
    std::size_t ldOut = 0;
    bool addToOut = false;        // residual: out = out + product, one rounding after the product's own
    std::byte *scratch = nullptr; // matmulScratchBytes(weights), 64-byte aligned, one a thread
};
std::size_t matmulScratchBytes(WeightType type, std::uint32_t cols);

} // namespace kvilt::kernels

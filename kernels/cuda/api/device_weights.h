// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/packed_matrix.h"

#include <cstddef>
#include <cstdint>

// Weights as the CUDA kernels read them: the GGUF codes, bit for bit, in an order that 16-byte loads like. Packing is a
// permutation done once on the host while a model is uploaded. The same on every architecture.
namespace kvilt::kernels::cuda {

// Bytes of the whole matrix, a multiple of 256.
std::uint64_t deviceWeightBytes(WeightType type, std::uint32_t rows, std::uint32_t cols);

// Rows are packed in runs of this many: runs may be packed by different threads, and each lies in one piece.
std::uint32_t deviceWeightRun(WeightType type, std::uint32_t cols);
// Where run `run` begins; deviceWeightOffset(type, cols, number of runs) <= deviceWeightBytes.
std::uint64_t deviceWeightOffset(WeightType type, std::uint32_t rows, std::uint32_t cols, std::uint32_t run);
// Packs one run to `to` (the run's own begin; as long as to the next run's begin, or the matrix's end).
void packDeviceRun(const WeightView &from, std::uint32_t run, std::byte *to) noexcept;

// One row as floats, from the packed form: the reference's way to read it. Same floats as dequantiseGgufRow.
void dequantiseDeviceRow(WeightType type, std::uint32_t rows, std::uint32_t cols, const std::byte *packed, std::uint32_t row,
                         float *out) noexcept;

} // namespace kvilt::kernels::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/packed_matrix.h"

// Weights as floats, the same from either layout: f32 of scale * (code - offset), then + minimum, each one rounding.
namespace kvilt::kernels {

void dequantiseGgufRow(WeightType type, const std::byte *row, std::uint32_t cols, float *out) noexcept;
void dequantisePackedRow(const PackedMatrix &matrix, std::uint32_t row, float *out) noexcept;

} // namespace kvilt::kernels

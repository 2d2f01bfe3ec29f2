// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/ops.h"
#include "kernels/layout/half.h"

// One element of a matrix of activations, whatever it is kept in.
namespace kvilt::kernels::cuda::reference {

inline float get(const Rows &rows, std::size_t row, std::size_t column)
{
    const std::size_t at = row * rows.stride + column;
    return rows.element == Element::f32 ? static_cast<const float *>(rows.data)[at]
                                        : bf16ToF32(static_cast<const std::uint16_t *>(rows.data)[at]);
}

inline void put(const Rows &rows, std::size_t row, std::size_t column, float value)
{
    const std::size_t at = row * rows.stride + column;
    if (rows.element == Element::f32)
        static_cast<float *>(rows.data)[at] = value;
    else
        static_cast<std::uint16_t *>(rows.data)[at] = f32ToBf16(value);
}

} // namespace kvilt::kernels::cuda::reference

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/vocabulary.cuh"
#include "kernels/cuda/params.h"

// Element-wise functions of the feed-forward part, in the CPU kernels' form.
namespace kvilt::kernels::cuda::device {

constexpr float kLog2E = 1.44269504f;

KV_DEVICE float silu(float x) { return divideExact(x, 1.0f + exp2Fast(-x * kLog2E)); }

// x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
KV_DEVICE float geluTanh(float x)
{
    const float inner = fma(0.044715f, x * x * x, x);
    return divideExact(x, 1.0f + exp2Fast(-1.59576912f * kLog2E * inner));
}

// out[to] = activation(gate) * up; `to` counts elements from the first segment's out.
KV_DEVICE void storeGated(const MatmulParams &p, std::uint64_t to, float gate, float up)
{
    const float value = (p.activation == std::uint32_t(Gate::silu) ? silu(gate) : geluTanh(gate)) * up;
    if (p.outBf16)
        reinterpret_cast<std::uint16_t *>(p.segments[0].out)[to] = std::uint16_t(floatToBfloat(value));
    else
        p.segments[0].out[to] = value;
}

} // namespace kvilt::kernels::cuda::device

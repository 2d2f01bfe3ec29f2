// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// Rotary position embedding. Angles are computed in double with functions of our own, so that every machine and
// libm gives the same cosines (see math.h); kernels only read the rows.
namespace kvilt::kernels {

enum class RopeKind : std::uint8_t {
    norm, // pairs (2i, 2i+1): llama
    neox, // pairs (i, i + rotated/2): gemma, qwen, ...
};

struct RopeSettings {
    std::uint32_t rotated = 0;              // even: how many dims of a head turn
    double base = 10000;
    double freqScale = 1;                   // 1 / the linear scaling factor
    std::span<const float> freqFactors{};   // rotated / 2 divisors of the frequencies, or empty
};

// Writes rotated/2 cosines, then rotated/2 sines for one position; 1 µs or so for 64 dims: keep the rows.
void ropeRow(const RopeSettings &settings, std::uint32_t position, float *cosSin) noexcept;

} // namespace kvilt::kernels

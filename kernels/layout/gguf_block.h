// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/weight_type.h"

#include <cstddef>
#include <cstdint>

// The bits of GGUF's quantised blocks, read into one plain form. A weight is scale * (code - offset) + min with the
// scale and minimum of its group (see PanelFormat).
namespace kvilt::kernels {

struct GgufBlock {
    std::uint8_t codes[256];  // as stored, before the offset; int8 for Q8_0
    std::uint16_t d = 0;      // f16 (MXFP4: bf16): the block's scale, or what sub-scales multiply
    std::uint16_t dmin = 0;   // f16: the block's minimum (added), or what sub-minima multiply (subtracted)
    std::uint8_t subScale[16]; // super-blocks: one a group; int8 in types without minima
    std::uint8_t subMin[16];
};

// Types whose weights are ternary digits or points of a codebook (IQ1, IQ2, IQ3, TQ); others are left alone.
void readCodebookBlock(WeightType type, const std::uint8_t *from, GgufBlock &block) noexcept;
// Reads one block at `from`; info(type).blockElements codes are set.
void readGgufBlock(WeightType type, const std::byte *from, GgufBlock &block) noexcept;

} // namespace kvilt::kernels

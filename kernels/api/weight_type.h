// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

// The number formats of weights, with the ids that GGUF gives them. Pure functions, safe from any thread.
namespace kvilt::kernels {

enum class WeightType : std::uint32_t {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ2_XXS = 16,
    IQ2_XS = 17,
    IQ3_XXS = 18,
    IQ1_S = 19,
    IQ4_NL = 20,
    IQ3_S = 21,
    IQ2_S = 22,
    IQ4_XS = 23,
    IQ1_M = 29,
    BF16 = 30,
    TQ1_0 = 34,
    TQ2_0 = 35,
    MXFP4 = 39,
};

struct WeightTypeInfo {
    WeightType type;
    const char *name;             // as GGUF tools write it: "Q4_K"
    std::uint32_t blockElements;  // a row's length must be a multiple of it
    std::uint32_t blockBytes;
};

// Every type this build can compute with, in the order of ids.
std::span<const WeightTypeInfo> weightTypes();
// nullopt: an id that is unknown, was removed from GGUF, or that no kernel here can read.
std::optional<WeightType> weightTypeFromGguf(std::uint32_t id);
const WeightTypeInfo &info(WeightType type);

// Bytes of one row of `cols` weights in GGUF layout; `cols` is a multiple of the block.
inline std::size_t rowBytes(WeightType type, std::size_t cols)
{
    return cols / info(type).blockElements * info(type).blockBytes;
}

} // namespace kvilt::kernels

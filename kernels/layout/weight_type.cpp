// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/weight_type.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace kvilt::kernels {
namespace {

constexpr std::array kTypes{
    WeightTypeInfo{WeightType::F32, "F32", 1, 4},
    WeightTypeInfo{WeightType::F16, "F16", 1, 2},
    WeightTypeInfo{WeightType::Q4_0, "Q4_0", 32, 18},
    WeightTypeInfo{WeightType::Q4_1, "Q4_1", 32, 20},
    WeightTypeInfo{WeightType::Q5_0, "Q5_0", 32, 22},
    WeightTypeInfo{WeightType::Q5_1, "Q5_1", 32, 24},
    WeightTypeInfo{WeightType::Q8_0, "Q8_0", 32, 34},
    WeightTypeInfo{WeightType::Q2_K, "Q2_K", 256, 84},
    WeightTypeInfo{WeightType::Q3_K, "Q3_K", 256, 110},
    WeightTypeInfo{WeightType::Q4_K, "Q4_K", 256, 144},
    WeightTypeInfo{WeightType::Q5_K, "Q5_K", 256, 176},
    WeightTypeInfo{WeightType::Q6_K, "Q6_K", 256, 210},
    WeightTypeInfo{WeightType::IQ2_XXS, "IQ2_XXS", 256, 66},
    WeightTypeInfo{WeightType::IQ2_XS, "IQ2_XS", 256, 74},
    WeightTypeInfo{WeightType::IQ3_XXS, "IQ3_XXS", 256, 98},
    WeightTypeInfo{WeightType::IQ1_S, "IQ1_S", 256, 50},
    WeightTypeInfo{WeightType::IQ4_NL, "IQ4_NL", 32, 18},
    WeightTypeInfo{WeightType::IQ3_S, "IQ3_S", 256, 110},
    WeightTypeInfo{WeightType::IQ2_S, "IQ2_S", 256, 82},
    WeightTypeInfo{WeightType::IQ4_XS, "IQ4_XS", 256, 136},
    WeightTypeInfo{WeightType::IQ1_M, "IQ1_M", 256, 56},
    WeightTypeInfo{WeightType::BF16, "BF16", 1, 2},
    WeightTypeInfo{WeightType::TQ1_0, "TQ1_0", 256, 54},
    WeightTypeInfo{WeightType::TQ2_0, "TQ2_0", 256, 66},
    WeightTypeInfo{WeightType::MXFP4, "MXFP4", 32, 17},
};

} // namespace

std::span<const WeightTypeInfo> weightTypes()
{
    return kTypes;
}

std::optional<WeightType> weightTypeFromGguf(std::uint32_t id)
{
    for (const WeightTypeInfo &entry : kTypes)
        if (std::uint32_t(entry.type) == id)
            return entry.type;
    return std::nullopt;
}

const WeightTypeInfo &info(WeightType type)
{
    for (const WeightTypeInfo &entry : kTypes)
        if (entry.type == type)
            return entry;
    std::abort(); // not a value that weightTypeFromGguf() gives
}

} // namespace kvilt::kernels

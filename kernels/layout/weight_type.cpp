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
    WeightTypeInfo{WeightType::Q4_K, "Q4_K", 256, 144},
    WeightTypeInfo{WeightType::Q5_K, "Q5_K", 256, 176},
    WeightTypeInfo{WeightType::Q6_K, "Q6_K", 256, 210},
    WeightTypeInfo{WeightType::IQ4_NL, "IQ4_NL", 32, 18},
    WeightTypeInfo{WeightType::IQ4_XS, "IQ4_XS", 256, 136},
    WeightTypeInfo{WeightType::BF16, "BF16", 1, 2},
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

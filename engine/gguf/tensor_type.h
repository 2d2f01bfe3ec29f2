// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kvilt::gguf {

// The numbers that stand in files. Types that GGUF once had and dropped (4, 5, 31–33, 36–38) are unknown here.
enum class TensorType : std::uint32_t {
    f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q5_0 = 6, q5_1 = 7, q8_0 = 8, q8_1 = 9,
    q2_k = 10, q3_k = 11, q4_k = 12, q5_k = 13, q6_k = 14, q8_k = 15,
    iq2_xxs = 16, iq2_xs = 17, iq3_xxs = 18, iq1_s = 19, iq4_nl = 20, iq3_s = 21, iq2_s = 22, iq4_xs = 23,
    i8 = 24, i16 = 25, i32 = 26, i64 = 27, f64 = 28, iq1_m = 29, bf16 = 30, tq1_0 = 34, tq2_0 = 35, mxfp4 = 39,
};

// A tensor's rows are runs of blocks: `blockSize` elements in `blockBytes` bytes.
struct TensorTypeInfo {
    TensorType type;
    std::string_view name; // as people write it: "Q4_K"
    std::uint32_t blockSize;
    std::uint32_t blockBytes;
};

// Null when the number is not a type.
const TensorTypeInfo *findTensorType(std::uint32_t number);
const TensorTypeInfo &info(TensorType type);
std::string_view toString(TensorType type);
std::span<const TensorTypeInfo> allTensorTypes();

} // namespace kvilt::gguf

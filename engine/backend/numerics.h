// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/settings.h"

#include <cstdint>
#include <string_view>

namespace kvilt::backend {

// The first kernels (kernels::cuda::kKernelVersion) that store q8 and q4 rows turned, as the CPU does since cpu:2: from there on
// the two are near. None yet.
inline constexpr std::uint32_t kCudaTurnsSince = ~std::uint32_t(0);

// Whether stored rows of KV of this type, made by arithmetic `made`, are to arithmetic `reader` the same vectors but for rounding:
// what near reuse has to know before it takes them. f32, f16, bf16 and fp8 store a vector as it is, whoever computes it. q8 and q4
// store a turned one (an orthonormal Hadamard transform a head) since cpu:2 and from the first CUDA kernels on that do so; taken
// for unturned rows they would be noise. An arithmetic that is not known here may do anything: no.
bool meansTheSame(std::string_view made, std::string_view reader, api::KvType type);

} // namespace kvilt::backend

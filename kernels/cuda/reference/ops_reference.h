// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/ops.h"

#include <cstddef>
#include <cstdint>

// Every operation of ops.h on the host, in the plainest form and with sums in double: what the kernels are compared with on a
// device, and what computes where a test stands in for one. All pointers of the operation are host memory then.
namespace kvilt::kernels::cuda::reference {

void run(const Op &op);

// One token's K or V row ([heads][dim] floats) into slot `token` of a native block side, and back.
void writeKvRow(const KvShape &shape, const float *row, std::uint32_t token, std::byte *side);
void readKvRow(const KvShape &shape, const std::byte *side, std::uint32_t head, std::uint32_t token, float *out);

} // namespace kvilt::kernels::cuda::reference

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/kv/kv_layout.h"
#include "engine/support/error.h"
#include "kernels/api/kv_native.h"

#include <cstdint>

namespace kvilt::backend {

// One side (keys or values) of a block as the kernels see it. unsupported: the type cannot hold heads of this width.
Result<kernels::KvShape> shapeOf(const kv::KvSide &side, std::uint32_t blockSize);

} // namespace kvilt::backend

// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the target regions share. A folder's kernels.cpp includes all headers it needs, opens its target region,
// includes its vocabulary.h and then generic/kernels.inl inside namespace kvilt::kernels::<isa>; nothing else is
// compiled for that target, so no inline function of a shared header can carry its instructions elsewhere.
#define KVILT_INLINE inline __attribute__((always_inline))
#define KVILT_NOINLINE __attribute__((noinline)) // a loop whose registers are not to be shared with what is around it
#ifndef KVILT_UNROLL // over small constant counts, so that arrays of vectors become registers
#define KVILT_UNROLL _Pragma("GCC unroll 16")
#endif

#include "kernels/api/kernel_table.h"
#include "kernels/layout/dequantise.h"
#include "kernels/layout/attention_layout.h"
#include "kernels/layout/half.h"
#include "kernels/layout/kv_tile.h"
#include "kernels/layout/panel_layout.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

// SPDX-License-Identifier: Apache-2.0
#include "kernels/generic/tables.h"
#include "kernels/generic/target.h"

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
namespace kvilt::kernels::amx {
namespace {
#define KVILT_VNNI 1
#define KVILT_TILES 1
#include "kernels/avx512/vocabulary.h"

#include "kernels/amx/vocabulary.h"
#include "kernels/generic/kernels.inl"
} // namespace
} // namespace kvilt::kernels::amx
#pragma GCC pop_options

namespace kvilt::kernels {

const KernelTable amx::kTable = amx::makeTable("amx");

} // namespace kvilt::kernels

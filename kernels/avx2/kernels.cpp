// SPDX-License-Identifier: Apache-2.0
#include "kernels/generic/target.h"
#include "kernels/generic/tables.h"

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
namespace kvilt::kernels::avx2 {
namespace {
#include "kernels/avx2/vocabulary.h"

#include "kernels/generic/kernels.inl"
} // namespace
} // namespace kvilt::kernels::avx2
#pragma GCC pop_options

namespace kvilt::kernels::avx2 {

const KernelTable kTable = makeTable("avx2");

} // namespace kvilt::kernels::avx2

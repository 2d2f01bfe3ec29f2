// SPDX-License-Identifier: Apache-2.0
// Twice the same words: with the 8-bit dot products of AVX512_VNNI, and for machines that lack them.
#include "kernels/generic/tables.h"
#include "kernels/generic/target.h"

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
namespace kvilt::kernels::avx512bw {
namespace {
#define KVILT_VNNI 0
#include "kernels/avx512/vocabulary.h"

#include "kernels/generic/kernels.inl"
#undef KVILT_VNNI
} // namespace
} // namespace kvilt::kernels::avx512bw
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
namespace kvilt::kernels::avx512vnni {
namespace {
#define KVILT_VNNI 1
#include "kernels/avx512/vocabulary.h"

#include "kernels/generic/kernels.inl"
#undef KVILT_VNNI
} // namespace
} // namespace kvilt::kernels::avx512vnni
#pragma GCC pop_options

namespace kvilt::kernels {

const KernelTable avx512bw::kTable = avx512bw::makeTable("avx512-bw");
const KernelTable avx512vnni::kTable = avx512vnni::makeTable("avx512-vnni");

} // namespace kvilt::kernels

// SPDX-License-Identifier: Apache-2.0
// The AVX-512 kernels compiled for AVX2: every 512-bit word is emulated, so that their logic is tested on machines
// that cannot run them.
#define KVILT_UNROLL // emulated vectors never become registers, and unrolling them takes minutes to compile
#include "kernels/generic/target.h"
#include "tests/kernels/emulated/avx512_words.h"
#include "tests/kernels/emulated/emulated.h"

// The emulated registers are not registers: nothing to keep.
#define KVILT_EMULATED 1

namespace kvilt::kernels::emulatedbw {
namespace {
#define KVILT_VNNI 0
#include "kernels/avx512/vocabulary.h"

#include "kernels/generic/kernels.inl"
#undef KVILT_VNNI
} // namespace
const KernelTable kTable = makeTable("avx512-bw (emulated)");
} // namespace kvilt::kernels::emulatedbw

namespace kvilt::kernels::emulatedvnni {
namespace {
#define KVILT_VNNI 1
#include "kernels/avx512/vocabulary.h"

#include "kernels/generic/kernels.inl"
#undef KVILT_VNNI
} // namespace
const KernelTable kTable = makeTable("avx512-vnni (emulated)");
} // namespace kvilt::kernels::emulatedvnni

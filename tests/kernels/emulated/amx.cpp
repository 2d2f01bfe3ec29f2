// SPDX-License-Identifier: Apache-2.0
// The products of AMX on machines without it. What the matrix unit does not touch is the table of emulated AVX-512 VNNI,
// which is compiled from the same words.
#define KVILT_UNROLL // as in avx512.cpp
#include "kernels/generic/target.h"
#include "tests/kernels/emulated/amx_words.h"
#include "tests/kernels/emulated/avx512_words.h"
#include "tests/kernels/emulated/emulated.h"

#define KVILT_EMULATED 1

namespace kvilt::kernels::emulatedamx {
namespace {
#define KVILT_VNNI 1
#define KVILT_TILES 1
#include "kernels/avx512/vocabulary.h"

#include "kernels/amx/vocabulary.h"
#include "kernels/generic/math.inl"
#include "kernels/generic/vector_ops.inl"
#include "kernels/generic/panels.inl"
#include "kernels/generic/matmul.inl"

KernelTable makeTable()
{
    KernelTable table = emulatedvnni::kTable; // constant, so that it is there before this one is made
    table.name = "amx (emulated)";
    table.matmul = matmul;
    return table;
}
} // namespace
const KernelTable kTable = makeTable();
} // namespace kvilt::kernels::emulatedamx

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/vocabulary.cuh"
#include "kernels/cuda/params.h"

// The words of sm_90a: the copy engine (cp.async.bulk), barriers that count its bytes (mbarrier), products of a warpgroup
// (wgmma): PTX ISA, "Asynchronous warpgroup level matrix instructions", "Data movement: cp.async.bulk", "mbarrier".
//
// Matrices in shared memory have rows of 128 bytes whose 16-byte chunk i lies at i ^ (row % 8), in pieces of 8 rows that
// begin at multiples of 1024 bytes: the 128-byte swizzle of copy engine and products alike.
//   A [64][16] in registers: as mma.cuh has it for 16 rows, warp w of the group has rows 16 w ..
//   D [64][kColumns]: d[4 j + r] of warp w is row 16 w + g + 8 (r / 2), column 8 j + 2 c + r % 2
namespace kvilt::kernels::cuda::device {

constexpr std::uint32_t kSwizzleRow = 128; // bytes

// Where byte `byte` (0..127) of a row lies, from the start of its matrix.
KV_DEVICE constexpr std::uint32_t swizzled(std::uint32_t row, std::uint32_t byte)
{
    return row * kSwizzleRow + ((byte / 16 ^ row % 8) * 16 + byte % 16);
}

using Barrier = std::uint64_t; // in shared memory

#if defined(__CUDACC__)

// --- barriers
KV_DEVICE void initBarrier(Barrier *barrier, std::uint32_t count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(barrier)), "r"(count) : "memory");
}
// After the last init, before the block's sync: the copy engine sees them too.
KV_DEVICE void publishBarriers()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
KV_DEVICE void arrive(Barrier *barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sharedAddress(barrier)) : "memory");
}
// Arrives, and lets the phase end only when so many bytes more have come.
KV_DEVICE void arriveExpecting(Barrier *barrier, std::uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(barrier)), "r"(bytes) : "memory");
}
// Until the phase of this parity is over: 0 for the first, 1 for the second; 1 returns at once on a fresh barrier.
KV_DEVICE void waitForPhase(Barrier *barrier, std::uint32_t parity)
{
    std::uint32_t done = 0;
    while (done == 0)
        asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"(sharedAddress(barrier)), "r"(parity)
                     : "memory");
}
// A barrier of some of the block's warps; groups 1 to 15.
KV_DEVICE void syncGroup(std::uint32_t group, std::uint32_t threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(group), "r"(threads) : "memory");
}

// --- copies by the copy engine; one thread asks
KV_DEVICE void copyBulk(void *shared, const void *global, std::uint32_t bytes, Barrier *barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(sharedAddress(shared)),
                 "l"(global), "r"(bytes), "r"(sharedAddress(barrier))
                 : "memory");
}
// A box of a TensorView (emit.h) from (dim, token, head, block) on.
KV_DEVICE void copyBox(void *shared, const TensorSlot &view, const std::uint32_t (&at)[4], Barrier *barrier)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(
                     sharedAddress(shared)),
                 "l"(&view), "r"(sharedAddress(barrier)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
                 : "memory");
}
// What this thread stored to shared memory may be read by products and the copy engine (after a sync).
KV_DEVICE void publishShared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Registers of a thread from here on; every warp of the warpgroup says the same. What some give away others can take.
template <int kRegisters>
KV_DEVICE void takeRegisters() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters)); }
template <int kRegisters>
KV_DEVICE void giveRegisters() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters)); }

// --- products of four warps. Registers of a product under way are not to be touched: fence, products, commit, wait.
KV_DEVICE void beginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
KV_DEVICE void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
KV_DEVICE void waitForProducts() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory"); }

// Between a wait and the first use of its sums: no instruction moves across.
template <std::uint32_t kCount>
KV_DEVICE void holdSums(float (&d)[kCount])
{
    KV_UNROLL for (std::uint32_t i = 0; i < kCount; ++i)
        asm volatile("" : "+f"(d[i])::"memory");
}

#define KV_D8(i)                                                                                                             \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define KV_D32(i) KV_D8(i), KV_D8(i + 8), KV_D8(i + 16), KV_D8(i + 24)
#define KV_REGS32                                                                                                            \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, "     \
    "%25, %26, %27, %28, %29, %30, %31"
#define KV_REGS64                                                                                                            \
    KV_REGS32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, "   \
              "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define KV_WGMMA(shape, type, regs, a, b, accumulate, transposed)                                                            \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " accumulate ", 0;\nwgmma.mma_async.sync.aligned." shape ".f32." type "." type " {" regs   \
    "}, " a ", " b ", p, 1, 1, " transposed ";\n}"
#define KV_A_AND_B "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(std::uint32_t(accumulate))

// d (+)= A B, A in registers. B's neighbours in memory are k.
template <bool kBfloat>
KV_DEVICE void multiplyByK(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate)
{
    if constexpr (kBfloat)
        asm volatile(KV_WGMMA("m64n128k16", "bf16", KV_REGS64, "{%64, %65, %66, %67}", "%68", "%69", "0")
                     : KV_D32(0), KV_D32(32)
                     : KV_A_AND_B);
    else
        asm volatile(KV_WGMMA("m64n128k16", "f16", KV_REGS64, "{%64, %65, %66, %67}", "%68", "%69", "0")
                     : KV_D32(0), KV_D32(32)
                     : KV_A_AND_B);
}
// B's neighbours in memory are columns (f16).
KV_DEVICE void multiplyByColumns(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate)
{
    asm volatile(KV_WGMMA("m64n128k16", "f16", KV_REGS64, "{%64, %65, %66, %67}", "%68", "%69", "1") : KV_D32(0), KV_D32(32) : KV_A_AND_B);
}
KV_DEVICE void multiplyByColumns(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate)
{
    asm volatile(KV_WGMMA("m64n64k16", "f16", KV_REGS32, "{%32, %33, %34, %35}", "%36", "%37", "1") : KV_D32(0) : KV_A_AND_B);
}
// Both in shared memory, neighbours are k (f16).
KV_DEVICE void multiplyShared(float (&d)[64], std::uint64_t a, std::uint64_t b, bool accumulate)
{
    asm volatile(KV_WGMMA("m64n128k16", "f16", KV_REGS64, "%64", "%65", "%66", "0, 0")
                 : KV_D32(0), KV_D32(32)
                 : "l"(a), "l"(b), "r"(std::uint32_t(accumulate)));
}
#undef KV_D8
#undef KV_D32
#undef KV_REGS32
#undef KV_REGS64
#undef KV_WGMMA
#undef KV_A_AND_B

#else // the emulator

KV_DEVICE void initBarrier(Barrier *barrier, std::uint32_t count) { emulator::initBarrier(barrier, count); }
KV_DEVICE void publishBarriers() {}
KV_DEVICE void arrive(Barrier *barrier) { emulator::arrive(barrier, 0); }
KV_DEVICE void arriveExpecting(Barrier *barrier, std::uint32_t bytes) { emulator::arrive(barrier, bytes); }
KV_DEVICE void waitForPhase(Barrier *barrier, std::uint32_t parity)
{
    while (!emulator::phaseDone(barrier, parity))
        emulator::poll();
}
KV_DEVICE void syncGroup(std::uint32_t group, std::uint32_t threads) { emulator::syncGroup(group, threads); }
KV_DEVICE void copyBulk(void *shared, const void *global, std::uint32_t bytes, Barrier *barrier)
{
    emulator::copyBulk(static_cast<std::byte *>(shared), global, bytes, barrier);
}
KV_DEVICE void copyBox(void *shared, const TensorSlot &view, const std::uint32_t (&at)[4], Barrier *barrier)
{
    TensorView v;
    __builtin_memcpy(static_cast<void *>(&v), &view, sizeof v);
    emulator::copyBox(static_cast<std::byte *>(shared), v, at, barrier);
}
KV_DEVICE void publishShared() {}
template <int kRegisters>
KV_DEVICE void takeRegisters() {}
template <int kRegisters>
KV_DEVICE void giveRegisters() {}
KV_DEVICE void beginProducts() {}
KV_DEVICE void commitProducts() { emulator::commitProducts(); }
template <int kPending>
KV_DEVICE void waitForProducts() { emulator::waitForProducts(kPending); }
template <std::uint32_t kCount>
KV_DEVICE void holdSums(float (&)[kCount]) {}
template <bool kBfloat>
KV_DEVICE void multiplyByK(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate)
{
    emulator::addProduct({d, a, 0, b, 128, kBfloat, false, accumulate});
}
KV_DEVICE void multiplyByColumns(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate)
{
    emulator::addProduct({d, a, 0, b, 128, false, true, accumulate});
}
KV_DEVICE void multiplyByColumns(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate)
{
    emulator::addProduct({d, a, 0, b, 64, false, true, accumulate});
}
KV_DEVICE void multiplyShared(float (&d)[64], std::uint64_t a, std::uint64_t b, bool accumulate)
{
    emulator::addProduct({d, nullptr, a, b, 128, false, false, accumulate});
}
KV_DEVICE std::uint32_t sharedAddress(const void *p) { return emulator::sharedAddress(p); }

#endif

// Of a matrix that begins at `from` (a multiple of 1024; plus 32 for each further 16 k): neighbours k: `stride` bytes from 8
// rows to the next 8. Neighbours columns: `leading` from 64 columns to the next, `stride` from 8 k to the next.
KV_DEVICE std::uint64_t matrixDescriptor(const void *from, std::uint32_t leading, std::uint32_t stride)
{
    constexpr std::uint64_t kSwizzle128 = 1ull << 62;
    return (sharedAddress(from) >> 4 & 0x3fffu) | std::uint64_t(leading >> 4) << 16 | std::uint64_t(stride >> 4) << 32 | kSwizzle128;
}

KV_DEVICE std::uint32_t warpInGroup() { return warp() % 4; }

} // namespace kvilt::kernels::cuda::device

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// The words that kernels are written in. nvcc turns them into instructions; every other compiler into calls of the emulator
// (kernels/cuda/emulator), so that each kernel also runs on the CPU, thread by thread, and is tested there. No CUDA
// header is needed. Kernels are compiled with -fmad=false: a fused multiply-add is written as one (fma), so that every
// instance of a template rounds alike.
#if defined(__CUDACC__)
#define KV_DEVICE __device__ __forceinline__
#define KV_UNROLL _Pragma("unroll")
#define KV_NO_UNROLL _Pragma("unroll 1")
// A kernel takes one parameter, a struct by value. `threads`: of its block; `blocks`: that a multiprocessor should hold.
#define KV_KERNEL(name, Params, threads, blocks)                                                                             \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Params p)
#else
#include "kernels/cuda/emulator/emulator.h"
#define KV_DEVICE inline
#define KV_UNROLL
#define KV_NO_UNROLL
#define KV_KERNEL(name, Params, threads, blocks)                                                                             \
    static void name(const Params &p);                                                                                       \
    static const ::kvilt::kernels::cuda::emulator::Registrar kRegister_##name{                                               \
        #name, threads, sizeof(Params), [](const void *params) { name(*static_cast<const Params *>(params)); }};             \
    static void name(const Params &p)
#endif

#ifdef __CUDA_ARCH__
#define KV_ARCH __CUDA_ARCH__
#else
#define KV_ARCH 900
#endif

namespace kvilt::kernels::cuda::device {

struct alignas(8) Words2 {
    std::uint32_t w[2];
};
struct alignas(16) Words4 {
    std::uint32_t w[4];
};
struct alignas(16) Float4 {
    float v[4];
};

#if defined(__CUDACC__)

// --- where a thread is
KV_DEVICE std::uint32_t threadIndex() { return threadIdx.x; }
KV_DEVICE std::uint32_t blockX() { return blockIdx.x; }
KV_DEVICE std::uint32_t blockY() { return blockIdx.y; }
KV_DEVICE std::uint32_t blockZ() { return blockIdx.z; }
KV_DEVICE std::byte *sharedMemory()
{
    extern __shared__ __align__(1024) std::byte dynamicShared[];
    return dynamicShared;
}

// --- order
KV_DEVICE void syncBlock() { __syncthreads(); }
KV_DEVICE void syncWarp() { __syncwarp(); }
// Programmatic dependent launch: what the launches before wrote may be read after the wait; the next launch may begin, up to
// its own wait, once every block has called `let`. Both are nothing before sm_90 and where the launch is an ordinary one.
KV_DEVICE void waitForEarlierLaunches()
{
#if KV_ARCH >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
KV_DEVICE void letNextLaunchBegin()
{
#if KV_ARCH >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// --- exchange within a warp; all 32 lanes take part
KV_DEVICE float shuffleXor(float v, std::uint32_t mask) { return __shfl_xor_sync(0xffffffffu, v, int(mask)); }
KV_DEVICE std::uint32_t shuffleXor(std::uint32_t v, std::uint32_t mask) { return __shfl_xor_sync(0xffffffffu, v, int(mask)); }
KV_DEVICE std::uint32_t shuffle(std::uint32_t v, std::uint32_t from) { return __shfl_sync(0xffffffffu, v, int(from)); }
KV_DEVICE void addToShared(std::uint32_t *at, std::uint32_t v) { atomicAdd(at, v); }
KV_DEVICE std::uint32_t countShared(std::uint32_t *at) { return atomicAdd(at, 1u); }

// --- bits and floats
KV_DEVICE std::uint32_t bitsOf(float v) { return __float_as_uint(v); }
KV_DEVICE float floatOf(std::uint32_t v) { return __uint_as_float(v); }
KV_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
KV_DEVICE double fma(double a, double b, double c) { return __fma_rn(a, b, c); }
KV_DEVICE float sqrtExact(float v) { return __fsqrt_rn(v); }
KV_DEVICE float divideExact(float a, float b) { return __fdiv_rn(a, b); }
KV_DEVICE float maxOf(float a, float b) { return fmaxf(a, b); } // the other one, where one is NaN
KV_DEVICE float absOf(float a) { return fabsf(a); }
KV_DEVICE std::int32_t roundToInt(float v) { return __float2int_rn(v); }
KV_DEVICE double roundToEven(double v) { return rint(v); }
KV_DEVICE double timesPowerOf2(double v, int n) { return ldexp(v, n); }
KV_DEVICE float exp2Fast(float v) // 2^v, two units in the last place; 0 for -infinity
{
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}
// Byte i of the result is byte (selector >> 4 i) & 7 of a (0..3) and b (4..7); its sign bit repeated where bit 3 is set.
KV_DEVICE std::uint32_t permuteBytes(std::uint32_t a, std::uint32_t b, std::uint32_t selector)
{
    std::uint32_t r;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(selector));
    return r;
}

KV_DEVICE float halfToFloat(std::uint16_t h)
{
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h));
    return r;
}
KV_DEVICE std::uint16_t floatToHalf(float v) // nearest even
{
    std::uint16_t r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v));
    return r;
}

// --- global memory
// Weights: read once, so they push nothing out of the first-level cache.
KV_DEVICE Words4 loadStream4(const void *p)
{
    Words4 r;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r.w[0]), "=r"(r.w[1]), "=r"(r.w[2]), "=r"(r.w[3])
                 : "l"(p));
    return r;
}

// --- 16-byte copies from global to shared memory, asynchronous where the device can (sm_80)
KV_DEVICE std::uint32_t sharedAddress(const void *p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }
KV_DEVICE void copyAsync16(void *shared, const void *global)
{
#if KV_ARCH >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(sharedAddress(shared)), "l"(global) : "memory");
#else
    *static_cast<Words4 *>(shared) = loadStream4(global);
#endif
}
KV_DEVICE void commitCopies()
{
#if KV_ARCH >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most kPending of this thread's groups are under way. Others see the data after a sync.
template <int kPending>
KV_DEVICE void waitForCopies()
{
#if KV_ARCH >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

#else // the emulator

KV_DEVICE std::uint32_t threadIndex() { return emulator::threadIndex(); }
KV_DEVICE std::uint32_t blockX() { return emulator::blockIndex(0); }
KV_DEVICE std::uint32_t blockY() { return emulator::blockIndex(1); }
KV_DEVICE std::uint32_t blockZ() { return emulator::blockIndex(2); }
KV_DEVICE std::byte *sharedMemory() { return emulator::sharedMemory(); }
KV_DEVICE void syncBlock() { emulator::syncBlock(); }
KV_DEVICE void syncWarp() { emulator::syncWarp(); }
KV_DEVICE void waitForEarlierLaunches() {}
KV_DEVICE void letNextLaunchBegin() {}
KV_DEVICE float shuffleXor(float v, std::uint32_t mask) { return emulator::floatOf(emulator::shuffle(emulator::bitsOf(v), emulator::lane() ^ mask)); }
KV_DEVICE std::uint32_t shuffleXor(std::uint32_t v, std::uint32_t mask) { return emulator::shuffle(v, emulator::lane() ^ mask); }
KV_DEVICE std::uint32_t shuffle(std::uint32_t v, std::uint32_t from) { return emulator::shuffle(v, from); }
KV_DEVICE void addToShared(std::uint32_t *at, std::uint32_t v) { *at += v; }
KV_DEVICE std::uint32_t countShared(std::uint32_t *at) { return (*at)++; }
KV_DEVICE std::uint32_t bitsOf(float v) { return emulator::bitsOf(v); }
KV_DEVICE float floatOf(std::uint32_t v) { return emulator::floatOf(v); }
KV_DEVICE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
KV_DEVICE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
KV_DEVICE float sqrtExact(float v) { return __builtin_sqrtf(v); }
KV_DEVICE float divideExact(float a, float b) { return a / b; }
KV_DEVICE float maxOf(float a, float b) { return __builtin_fmaxf(a, b); }
KV_DEVICE float absOf(float a) { return __builtin_fabsf(a); }
KV_DEVICE std::int32_t roundToInt(float v) { return emulator::roundToInt(v); }
KV_DEVICE double roundToEven(double v) { return __builtin_nearbyint(v); }
KV_DEVICE double timesPowerOf2(double v, int n) { return __builtin_ldexp(v, n); }
KV_DEVICE float exp2Fast(float v) { return __builtin_exp2f(v); }
KV_DEVICE std::uint32_t permuteBytes(std::uint32_t a, std::uint32_t b, std::uint32_t selector) { return emulator::permuteBytes(a, b, selector); }
KV_DEVICE float halfToFloat(std::uint16_t h) { return f16ToF32(h); }
KV_DEVICE std::uint16_t floatToHalf(float v) { return f32ToF16(v); }
KV_DEVICE Words4 loadStream4(const void *p) { return *static_cast<const Words4 *>(p); }
KV_DEVICE void copyAsync16(void *shared, const void *global) { emulator::copyAsync16(shared, global); }
KV_DEVICE void commitCopies() { emulator::commitCopies(); }
template <int kPending>
KV_DEVICE void waitForCopies() { emulator::waitForCopies(kPending); }

#endif

KV_DEVICE std::uint32_t lane() { return threadIndex() % 32; }
KV_DEVICE std::uint32_t warp() { return threadIndex() / 32; }
KV_DEVICE std::uint32_t minOf(std::uint32_t a, std::uint32_t b) { return a < b ? a : b; }
KV_DEVICE std::uint32_t maxOf(std::uint32_t a, std::uint32_t b) { return a < b ? b : a; }
KV_DEVICE float negativeInfinity() { return floatOf(0xff800000u); }

KV_DEVICE float bfloatToFloat(std::uint32_t low16) { return floatOf(low16 << 16); }
KV_DEVICE std::uint32_t floatToBfloat(float v) // nearest even; a NaN stays one
{
    const std::uint32_t bits = bitsOf(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (bits >> 16) | 0x40u;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
// fp8 e4m3, as kernels/layout/half.h has it.
KV_DEVICE float fp8ToFloat(std::uint32_t x)
{
    return halfToFloat(std::uint16_t((x & 0x80u) << 8 | (x & 0x7fu) << 7)) * 256.0f;
}
KV_DEVICE std::uint32_t floatToFp8(float v)
{
    const std::uint32_t magnitude = bitsOf(v) & 0x7fffffffu;
    const std::uint32_t sign = bitsOf(v) >> 24 & 0x80u;
    if (magnitude >= 0x43e00000u)
        return sign | 0x7eu;
    if (magnitude < 0x3c800000u)
        return sign | (bitsOf(floatOf(magnitude) + 16384.0f) & 15u);
    return sign | ((magnitude + 0x7ffffu + (magnitude >> 20 & 1u) - (120u << 23)) >> 20);
}

// Sum and maximum over a warp, in the same order in every lane.
KV_DEVICE float warpSum(float v)
{
    for (std::uint32_t mask = 16; mask > 0; mask /= 2)
        v = v + shuffleXor(v, mask);
    return v;
}
KV_DEVICE float warpMax(float v)
{
    for (std::uint32_t mask = 16; mask > 0; mask /= 2)
        v = maxOf(v, shuffleXor(v, mask));
    return v;
}
KV_DEVICE std::int32_t warpSum(std::int32_t v)
{
    for (std::uint32_t mask = 16; mask > 0; mask /= 2)
        v += std::int32_t(shuffleXor(std::uint32_t(v), mask));
    return v;
}

} // namespace kvilt::kernels::cuda::device

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/emit.h"
#include "kernels/layout/half.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Runs kernels on the CPU, for tests and for a device without a GPU. Blocks run one after the other; the threads of a block are
// fibers that take turns at barriers and warp exchanges. It is meant to be unkind: shared memory begins as NaNs, asynchronous
// copies arrive only at the wait that covers them, threads run in an order that the seed chooses, and a barrier that not all
// threads reach is an error. One launch at a time in a thread; different threads may launch at once.
namespace kvilt::kernels::cuda::emulator {

// Runs a launch of a kernel that is linked in, on host memory. Empty, or what went wrong: an unknown kernel, a block that
// is too large, threads that wait for each other for ever.
std::string run(const Launch &launch, std::uint32_t seed = 0);
bool hasKernel(std::string_view name);

struct Registrar {
    Registrar(const char *name, std::uint32_t threads, std::size_t paramBytes, void (*body)(const void *params));
};

// --- what the vocabulary calls, within a running kernel
std::uint32_t threadIndex();
std::uint32_t blockIndex(int axis);
std::byte *sharedMemory();
void syncBlock();
void syncWarp();
inline std::uint32_t lane() { return threadIndex() % 32; }
std::uint32_t shuffle(std::uint32_t value, std::uint32_t fromLane);
void copyAsync16(void *shared, const void *global);
void commitCopies();
void waitForCopies(int pending);

// --- sm_90: the copy engine, barriers in shared memory that count its bytes, products of four warps
struct WideProduct {
    float *sums;            // this lane's part of [64][columns]
    const std::uint32_t *a; // its fragment of A, or null: `aMatrix` says where A lies
    std::uint64_t aMatrix, bMatrix;
    std::uint32_t columns;
    bool bfloat, bByColumns, accumulate; // bByColumns: neighbours of B in memory are columns, not k
};
std::uint32_t sharedAddress(const void *p);
void syncGroup(std::uint32_t group, std::uint32_t threads);
void initBarrier(std::uint64_t *barrier, std::uint32_t count);
void arrive(std::uint64_t *barrier, std::uint32_t bytes); // and expects so many bytes more in this phase
bool phaseDone(std::uint64_t *barrier, std::uint32_t parity);
void poll();
void copyBulk(std::byte *shared, const void *global, std::uint32_t bytes, std::uint64_t *barrier);
void copyBox(std::byte *shared, const TensorView &view, const std::uint32_t (&at)[4], std::uint64_t *barrier);
void addProduct(const WideProduct &product); // runs at the wait that covers it
void commitProducts();
void waitForProducts(std::size_t pending);

// A function of the whole warp: in[l] and out[l] belong to lane l. All lanes must call with the same function.
using WarpFunction = void (*)(const void *const *in, void *const *out);
void warpTogether(WarpFunction function, const void *in, void *out);

inline std::uint32_t bitsOf(float v) { return std::bit_cast<std::uint32_t>(v); }
inline float floatOf(std::uint32_t v) { return std::bit_cast<float>(v); }
inline std::int32_t roundToInt(float v) // cvt.rni.s32.f32: saturates, NaN gives 0
{
    if (!(v == v))
        return 0;
    return v >= 2147483648.0f ? 2147483647 : v <= -2147483648.0f ? std::int32_t(-2147483647 - 1) : std::int32_t(std::nearbyint(v));
}
std::uint32_t permuteBytes(std::uint32_t a, std::uint32_t b, std::uint32_t selector);

} // namespace kvilt::kernels::cuda::emulator

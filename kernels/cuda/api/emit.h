// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/ops.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <vector>

// From operations to launches: the rules of each kernel's grid stand next to the kernels (kernels/cuda/emit_*.cpp), in plain
// C++ that is compiled and tested without a toolkit.
namespace kvilt::kernels::cuda {

// What launch rules need to know of a device.
struct DeviceFacts {
    std::uint32_t sm = 0;              // 75, 80, 86, 89, 90, 100, 120
    std::uint32_t multiprocessors = 0;
    std::uint32_t sharedPerBlock = 0;  // bytes a block may opt in to
    std::uint64_t l2Bytes = 0;
    bool deterministic = false;        // own kernels only, no bit depends on the batch
    bool blas = false;                 // cuBLASLt is there (and deterministic is false)
    bool warpgroups = false;           // sm_90, and the plug-in holds warpgroupKernelNames() (and deterministic is false)
};

// One side of a KV pool as the copy engine of sm_90 sees it: 16-bit elements [block][head][token][dim]. It fetches boxes of
// [boxTokens][64 dims], in shared memory rows of 128 bytes whose 16-byte chunk i lies at i ^ (row % 8).
struct TensorView {
    const std::byte *base = nullptr; // aligned to 16
    std::uint64_t blockStride = 0;   // bytes, a multiple of 16
    std::uint32_t dim = 0, tokens = 0, heads = 0, boxTokens = 0;
};
inline constexpr std::uint32_t kTensorSlotBytes = 128; // the driver's form of it, in a kernel's parameters

// A kernel launch, or a product for cuBLASLt.
struct Launch {
    static constexpr std::size_t kMaxParams = 512;

    const char *kernel = nullptr;       // its extern "C" name; null: `gemm` is meant
    std::array<std::uint32_t, 3> grid{1, 1, 1};
    std::array<std::uint32_t, 3> block{1, 1, 1};
    std::uint32_t sharedBytes = 0;      // dynamic
    std::uint32_t cluster = 1;          // thread blocks of a cluster along x, sm_90 and later
    bool programmatic = false;          // may start while the launch before it drains (sm_90 and later): it waits on
                                        // the grid dependency itself, and so does everything after it
    std::uint32_t paramBytes = 0;
    alignas(128) std::array<std::byte, kMaxParams> params{}; // the kernel's one parameter, a struct by value
    // Views whose driver's form goes to 128 bytes of the parameters; until then the view itself lies there.
    struct Tensor {
        std::uint32_t offset = 0;
        TensorView view;
    };
    std::uint32_t tensorCount = 0;
    std::array<Tensor, 2> tensors{};

    // out[m][n] (f32, ldc) (+)= sum_k a[m][k] (ldA) * b[n][k] (ldB), bf16 or f16 inputs, f32 accumulation.
    struct Gemm {
        std::uint32_t m = 0, n = 0, k = 0;
        const void *a = nullptr;
        const void *b = nullptr;
        float *c = nullptr;
        std::uint64_t lda = 0, ldb = 0, ldc = 0; // elements
        bool f16 = false;                        // else bf16
        bool add = false;
    } gemm;

    template <typename Params>
    void setParams(const Params &p)
    {
        static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= kMaxParams);
        paramBytes = sizeof(Params);
        std::memcpy(params.data(), &p, sizeof(Params));
    }
};

// Scratch in device memory that one operation may use between its launches. One piece for the whole step: what an operation
// leaves there is lost to the next one.
std::uint64_t scratchBytes(const Op &op, const DeviceFacts &device);

// Appends the launches of one operation, in order. Counts and shapes are the caller's to check: it never fails.
void emit(const Op &op, const DeviceFacts &device, std::byte *scratch, std::vector<Launch> &out);

// What attention and gated rows should be kept in, given the matrix that reads them next.
Element elementFor(const Matrix &next, const DeviceFacts &device);

// Whether there are kernels for a type of weights, and for blocks of these shapes on this device (types, head sizes, shared
// memory). Where not, the model runs on the CPU.
bool weightSupported(WeightType type);
bool kvSupported(const KvShape &keys, const KvShape &values, const DeviceFacts &device);

// Every kernel name that emit() may give for this device: the plug-in must hold them all. Those of the second list are for
// devices with `warpgroups`; where a plug-in lacks one, that is false.
std::vector<std::string_view> kernelNames(const DeviceFacts &device);
std::vector<std::string_view> warpgroupKernelNames();

// Part of the numerics tag: raised when any kernel gives other bits.
inline constexpr std::uint32_t kKernelVersion = 1;

} // namespace kvilt::kernels::cuda

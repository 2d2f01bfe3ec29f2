// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/emit.h"
#include "kernels/cuda/api/ops.h"

#include <cstddef>
#include <functional>
#include <random>
#include <string>
#include <vector>

// Operations with random data of odd shapes, one description for every place that can run them: the reference on the host, a
// GPU, or a device without one (emulated kernels). A case asks an Arena for its memory, so that the same case, with the same
// seed, is built wherever its pointers have to point.
namespace kvilt::cudacheck {

namespace cuda = kernels::cuda;

// Memory of one run of a case. Everything is aligned to 256 bytes; what no content is given for is filled with NaNs.
class Arena {
public:
    virtual ~Arena() = default;
    virtual std::byte *place(std::vector<std::byte> content) = 0;

    template <typename T>
    T *place(const std::vector<T> &values)
    {
        const auto *bytes = reinterpret_cast<const std::byte *>(values.data());
        return reinterpret_cast<T *>(place(std::vector<std::byte>(bytes, bytes + values.size() * sizeof(T))));
    }
    template <typename T>
    T *poisoned(std::size_t count)
    {
        return reinterpret_cast<T *>(place(std::vector<std::byte>(count * sizeof(T), std::byte(0xff))));
    }
};

struct Output {
    std::byte *data = nullptr;
    std::size_t bytes = 0;
};

struct Built {
    cuda::Op op;
    Output out; // floats, or bytes where the case is exact
};

struct Case {
    std::string name;
    double limit = 0; // of the NMSE against the reference; 0: the same bytes
    std::function<Built(Arena &, std::mt19937 &)> build;
};

// `quick`: a few of each kind, for sanitizers and for the emulator.
std::vector<Case> kernelCases(const cuda::DeviceFacts &device, bool quick);

// What a device that need not be deterministic runs instead for many tokens: cuBLASLt, warpgroups. Limits are wider where
// inputs are rounded to 16 bits.
std::vector<Case> fastCases(const cuda::DeviceFacts &device, bool quick);

// The same row computed in different company must have the same bytes: pairs of cases whose outputs are compared from their
// starts, as far as the shorter one goes.
struct TwinCase {
    std::string name;
    std::function<Built(Arena &, std::mt19937 &)> alone, together;
};
std::vector<TwinCase> exactnessCases(const cuda::DeviceFacts &device, bool quick);

} // namespace kvilt::cudacheck

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "engine/backend/cuda/driver.h"

#include <map>
#include <memory>
#include <string>
#include <tuple>

namespace kvilt::backend::cuda {

// cuBLASLt where the user has it: dense products of bf16 or f16 matrices. Opened at run time like the driver; its interface is
// declared in blas_api.h. It chooses its own order of summation, by shape: the same shape gives the same bits.
class Blas {
public:
    // Null: the library is not there, or does not start.
    static std::unique_ptr<Blas> open(Memory workspace);
    ~Blas();

    const std::string &version() const { return m_version; }
    bool multiplies(const kernels::cuda::Launch::Gemm &gemm) { return planFor(gemm) != nullptr; } // has a way for this shape
    // Queues out (+)= a b^T on the stream. False: it has no way for this shape, or failed.
    bool multiply(const kernels::cuda::Launch::Gemm &gemm, api::Stream stream);

    static constexpr std::size_t kWorkspaceBytes = 32u << 20; // what its documentation asks for on Hopper

private:
    struct Functions;
    struct Plan;
    using Key = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint32_t, bool, bool>;

    Blas();
    static std::uint32_t alignmentOf(const void *at); // bytes, at most 256
    const Plan *planFor(const kernels::cuda::Launch::Gemm &gemm);
    std::unique_ptr<Plan> plan(const kernels::cuda::Launch::Gemm &gemm) const;

    std::shared_ptr<Library> m_library;
    std::unique_ptr<Functions> m_functions;
    void *m_handle = nullptr;
    Memory m_workspace;
    std::string m_version;
    std::map<Key, std::unique_ptr<Plan>> m_plans; // null: none for this shape
};

} // namespace kvilt::backend::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/model/model_description.h"
#include "engine/support/error.h"
#include "kernels/api/buffer.h"
#include "kernels/api/packed_matrix.h"

#include <cstddef>
#include <cstdint>

namespace kvilt::backend {

// Makes `buffer` hold at least `bytes`; its content is lost when it grows. False: the system refused.
bool growBuffer(kernels::Buffer &buffer, std::size_t bytes);

// A row-major float matrix in the workspace, rows `stride` floats apart.
struct Rows {
    float *data = nullptr;
    std::size_t stride = 0;
    float *row(std::size_t index) const { return data + index * stride; }
};

// What a step computes in between, for up to maxTokens tokens. Reserved once at prepare(); the system gives the pages
// when they are first touched.
class CpuWorkspace {
public:
    static Result<CpuWorkspace> make(const model::ModelDescription &description, std::uint32_t maxTokens, int threads,
                                     std::size_t scratchBytes);

    Rows hidden;   // [token][width]: the residual stream
    Rows delta;    // [token][width]: what a layer adds, where it is normed first
    Rows query;    // [token][query, then key, then value width]
    Rows attended; // [token][attention width]
    Rows gate;     // [token][feed forward]
    Rows up;       // [token][feed forward]
    Rows rope;     // [token][cosines and sines of layers that see everything, then of windowed layers]
    std::uint32_t keyColumn = 0;   // where keys and values begin in a row of `query`
    std::uint32_t valueColumn = 0;

    // Activation rows of one format; the widest input fits. Count and columns are the caller's.
    kernels::ActivationView activations(kernels::ActivationFormat format, std::uint32_t cols, std::uint32_t count) const
    {
        return {format, cols, count, m_activations[static_cast<std::size_t>(format)]};
    }
    std::byte *activationRow(kernels::ActivationFormat format, std::uint32_t cols, std::size_t row) const
    {
        return m_activations[static_cast<std::size_t>(format)] + row * kernels::activationRowBytes(format, cols);
    }
    std::byte *scratch(int thread) const { return m_scratch + static_cast<std::size_t>(thread) * m_scratchBytes; }

private:
    kernels::Buffer m_memory;
    std::byte *m_activations[2] = {};
    std::byte *m_scratch = nullptr;
    std::size_t m_scratchBytes = 0;
};

} // namespace kvilt::backend

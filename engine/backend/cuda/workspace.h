// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "engine/backend/cuda/weights.h"
#include "engine/model/model_description.h"

#include <array>
#include <memory>

namespace kvilt::backend::cuda {

// What a step computes in between, on the device, for up to maxTokens tokens.
class Workspace {
public:
    static Result<Workspace> make(Device &device, const model::ModelDescription &description, const Weights &weights,
                                  std::uint32_t maxTokens);
    static std::uint64_t bytesNeeded(const model::ModelDescription &description, std::uint32_t maxTokens);

    float *hidden = nullptr;      // [token][width]: the residual stream
    float *finalHidden = nullptr; // [token][width]: its rows that go through the last layer's rest
    float *delta = nullptr;       // [token][width]: what a layer adds, where it is normed first
    kernels::cuda::Rows queries;  // [token][query width]
    kernels::cuda::Rows attended; // [token][attention width]
    kernels::cuda::Rows gated;    // [token][feed forward]

private:
    Memory m_memory;
};

// cos and sin of positions 0 to reach(), for layers that see everything and for windowed ones. Computed on the host in double
// (the same rows as on the CPU) when a sequence first gets that far.
class RopeTables {
public:
    static Result<RopeTables> make(Device &device, const model::Model &model);
    Result<void> reach(Device &device, std::uint32_t positions);
    kernels::cuda::RopeView view(bool windowed) const;

private:
    struct Table {
        kernels::RopeSettings settings;
        std::unique_ptr<GrowingMemory> memory;
    };
    Result<void> extend(Device &device, Table &table, std::uint32_t positions);

    std::vector<float> m_factors;
    std::array<Table, 2> m_tables; // the second is empty where no layer is windowed
    kernels::RopeKind m_kind = kernels::RopeKind::norm;
    std::uint32_t m_rotated = 0, m_context = 0, m_reach = 0;
    Memory m_staging;
};

} // namespace kvilt::backend::cuda

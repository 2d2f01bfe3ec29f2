// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "engine/model/model.h"
#include "engine/support/thread_pool.h"

#include <vector>

namespace kvilt::backend::cuda {

// One layer's weights on the device. What the architecture lacks is null or empty.
struct LayerWeights {
    const float *attentionNorm = nullptr;
    const float *queryNorm = nullptr;
    const float *keyNorm = nullptr;
    const float *postAttentionNorm = nullptr;
    const float *feedForwardNorm = nullptr;
    const float *postFeedForwardNorm = nullptr;
    kernels::cuda::Matrix query, key, value, attentionOutput, gate, up, down;
};

// All weights of a model in device form, in one piece of memory. A tied embedding exists once.
class Weights {
public:
    // Packs on the pool's threads while the copy engine uploads what was packed before.
    static Result<Weights> load(Device &device, const model::Model &model, ThreadPool &pool);
    // Device bytes that load() will take.
    static std::uint64_t bytesNeeded(const model::Model &model);

    const LayerWeights &layer(std::uint32_t index) const { return m_layers[index]; }
    const float *outputNorm() const { return m_outputNorm; }
    const kernels::cuda::Matrix &head() const { return m_head; }
    const kernels::cuda::Matrix &embedding() const { return m_embedding; }

private:
    friend class WeightUpload;
    Memory m_memory;
    std::vector<LayerWeights> m_layers;
    const float *m_outputNorm = nullptr;
    kernels::cuda::Matrix m_head, m_embedding;
};

} // namespace kvilt::backend::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/model/model.h"
#include "engine/support/error.h"
#include "engine/support/thread_pool.h"
#include "kernels/api/buffer.h"
#include "kernels/api/packed_matrix.h"

#include <vector>

namespace kvilt::backend {

// One layer's weights, ready for the kernels. Vectors and matrices that the architecture lacks are null or empty.
struct CpuLayerWeights {
    const float *attentionNorm = nullptr;
    const float *queryNorm = nullptr;
    const float *keyNorm = nullptr;
    const float *postAttentionNorm = nullptr;
    const float *feedForwardNorm = nullptr;
    const float *postFeedForwardNorm = nullptr;
    kernels::PackedMatrix query, key, value, attentionOutput, gate, up, down;
};

// All weights of a model, repacked once. They take about the file's size; the file's own pages are given back to the
// system as they are packed, so weights are never resident twice. A tied embedding exists once, packed, and is looked
// up there; an embedding of its own stays in the file.
class CpuWeights {
public:
    static Result<CpuWeights> load(const model::Model &model, ThreadPool &pool);

    const CpuLayerWeights &layer(std::uint32_t index) const { return m_layers[index]; }
    std::uint32_t layers() const { return static_cast<std::uint32_t>(m_layers.size()); }
    const float *outputNorm() const { return m_outputNorm; }
    const kernels::PackedMatrix &head() const { return m_head; }
    // Where tokens are looked up: the packed head when they are tied, else rows in GGUF layout.
    bool embeddingPacked() const { return m_embedding.data == nullptr; }
    const kernels::WeightView &embedding() const { return m_embedding; }
    std::span<const float> ropeFactors() const { return m_ropeFactors; } // empty: none
    std::size_t bytes() const { return m_memory.size(); }
    std::size_t largestScratch() const { return m_largestScratch; } // matmulScratchBytes of any matrix

private:
    friend class WeightPacker;
    kernels::Buffer m_memory;
    std::vector<float> m_vectors; // norms and RoPE factors, one after the other
    std::vector<CpuLayerWeights> m_layers;
    const float *m_outputNorm = nullptr;
    kernels::PackedMatrix m_head;
    kernels::WeightView m_embedding;
    std::span<const float> m_ropeFactors;
    std::size_t m_largestScratch = 0;
};

} // namespace kvilt::backend

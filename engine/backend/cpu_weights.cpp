// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu_weights.h"

#include "engine/support/check.h"

#include <algorithm>
#include <cstring>

namespace kvilt::backend {

using gguf::TensorInfo;
using model::TensorRole;

namespace {

// Packing goes in runs of about this many source bytes: large enough to cost no bookkeeping, small enough that the
// source pages of what is in flight do not count.
constexpr std::uint64_t kRunBytes = 1u << 20;

kernels::WeightType weightType(const TensorInfo &tensor)
{
    return static_cast<kernels::WeightType>(tensor.type); // Model::load has refused every other type
}

struct RoleMatrix {
    TensorRole role;
    kernels::PackedMatrix CpuLayerWeights::*matrix;
};
// In the order in which a step reads them, so that a layer is one run through memory.
constexpr RoleMatrix kMatrices[] = {
    {TensorRole::query, &CpuLayerWeights::query},
    {TensorRole::key, &CpuLayerWeights::key},
    {TensorRole::value, &CpuLayerWeights::value},
    {TensorRole::attentionOutput, &CpuLayerWeights::attentionOutput},
    {TensorRole::gate, &CpuLayerWeights::gate},
    {TensorRole::up, &CpuLayerWeights::up},
    {TensorRole::down, &CpuLayerWeights::down},
};

struct RoleVector {
    TensorRole role;
    const float *CpuLayerWeights::*vector;
};
constexpr RoleVector kVectors[] = {
    {TensorRole::attentionNorm, &CpuLayerWeights::attentionNorm},
    {TensorRole::queryNorm, &CpuLayerWeights::queryNorm},
    {TensorRole::keyNorm, &CpuLayerWeights::keyNorm},
    {TensorRole::postAttentionNorm, &CpuLayerWeights::postAttentionNorm},
    {TensorRole::feedForwardNorm, &CpuLayerWeights::feedForwardNorm},
    {TensorRole::postFeedForwardNorm, &CpuLayerWeights::postFeedForwardNorm},
};

} // namespace

class WeightPacker {
public:
    explicit WeightPacker(const model::Model &model) : m_model(model) {}

    Result<CpuWeights> run(ThreadPool &pool)
    {
        m_out.m_layers.resize(m_model.description().layers);
        copyVectors();
        placeMatrices();
        auto memory = kernels::Buffer::allocate(m_size);
        if (!memory)
            return fail(ErrorCode::outOfMemory, "The weights of " + m_model.file().path() + " need " +
                                                    std::to_string(m_size >> 20) + " MiB of memory, which the system refused.");
        m_out.m_memory = std::move(*memory);
        for (Placement &placement : m_placements)
            placement.packed->data = m_out.m_memory.data() + placement.offset;
        pack(pool);
        m_model.file().dropPages(0, m_model.file().size());
        return std::move(m_out);
    }

private:
    struct Placement {
        const TensorInfo *tensor;
        kernels::PackedMatrix *packed;
        std::size_t offset;
        std::uint32_t firstRun; // runs of earlier matrices
        std::uint32_t panelsPerRun;
    };

    void copyVectors()
    {
        m_out.m_vectors.reserve(vectorElements()); // pointers into it are handed out below
        for (std::uint32_t layer = 0; layer < m_out.layers(); ++layer)
            for (const RoleVector &entry : kVectors)
                m_out.m_layers[layer].*entry.vector = copyVector(m_model.tensor(entry.role, layer)).data();
        m_out.m_outputNorm = copyVector(m_model.tensor(TensorRole::outputNorm)).data();
        m_out.m_ropeFactors = copyVector(m_model.tensor(TensorRole::ropeFactors));
    }

    // By role, not by shape: a file may write a vector of n as n x 1.
    std::size_t vectorElements() const
    {
        const auto elements = [](const TensorInfo *tensor) { return tensor ? tensor->elements() : 0; };
        std::size_t total = elements(m_model.tensor(TensorRole::outputNorm)) +
                            elements(m_model.tensor(TensorRole::ropeFactors));
        for (std::uint32_t layer = 0; layer < m_out.layers(); ++layer)
            for (const RoleVector &entry : kVectors)
                total += elements(m_model.tensor(entry.role, layer));
        return total;
    }

    std::span<const float> copyVector(const TensorInfo *tensor)
    {
        if (!tensor)
            return {};
        const std::size_t begin = m_out.m_vectors.size();
        KVILT_CHECK(begin + tensor->elements() <= m_out.m_vectors.capacity());
        m_out.m_vectors.resize(begin + tensor->elements());
        float *to = m_out.m_vectors.data() + begin;
        std::memcpy(to, m_model.bytes(*tensor).data(), tensor->bytes);
        return {to, tensor->elements()};
    }

    void placeMatrices()
    {
        for (std::uint32_t layer = 0; layer < m_out.layers(); ++layer)
            for (const RoleMatrix &entry : kMatrices)
                place(*m_model.tensor(entry.role, layer), m_out.m_layers[layer].*entry.matrix);
        place(m_model.head(), m_out.m_head);
        if (!m_model.headTied()) {
            const TensorInfo &tensor = *m_model.tensor(TensorRole::tokenEmbedding);
            m_out.m_embedding = {weightType(tensor), static_cast<std::uint32_t>(tensor.dims[1]),
                                 static_cast<std::uint32_t>(tensor.dims[0]), m_model.bytes(tensor).data()};
        }
    }

    void place(const TensorInfo &tensor, kernels::PackedMatrix &packed)
    {
        packed.type = weightType(tensor);
        packed.rows = static_cast<std::uint32_t>(tensor.dims[1]);
        packed.cols = static_cast<std::uint32_t>(tensor.dims[0]);
        const std::uint64_t panelBytes = std::max<std::uint64_t>(1, tensor.bytes / packed.panels());
        const auto perRun = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kRunBytes / panelBytes, 1, packed.panels()));
        m_placements.push_back({&tensor, &packed, m_size, m_runs, perRun});
        m_runs += (packed.panels() + perRun - 1) / perRun;
        m_size += kernels::packedBytes(packed.type, packed.rows, packed.cols);
        m_out.m_largestScratch = std::max(m_out.m_largestScratch, kernels::matmulScratchBytes(packed.type, packed.cols));
    }

    void pack(ThreadPool &pool)
    {
        pool.parallelFor(m_runs, [&](std::uint32_t run, int) {
            const auto at = std::upper_bound(m_placements.begin(), m_placements.end(), run,
                                             [](std::uint32_t r, const Placement &p) { return r < p.firstRun; });
            packRun(*std::prev(at), run);
        });
    }

    void packRun(const Placement &p, std::uint32_t run) const
    {
        const std::uint32_t begin = (run - p.firstRun) * p.panelsPerRun;
        const std::uint32_t end = std::min(begin + p.panelsPerRun, p.packed->panels());
        const std::uint64_t rowBytes = p.tensor->bytes / p.packed->rows;
        const std::uint64_t rows = std::min(end * kernels::kPanelRows, p.packed->rows) - begin * kernels::kPanelRows;
        const std::uint64_t source = p.tensor->offset + begin * kernels::kPanelRows * rowBytes;
        m_model.file().wantPages(source, rows * rowBytes);
        const kernels::WeightView from{p.packed->type, p.packed->rows, p.packed->cols, m_model.bytes(*p.tensor).data()};
        kernels::packPanels(from, begin, end, m_out.m_memory.data() + p.offset);
        m_model.file().dropPages(source, rows * rowBytes);
    }

    const model::Model &m_model;
    CpuWeights m_out;
    std::vector<Placement> m_placements;
    std::uint32_t m_runs = 0;
    std::size_t m_size = 0;
};

Result<CpuWeights> CpuWeights::load(const model::Model &model, ThreadPool &pool)
{
    return WeightPacker(model).run(pool);
}

} // namespace kvilt::backend

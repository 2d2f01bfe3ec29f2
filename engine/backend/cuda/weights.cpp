// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/weights.h"

#include "kernels/cuda/api/device_weights.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace kvilt::backend::cuda {

using gguf::TensorInfo;
using kernels::cuda::Matrix;
using model::TensorRole;

namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kStagingBytes = 16u << 20; // of each of two: large enough for the bus, small enough to pin

std::size_t rounded(std::size_t bytes)
{
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

struct RoleMatrix {
    TensorRole role;
    Matrix LayerWeights::*matrix;
};
constexpr RoleMatrix kMatrices[] = {
    {TensorRole::query, &LayerWeights::query}, {TensorRole::key, &LayerWeights::key},
    {TensorRole::value, &LayerWeights::value}, {TensorRole::attentionOutput, &LayerWeights::attentionOutput},
    {TensorRole::gate, &LayerWeights::gate},   {TensorRole::up, &LayerWeights::up},
    {TensorRole::down, &LayerWeights::down},
};

struct RoleVector {
    TensorRole role;
    const float *LayerWeights::*vector;
};
constexpr RoleVector kVectors[] = {
    {TensorRole::attentionNorm, &LayerWeights::attentionNorm},
    {TensorRole::queryNorm, &LayerWeights::queryNorm},
    {TensorRole::keyNorm, &LayerWeights::keyNorm},
    {TensorRole::postAttentionNorm, &LayerWeights::postAttentionNorm},
    {TensorRole::feedForwardNorm, &LayerWeights::feedForwardNorm},
    {TensorRole::postFeedForwardNorm, &LayerWeights::postFeedForwardNorm},
};

std::uint64_t tensorBytes(const TensorInfo &tensor)
{
    if (tensor.dimensions == 1)
        return rounded(tensor.bytes);
    return rounded(kernels::cuda::deviceWeightBytes(static_cast<kernels::WeightType>(tensor.type),
                                                    static_cast<std::uint32_t>(tensor.dims[1]),
                                                    static_cast<std::uint32_t>(tensor.dims[0])));
}

} // namespace

class WeightUpload {
public:
    WeightUpload(Device &device, const model::Model &model, ThreadPool &pool) : m_device(device), m_model(model), m_pool(pool) {}

    Result<Weights> run()
    {
        KVILT_TRY(m_out.m_memory, m_device.allocate(Weights::bytesNeeded(m_model)));
        for (Staging &staging : m_staging) {
            KVILT_TRY(staging.memory, m_device.allocatePinned(kStagingBytes + largestRun()));
            KVILT_TRY(staging.uploaded, m_device.makeEvent());
        }
        m_out.m_layers.resize(m_model.description().layers);
        for (std::uint32_t layer = 0; layer < m_model.description().layers; ++layer)
            KVILT_TRY_VOID(uploadLayer(layer));
        KVILT_TRY(m_out.m_outputNorm, vector(m_model.tensor(TensorRole::outputNorm)));
        KVILT_TRY(m_out.m_head, matrix(m_model.head()));
        m_out.m_embedding = m_out.m_head;
        if (!m_model.headTied()) {
            KVILT_TRY(m_out.m_embedding, matrix(*m_model.tensor(TensorRole::tokenEmbedding)));
        }
        for (const Staging &staging : m_staging)
            if (staging.used)
                KVILT_TRY_VOID(m_device.synchronize(*staging.uploaded));
        m_model.file().dropPages(0, m_model.file().size());
        return std::move(m_out);
    }

private:
    struct Staging {
        Memory memory;
        std::unique_ptr<Event> uploaded;
        bool used = false;
    };

    Result<void> uploadLayer(std::uint32_t layer)
    {
        LayerWeights &to = m_out.m_layers[layer];
        for (const RoleVector &entry : kVectors) {
            KVILT_TRY(to.*entry.vector, vector(m_model.tensor(entry.role, layer)));
        }
        for (const RoleMatrix &entry : kMatrices) {
            KVILT_TRY(to.*entry.matrix, matrix(*m_model.tensor(entry.role, layer)));
        }
        return {};
    }

    std::size_t largestRun() const
    {
        std::size_t most = 0;
        for (const TensorInfo &tensor : m_model.file().tensors()) {
            if (tensor.dimensions == 1)
                most = std::max<std::size_t>(most, tensor.bytes);
            else if (const Shape shape(tensor); shape.runs > 0)
                most = std::max<std::size_t>(most, shape.end(0) - shape.begin(0));
        }
        return most;
    }

    // The staging area whose last upload is done; the two take turns.
    Result<Staging *> nextStaging()
    {
        Staging &staging = m_staging[m_turn ^= 1];
        if (staging.used)
            KVILT_TRY_VOID(m_device.synchronize(*staging.uploaded));
        staging.used = true;
        return &staging;
    }

    Result<void> send(Staging &staging, std::byte *to, std::size_t bytes)
    {
        KVILT_TRY_VOID(m_device.upload(Queue::copy, to, staging.memory.data(), bytes));
        return m_device.record(*staging.uploaded, Queue::copy);
    }

    Result<const float *> vector(const TensorInfo *tensor)
    {
        if (!tensor)
            return nullptr;
        KVILT_TRY(Staging *const staging, nextStaging());
        std::memcpy(staging->memory.data(), m_model.bytes(*tensor).data(), tensor->bytes);
        std::byte *to = m_out.m_memory.data() + m_used;
        KVILT_TRY_VOID(send(*staging, to, tensor->bytes));
        m_used += tensorBytes(*tensor);
        return reinterpret_cast<const float *>(to);
    }

    // How a matrix is cut into runs.
    struct Shape {
        explicit Shape(const TensorInfo &tensor)
            : type(static_cast<kernels::WeightType>(tensor.type)), rows(static_cast<std::uint32_t>(tensor.dims[1])),
              cols(static_cast<std::uint32_t>(tensor.dims[0]))
        {
            const std::uint32_t perRun = kernels::cuda::deviceWeightRun(type, cols);
            runs = (rows + perRun - 1) / perRun;
        }
        std::uint64_t begin(std::uint32_t run) const { return kernels::cuda::deviceWeightOffset(type, rows, cols, run); }
        std::uint64_t end(std::uint32_t run) const
        {
            return run + 1 < runs ? begin(run + 1) : kernels::cuda::deviceWeightBytes(type, rows, cols);
        }
        kernels::WeightType type;
        std::uint32_t rows, cols, runs;
    };

    Result<Matrix> matrix(const TensorInfo &tensor)
    {
        const Shape shape(tensor);
        std::byte *to = m_out.m_memory.data() + m_used;
        for (std::uint32_t first = 0; first < shape.runs;) {
            std::uint32_t last = first + 1; // at least one run; as many as a staging area holds
            while (last < shape.runs && shape.end(last) - shape.begin(first) <= kStagingBytes)
                ++last;
            KVILT_TRY_VOID(matrixRuns(tensor, shape, first, last, to));
            first = last;
        }
        m_used += tensorBytes(tensor);
        return Matrix{shape.type, shape.rows, shape.cols, to};
    }

    Result<void> matrixRuns(const TensorInfo &tensor, const Shape &shape, std::uint32_t first, std::uint32_t last, std::byte *to)
    {
        KVILT_TRY(Staging *const staging, nextStaging());
        const kernels::WeightView from{shape.type, shape.rows, shape.cols, m_model.bytes(tensor).data()};
        const std::uint64_t begin = shape.begin(first);
        m_pool.parallelFor(last - first, [&](std::uint32_t i, int) {
            kernels::cuda::packDeviceRun(from, first + i, staging->memory.data() + (shape.begin(first + i) - begin));
        });
        return send(*staging, to + begin, shape.end(last - 1) - begin);
    }

    Device &m_device;
    const model::Model &m_model;
    ThreadPool &m_pool;
    Weights m_out;
    std::array<Staging, 2> m_staging;
    unsigned m_turn = 0;
    std::uint64_t m_used = 0;
};

Result<Weights> Weights::load(Device &device, const model::Model &model, ThreadPool &pool)
{
    return WeightUpload(device, model, pool).run();
}

std::uint64_t Weights::bytesNeeded(const model::Model &model)
{
    std::uint64_t sum = 0;
    for (const TensorInfo &tensor : model.file().tensors())
        sum += tensorBytes(tensor);
    return sum;
}

} // namespace kvilt::backend::cuda

// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/workspace.h"

#include <algorithm>
#include <cstring>

namespace kvilt::backend::cuda {
namespace {

constexpr std::uint32_t kRopeChunk = 1024; // positions computed at a time

std::uint32_t stride(std::uint32_t columns)
{
    return (columns + 63) / 64 * 64; // rows begin on 256 bytes in f32 and 128 in bf16
}

struct Part {
    std::uint64_t offset = 0;
    std::uint64_t take(std::uint64_t bytes)
    {
        const std::uint64_t at = offset;
        offset = (offset + bytes + 255) / 256 * 256;
        return at;
    }
};

struct Places {
    std::uint64_t hidden, finalHidden, delta, queries, attended, gated, size;
    Places(const model::ModelDescription &d, std::uint64_t tokens)
    {
        Part part;
        hidden = part.take(tokens * d.width * 4);
        finalHidden = part.take(tokens * d.width * 4);
        delta = part.take(tokens * d.width * 4);
        queries = part.take(tokens * stride(d.queryWidth()) * 4);
        attended = part.take(tokens * stride(d.attentionWidth()) * 4);
        gated = part.take(tokens * stride(d.feedForward) * 4);
        size = part.offset;
    }
};

} // namespace

std::uint64_t Workspace::bytesNeeded(const model::ModelDescription &d, std::uint32_t maxTokens)
{
    return Places(d, maxTokens).size;
}

Result<Workspace> Workspace::make(Device &device, const model::ModelDescription &d, const Weights &weights, std::uint32_t maxTokens)
{
    const Places at(d, maxTokens);
    Workspace out;
    KVILT_TRY(out.m_memory, device.allocate(at.size));
    const Memory &m = out.m_memory;
    out.hidden = m.as<float>(at.hidden);
    out.finalHidden = m.as<float>(at.finalHidden);
    out.delta = m.as<float>(at.delta);
    const kernels::cuda::DeviceFacts &facts = device.info().facts;
    // All layers read these alike: their types may differ from layer to layer, so the first that wants floats decides.
    const auto element = [&](kernels::cuda::Matrix LayerWeights::*next) {
        for (std::uint32_t layer = 0; layer < d.layers; ++layer)
            if (kernels::cuda::elementFor(weights.layer(layer).*next, facts) == kernels::cuda::Element::f32)
                return kernels::cuda::Element::f32;
        return kernels::cuda::Element::bf16;
    };
    out.queries = {m.as<float>(at.queries), kernels::cuda::Element::f32, stride(d.queryWidth())};
    out.attended = {m.as<float>(at.attended), element(&LayerWeights::attentionOutput), stride(d.attentionWidth())};
    out.gated = {m.as<float>(at.gated), element(&LayerWeights::down), stride(d.feedForward)};
    return out;
}

Result<RopeTables> RopeTables::make(Device &device, const model::Model &model)
{
    const model::ModelDescription &d = model.description();
    RopeTables out;
    if (const gguf::TensorInfo *factors = model.tensor(model::TensorRole::ropeFactors)) {
        out.m_factors.resize(factors->elements());
        std::memcpy(out.m_factors.data(), model.bytes(*factors).data(), factors->bytes);
    }
    out.m_rotated = d.rotated;
    out.m_context = d.contextLength;
    out.m_kind = d.architecture->rope == model::RopeLayout::halves ? kernels::RopeKind::neox : kernels::RopeKind::norm;
    const model::RopeDescription *kinds[] = {&d.rope, &d.windowRope};
    for (std::size_t i = 0; i < (d.window != 0 ? 2 : 1); ++i) {
        kernels::RopeSettings &settings = out.m_tables[i].settings;
        settings.rotated = d.rotated;
        settings.base = kinds[i]->base;
        settings.freqScale = kinds[i]->frequencyScale;
        if (kinds[i]->useFactors)
            settings.freqFactors = out.m_factors;
        KVILT_TRY(out.m_tables[i].memory, device.reserve(std::uint64_t(d.contextLength) * d.rotated * sizeof(float)));
    }
    KVILT_TRY(out.m_staging, device.allocatePinned(std::size_t(kRopeChunk) * d.rotated * sizeof(float)));
    return out;
}

Result<void> RopeTables::reach(Device &device, std::uint32_t positions)
{
    while (m_reach < positions) {
        const std::uint32_t end = std::min(m_context, m_reach + kRopeChunk);
        for (Table &table : m_tables)
            if (table.memory)
                KVILT_TRY_VOID(extend(device, table, end));
        m_reach = end;
    }
    return {};
}

Result<void> RopeTables::extend(Device &device, Table &table, std::uint32_t end)
{
    const std::size_t rowBytes = m_rotated * sizeof(float);
    KVILT_TRY_VOID(table.memory->grow(end * rowBytes));
    for (std::uint32_t p = m_reach; p < end; ++p)
        kernels::ropeRow(table.settings, p, m_staging.as<float>((p - m_reach) * rowBytes));
    KVILT_TRY_VOID(device.upload(Queue::compute, table.memory->data() + m_reach * rowBytes, m_staging.data(), (end - m_reach) * rowBytes));
    KVILT_TRY(const std::unique_ptr<Event> uploaded, device.makeEvent());
    KVILT_TRY_VOID(device.record(*uploaded, Queue::compute));
    return device.synchronize(*uploaded);
}

kernels::cuda::RopeView RopeTables::view(bool windowed) const
{
    const Table &table = m_tables[windowed && m_tables[1].memory ? 1 : 0];
    return {reinterpret_cast<const float *>(table.memory->data()), m_rotated, m_kind};
}

} // namespace kvilt::backend::cuda

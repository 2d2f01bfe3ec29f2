// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/kv_memory.h"

#include "engine/api/conversation.h"
#include "engine/backend/kv_shape.h"

#include <algorithm>
#include <string>

namespace kvilt::backend::cuda {
namespace {

constexpr std::uint64_t kAlignment = 256;

std::uint64_t rounded(std::uint64_t bytes)
{
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

} // namespace

Result<KvGroup> KvGroup::make(Device &device, const kv::LayerGroup &group, std::uint32_t blockSize, std::uint32_t capacity,
                              std::uint32_t index)
{
    KvGroup out;
    KVILT_TRY(out.m_keys, shapeOf(group.k, blockSize));
    KVILT_TRY(out.m_values, shapeOf(group.v, blockSize));
    if (!kernels::cuda::kvSupported(out.m_keys, out.m_values, device.info().facts))
        return fail(ErrorCode::unsupported, "There are no CUDA kernels for KV of type " + std::string(api::toString(group.k.type)) +
                                                " and " + std::string(api::toString(group.v.type)) + " with heads of " +
                                                std::to_string(group.k.dim) + " elements; choose another --kv-type.");
    const std::uint64_t keyBytes = kernels::kvSideBytes(out.m_keys), valueBytes = kernels::kvSideBytes(out.m_values);
    out.m_index = index;
    out.m_layers = static_cast<std::uint32_t>(group.layers.size());
    out.m_capacity = capacity;
    out.m_valueOffset = rounded(keyBytes);
    out.m_layerStride = rounded(keyBytes) + rounded(valueBytes);
    out.m_blockStride = out.m_layerStride * out.m_layers;
    out.m_storedLayerBytes = keyBytes + valueBytes;
    KVILT_TRY(out.m_memory, device.reserve(out.m_blockStride * capacity));
    return out;
}

Result<void> KvGroup::reserve(std::uint32_t blocks)
{
    if (blocks > m_capacity)
        return fail(ErrorCode::badInput, "The KV pool holds at most " + std::to_string(m_capacity) + " blocks a group.");
    if (blocks > m_reserved)
        KVILT_TRY_VOID(m_memory->grow(blocks * m_blockStride));
    m_reserved = std::max(m_reserved, blocks);
    return {};
}

kernels::cuda::KvView KvGroup::layer(std::uint32_t indexInGroup) const
{
    kernels::cuda::KvView view;
    view.keys = m_memory->data() + indexInGroup * m_layerStride;
    view.values = view.keys + m_valueOffset;
    view.blockStride = m_blockStride;
    view.keyShape = m_keys;
    view.valueShape = m_values;
    view.group = m_index;
    return view;
}

} // namespace kvilt::backend::cuda

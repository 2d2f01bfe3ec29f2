// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu_kv_memory.h"

#include "engine/backend/kv_shape.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace kvilt::backend {
namespace {

constexpr std::size_t kChunkBytes = 8u << 20;

} // namespace

Result<CpuKvGroup> CpuKvGroup::make(const kv::LayerGroup &group, std::uint32_t blockSize, std::uint32_t capacity,
                                    bool contiguous)
{
    CpuKvGroup out;
    KVILT_TRY(out.m_keys, shapeOf(group.k, blockSize));
    KVILT_TRY(out.m_values, shapeOf(group.v, blockSize));
    out.m_layers = group.layers.size();
    out.m_keyBytes = kernels::kvSideBytes(out.m_keys);
    out.m_valueBytes = kernels::kvSideBytes(out.m_values);
    out.m_layerBytes = (out.m_keyBytes + out.m_valueBytes + 63) / 64 * 64;
    const std::size_t blocks = std::max<std::size_t>(1, kChunkBytes / (out.m_layerBytes * out.m_layers));
    // Ids are 32 bits wide and shifted by this: a pool of more than 2^31 blocks a group is beyond any memory.
    out.m_capacity = std::min(capacity, 1u << 31);
    const std::size_t inChunk = contiguous ? std::bit_ceil(std::size_t(out.m_capacity))
                                           : std::min(blocks, std::bit_floor(std::max<std::size_t>(1, out.m_capacity)));
    out.m_chunkShift = static_cast<std::uint32_t>(std::bit_width(inChunk) - 1);
    return out;
}

Result<void> CpuKvGroup::reserve(std::uint32_t blocks)
{
    if (blocks > m_capacity)
        return fail(ErrorCode::badInput, "The KV pool holds at most " + std::to_string(m_capacity) + " blocks a group.");
    while (blocksReserved() < blocks) {
        auto chunk = kernels::Buffer::allocate((m_layerBytes * m_layers) << m_chunkShift);
        if (!chunk)
            return fail(ErrorCode::outOfMemory, "The system refused more memory for KV blocks.");
        m_chunks.push_back(std::move(*chunk));
    }
    return {};
}

std::uint64_t CpuKvGroup::bytesReserved() const
{
    // The last chunk may be larger than what is left of the pool; nobody ever touches what lies beyond.
    return std::uint64_t(std::min(blocksReserved(), m_capacity)) * m_layerBytes * m_layers;
}

void CpuKvGroup::copy(std::uint32_t from, std::uint32_t to) const
{
    for (std::size_t layer = 0; layer < m_layers; ++layer)
        std::memcpy(block(to) + keyOffset(layer), block(from) + keyOffset(layer), m_layerBytes);
}

bool CpuKvGroup::exportTo(std::uint32_t id, std::span<std::byte> out) const
{
    if (out.size() != canonicalBytes())
        return false;
    std::byte *to = out.data();
    for (std::size_t layer = 0; layer < m_layers; ++layer) {
        kernels::keysToCanonical(m_keys, block(id) + keyOffset(layer), m_keys.blockSize, to);
        kernels::valuesToCanonical(m_values, block(id) + valueOffset(layer), m_values.blockSize, to + m_keyBytes);
        to += m_keyBytes + m_valueBytes;
    }
    return true;
}

bool CpuKvGroup::importFrom(std::uint32_t id, std::span<const std::byte> in) const
{
    if (in.size() != canonicalBytes())
        return false;
    const std::byte *from = in.data();
    for (std::size_t layer = 0; layer < m_layers; ++layer) {
        kernels::keysFromCanonical(m_keys, from, m_keys.blockSize, block(id) + keyOffset(layer));
        kernels::valuesFromCanonical(m_values, from + m_keyBytes, m_values.blockSize, block(id) + valueOffset(layer));
        from += m_keyBytes + m_valueBytes;
    }
    return true;
}

} // namespace kvilt::backend

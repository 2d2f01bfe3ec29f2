// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "engine/kv/kv_layout.h"

#include <cstdint>
#include <memory>

namespace kvilt::backend::cuda {

// The memory behind the blocks of one layer group: [block][layer][K side, V side] in one range of addresses that grows in
// place, so that a block is one piece (one copy demotes it) and its address follows from its number.
class KvGroup {
public:
    // unsupported: a type or head size that the kernels cannot store.
    static Result<KvGroup> make(Device &device, const kv::LayerGroup &group, std::uint32_t blockSize, std::uint32_t capacity,
                                std::uint32_t index);

    Result<void> reserve(std::uint32_t blocks);
    std::uint64_t bytesReserved() const { return m_memory->size(); }
    std::uint32_t blocksReserved() const { return m_reserved; }
    std::uint32_t layers() const { return m_layers; }

    kernels::cuda::KvView layer(std::uint32_t indexInGroup) const;
    std::byte *block(std::uint32_t id) const { return m_memory->data() + id * m_blockStride; }
    std::uint64_t blockStride() const { return m_blockStride; }
    std::uint64_t layerStride() const { return m_layerStride; }
    // Stored form.
    std::uint64_t storedLayerBytes() const { return m_storedLayerBytes; }
    std::uint64_t storedBytes() const { return m_storedLayerBytes * m_layers; }

private:
    std::unique_ptr<GrowingMemory> m_memory;
    kernels::KvShape m_keys, m_values;
    std::uint32_t m_index = 0, m_layers = 0, m_capacity = 0, m_reserved = 0;
    std::uint64_t m_valueOffset = 0, m_layerStride = 0, m_blockStride = 0, m_storedLayerBytes = 0;
};

} // namespace kvilt::backend::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/kv/kv_layout.h"
#include "engine/support/error.h"
#include "kernels/api/buffer.h"
#include "kernels/api/kv_native.h"

#include <span>
#include <vector>

namespace kvilt::backend {

// The memory behind the blocks of one layer group, grown in chunks so that a block never moves. Within a chunk the
// layers lie outermost: [layer][block][K side, V side], so that neighbouring blocks of one layer are neighbours in
// memory and a step, which goes layer by layer, reads runs. Not thread-safe.
class CpuKvGroup {
public:
    // unsupported: a head size that the types cannot store. `contiguous`: one chunk for the whole capacity.
    static Result<CpuKvGroup> make(const kv::LayerGroup &group, std::uint32_t blockSize, std::uint32_t capacity, bool contiguous);

    Result<void> reserve(std::uint32_t blocks);
    std::uint64_t bytesReserved() const;
    std::uint32_t blocksReserved() const { return static_cast<std::uint32_t>(m_chunks.size()) << m_chunkShift; }

    // Sides of layer `index` (position in the group) lie at keyOffset(index) and valueOffset(index) from here.
    std::byte *block(std::uint32_t id) const
    {
        return m_chunks[id >> m_chunkShift].data() + (id & ((1u << m_chunkShift) - 1)) * m_layerBytes;
    }
    std::size_t keyOffset(std::size_t index) const { return index * (m_layerBytes << m_chunkShift); }
    std::size_t valueOffset(std::size_t index) const { return keyOffset(index) + m_keyBytes; }
    const kernels::KvShape &keys() const { return m_keys; }
    const kernels::KvShape &values() const { return m_values; }
    std::size_t layers() const { return m_layers; }

    void copy(std::uint32_t from, std::uint32_t to) const;
    // The canonical form of a whole block; false when the span has another size.
    bool exportTo(std::uint32_t id, std::span<std::byte> out) const;
    bool importFrom(std::uint32_t id, std::span<const std::byte> in) const;
    std::size_t canonicalBytes() const { return m_layers * (m_keyBytes + m_valueBytes); }

private:
    kernels::KvShape m_keys, m_values;
    std::size_t m_layers = 0;
    std::size_t m_keyBytes = 0, m_valueBytes = 0;
    std::size_t m_layerBytes = 0; // of one block and layer, a multiple of 64
    std::uint32_t m_chunkShift = 0;
    std::uint32_t m_capacity = 0;
    std::vector<kernels::Buffer> m_chunks;
};

} // namespace kvilt::backend

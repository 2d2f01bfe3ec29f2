// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"

#include <span>
#include <vector>

namespace kvilt::kv {

// Logical -> physical blocks of one sequence and layer group. Position p lives in entry p / blockSize at row
// p % blockSize. A hole (kNoBlock) is a block that a window passed or that was dropped; nobody reads it.
// Not thread-safe; owns no references: KvCache does.
class BlockTable {
public:
    std::size_t size() const { return m_blocks.size(); }
    bool empty() const { return m_blocks.empty(); }
    BlockId operator[](std::size_t logical) const { return m_blocks[logical]; }
    std::span<const BlockId> blocks() const { return m_blocks; }

    void append(BlockId block) { m_blocks.push_back(block); }
    void replaceTail(BlockId block) { m_blocks.back() = block; }
    void truncate(std::size_t size) { m_blocks.resize(size); }
    void dropFront(std::size_t count) { dropMiddle(0, count); }
    // Entries [begin, end) become holes; positions do not move.
    void dropMiddle(std::size_t begin, std::size_t end)
    {
        for (std::size_t i = begin; i < end && i < m_blocks.size(); ++i)
            m_blocks[i] = kNoBlock;
    }
    void set(std::size_t logical, BlockId block) { m_blocks[logical] = block; }

private:
    std::vector<BlockId> m_blocks;
};

} // namespace kvilt::kv

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/kv/block_hash.h"
#include "engine/kv/prefix_tree.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kvilt::kv {

// What one physical block holds and who brought it.
struct BlockUseRecord {
    NodeSlot node = kNoSlot;           // kNoSlot: not sealed
    std::uint32_t nextSame = 0, previousSame = 0; // ring of the blocks that hold the same node, earliest first
    std::uint32_t uses = 0;            // hits since it was brought in
    std::uint32_t filled = 0;          // tokens
    std::int32_t firstToken = 0;
    std::uint64_t admission = 0;
    std::uint64_t lastUseNs = 0;
    SessionId owner;
    TurnId turn;
    bool awaitsStore = false;          // already in the list of sealed blocks for the store
};

// Which numerics a stored row has: 0 is this process's own.
using NumericsIndex = std::uint32_t;

struct StoredRow {
    GroupIndex group;
    NumericsIndex numerics = 0;
    std::int64_t row = 0;
    std::uint64_t bytes = 0;
};

// Where the payload of (node, layer group, tier, numerics) lies. Several may exist: equal blocks in memory, rows on
// disk made by different arithmetic. Nodes are those of one PrefixTree, whose payload counts this class keeps.
// Names on disk are bound to nodes lazily: a name met before its node waits here unbound. Not thread-safe.
class Residency {
public:
    Residency(PrefixTree &tree, std::size_t groups, std::string numerics);

    std::size_t groups() const { return m_groups; }

    // --- Memory ---
    BlockUseRecord &record(std::size_t group, BlockId block);
    const BlockUseRecord *find(std::size_t group, BlockId block) const; // null: never used
    // The earliest survivor of equal blocks.
    BlockId block(NodeSlot node, std::size_t group) const
    {
        const std::size_t at = std::size_t(node) * m_groups + group;
        return at < m_first.size() ? BlockId{m_first[at]} : kNoBlock;
    }
    template <typename Visit>
    void forEachBlock(NodeSlot node, std::size_t group, Visit visit) const
    {
        std::vector<BlockId> ring; // a copy: the visitor may unbind
        if (const BlockId first = block(node, group); first != kNoBlock) {
            std::uint32_t b = first.value;
            do {
                ring.push_back(BlockId{b});
                b = m_records[group][b].nextSame;
            } while (b != first.value);
        }
        for (const BlockId b : ring)
            visit(b);
    }
    void bind(NodeSlot node, std::size_t group, BlockId block);
    void unbind(std::size_t group, BlockId block);

    // --- Disk ---
    bool anyStored() const { return m_storedRows > 0; }
    std::uint64_t storedBytes() const { return m_storedBytes; }
    NumericsIndex numerics(std::string_view text);
    void changeOwn(std::string_view text); // this process computes with another arithmetic from now on
    bool onDisk(NodeSlot node, std::size_t group) const { return mask(m_ownRows, node) >> group & 1; }
    bool onDiskOtherwise(NodeSlot node, std::size_t group) const { return mask(m_otherRows, node) >> group & 1; }
    bool knowsName(const BlockName &name) const; // with at least one row
    // Binds a name to its node: its rows, those there and those that come later, count as the node's.
    void bindName(const BlockName &name, NodeSlot node);
    const BlockName *nameOf(NodeSlot node) const; // null: not bound
    void addRow(const BlockName &name, const StoredRow &row);
    bool hasRow(const BlockName &name, GroupIndex group, NumericsIndex numerics) const;
    // hasRow() says that it is there. The node, if bound, loses a payload.
    void removeRow(const BlockName &name, GroupIndex group, NumericsIndex numerics);
    // The row to restore from: own numerics first. Null: none.
    const StoredRow *row(NodeSlot node, std::size_t group, bool otherNumericsToo) const;
    NodeSlot nodeOf(const BlockName &name) const;

    void nodeFreed(NodeSlot node);

private:
    struct Stored {
        NodeSlot node = kNoSlot;
        std::vector<StoredRow> rows;
    };
    static std::uint32_t mask(const std::vector<std::uint32_t> &masks, NodeSlot node)
    {
        return node < masks.size() ? masks[node] : 0;
    }
    void refreshMasks(NodeSlot node, const Stored &stored);

    PrefixTree &m_tree;
    std::size_t m_groups;
    std::vector<std::uint32_t> m_first; // slot × groups → block
    std::vector<std::vector<BlockUseRecord>> m_records; // [group][block]
    std::vector<std::string> m_numerics;
    std::unordered_map<BlockName, Stored> m_stored;
    std::unordered_map<NodeSlot, BlockName> m_names;
    std::vector<std::uint32_t> m_ownRows, m_otherRows; // by slot, a bit a group
    std::uint64_t m_storedBytes = 0, m_storedRows = 0;
};

} // namespace kvilt::kv

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/kv/block_hash.h"
#include "engine/kv/prefix_tree.h"

#include <array>
#include <cstdint>
#include <functional>
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
    api::Tier tier = api::Tier::disk; // or host
};

// Where the payload of (node, layer group, tier, numerics) lies. Several may exist: equal blocks in memory, rows on
// disk made by different arithmetic. Nodes are those of one PrefixTree, whose payload counts this class keeps.
// Names on disk are bound to nodes lazily: a name met before its node waits here unbound. Not thread-safe.
class Residency {
public:
    // `near`: whether rows made by other arithmetic mean what this process's own rows mean, up to rounding.
    using Near = std::function<bool(std::string_view numerics)>;
    Residency(PrefixTree &tree, std::size_t groups, std::string numerics, Near near);

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

    // --- Host memory and disk ---
    struct Sum {
        std::uint64_t rows = 0, bytes = 0;
    };
    bool anyStored() const { return sum(api::Tier::host).rows + sum(api::Tier::disk).rows > 0; }
    const Sum &sum(api::Tier tier) const { return m_sums[std::size_t(tier)]; } // of every arithmetic
    NumericsIndex numerics(std::string_view text);
    void changeOwn(std::string_view text); // this process computes with another arithmetic from now on
    // A row of this process's own arithmetic: in any tier, in that one; one of another's, and one that may stand in for it.
    bool stored(NodeSlot node, std::size_t group) const { return mask(m_ownRows, node) >> group & 1; }
    bool stored(NodeSlot node, std::size_t group, api::Tier tier) const
    {
        const bool inHost = mask(m_hostRows, node) >> group & 1;
        return tier == api::Tier::host ? inHost : mask(m_diskRows, node) >> group & 1;
    }
    bool storedOtherwise(NodeSlot node, std::size_t group) const { return mask(m_otherRows, node) >> group & 1; }
    bool storedNear(NodeSlot node, std::size_t group) const { return mask(m_nearRows, node) >> group & 1; }
    bool knowsName(const BlockName &name) const; // with at least one row
    // Binds a name to its node: its rows, those there and those that come later, count as the node's.
    void bindName(const BlockName &name, NodeSlot node);
    const BlockName *nameOf(NodeSlot node) const; // null: not bound
    void addRow(const BlockName &name, const StoredRow &row);
    bool hasRow(const BlockName &name, GroupIndex group, NumericsIndex numerics, api::Tier tier) const;
    // hasRow() says that it is there. The node, if bound, loses a payload.
    void removeRow(const BlockName &name, GroupIndex group, NumericsIndex numerics, api::Tier tier);
    // The row to restore from: own numerics first, of these the nearest tier. Null: none.
    const StoredRow *row(NodeSlot node, std::size_t group, bool nearToo) const;
    const std::string &numericsText(NumericsIndex index) const { return m_numerics[index].text; }
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
    struct Arithmetic {
        std::string text;
        bool near = false;
    };
    void refreshMasks(NodeSlot node, const Stored &stored);
    Arithmetic arithmetic(std::string_view text) const { return {std::string(text), m_isNear && m_isNear(text)}; }

    PrefixTree &m_tree;
    std::size_t m_groups;
    std::vector<std::uint32_t> m_first; // slot × groups → block
    std::vector<std::vector<BlockUseRecord>> m_records; // [group][block]
    std::vector<Arithmetic> m_numerics;
    Near m_isNear;
    std::unordered_map<BlockName, Stored> m_stored;
    std::unordered_map<NodeSlot, BlockName> m_names;
    std::vector<std::uint32_t> m_ownRows, m_hostRows, m_diskRows, m_otherRows, m_nearRows; // by slot, a bit a group
    std::array<Sum, 3> m_sums;                                                             // by tier
};

} // namespace kvilt::kv

// SPDX-License-Identifier: Apache-2.0
// The pool as windows and plots see it.
#include "engine/kv/kv_cache_impl.h"

namespace kvilt::kv {

using api::BlockState;
using api::RibbonState;

api::BlockInfo KvCache::Impl::blockInfo(std::size_t group, BlockId block) const
{
    api::BlockInfo info;
    const BlockPool &pool = m_groups[group].pool;
    const BlockUseRecord *record = m_residency.find(group, block);
    info.references = std::uint16_t(std::min<std::uint32_t>(pool.references(block), 0xffff));
    if (!record || (info.references == 0 && record->node == kNoSlot))
        return info;
    info.uses = record->uses;
    info.lastUseNs = record->lastUseNs;
    info.owner = record->owner;
    info.firstToken = record->firstToken;
    info.tokens = std::uint16_t(record->filled);
    info.state = info.references > 1           ? BlockState::shared
                 : record->filled == m_blockSize ? BlockState::inUse
                                                 : BlockState::writing;
    if (record->node == kNoSlot)
        return info;
    const PrefixNode &node = m_tree[record->node];
    info.node = node.id;
    info.parent = m_tree[node.parent].id;
    info.onDisk = m_residency.stored(record->node, group, api::Tier::disk);
    info.inHost = m_residency.stored(record->node, group, api::Tier::host);
    info.tier = nearestOutside(record->node, group);
    if (info.references == 0)
        info.state = node.dead ? BlockState::deadBranch : BlockState::cached;
    if (node.pinned && m_residency.block(record->node, group) == block)
        info.state = BlockState::pinned;
    return info;
}

api::Tier KvCache::Impl::nearestOutside(NodeSlot node, std::size_t group) const
{
    if (m_residency.stored(node, group, api::Tier::host))
        return api::Tier::host;
    return servableFromOutside(node, group) ? api::Tier::disk : api::Tier::device;
}

api::PoolSnapshot KvCache::Impl::snapshot() const
{
    api::PoolSnapshot out;
    out.blockSize = std::uint16_t(m_blockSize);
    out.policy = m_config.policy;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        api::GroupView view;
        view.group = GroupIndex{std::uint16_t(g)};
        view.name = m_config.layout.groups[g].name;
        view.capacity = m_groups[g].pool.capacity();
        view.bytesPerBlock = saturate(m_config.layout.bytesPerBlock(g));
        for (std::uint32_t b = 0; b < m_groups[g].pool.highWater(); ++b)
            view.blocks.push_back(blockInfo(g, BlockId{b}));
        std::int32_t rank = 0;
        m_groups[g].pool.forEachQueued([&](BlockId block, BlockPool::Queue queue) {
            if (queue != BlockPool::Queue::blank)
                view.blocks[block.value].evictionRank = rank++;
        });
        out.groups.push_back(std::move(view));
    }
    return out;
}

api::PoolCounts KvCache::Impl::counts() const
{
    api::PoolCounts out = m_totals;
    out.timeNs = m_clock.nowNs();
    const BlockPool &pool = m_groups[0].pool;
    out.capacity = pool.capacity();
    out.free = pool.blank();
    for (std::uint32_t b = 0; b < pool.highWater(); ++b)
        if (pool.references(BlockId{b}) > 0)
            ++(m_residency.find(0, BlockId{b})->filled == m_blockSize ? out.inUse : out.partlyFilled);
    out.cachedIdle = out.capacity - out.free - out.inUse - out.partlyFilled;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        const std::uint64_t bytes = m_config.layout.bytesPerBlock(g);
        out.bytesInMemory += bytes * (m_groups[g].pool.capacity() - m_groups[g].pool.blank());
        out.bytesBudget += bytes * m_groups[g].pool.capacity();
    }
    for (const api::Tier tier : {api::Tier::host, api::Tier::disk}) {
        api::TierCounts &counts = tier == api::Tier::host ? out.host : out.disk;
        counts.blocks = m_residency.sum(tier).rows;
        counts.bytes = m_residency.sum(tier).bytes;
        for (std::size_t g = 0; counts.blocks > 0 && g < m_groups.size(); ++g)
            for (std::uint32_t b = 0; b < m_groups[g].pool.highWater(); ++b)
                counts.inPool += copiedTo(tier, g, BlockId{b}) ? 1 : 0;
    }
    out.bytesOnDisk = out.disk.bytes;
    return out;
}

// Counts a node once, however many blocks hold it.
bool KvCache::Impl::copiedTo(api::Tier tier, std::size_t group, BlockId block) const
{
    const BlockUseRecord *record = m_residency.find(group, block);
    return record && record->node != kNoSlot && m_residency.block(record->node, group) == block &&
           m_residency.stored(record->node, group, tier);
}

// The group whose blocks stand for a position: one that keeps the whole past, if there is any.
std::size_t KvCache::Impl::displayGroup() const
{
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        if (m_groups[g].keep == kWholePast)
            return g;
    return 0;
}

std::vector<api::RibbonCell> KvCache::Impl::ribbon(std::span<const TokenId> tokens, std::string_view salt)
{
    const std::size_t group = displayGroup();
    std::vector<api::RibbonCell> cells;
    const bool newRoot = m_tree.findRoot(salt) == kNoSlot && m_residency.anyStored(); // as lookup() does
    NodeSlot node = newRoot ? m_tree.root(salt) : m_tree.findRoot(salt);
    for (std::size_t at = 0; at < tokens.size(); at += m_blockSize) {
        api::RibbonCell cell;
        cell.firstToken = std::int32_t(at);
        cell.tokens = std::uint16_t(std::min(m_blockSize, tokens.size() - at));
        if (node != kNoSlot)
            node = cell.tokens == m_blockSize ? findOrResolve(node, tokens.data() + at) : kNoSlot;
        if (node != kNoSlot) {
            cell.node = m_tree[node].id;
            cell.block = m_residency.block(node, group);
            if (cell.block != kNoBlock)
                cell.state = blockCell(group, cell.block);
            else if (cell.tier = nearestOutside(node, group); cell.tier != api::Tier::device)
                cell.state = RibbonState::disk;
            else if (m_tree[node].eviction.atNs != 0)
                cell.state = RibbonState::evicted;
        }
        cells.push_back(cell);
    }
    if (newRoot)
        m_tree.settle(m_tree.findRoot(salt)); // nothing on disk has this salt: forget it again
    return cells;
}

api::RibbonState KvCache::Impl::blockCell(std::size_t group, BlockId block) const
{
    switch (blockInfo(group, block).state) {
    case BlockState::shared: return RibbonState::shared;
    case BlockState::pinned: return RibbonState::pinned;
    case BlockState::writing: return RibbonState::writing;
    default: return RibbonState::memory;
    }
}

std::vector<api::RibbonCell> KvCache::Impl::ribbon(SequenceId sequence) const
{
    const SequenceState &s = at(sequence);
    const std::size_t group = displayGroup();
    std::vector<api::RibbonCell> cells;
    for (std::size_t i = 0; i * m_blockSize < s.computed; ++i) {
        api::RibbonCell cell;
        cell.firstToken = std::int32_t(i * m_blockSize);
        cell.tokens = std::uint16_t(std::min(m_blockSize, s.computed - i * m_blockSize));
        cell.block = s.tables[group][i];
        cell.node = i < s.path.size() ? m_tree[s.path[i]].id : NodeId{};
        cell.state = cell.block == kNoBlock ? RibbonState::droppedByWindow : blockCell(group, cell.block);
        cells.push_back(cell);
    }
    return cells;
}

} // namespace kvilt::kv

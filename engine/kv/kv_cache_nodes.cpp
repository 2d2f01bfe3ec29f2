// SPDX-License-Identifier: Apache-2.0
// What is done to nodes whoever uses them: pins, dead branches, drops, and the traffic with the store.
#include "engine/kv/kv_cache_impl.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace kvilt::kv {

using api::EventKind;
using api::EventReason;

std::size_t KvCache::Impl::pinLimit() const
{
    std::size_t least = std::numeric_limits<std::size_t>::max();
    for (const Group &group : m_groups)
        least = std::min<std::size_t>(least, group.pool.capacity() / 2);
    return least;
}

KvCache::PinOutcome KvCache::Impl::pin(std::span<const NodeId> nodes, bool pinned, EventReason reason, SessionId session)
{
    tick();
    PinOutcome outcome;
    for (const NodeId id : nodes) {
        const NodeSlot slot = m_tree.find(id);
        if (slot == kNoSlot)
            continue;
        ++outcome.known;
        if (m_tree[slot].pinned == pinned)
            continue;
        if (pinned && m_tree.pinned() >= pinLimit()) {
            ++outcome.refused;
            continue;
        }
        for (std::size_t g = 0; g < m_groups.size() && !pinned; ++g)
            if (const BlockId block = m_residency.block(slot, g); block != kNoBlock) {
                api::CacheEvent e = event(EventKind::unpin, {{}, session, {}}, g, block);
                e.reason = reason;
                emit(e);
            }
        m_tree[slot].pinnedFor = pinned ? reason : EventReason::none;
        m_tree.setPinned(slot, pinned); // may forget the node, if nothing but the pin kept it
        if (m_tree.find(id) == kNoSlot)
            continue;
        requeue(slot);
        for (std::size_t g = 0; g < m_groups.size() && pinned; ++g)
            tellPinned(slot, g, session);
    }
    return outcome;
}

void KvCache::Impl::tellPinned(NodeSlot node, std::size_t group, SessionId session)
{
    const BlockId block = m_residency.block(node, group);
    if (block == kNoBlock || !m_tree[node].pinned)
        return;
    api::CacheEvent e = event(EventKind::pin, {{}, session, {}}, group, block);
    e.reason = m_tree[node].pinnedFor;
    emit(e);
}

std::size_t KvCache::Impl::markDead(std::span<const NodeId> nodes, SessionId session, EventReason reason)
{
    tick();
    std::size_t marked = 0;
    for (const NodeId id : nodes) {
        const NodeSlot slot = m_tree.find(id);
        if (slot == kNoSlot || m_tree[slot].dead || m_tree[slot].owner != session)
            continue;
        bool held = std::ranges::any_of(m_tree[slot].sharers, [&](SessionId other) { return other != session; });
        for (std::size_t g = 0; g < m_groups.size(); ++g)
            m_residency.forEachBlock(slot, g, [&](BlockId b) { held = held || m_groups[g].pool.references(b) > 0; });
        if (held)
            continue; // somebody is on that branch, or will come back to it
        m_tree[slot].dead = true;
        requeue(slot);
        ++marked;
        tellDead(slot, session, reason);
    }
    return marked;
}

void KvCache::Impl::tellDead(NodeSlot node, SessionId session, EventReason reason)
{
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        if (const BlockId block = m_residency.block(node, g); block != kNoBlock) {
            api::CacheEvent e = event(EventKind::deadBranch, {{}, session, {}}, g, block);
            e.reason = reason;
            e.a = m_tree[node].dead ? 0 : 1;
            emit(e);
        }
}

std::size_t KvCache::Impl::revive(std::span<const NodeId> nodes, SessionId session, EventReason reason)
{
    tick();
    std::size_t revived = 0;
    for (const NodeId id : nodes) {
        const NodeSlot slot = m_tree.find(id);
        if (slot == kNoSlot || !m_tree[slot].dead)
            continue;
        revive(slot);
        ++revived;
        tellDead(slot, session, reason);
    }
    return revived;
}

void KvCache::Impl::revive(NodeSlot node)
{
    m_tree[node].dead = false;
    requeue(node);
}

void KvCache::Impl::requeue(NodeSlot node)
{
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        m_residency.forEachBlock(node, g, [&](BlockId block) {
            if (m_groups[g].pool.references(block) > 0)
                return;
            const std::uint64_t lastUse = m_residency.record(g, block).lastUseNs;
            m_groups[g].pool.park(block);
            enqueueIdle(g, block);
            m_residency.record(g, block).lastUseNs = lastUse; // it went on waiting all the time
        });
}

std::size_t KvCache::Impl::dropSession(SessionId session)
{
    tick();
    std::size_t dropped = 0;
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        for (std::uint32_t b = m_groups[g].pool.highWater(); b-- > 0;) {
            const BlockUseRecord *record = m_residency.find(g, BlockId{b});
            if (!record || record->node == kNoSlot)
                continue;
            const SessionId other = leaveNode(record->node, session);
            if (record->owner == session && other.value != 0) // another chat's as well: it stays for that one
                m_residency.record(g, BlockId{b}).owner = other;
            if (record->owner != session || m_groups[g].pool.references(BlockId{b}) > 0)
                continue;
            if (m_tree[record->node].pinned) {
                m_tree.setPinned(record->node, false);
                requeue(record->node); // it goes back to the queue that it is dropped from
            }
            dropBlock(g, BlockId{b}, EventReason::dropped, session);
            ++dropped;
        }
    m_tree.trimGhosts(m_maxGhosts);
    return dropped;
}

// Who else uses the node; 0: nobody.
SessionId KvCache::Impl::leaveNode(NodeSlot slot, SessionId session)
{
    PrefixNode &node = m_tree[slot];
    std::erase(node.sharers, session);
    if (node.owner == session && !node.sharers.empty())
        node.owner = node.sharers.front();
    return node.owner != session ? node.owner : SessionId{};
}

std::map<SessionId, std::uint32_t> KvCache::Impl::blocksOfSessions() const
{
    std::map<SessionId, std::uint32_t> counts;
    for (std::uint32_t b = 0; b < m_groups[0].pool.highWater(); ++b) {
        const BlockUseRecord *record = m_residency.find(0, BlockId{b});
        if (!record)
            continue;
        if (record->owner.value != 0 && (record->node != kNoSlot || m_groups[0].pool.references(BlockId{b}) > 0))
            ++counts[record->owner];
        if (record->node != kNoSlot)
            for (const SessionId session : m_tree[record->node].sharers)
                if (session != record->owner)
                    ++counts[session];
    }
    return counts;
}

void KvCache::Impl::dropBlock(std::size_t group, BlockId block, EventReason reason, SessionId session)
{
    api::CacheEvent e = event(EventKind::free, {.sequence = {}, .session = session, .turn = {}}, group, block);
    e.reason = reason;
    emit(e);
    const NodeSlot node = m_residency.record(group, block).node;
    m_tree[node].eviction = {std::max<std::uint64_t>(m_now, 1), reason, false, {}, {}};
    m_residency.unbind(group, block);
    m_groups[group].pool.park(block);
    m_groups[group].pool.enqueueBlank(block);
    changed();
}

bool KvCache::Impl::reset(EventReason reason)
{
    if (!m_sequences.empty())
        return false;
    tick();
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        BlockPool &pool = m_groups[g].pool;
        for (std::uint32_t b = 0; b < pool.highWater(); ++b) {
            const BlockUseRecord *record = m_residency.find(g, BlockId{b});
            if (!record || record->node == kNoSlot)
                continue;
            api::CacheEvent e = event(EventKind::free, {}, g, BlockId{b});
            e.reason = reason;
            emit(e);
            m_residency.unbind(g, BlockId{b});
            if (pool.queue(BlockId{b}) == BlockPool::Queue::none)
                pool.enqueueBlank(BlockId{b});
        }
        pool.makeAllBlank();
    }
    m_tails.clear();
    for (NodeSlot slot = 0; slot < m_tree.slotCount(); ++slot)
        if (m_tree[slot].alive && m_tree[slot].pinned)
            m_tree.setPinned(slot, false);
    m_tree.trimGhosts(0);
    changed();
    return true;
}

void KvCache::Impl::changeNumerics(const std::string &numerics)
{
    m_config.numerics = numerics;
    m_residency.changeOwn(numerics);
    for (Group &group : m_groups) {
        group.backed = 0;
        group.pool.unlimit(m_config.blocks);
    }
    changed();
}

std::optional<NodeInfo> KvCache::Impl::describe(NodeId id) const
{
    const NodeSlot slot = m_tree.find(id);
    if (slot == kNoSlot)
        return std::nullopt;
    const PrefixNode &node = m_tree[slot];
    NodeInfo info;
    info.node = id;
    info.parent = m_tree[node.parent].id;
    info.firstToken = std::int32_t(node.depth * m_blockSize);
    info.tokens = m_tree.tokens(slot);
    info.uses = node.uses;
    info.onDisk = true;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        info.blocks.push_back(m_residency.block(slot, g));
        info.onDisk = info.onDisk && m_residency.stored(slot, g);
    }
    info.dead = node.dead;
    info.pinned = node.pinned;
    info.owner = node.owner;
    info.sharers = node.sharers;
    info.evictedAtNs = node.eviction.atNs;
    info.evictedFor = node.eviction.reason;
    info.evictedBy = node.eviction.session;
    return info;
}

std::vector<SealedBlock> KvCache::Impl::takeSealed()
{
    std::vector<SealedBlock> out;
    for (const SealedRef &ref : m_sealed) {
        BlockUseRecord &record = m_residency.record(ref.group, ref.block);
        record.awaitsStore = false;
        const NodeSlot slot = record.node;
        if (slot == kNoSlot)
            continue; // evicted before anyone asked
        const BlockName name = nameOf(slot);
        if (m_residency.stored(slot, ref.group, api::Tier::disk))
            continue;
        const auto tokens = m_tree.tokens(slot);
        out.push_back({m_tree[slot].id, GroupIndex{ref.group}, ref.block, name, nameOf(m_tree[slot].parent),
                       record.firstToken, {tokens.begin(), tokens.end()}, record.owner, record.turn});
    }
    m_sealed.clear();
    return out;
}

void KvCache::Impl::markStored(const StoredPayload &payload, SessionId session, TurnId turn)
{
    tick();
    m_residency.addRow(payload.name,
                       {payload.group, m_residency.numerics(payload.numerics), payload.row, payload.bytes,
                        payload.tier});
    changed();
    api::CacheEvent e = event(payload.tier == api::Tier::host ? EventKind::demote : EventKind::store, {{}, session, turn});
    e.tier = payload.tier;
    e.group = payload.group.value;
    e.a = saturate(payload.bytes);
    if (const NodeSlot node = m_residency.nodeOf(payload.name); node != kNoSlot) {
        e.node = m_tree[node].id.value;
        if (payload.tier == api::Tier::disk) // a copy in the host's memory changes nothing about the block
            e.block = m_residency.block(node, payload.group.value).value;
    }
    emit(e);
}

void KvCache::Impl::forgetStored(const BlockName &name, GroupIndex group, std::string_view numerics,
                                 EventReason reason, api::Tier tier)
{
    const NumericsIndex arithmetic = m_residency.numerics(numerics);
    if (!m_residency.hasRow(name, group, arithmetic, tier))
        return; // the store may say so twice
    tick();
    api::CacheEvent e = event(EventKind::evict, {});
    e.tier = tier;
    e.group = group.value;
    e.reason = reason;
    if (const NodeSlot node = m_residency.nodeOf(name); node != kNoSlot) {
        e.node = m_tree[node].id.value;
        const api::Tier other = tier == api::Tier::host ? api::Tier::disk : api::Tier::host;
        if (m_residency.block(node, group.value) == kNoBlock &&
            !m_residency.hasRow(name, group, arithmetic, other)) // it was the last payload of this group
            m_tree[node].eviction = {std::max<std::uint64_t>(m_now, 1), reason, false, {}, {}};
    }
    m_residency.removeRow(name, group, arithmetic, tier);
    changed();
    emit(e);
}

void KvCache::Impl::restored(SequenceId sequence, const RestoreOrder &order, std::uint32_t microseconds, api::Tier from)
{
    const auto found = m_sequences.find(sequence);
    const NodeSlot node = m_tree.find(order.node);
    if (found == m_sequences.end() || node == kNoSlot)
        return; // cancelled meanwhile
    SequenceState &s = *found->second;
    const std::size_t group = order.group.value;
    const std::size_t logical = std::size_t(order.firstToken) / m_blockSize;
    if (logical >= s.tables[group].size() || s.tables[group][logical] != order.block ||
        m_residency.record(group, order.block).node != kNoSlot)
        return;
    tick();
    if (!order.near)
        m_residency.bind(node, group, order.block);
    changed();
    const bool fromHost = from == api::Tier::host;
    api::CacheEvent e = event(fromHost ? EventKind::promote : EventKind::restore, s.actor, group, order.block);
    e.node = order.node.value;
    e.tier = fromHost ? api::Tier::device : api::Tier::disk;
    e.a = saturate(order.bytes);
    e.b = microseconds;
    emit(e);
    if (!order.near && m_residency.block(node, group) == order.block)
        tellPinned(node, group, s.actor.session);
}

} // namespace kvilt::kv

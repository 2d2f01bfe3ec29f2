// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/kv_cache.h"

#include "engine/kv/kv_cache_impl.h"

#include <algorithm>

namespace kvilt::kv {
namespace {

std::size_t tokensKept(const LayerGroup &group)
{
    switch (group.kind) {
    case GroupKind::rows: return std::numeric_limits<std::size_t>::max();
    case GroupKind::window: return group.window > 0 ? group.window - 1 : 0; // the next token sees itself, too
    case GroupKind::snapshot: return 1;                                     // the state at the end of the last block
    }
    return 0;
}

std::size_t ghostLimit(const KvCacheConfig &config)
{
    return config.maxGhosts > 0 ? config.maxGhosts : std::max<std::size_t>(1024, 4 * std::size_t(config.blocks));
}

} // namespace

KvCache::Impl::Impl(KvCacheConfig config, std::unique_ptr<EvictionPolicy> policy, trace::EventSink &sink,
                    const Clock &clock)
    : m_config(std::move(config)), m_policy(std::move(policy)), m_sink(sink), m_clock(clock),
      m_blockSize(m_config.layout.blockSize), m_maxGhosts(ghostLimit(m_config)),
      m_tree(m_config.layout.blockSize, m_config.fastHashBits,
             [this](NodeSlot slot) {
                 m_residency.nodeFreed(slot);
                 changed();
             }),
      m_residency(m_tree, m_config.layout.groups.size(), m_config.numerics, m_config.isNear)
{
    for (const LayerGroup &group : m_config.layout.groups)
        m_groups.push_back({BlockPool(m_config.blocks), tokensKept(group)});
}

Result<std::unique_ptr<KvCache>> KvCache::create(KvCacheConfig config, trace::EventSink &sink, const Clock &clock)
{
    if (config.layout.groups.empty() || config.layout.groups.size() > 32)
        return fail(ErrorCode::badInput, "A KV cache needs 1 to 32 layer groups, this model has " +
                                             std::to_string(config.layout.groups.size()) + ".");
    if (config.layout.blockSize == 0 || config.layout.blockSize > 65535)
        return fail(ErrorCode::badInput, "A block holds 1 to 65535 tokens, not " +
                                             std::to_string(config.layout.blockSize) + ".");
    if (config.blocks == 0 || config.blocks == kNoBlock.value)
        return fail(ErrorCode::badInput, "A KV cache of " + std::to_string(config.blocks) +
                                             " blocks cannot work: give it at least 1.");
    auto policy = makeEvictionPolicy(config.policy);
    if (!policy)
        return fail(ErrorCode::badInput,
                    "The eviction policy \"" + config.policy + "\" is unknown here: use one of " + evictionPolicyList() + ".");
    if (config.fastHashBits < 1 || config.fastHashBits > 64)
        return fail(ErrorCode::badInput, "The fast hash has 1 to 64 bits.");
    config.identity.blockSize = config.layout.blockSize;
    return std::unique_ptr<KvCache>(
        new KvCache(std::make_unique<Impl>(std::move(config), std::move(policy), sink, clock)));
}

KvCache::KvCache(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
KvCache::~KvCache() = default;

api::CacheEvent KvCache::Impl::event(api::EventKind kind, const Actor &actor) const
{
    api::CacheEvent e;
    e.kind = kind;
    e.timeNs = m_now;
    e.sequence = actor.sequence.value;
    e.session = std::uint32_t(actor.session.value);
    e.turn = actor.turn.value;
    return e;
}

api::CacheEvent KvCache::Impl::event(api::EventKind kind, const Actor &actor, std::size_t group, BlockId block) const
{
    api::CacheEvent e = event(kind, actor);
    e.group = std::uint16_t(group);
    e.block = block.value;
    e.references = std::uint16_t(std::min<std::uint32_t>(m_groups[group].pool.references(block), 0xffff));
    if (const BlockUseRecord *record = m_residency.find(group, block); record && record->node != kNoSlot)
        e.node = m_tree[record->node].id.value;
    return e;
}

const KvCacheConfig &KvCache::config() const { return m_impl->m_config; }
Lookup KvCache::lookup(const Request &request) { return m_impl->lookup(request); }
Parting KvCache::parting(const Request &request, const Lookup &found) const { return m_impl->parting(request, found); }

std::map<SessionId, std::uint32_t> KvCache::blocksOfSessions() const { return m_impl->blocksOfSessions(); }

std::optional<Allocation> KvCache::allocate(const Request &request, const Lookup &found, std::size_t positions)
{
    return m_impl->allocate(request, found, positions);
}

bool KvCache::reserve(SequenceId sequence, std::size_t positions, std::vector<CopyOrder> &copies)
{
    return m_impl->reserve(sequence, positions, copies);
}

void KvCache::append(SequenceId sequence, std::span<const TokenId> tokens) { m_impl->append(sequence, tokens); }

bool KvCache::fork(SequenceId from, SequenceId to, SessionId session, TurnId turn, std::size_t tokens)
{
    return m_impl->fork(from, to, session, turn, tokens);
}

bool KvCache::truncate(SequenceId sequence, std::size_t tokens) { return m_impl->truncate(sequence, tokens); }

void KvCache::dropMiddle(SequenceId sequence, std::size_t begin, std::size_t end)
{
    m_impl->dropMiddle(sequence, begin, end);
}

void KvCache::release(SequenceId sequence, api::EventReason reason) { m_impl->release(sequence, reason); }
bool KvCache::holds(SequenceId sequence) const { return m_impl->m_sequences.contains(sequence); }
std::size_t KvCache::computedTokens(SequenceId sequence) const { return m_impl->at(sequence).computed; }

std::size_t KvCache::reservedPositions(SequenceId sequence) const
{
    return m_impl->at(sequence).tables[0].size() * m_impl->m_blockSize;
}

bool KvCache::sharesTail(SequenceId sequence) const
{
    const SequenceState &s = m_impl->at(sequence);
    for (std::size_t g = 0; g < s.tables.size(); ++g) {
        const std::size_t tail = s.computed / m_impl->m_blockSize;
        if (tail < s.tables[g].size() && !m_impl->writable(g, s.tables[g][tail]))
            return true;
    }
    return false;
}

std::span<const BlockTable *const> KvCache::tables(SequenceId sequence) const
{
    return m_impl->at(sequence).tableView;
}

std::vector<NodeId> KvCache::path(SequenceId sequence) const
{
    std::vector<NodeId> out;
    for (const NodeSlot slot : m_impl->at(sequence).path)
        out.push_back(m_impl->m_tree[slot].id);
    return out;
}

KvCache::PinOutcome KvCache::pin(std::span<const NodeId> nodes, bool pinned, api::EventReason reason, SessionId session)
{
    return m_impl->pin(nodes, pinned, reason, session);
}
std::size_t KvCache::revive(std::span<const NodeId> nodes, SessionId session, api::EventReason reason)
{
    return m_impl->revive(nodes, session, reason);
}
std::size_t KvCache::pinLimit() const { return m_impl->pinLimit(); }
std::size_t KvCache::pinnedNodes() const { return m_impl->m_tree.pinned(); }

std::size_t KvCache::markDead(std::span<const NodeId> nodes, SessionId session, api::EventReason reason)
{
    return m_impl->markDead(nodes, session, reason);
}

std::size_t KvCache::dropSession(SessionId session) { return m_impl->dropSession(session); }
bool KvCache::reset(api::EventReason reason) { return m_impl->reset(reason); }
void KvCache::changeNumerics(const std::string &numerics) { m_impl->changeNumerics(numerics); }
std::optional<NodeInfo> KvCache::describe(NodeId node) const { return m_impl->describe(node); }

std::optional<NodeId> KvCache::nodeOf(GroupIndex group, BlockId block) const
{
    if (group.value >= m_impl->m_groups.size())
        return std::nullopt;
    const BlockUseRecord *record = m_impl->m_residency.find(group.value, block);
    if (!record || record->node == kNoSlot)
        return std::nullopt;
    return m_impl->m_tree[record->node].id;
}

std::optional<BlockName> KvCache::name(NodeId node)
{
    const NodeSlot slot = m_impl->m_tree.find(node);
    return slot == kNoSlot ? std::nullopt : std::optional(m_impl->nameOf(slot));
}

void KvCache::addStored(const StoredPayload &payload)
{
    Residency &residency = m_impl->m_residency;
    residency.addRow(payload.name, {payload.group, residency.numerics(payload.numerics), payload.row, payload.bytes, payload.tier});
    m_impl->changed();
}

std::vector<SealedBlock> KvCache::takeSealed() { return m_impl->takeSealed(); }

void KvCache::markStored(const StoredPayload &payload, SessionId session, TurnId turn)
{
    m_impl->markStored(payload, session, turn);
}

void KvCache::forgetStored(const BlockName &name, GroupIndex group, std::string_view numerics, api::EventReason reason,
                           api::Tier tier)
{
    m_impl->forgetStored(name, group, numerics, reason, tier);
}

void KvCache::restored(SequenceId sequence, const RestoreOrder &order, std::uint32_t microseconds, api::Tier from)
{
    m_impl->restored(sequence, order, microseconds, from);
}

std::uint32_t KvCache::highWater(GroupIndex group) const { return m_impl->m_groups[group.value].pool.highWater(); }
std::uint32_t KvCache::available(GroupIndex group) const { return m_impl->m_groups[group.value].pool.available(); }
api::PoolSnapshot KvCache::snapshot() const { return m_impl->snapshot(); }
api::PoolCounts KvCache::counts() const { return m_impl->counts(); }

std::vector<api::RibbonCell> KvCache::ribbon(std::span<const TokenId> tokens, std::string_view salt)
{
    return m_impl->ribbon(tokens, salt);
}

std::vector<api::RibbonCell> KvCache::ribbon(SequenceId sequence) const { return m_impl->ribbon(sequence); }

std::vector<BlockId> KvCache::evictionOrder(GroupIndex group) const
{
    return m_impl->m_groups[group.value].pool.order();
}

} // namespace kvilt::kv

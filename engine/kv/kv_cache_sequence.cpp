// SPDX-License-Identifier: Apache-2.0
// One generation: from the hit to the release. Every function that can be refused checks all groups before it
// changes any.
#include "engine/kv/kv_cache_impl.h"

#include "engine/support/check.h"

#include <algorithm>
#include <utility>

namespace kvilt::kv {

using api::EventKind;
using api::EventReason;

// ---------------------------------------------------------------- start

std::optional<Allocation> KvCache::Impl::allocate(const Request &request, const Lookup &given, std::size_t positions)
{
    KVILT_CHECK(!m_sequences.contains(request.sequence));
    if (given.epoch != m_epoch)
        return admit(request, lookup(request), positions);
    return admit(request, given, positions);
}

std::optional<Allocation> KvCache::Impl::admit(const Request &request, const Lookup &found, std::size_t positions)
{
    const std::size_t blocks = blocksFor(std::max(positions, found.matchedTokens));
    if (!fits(found, blocks)) {
        if (found.partialTokens == 0)
            return std::nullopt;
        // The block to copy from must not be evicted: without it there is one more to take.
        Lookup whole = found;
        whole.matchedTokens -= std::exchange(whole.partialTokens, 0);
        whole.firstMissing = whole.matchedTokens;
        return admit(request, whole, positions);
    }
    tick();
    m_evictedNow = 0;
    auto state = begin(request, found);
    SequenceState &s = *state;
    Allocation out;
    out.hitTokens = found.matchedTokens;
    countLookup(s.actor, request, found);
    takeHits(s, found, out);
    if (found.partialTokens > 0)
        takePartial(s, request, found, out);
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        for (std::size_t i = s.tables[g].size(); i < blocks; ++i)
            s.tables[g].append(takeBlock(s, g, i));
    for (Group &group : m_groups)
        group.protectedBlock = kNoBlock;
    for (std::size_t i = found.nodes.size(); i < s.tables[0].size(); ++i)
        out.newBlocks.push_back(s.tables[0][i]);
    out.evictedBlocks = m_evictedNow;
    m_sequences.emplace(request.sequence, std::move(state));
    m_tree.trimGhosts(m_maxGhosts);
    return out;
}

std::unique_ptr<SequenceState> KvCache::Impl::begin(const Request &request, const Lookup &found)
{
    auto state = std::make_unique<SequenceState>();
    SequenceState &s = *state;
    s.actor = {request.sequence, request.session, request.turn};
    s.root = m_tree.root(request.salt);
    s.tip = found.places.empty() ? s.root : found.places.back();
    m_tree.hold(s.tip);
    s.path = found.places;
    s.computed = found.nodes.size() * m_blockSize;
    s.seals = m_config.caching && request.seal && !found.near;
    s.admission = ++m_admissions;
    s.tables.resize(m_groups.size());
    s.passed.resize(m_groups.size());
    for (const BlockTable &table : s.tables)
        s.tableView.push_back(&table);
    if (found.partialTokens > 0)
        for (std::size_t g = 0; g < m_groups.size(); ++g)
            m_groups[g].protectedBlock = m_residency.block(m_tree.find(found.partialNode), g);
    return state;
}

// Whether `needed` blocks can be taken beside `kept` ones in the free queue that must stay, and have storage.
bool KvCache::Impl::room(std::size_t group, std::size_t needed, std::size_t kept)
{
    Group &g = m_groups[group];
    if (needed + kept > g.pool.available())
        return false;
    const std::uint32_t reach = g.pool.reachAfter(std::uint32_t(needed));
    if (!m_config.grow || reach <= g.backed)
        return true;
    if (m_config.grow(GroupIndex{std::uint16_t(group)}, reach))
        g.backed = reach;
    else
        g.pool.limit(g.backed);
    return needed + kept <= g.pool.available();
}

bool KvCache::Impl::fits(const Lookup &found, std::size_t blocks)
{
    const NodeSlot partial = found.partialTokens > 0 ? m_tree.find(found.partialNode) : kNoSlot;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        const BlockPool &pool = m_groups[g].pool;
        std::size_t needed = blocks - found.places.size();
        std::size_t waiting = 0; // hit blocks that are in the free queue now: they are not there to be taken
        const auto count = [&](BlockId block) { waiting += pool.queue(block) != BlockPool::Queue::none; };
        for (std::size_t i = firstNeeded(g, found.places.size() * m_blockSize); i < found.places.size(); ++i) {
            const BlockId block = m_residency.block(found.places[i], g);
            if (block == kNoBlock)
                ++needed;
            else
                count(block);
        }
        if (partial != kNoSlot)
            count(m_residency.block(partial, g));
        if (!room(g, needed, waiting))
            return false;
    }
    return true;
}

void KvCache::Impl::countLookup(const Actor &actor, const Request &request, const Lookup &found)
{
    if (!request.resumed) {
        m_totals.lookupTokens += found.promptTokens;
        m_totals.hitTokensMemory += found.memoryTokens + found.partialTokens;
        m_totals.hitTokensDisk += found.diskTokens;
    }
    if (found.matchedTokens > 0) {
        api::CacheEvent hit = event(EventKind::hit, actor);
        hit.node = found.nodes.empty() ? found.partialNode.value : found.nodes.back().value;
        hit.tier = found.diskTokens == 0                  ? api::Tier::device
                   : found.hostTokens == found.diskTokens ? api::Tier::host
                                                          : api::Tier::disk;
        hit.a = saturate(found.matchedTokens);
        hit.b = saturate(found.promptTokens);
        emit(hit);
    }
    if (found.matchedTokens == found.promptTokens)
        return;
    api::CacheEvent miss = event(EventKind::miss, actor);
    miss.node = found.missingNode.value;
    miss.reason = found.reason;
    miss.a = saturate(found.firstMissing);
    miss.b = saturate(found.promptTokens - found.matchedTokens);
    emit(miss);
    regret(actor, found.missingNode);
    for (const NodeId ghost : found.wantedGhosts)
        regret(actor, ghost);
}

void KvCache::Impl::regret(const Actor &actor, NodeId id)
{
    const NodeSlot slot = id == kRootNode ? kNoSlot : m_tree.find(id);
    if (slot == kNoSlot || !m_tree[slot].eviction.unregretted)
        return;
    PrefixNode &node = m_tree[slot];
    node.eviction.unregretted = false; // one eviction is regretted once
    ++m_totals.regretted;
    api::CacheEvent e = event(EventKind::regret, actor);
    e.node = id.value;
    e.reason = node.eviction.reason;
    e.a = saturate(m_now > node.eviction.atNs ? (m_now - node.eviction.atNs) / 1'000'000 : 0);
    e.b = saturate(m_blockSize);
    emit(e);
}

void KvCache::Impl::takeHits(SequenceState &s, const Lookup &found, Allocation &out)
{
    for (const NodeSlot slot : found.places) {
        PrefixNode &node = m_tree[slot];
        ++node.uses;
        node.lastUseNs = m_now;
        if (const SessionId session = s.actor.session; session.value != 0 && session != node.owner &&
                                                       std::ranges::find(node.sharers, session) == node.sharers.end())
            node.sharers.push_back(session);
        if (node.dead)
            revive(slot);
    }
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        takeHitsOfGroup(s, g, found, out);
}

// First all blocks in memory, so that none of them is taken to restore another into.
void KvCache::Impl::takeHitsOfGroup(SequenceState &s, std::size_t group, const Lookup &found, Allocation &out)
{
    s.passed[group] = firstNeeded(group, found.places.size() * m_blockSize);
    for (std::size_t i = 0; i < found.places.size(); ++i) {
        const BlockId block = i < s.passed[group] ? kNoBlock : m_residency.block(found.places[i], group);
        s.tables[group].append(block);
        if (block != kNoBlock)
            referenceHit(s, group, i, block, EventReason::none);
    }
    for (std::size_t i = s.passed[group]; i < found.places.size(); ++i) {
        if (s.tables[group][i] != kNoBlock)
            continue;
        const NodeSlot node = found.places[i];
        const StoredRow *row = m_residency.row(node, group, m_config.nearReuse);
        KVILT_CHECK(row);
        const BlockId block = takeBlock(s, group, i);
        m_residency.record(group, block).filled = std::uint32_t(m_blockSize);
        s.tables[group].set(i, block);
        out.restores.push_back({m_tree[node].id, row->group, block, *m_residency.nameOf(node), row->row, row->bytes,
                                std::int32_t(i * m_blockSize), row->numerics != 0,
                                m_residency.numericsText(row->numerics), row->tier});
    }
}

void KvCache::Impl::takePartial(SequenceState &s, const Request &request, const Lookup &found, Allocation &out)
{
    const NodeSlot source = m_tree.find(found.partialNode);
    const std::size_t logical = found.places.size();
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        const BlockId from = m_groups[g].protectedBlock;
        const BlockId to = takeBlock(s, g, logical);
        s.tables[g].append(to);
        out.copies.push_back({GroupIndex{std::uint16_t(g)}, from, to, std::uint32_t(found.partialTokens)});
        api::CacheEvent copy = event(EventKind::copyOnWrite, s.actor, g, to);
        copy.a = from.value;
        emit(copy);
    }
    ++m_tree[source].uses;
    if (s.seals) {
        const auto tokens = request.tokens.subspan(s.computed, found.partialTokens);
        s.pending.assign(tokens.begin(), tokens.end());
    }
    s.computed = found.matchedTokens;
    fill(s, s.computed - found.partialTokens, s.computed);
}

// ---------------------------------------------------------------- blocks

BlockId KvCache::Impl::takeBlock(SequenceState &s, std::size_t group, std::size_t logical)
{
    const BlockPool::Taken taken = m_groups[group].pool.take(m_groups[group].protectedBlock);
    KVILT_CHECK(taken.id != kNoBlock); // whoever takes has checked that it fits
    BlockUseRecord &record = m_residency.record(group, taken.id);
    if (record.node != kNoSlot)
        evict(s.actor, group, taken.id,
              taken.from == BlockPool::Queue::dead ? EventReason::deadBranchFirst : m_policy->reason());
    const bool awaitsStore = record.awaitsStore;
    record = {};
    record.awaitsStore = awaitsStore;
    record.firstToken = std::int32_t(logical * m_blockSize);
    record.admission = s.admission;
    record.lastUseNs = m_now;
    record.owner = s.actor.session;
    record.turn = s.actor.turn;
    api::CacheEvent e = event(EventKind::allocate, s.actor, group, taken.id);
    e.a = saturate(logical);
    e.b = saturate(m_blockSize);
    emit(e);
    return taken.id;
}

void KvCache::Impl::evict(const Actor &actor, std::size_t group, BlockId block, EventReason reason)
{
    const BlockUseRecord &record = m_residency.record(group, block);
    api::CacheEvent e = event(EventKind::evict, actor, group, block);
    e.references = 0;
    e.reason = reason;
    e.a = saturate(m_now > record.lastUseNs ? (m_now - record.lastUseNs) / 1'000'000 : 0);
    e.b = record.uses;
    emit(e);
    m_tree[record.node].eviction = {std::max<std::uint64_t>(m_now, 1), reason, true, actor.session, actor.turn};
    m_residency.unbind(group, block);
    ++m_totals.evictions;
    ++m_evictedNow;
    changed();
}

void KvCache::Impl::referenceHit(SequenceState &s, std::size_t group, std::size_t logical, BlockId block,
                                 EventReason reason)
{
    m_groups[group].pool.reference(block);
    BlockUseRecord &record = m_residency.record(group, block);
    if (reason == EventReason::none)
        ++record.uses;
    record.lastUseNs = m_now;
    api::CacheEvent e = event(EventKind::reference, s.actor, group, block);
    e.reason = reason;
    e.a = saturate(logical);
    emit(e);
}

void KvCache::Impl::giveBack(SequenceState &s, std::size_t group, std::size_t begin, std::size_t end,
                             EventReason reason)
{
    std::vector<BlockId> blank;
    for (std::size_t i = end; i-- > begin;) {
        const BlockId block = s.tables[group][i];
        if (block == kNoBlock)
            continue;
        const std::uint32_t left = m_groups[group].pool.unreference(block);
        api::CacheEvent e = event(EventKind::release, s.actor, group, block);
        e.reason = reason;
        e.a = saturate(i);
        emit(e);
        if (left > 0)
            continue;
        if (m_residency.record(group, block).node == kNoSlot)
            blank.push_back(block);
        else
            enqueueIdle(group, block);
    }
    for (auto block = blank.rbegin(); block != blank.rend(); ++block) // the tail ends up in front
        m_groups[group].pool.enqueueBlank(*block);
}

// A cached block without references waits for a hit or its eviction; a pinned one outside the queue.
void KvCache::Impl::enqueueIdle(std::size_t group, BlockId block)
{
    BlockUseRecord &record = m_residency.record(group, block);
    const PrefixNode &node = m_tree[record.node];
    record.lastUseNs = m_now;
    if (node.pinned && m_residency.block(record.node, group) == block)
        return; // one copy is enough: another of the same tokens goes its way
    m_groups[group].pool.enqueue(block, node.dead ? BlockPool::Queue::dead : BlockPool::Queue::cached,
                                 m_policy->rank({.admission = record.admission, .uses = record.uses}));
}

// ---------------------------------------------------------------- growth

bool KvCache::Impl::writable(std::size_t group, BlockId block) const
{
    return m_groups[group].pool.references(block) == 1 && m_residency.find(group, block)->node == kNoSlot;
}

std::uint32_t KvCache::Impl::newBlocksFor(const SequenceState &s, std::size_t group, std::size_t positions) const
{
    const BlockTable &table = s.tables[group];
    const std::size_t blocks = blocksFor(positions);
    std::size_t needed = blocks > table.size() ? blocks - table.size() : 0;
    for (std::size_t i = s.computed / m_blockSize; i < std::min(blocks, table.size()); ++i)
        needed += !writable(group, table[i]);
    return std::uint32_t(needed);
}

bool KvCache::Impl::reserve(SequenceId id, std::size_t positions, std::vector<CopyOrder> &copies)
{
    SequenceState &s = at(id);
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        if (!room(g, newBlocksFor(s, g, positions), 0))
            return false;
    tick();
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        const std::size_t blocks = blocksFor(positions);
        for (std::size_t i = s.computed / m_blockSize; i < std::min(blocks, s.tables[g].size()); ++i)
            if (!writable(g, s.tables[g][i]))
                copyOnWrite(s, g, i, copies);
        for (std::size_t i = s.tables[g].size(); i < blocks; ++i)
            s.tables[g].append(takeBlock(s, g, i));
    }
    m_tree.trimGhosts(m_maxGhosts);
    return true;
}

void KvCache::Impl::copyOnWrite(SequenceState &s, std::size_t group, std::size_t logical,
                                std::vector<CopyOrder> &copies)
{
    const BlockId from = s.tables[group][logical];
    const BlockId to = takeBlock(s, group, logical);
    const std::size_t first = logical * m_blockSize;
    const std::uint32_t tokens = std::uint32_t(s.computed > first ? s.computed - first : 0);
    m_residency.record(group, to).filled = tokens;
    if (tokens > 0)
        copies.push_back({GroupIndex{std::uint16_t(group)}, from, to, tokens});
    api::CacheEvent e = event(EventKind::copyOnWrite, s.actor, group, to);
    e.a = from.value;
    e.b = tokens;
    emit(e);
    giveBack(s, group, logical, logical + 1, EventReason::forked);
    s.tables[group].set(logical, to);
}

void KvCache::Impl::append(SequenceId id, std::span<const TokenId> tokens)
{
    SequenceState &s = at(id);
    tick();
    while (!tokens.empty()) {
        const std::size_t room = m_blockSize - s.computed % m_blockSize;
        const auto chunk = tokens.first(std::min(room, tokens.size()));
        tokens = tokens.subspan(chunk.size());
        fill(s, s.computed, s.computed + chunk.size());
        s.computed += chunk.size();
        if (!s.seals)
            continue;
        if (chunk.size() == m_blockSize) {
            seal(s, chunk.data());
            continue;
        }
        s.pending.insert(s.pending.end(), chunk.begin(), chunk.end());
        if (s.pending.size() == m_blockSize) {
            seal(s, s.pending.data());
            s.pending.clear();
        }
    }
    passWindows(s);
    m_tree.trimGhosts(m_maxGhosts);
}

// Positions [from, to), which lie in one block, now hold their tokens.
void KvCache::Impl::fill(SequenceState &s, std::size_t from, std::size_t to)
{
    const std::size_t logical = from / m_blockSize;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        KVILT_CHECK(logical < s.tables[g].size());
        const BlockId block = s.tables[g][logical];
        KVILT_CHECK(block != kNoBlock && writable(g, block));
        m_residency.record(g, block).filled = std::uint32_t(to - logical * m_blockSize);
    }
}

void KvCache::Impl::seal(SequenceState &s, const TokenId *tokens)
{
    const NodeSlot slot = m_tree.intern(s.tip, tokens);
    moveTip(s, slot);
    s.path.push_back(slot);
    PrefixNode &node = m_tree[slot];
    if (node.payloads == 0) {
        node.owner = s.actor.session;
        node.turn = s.actor.turn;
    }
    node.lastUseNs = m_now;
    if (node.dead)
        revive(slot);
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        if (s.tables[g][s.path.size() - 1] != kNoBlock)
            sealBlock(s, g, s.path.size() - 1, slot);
    changed();
}

void KvCache::Impl::sealBlock(SequenceState &s, std::size_t group, std::size_t logical, NodeSlot node)
{
    if (m_config.dedupe && dedupe(s, group, logical, node))
        return;
    const BlockId block = s.tables[group][logical];
    m_residency.bind(node, group, block);
    api::CacheEvent e = event(EventKind::seal, s.actor, group, block);
    e.a = saturate(logical * m_blockSize);
    e.b = saturate(m_blockSize);
    emit(e);
    if (m_residency.block(node, group) == block)
        tellPinned(node, group, s.actor.session);
    BlockUseRecord &record = m_residency.record(group, block);
    if (!record.awaitsStore)
        m_sealed.push_back({std::uint16_t(group), block});
    record.awaitsStore = true;
}

// The same tokens were computed before: hold that block and give this one back.
bool KvCache::Impl::dedupe(SequenceState &s, std::size_t group, std::size_t logical, NodeSlot node)
{
    const BlockId earlier = m_residency.block(node, group);
    if (earlier == kNoBlock)
        return false;
    referenceHit(s, group, logical, earlier, EventReason::deduplicated);
    giveBack(s, group, logical, logical + 1, EventReason::deduplicated);
    s.tables[group].set(logical, earlier);
    return true;
}

void KvCache::Impl::passWindows(SequenceState &s)
{
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        const std::size_t needed = firstNeeded(g, s.computed);
        if (needed <= s.passed[g])
            continue;
        giveBack(s, g, s.passed[g], needed, EventReason::windowPassed);
        s.tables[g].dropMiddle(s.passed[g], needed);
        s.passed[g] = needed;
    }
}

// ---------------------------------------------------------------- branches and the end

bool KvCache::Impl::holdsWindowBefore(const SequenceState &s, std::size_t tokens) const
{
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        if (m_groups[g].keep != kWholePast && firstNeeded(g, tokens) < s.passed[g])
            return false;
        if (tokens % m_blockSize != 0 && s.tables[g][tokens / m_blockSize] == kNoBlock)
            return false; // dropMiddle() took the block that the next token would go into
    }
    return true;
}

bool KvCache::Impl::fork(SequenceId from, SequenceId to, SessionId session, TurnId turn, std::size_t tokens)
{
    const SequenceState &parent = at(from);
    KVILT_CHECK(tokens <= parent.computed && !m_sequences.contains(to));
    if (!holdsWindowBefore(parent, tokens))
        return false;
    tick();
    auto state = std::make_unique<SequenceState>(parent);
    SequenceState &s = *state;
    s.actor = {to, session, turn};
    s.admission = ++m_admissions;
    m_tree.hold(s.tip);
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        s.tables[g].truncate(std::min(s.tables[g].size(), blocksFor(tokens)));
        s.tableView[g] = &s.tables[g];
        for (std::size_t i = 0; i < s.tables[g].size(); ++i)
            if (s.tables[g][i] != kNoBlock)
                referenceHit(s, g, i, s.tables[g][i], EventReason::forked);
    }
    shortenPath(s, tokens);
    m_sequences.emplace(to, std::move(state));
    return true;
}

bool KvCache::Impl::truncate(SequenceId id, std::size_t tokens)
{
    SequenceState &s = at(id);
    KVILT_CHECK(tokens <= s.computed);
    if (!holdsWindowBefore(s, tokens))
        return false;
    tick();
    const std::size_t blocks = blocksFor(tokens);
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        if (s.tables[g].size() > blocks) {
            giveBack(s, g, blocks, s.tables[g].size(), EventReason::edited);
            s.tables[g].truncate(blocks);
        }
        if (tokens % m_blockSize != 0 && s.tables[g][blocks - 1] != kNoBlock && writable(g, s.tables[g][blocks - 1]))
            m_residency.record(g, s.tables[g][blocks - 1]).filled = std::uint32_t(tokens % m_blockSize);
    }
    shortenPath(s, tokens);
    return true;
}

void KvCache::Impl::shortenPath(SequenceState &s, std::size_t tokens)
{
    s.computed = tokens;
    const std::size_t full = tokens / m_blockSize;
    if (s.path.size() > full) {
        const auto cut = m_tree.tokens(s.path[full]).first(tokens % m_blockSize);
        s.pending.assign(cut.begin(), cut.end());
        const NodeSlot below = full > 0 ? s.path[full - 1] : m_tree[s.path[0]].parent;
        s.path.resize(full);
        moveTip(s, below);
    } else if (s.seals) {
        s.pending.resize(tokens % m_blockSize);
    }
    if (!s.seals)
        s.pending.clear();
}

void KvCache::Impl::dropMiddle(SequenceId id, std::size_t begin, std::size_t end)
{
    SequenceState &s = at(id);
    const std::size_t first = blocksFor(begin);
    const std::size_t last = std::min(end, s.computed) / m_blockSize;
    if (first >= last)
        return;
    tick();
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        giveBack(s, g, first, last, EventReason::contextDropped);
        s.tables[g].dropMiddle(first, last);
    }
    s.seals = false;
    s.pending.clear();
}

void KvCache::Impl::release(SequenceId id, EventReason reason)
{
    SequenceState &s = at(id);
    tick();
    rememberTail(s);
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        giveBack(s, g, 0, s.tables[g].size(), reason);
    m_tree.unhold(s.tip);
    m_sequences.erase(id);
    m_tree.trimGhosts(m_maxGhosts);
}

void KvCache::Impl::rememberTail(const SequenceState &s)
{
    if (s.pending.empty())
        return;
    m_tails.push_back({m_tree[s.tip].id, std::string(m_tree.saltOf(s.root)), s.pending});
    if (m_tails.size() > kMostTails)
        m_tails.pop_front();
}

void KvCache::Impl::moveTip(SequenceState &s, NodeSlot tip)
{
    m_tree.hold(tip);
    m_tree.unhold(std::exchange(s.tip, tip));
    changed();
}

SequenceState &KvCache::Impl::at(SequenceId id)
{
    const auto found = m_sequences.find(id);
    KVILT_CHECK(found != m_sequences.end());
    return *found->second;
}

const SequenceState &KvCache::Impl::at(SequenceId id) const
{
    return const_cast<Impl *>(this)->at(id);
}

} // namespace kvilt::kv

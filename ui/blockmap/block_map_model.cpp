// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/block_map_model.h"

#include <algorithm>

namespace kvilt::ui {

using api::BlockState;
using api::CacheEvent;
using api::EventKind;

// --- Feeding ---

void BlockMapModel::clear()
{
    m_groups.clear();
    m_lastNode.clear();
    m_kept.clear();
    m_last = 0;
    m_complete = m_wantSnapshot = m_expecting = m_seenAny = false;
}

void BlockMapModel::apply(const api::PoolSnapshot &snapshot, std::int64_t nowMs)
{
    // One that was not asked for may be older than what was folded; a complete model knows better.
    if (m_complete && !m_expecting && snapshot.sequenceNumber < m_last)
        return;
    m_nowMs = nowMs;
    const bool sameShape = m_groups.size() == snapshot.groups.size();
    m_groups.resize(snapshot.groups.size());
    m_blockSize = snapshot.blockSize;
    m_policy = snapshot.policy;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        if (!sameShape)
            m_groups[g].marks.clear();
        load(m_groups[g], snapshot.groups[g]);
    }
    m_complete = true;
    m_expecting = m_wantSnapshot = false;
    m_last = snapshot.sequenceNumber;
    m_seenAny = true;
    replayKept(snapshot.sequenceNumber, nowMs);
}

void BlockMapModel::replayKept(std::uint64_t after, std::int64_t nowMs)
{
    std::vector<CacheEvent> kept;
    kept.swap(m_kept);
    const auto first = std::find_if(kept.begin(), kept.end(), [&](const auto &e) { return e.sequenceNumber > after; });
    fold({first, kept.end()}, nowMs);
}

void BlockMapModel::load(Group &group, const api::GroupView &view)
{
    const auto size = std::max<std::size_t>(view.capacity, view.blocks.size());
    group.name = view.name;
    group.bytesPerBlock = view.bytesPerBlock;
    group.cells.assign(size, {});
    group.states.assign(size, 0);
    group.codes.assign(size, 0);
    group.isDirty.assign(size, 0);
    group.dirty.clear();
    group.byNode.clear();
    group.counts = {};
    group.mostUses = 0;
    group.lastRank = 0;
    std::erase_if(group.marks, [size](const auto &entry) { return entry.first >= size; });
    for (std::uint32_t b = 0; b < view.blocks.size(); ++b) {
        const api::BlockInfo &info = view.blocks[b];
        group.cells[b] = {.node = info.node, .parent = info.parent, .owner = info.owner,
                          .lastUseNs = info.lastUseNs, .uses = info.uses, .firstToken = info.firstToken,
                          .evictionRank = info.evictionRank, .tokens = info.tokens, .references = info.references,
                          .pinned = info.state == BlockState::pinned,
                          .dead = info.state == BlockState::deadBranch, .onDisk = info.onDisk, .inHost = info.inHost};
        if (info.node.value)
            group.byNode[info.node.value] = b;
        group.mostUses = std::max(group.mostUses, info.uses);
        group.lastRank = std::max(group.lastRank, info.evictionRank);
        m_nowNs = std::max(m_nowNs, info.lastUseNs);
    }
    for (std::uint32_t b = 0; b < size; ++b) {
        group.states[b] = std::uint8_t(stateOf(group.cells[b], m_blockSize));
        ++group.counts[group.states[b]];
        group.codes[b] = look(group, b);
    }
    ++group.structureVersion;
    group.allDirty = true;
}

void BlockMapModel::fold(std::span<const CacheEvent> events, std::int64_t nowMs)
{
    m_nowMs = nowMs;
    for (const CacheEvent &event : events) {
        if (m_seenAny && event.sequenceNumber <= m_last)
            continue;
        if (m_seenAny && event.sequenceNumber != m_last + 1)
            noteGap();
        m_seenAny = true;
        m_last = event.sequenceNumber;
        m_nowNs = std::max(m_nowNs, event.timeNs);
        if (!m_complete || m_expecting)
            m_kept.push_back(event);
        foldOne(event, nowMs);
    }
    if (m_groups.empty() && !events.empty() && !m_expecting)
        m_wantSnapshot = true;
    if (m_kept.size() > m_options.keptEvents) { // the answer got lost or is too slow to be of use: start over
        m_kept.clear();
        m_complete = false;
        m_wantSnapshot = true;
    }
}

void BlockMapModel::noteGap()
{
    m_complete = false;
    // Events kept before the gap do not reach up to those after it, so an answer already under way is no help.
    m_kept.clear();
    m_expecting = false;
    m_wantSnapshot = true;
}

bool BlockMapModel::takeSnapshotRequest()
{
    if (!m_wantSnapshot)
        return false;
    m_wantSnapshot = false;
    m_expecting = true;
    return true;
}

void BlockMapModel::expectSnapshot()
{
    m_wantSnapshot = false;
    m_expecting = true;
}

void BlockMapModel::foldOne(const CacheEvent &event, std::int64_t nowMs)
{
    if (event.node && event.sequence
        && (event.kind == EventKind::reference || event.kind == EventKind::restore)) {
        m_lastNode[event.sequence] = NodeId{event.node};
    }
    if (event.group >= m_groups.size())
        return;
    if (event.block == kNoBlock.value)
        return foldNode(event);
    Group &group = m_groups[event.group];
    if (event.block >= group.cells.size()) { // the pool is larger than the snapshot said
        m_complete = false;
        m_wantSnapshot = !m_expecting;
        return;
    }
    const api::Tier before = shownTier(event.group, event.block);
    change(group, event.block, event);
    settle(group, event.block);
    if (shownTier(event.group, event.block) != before)
        touch(group, event.block);
    if (event.kind == EventKind::restore)
        mark(group, event.block, Trace::restored, nowMs);
    else if (event.kind == EventKind::evict)
        mark(group, event.block, Trace::evicted, nowMs);
}

// Events about a payload whose block is not named: only what the tooltip says changes.
void BlockMapModel::foldNode(const CacheEvent &event)
{
    Group &group = m_groups[event.group];
    const auto found = group.byNode.find(event.node);
    if (event.node == 0 || found == group.byNode.end())
        return;
    const api::Tier before = shownTier(event.group, found->second);
    Cell &cell = group.cells[found->second];
    if (event.kind == EventKind::store)
        cell.onDisk = true;
    else if (event.kind == EventKind::evict) // a copy went, the block stays
        (event.tier == api::Tier::host ? cell.inHost : cell.onDisk) = false;
    else if (event.kind == EventKind::deadBranch || event.kind == EventKind::pin || event.kind == EventKind::unpin ||
             event.kind == EventKind::demote)
        change(group, found->second, event);
    settle(group, found->second);
    if (shownTier(event.group, found->second) != before)
        touch(group, found->second); // the texture alone
}

void BlockMapModel::nameNode(Group &group, std::uint32_t block, NodeId node)
{
    Cell &cell = group.cells[block];
    if (cell.node == node || node.value == 0)
        return;
    if (cell.node.value)
        group.byNode.erase(cell.node.value);
    cell.node = node;
    group.byNode[node.value] = block;
    ++group.structureVersion;
}

void BlockMapModel::empty(Group &group, Cell &cell)
{
    if (cell.node.value)
        group.byNode.erase(cell.node.value);
    cell = {};
    ++group.structureVersion;
}

void BlockMapModel::own(Cell &cell, const CacheEvent &event)
{
    cell.owner = SessionId{event.session};
    cell.firstToken = std::int32_t(std::uint64_t(event.a) * m_blockSize);
    cell.references = std::max<std::uint16_t>(event.references, 1);
    cell.lastUseNs = event.timeNs;
}

void BlockMapModel::change(Group &group, std::uint32_t block, const CacheEvent &event)
{
    Cell &cell = group.cells[block];
    switch (event.kind) {
    case EventKind::allocate:
        empty(group, cell);
        own(cell, event);
        break;
    case EventKind::copyOnWrite: {
        const std::int32_t firstToken = event.a < group.cells.size() ? group.cells[event.a].firstToken : 0;
        if (cell.references == 0 || cell.node.value)
            empty(group, cell);
        own(cell, event);
        cell.firstToken = firstToken;
        break;
    }
    case EventKind::reference:
        nameNode(group, block, NodeId{event.node});
        cell.references = event.references;
        cell.lastUseNs = event.timeNs;
        cell.dead = false;
        cell.evictionRank = -1;
        group.mostUses = std::max(group.mostUses, ++cell.uses);
        break;
    case EventKind::release:
        cell.references = event.references;
        cell.lastUseNs = event.timeNs;
        if (cell.references == 0 && cell.node.value == 0)
            empty(group, cell);
        break;
    case EventKind::seal:
        nameNode(group, block, NodeId{event.node});
        cell.parent = m_lastNode[event.sequence];
        m_lastNode[event.sequence] = cell.node;
        cell.firstToken = std::int32_t(event.a);
        cell.tokens = std::uint16_t(std::min<std::uint32_t>(event.b, 0xffff));
        cell.references = std::max(cell.references, event.references);
        if (event.session)
            cell.owner = SessionId{event.session};
        break;
    case EventKind::restore:
        if (cell.references == 0 && event.references == 0 && cell.node.value == 0)
            cell.owner = SessionId{event.session};
        nameNode(group, block, NodeId{event.node});
        cell.references = std::max(cell.references, event.references);
        cell.tokens = m_blockSize;
        cell.lastUseNs = event.timeNs;
        (event.tier == api::Tier::host ? cell.inHost : cell.onDisk) = true; // it was read from there
        break;
    case EventKind::pin: cell.pinned = true; break;
    case EventKind::unpin: cell.pinned = false; break;
    case EventKind::deadBranch: cell.dead = event.a == 0; break;
    case EventKind::store: cell.onDisk = true; break;
    case EventKind::demote:
    case EventKind::promote:
        cell.onDisk |= event.tier == api::Tier::disk;
        cell.inHost |= event.tier == api::Tier::host;
        break;
    case EventKind::evict:
    case EventKind::free: empty(group, cell); break;
    case EventKind::hit:
    case EventKind::miss:
    case EventKind::regret: break; // about a lookup, not about this cell
    }
}

void BlockMapModel::settle(Group &group, std::uint32_t block)
{
    const auto state = std::uint8_t(stateOf(group.cells[block], m_blockSize));
    if (state != group.states[block]) {
        --group.counts[group.states[block]];
        ++group.counts[state];
        group.states[block] = state;
        touch(group, block); // the state decides the shape, whatever the colour says
    }
    recode(group, block);
}

// --- Traces ---

void BlockMapModel::mark(Group &group, std::uint32_t block, Trace trace, std::int64_t nowMs)
{
    if (!m_options.traces)
        return;
    group.marks[block] = {trace, nowMs, 0};
    recode(group, block);
}

void BlockMapModel::setTraces(bool traces, std::int64_t nowMs)
{
    m_options.traces = traces;
    if (!traces)
        advance(nowMs + kTraceMs);
}

bool BlockMapModel::advance(std::int64_t nowMs)
{
    m_nowMs = nowMs;
    bool left = false;
    for (Group &group : m_groups) {
        for (auto it = group.marks.begin(); it != group.marks.end();) {
            const std::uint32_t block = it->first;
            const std::int64_t age = std::max<std::int64_t>(0, nowMs - it->second.sinceMs);
            if (age >= kTraceMs) {
                it = group.marks.erase(it);
                recode(group, block);
                continue;
            }
            it->second.step = int(age * code::kFadeSteps / kTraceMs);
            recode(group, block);
            left = true;
            ++it;
        }
    }
    return left;
}

// --- Looks ---

std::uint64_t BlockMapModel::bytesOfAllGroups() const
{
    std::uint64_t bytes = 0;
    for (const Group &group : m_groups)
        bytes += group.bytesPerBlock;
    return bytes;
}

std::optional<std::uint32_t> BlockMapModel::blockOf(std::size_t group, NodeId node) const
{
    if (group >= m_groups.size() || node.value == 0)
        return std::nullopt;
    const auto found = m_groups[group].byNode.find(node.value);
    if (found == m_groups[group].byNode.end())
        return std::nullopt;
    return found->second;
}

void BlockMapModel::setColourBy(ColourBy by)
{
    m_colourBy = by;
    recodeAll();
}

api::Tier BlockMapModel::shownTier(std::size_t group, std::uint32_t block) const
{
    const Cell &cell = m_groups[group].cells[block];
    const bool idle = cell.references == 0 && cell.node.value != 0;
    return m_tiersShown && idle ? copyOf(cell) : api::Tier::device;
}

void BlockMapModel::setTiersShown(bool shown)
{
    if (shown == m_tiersShown)
        return;
    m_tiersShown = shown;
    recodeAll();
}

void BlockMapModel::setShown(BlockState state, bool shown)
{
    m_shown = shown ? m_shown | (1u << int(state)) : m_shown & ~(1u << int(state));
    recodeAll();
}

void BlockMapModel::showOnly(BlockState state)
{
    m_shown = 1u << int(state);
    recodeAll();
}

void BlockMapModel::showAll()
{
    m_shown = kAllShown;
    recodeAll();
}

void BlockMapModel::refreshLooks(std::uint64_t nowNs)
{
    m_nowNs = std::max(m_nowNs, nowNs);
    for (Group &group : m_groups)
        for (std::uint32_t b = 0; b < group.cells.size(); ++b)
            recode(group, b);
}

void BlockMapModel::recodeAll()
{
    for (Group &group : m_groups) {
        for (std::uint32_t b = 0; b < group.cells.size(); ++b)
            group.codes[b] = look(group, b);
        group.allDirty = true;
    }
}

void BlockMapModel::touch(Group &group, std::uint32_t block)
{
    if (group.allDirty || group.isDirty[block])
        return;
    group.isDirty[block] = 1;
    group.dirty.push_back(block);
}

void BlockMapModel::recode(Group &group, std::uint32_t block)
{
    const std::uint8_t now = look(group, block);
    if (now == group.codes[block])
        return;
    group.codes[block] = now;
    touch(group, block);
}

namespace {

// Four levels a doubling, so that 1, 2 and 3 differ and a million still fits.
int logLevel(double value, double doublingsPerLevel)
{
    int level = 0;
    for (double v = value + 1; v > doublingsPerLevel && level < code::kLevels - 1; v /= doublingsPerLevel)
        ++level;
    return level;
}

int ageLevel(std::uint64_t lastUseNs, std::uint64_t nowNs)
{
    const double seconds = nowNs > lastUseNs ? double(nowNs - lastUseNs) * 1e-9 : 0;
    return code::kLevels - 1 - logLevel(seconds, 1.5); // bright: just used; dark end: about 35 hours
}

// Over those that can go, however few they are: the order is what one wants to see.
int rankLevel(std::int32_t rank, std::int32_t lastRank)
{
    if (rank < 0)
        return 0;
    const double share = double(rank) / double(std::max(lastRank, 1));
    return code::kLevels - 1 - int(std::min(share, 1.0) * (code::kLevels - 2));
}

} // namespace

int ownerLevel(SessionId owner)
{
    return int((std::uint64_t(owner.value) * 7u) % code::kLevels); // 7 and 30 have no common divisor
}

std::uint8_t BlockMapModel::look(const Group &group, std::uint32_t block) const
{
    const Cell &cell = group.cells[block];
    const int state = group.states[block];
    if (!shown(BlockState(state)))
        return code::kDimmed;
    if (m_colourBy == ColourBy::state) {
        const auto found = group.marks.find(block);
        if (group.marks.empty() || found == group.marks.end())
            return std::uint8_t(state);
        const int base = found->second.trace == Trace::restored ? code::kRestored : code::kEvicted;
        return std::uint8_t(base + state * code::kFadeSteps + found->second.step);
    }
    if (state == int(BlockState::free))
        return code::kFree;
    int level = 0;
    switch (m_colourBy) {
    case ColourBy::owner: level = ownerLevel(cell.owner); break;
    case ColourBy::age: level = ageLevel(cell.lastUseNs, m_nowNs); break;
    case ColourBy::hits: level = logLevel(cell.uses, 1.5); break;
    case ColourBy::references: level = std::min<int>(cell.references * 4, code::kLevels - 1); break;
    case ColourBy::eviction: level = rankLevel(cell.evictionRank, group.lastRank); break;
    case ColourBy::state: break;
    }
    return std::uint8_t(code::kFirst + level);
}

std::vector<SessionId> BlockMapModel::owners(std::size_t group) const
{
    std::unordered_map<std::int64_t, std::uint32_t> blocks;
    for (const Cell &cell : m_groups[group].cells)
        if (cell.owner.value != 0)
            ++blocks[cell.owner.value];
    std::vector<SessionId> owners;
    for (const auto &[owner, count] : blocks)
        owners.push_back(SessionId{owner});
    std::sort(owners.begin(), owners.end(), [&](SessionId a, SessionId b) {
        const auto na = blocks[a.value], nb = blocks[b.value];
        return na != nb ? na > nb : a < b;
    });
    return owners;
}

BlockMapModel::Dirty BlockMapModel::takeDirty(std::size_t group)
{
    Group &g = m_groups[group];
    Dirty dirty{g.allDirty, {}};
    dirty.blocks.swap(g.dirty);
    for (const std::uint32_t block : dirty.blocks)
        g.isDirty[block] = 0;
    if (dirty.all)
        dirty.blocks.clear();
    g.allDirty = false;
    return dirty;
}

} // namespace kvilt::ui

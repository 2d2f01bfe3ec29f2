// SPDX-License-Identifier: Apache-2.0
#include "app/worker/cache_desk.h"

#include "engine/chat/turn_record.h"
#include "engine/kv/kv_cache.h"
#include "engine/text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <map>

namespace kvilt::worker {

namespace {

constexpr std::uint64_t kRefreshNs = 100'000'000;

std::uint64_t realtimeNs()
{
    using namespace std::chrono;
    return static_cast<std::uint64_t>(duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
}

// What it cost that the pool had no room for two chats at once.
std::string preempted(std::uint32_t times, const api::TurnReceipt &receipt)
{
    return " It waited " + (times == 1 ? std::string("once") : std::to_string(times) + " times") +
           " while its blocks were lent to another chat; then " + std::to_string(receipt.restoredBlocks) +
           " blocks were restored and " + std::to_string(receipt.recomputed) + " tokens computed again.";
}

} // namespace

CacheDesk::CacheDesk(SessionDesk &sessions, TurnDesk &turns, trace::EventJournal &journal, store::KvStore *kv,
                     Outlet out)
    : m_sessions(sessions), m_turns(turns), m_journal(journal), m_kv(kv), m_out(std::move(out))
{
}

void CacheDesk::setEngine(Engine *engine)
{
    m_engine = engine;
    snapshot();
}

void CacheDesk::snapshot()
{
    api::PoolSnapshot pool;
    if (m_engine)
        pool = m_engine->snapshot();
    pool.sequenceNumber = m_journal.nextNumber() - 1;
    m_out(api::update::Snapshot{std::move(pool)});
}

void CacheDesk::counts()
{
    api::PoolCounts counts;
    if (m_engine)
        counts = m_engine->counts();
    counts.timeNs = realtimeNs();
    if (m_kv) {
        const store::KvStats stats = m_kv->stats();
        counts.bytesOnDisk = stats.bytes;
        counts.quota = stats.quota;
    }
    m_out(api::update::Counts{counts});
}

void CacheDesk::ribbon(SessionId session)
{
    OpenSession *open = m_sessions.findOpen(session);
    if (!open || !m_engine)
        return;
    api::Ribbon ribbon;
    ribbon.session = session;
    ribbon.contextTokens = m_engine->contextLength();
    ribbon.blockSize = static_cast<std::uint16_t>(m_engine->settings().blockSize);
    if (const SequenceId sequence = m_turns.sequenceOf(session); sequence.value != 0 && m_engine->cache().holds(sequence)) {
        ribbon.cells = m_engine->cache().ribbon(sequence);
    } else {
        const std::vector<TokenId> tokens = m_turns.branchTokens(session);
        ribbon.cells = m_engine->cache().ribbon(tokens, open->row.salt);
    }
    for (const api::RibbonCell &cell : ribbon.cells)
        ribbon.usedTokens = std::max(ribbon.usedTokens, static_cast<std::uint32_t>(cell.firstToken) + cell.tokens);
    ribbon.messages = m_turns.messageSpans(session);
    m_out(api::update::RibbonChanged{std::move(ribbon)});
}

void CacheDesk::refresh(std::uint64_t nowNs, bool force)
{
    if (!force && nowNs - m_lastRefreshNs < kRefreshNs)
        return;
    const std::uint64_t event = m_journal.nextNumber();
    if (!force && event == m_lastEvent)
        return;
    m_lastEvent = event;
    m_lastRefreshNs = nowNs;
    counts();
    if (m_sessions.lastOpened().value != 0)
        ribbon(m_sessions.lastOpened());
}

std::vector<api::RibbonCell> CacheDesk::cellsOf(std::span<const NodeId> path) const
{
    std::vector<api::RibbonCell> cells;
    for (const NodeId node : path) {
        const auto info = m_engine->cache().describe(node);
        if (!info)
            continue;
        api::RibbonCell cell;
        cell.node = node;
        cell.block = info->blocks.empty() ? kNoBlock : info->blocks.front();
        cell.firstToken = info->firstToken;
        cell.tokens = static_cast<std::uint16_t>(info->tokens.size());
        const bool inMemory = cell.block != kNoBlock;
        cell.state = !inMemory ? (info->onDisk ? api::RibbonState::disk : api::RibbonState::evicted)
                     : info->pinned ? api::RibbonState::pinned
                                    : api::RibbonState::memory;
        cells.push_back(cell);
    }
    return cells;
}

std::vector<api::update::Remedy> CacheDesk::remedies(const OpenSession &open, const store::MessageRow &reply,
                                                     const api::TurnReceipt &receipt) const
{
    std::vector<api::update::Remedy> found;
    const api::MissReport &miss = receipt.miss;
    if (miss.cachedPath.empty() || (miss.heldBlocks > 0 && miss.heldBy != open.row.id))
        return found; // nothing that this chat could have back
    const auto tokens = miss.cachedPath.size() * static_cast<std::size_t>(m_engine->settings().blockSize);
    const std::string effect = std::to_string(tokens) + " tokens return from memory and disk";
    const TurnTrace *trace = m_turns.trace(TurnId{reply.id.value});
    if (trace && trace->systemPromptBefore && *trace->systemPromptBefore != open.settings.systemPrompt) {
        api::SessionSettings before = open.settings;
        before.systemPrompt = *trace->systemPromptBefore;
        found.push_back({"Undo the edit", effect, {api::command::SetSessionSettings{open.row.id, before}}});
    }
    // The newest message of the branch that has a sibling is where the two histories part.
    for (auto row = open.messages.rbegin(); row != open.messages.rend() && found.empty(); ++row) {
        if (row->branchCount < 2 || row->branchIndex == 0 || row->createdMs > reply.createdMs)
            continue;
        found.push_back({row->role == api::Role::user ? "Undo the edit" : "Show the earlier reply", effect,
                         {api::command::SwitchBranch{open.row.id, row->id, row->branchIndex - 1}}});
    }
    if (miss.reason == api::EventReason::systemPromptEdited)
        found.push_back({"Put changing text last", "a note at the end of your message keeps the prefix whole", {}});
    return found;
}

void CacheDesk::inspect(const api::command::InspectTurn &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open)
        return;
    api::update::TurnInspected inspected;
    inspected.session = command.session;
    const store::MessageRow *reply = nullptr;
    for (const store::MessageRow &row : open->messages) {
        if (row.role != api::Role::assistant)
            continue;
        ++inspected.turns;
        if (row.id.value == command.turn.value) {
            reply = &row;
            inspected.turnNumber = inspected.turns;
        }
    }
    if (!reply)
        return;
    inspected.receipt = toMessage(*reply).receipt;
    inspected.receipt.turn = command.turn;
    inspected.explanation = chat::describe(inspected.receipt.miss);
    if (m_engine)
        showBlocks(*open, *reply, inspected);
    if (const TurnTrace *trace = m_turns.trace(command.turn); trace && trace->preemptions > 0)
        inspected.explanation += preempted(trace->preemptions, inspected.receipt);
    if (inspected.receipt.miss.heldBy != command.session)
        inspected.heldByTitle = m_sessions.titleOf(inspected.receipt.miss.heldBy);
    m_out(std::move(inspected));
}

void CacheDesk::showBlocks(const OpenSession &open, const store::MessageRow &reply, api::update::TurnInspected &inspected)
{
    api::TurnReceipt &receipt = inspected.receipt;
    const auto blockSize = static_cast<std::uint32_t>(m_engine->settings().blockSize);
    const std::uint32_t matched = (receipt.fromMemory + receipt.fromDisk) / blockSize;
    if (const std::vector<TokenId> prompt = m_turns.promptOf(open, reply, receipt); !prompt.empty()) {
        inspected.asked = m_engine->cache().ribbon(prompt, open.row.salt);
    } else {
        // Settings or the model have changed since: how many there were is known, where they lie is not.
        for (std::uint32_t at = 0; at < receipt.promptTokens; at += blockSize)
            inspected.asked.push_back({.firstToken = static_cast<std::int32_t>(at),
                                       .tokens = static_cast<std::uint16_t>(std::min(blockSize, receipt.promptTokens - at))});
    }
    // What was computed in this turn is shown as written by it, wherever it lies now.
    for (std::size_t i = matched; i < inspected.asked.size(); ++i)
        inspected.asked[i].state = api::RibbonState::writing;
    const std::size_t same = std::min<std::size_t>(matched, inspected.asked.size());
    inspected.cached.assign(inspected.asked.begin(), inspected.asked.begin() + static_cast<std::ptrdiff_t>(same));
    // Node numbers are given anew by each engine.
    const bool nodesKnown = m_turns.trace(inspected.receipt.turn) != nullptr;
    if (nodesKnown) {
        (void)chat::sortPath(m_engine->cache(), open.row.id, receipt.miss);
        const auto parted = cellsOf(receipt.miss.cachedPath);
        inspected.cached.insert(inspected.cached.end(), parted.begin(), parted.end());
    } else {
        for (std::size_t i = 0; i < receipt.miss.cachedPath.size(); ++i)
            inspected.cached.push_back({.firstToken = static_cast<std::int32_t>((matched + i) * blockSize),
                                        .tokens = static_cast<std::uint16_t>(blockSize)});
        receipt.miss.cachedPath.clear();
    }
    inspected.remedies = remedies(open, reply, receipt);
}

void CacheDesk::branchSwitched(SessionId session, std::span<const TokenId> left)
{
    const OpenSession *open = m_sessions.findOpen(session);
    if (!m_engine || !open)
        return;
    kv::KvCache &cache = m_engine->cache();
    const auto nodesOf = [&](std::span<const TokenId> tokens) {
        std::vector<NodeId> nodes;
        for (const api::RibbonCell &cell : cache.ribbon(tokens, open->row.salt))
            if (cell.node.value != 0)
                nodes.push_back(cell.node);
        return nodes;
    };
    const std::vector<NodeId> now = nodesOf(m_turns.branchTokens(session));
    std::vector<NodeId> before = nodesOf(left);
    std::erase_if(before, [&](NodeId node) { return std::ranges::find(now, node) != now.end(); });
    cache.markDead(before, session, api::EventReason::branchSwitched);
    cache.revive(now, session, api::EventReason::branchSwitched);
}

void CacheDesk::describe(const api::command::DescribeBlock &command)
{
    if (!m_engine)
        return;
    const api::PoolSnapshot pool = m_engine->snapshot();
    if (command.group.value >= pool.groups.size() || command.block.value >= pool.groups[command.group.value].blocks.size())
        return;
    api::update::BlockDescribed described;
    described.group = command.group;
    described.block = command.block;
    described.info = pool.groups[command.group.value].blocks[command.block.value];
    if (described.info.node.value != 0) {
        if (const auto node = m_engine->cache().describe(described.info.node)) {
            if (auto text = m_engine->loaded().tokenizer->decode(node->tokens, {.undoSpacePrefix = false}))
                described.text = std::move(*text);
        }
    }
    described.ownerTitle = m_sessions.titleOf(described.info.owner);
    for (const auto &[session, sequence] : m_turns.sequences()) {
        if (!m_engine->cache().holds(sequence))
            continue;
        const auto tables = m_engine->cache().tables(sequence);
        if (command.group.value >= tables.size())
            continue;
        const auto blocks = tables[command.group.value]->blocks();
        if (std::find(blocks.begin(), blocks.end(), command.block) != blocks.end())
            described.holders.push_back(session);
    }
    m_out(std::move(described));
}

void CacheDesk::dropKv(SessionId session)
{
    if (m_turns.running(session)) {
        m_sessions.notice(session, api::update::Severity::info, "A reply is being written here; stop it, then drop its KV.");
        return;
    }
    if (m_engine)
        m_engine->cache().dropSession(session);
    if (m_kv)
        m_kv->dropSession(session);
    snapshot();
    m_sessions.notice(session, api::update::Severity::info,
                      "The KV of this chat was dropped; its text is kept and will be computed again when you go on.");
}

void CacheDesk::sessionDeleted(SessionId session)
{
    if (m_engine && !m_turns.running(session))
        m_engine->cache().dropSession(session);
}

void CacheDesk::complete(std::vector<api::SessionSummary> &sessions) const
{
    std::map<SessionId, std::uint32_t> inMemory;
    if (m_engine)
        inMemory = m_engine->cache().blocksOfSessions();
    const auto onDisk = m_kv ? m_kv->usages() : std::map<SessionId, store::KvUsage>();
    for (api::SessionSummary &session : sessions) {
        if (const auto found = inMemory.find(session.id); found != inMemory.end())
            session.blocksInMemory = found->second;
        if (const auto found = onDisk.find(session.id); found != onDisk.end()) {
            session.kvBytes = found->second.bytes;
            session.blocksOnDisk = found->second.blocks;
        }
    }
}

} // namespace kvilt::worker

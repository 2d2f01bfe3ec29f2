// SPDX-License-Identifier: Apache-2.0
#include "app/worker/pin_desk.h"

#include "engine/kv/kv_cache.h"

#include <algorithm>
#include <utility>

namespace kvilt::worker {

using api::EventReason;
using api::update::Severity;

namespace {

std::string tooMuch(const kv::KvCache &cache, std::size_t refused)
{
    return "At most half of the KV pool can be pinned, and " + std::to_string(cache.pinnedNodes()) + " blocks are: " +
           std::to_string(refused) + (refused == 1 ? " more was" : " more were") +
           " not pinned and may be evicted. Unpin something, or give the model more KV memory.";
}

} // namespace

void PinDesk::setEngine(Engine *engine)
{
    m_engine = engine;
    m_held.clear();
    m_refusedTold.clear();
    m_byHand.clear();
}

void PinDesk::pinMessage(const api::command::PinMessage &command)
{
    m_sessions.pinMessage(command);
    refresh(command.session);
}

void PinDesk::pinBlocks(const api::command::PinBlocks &command)
{
    if (!m_engine)
        return;
    for (const NodeId node : command.nodes)
        command.pinned ? (void)m_byHand.insert(node) : (void)m_byHand.erase(node);
    const auto outcome = m_engine->cache().pin(command.nodes, command.pinned, EventReason::pinnedBlock);
    if (outcome.refused > 0)
        m_sessions.notice(m_sessions.lastOpened(), Severity::warning, tooMuch(m_engine->cache(), outcome.refused));
}

std::vector<NodeId> PinDesk::wanted(const OpenSession &open)
{
    const auto pinned = std::find_if(open.messages.rbegin(), open.messages.rend(), [](const auto &m) { return m.pinned; });
    if (pinned == open.messages.rend())
        return {};
    std::int32_t end = 0;
    for (const api::Ribbon::MessageSpan &span : m_turns.messageSpans(open.row.id)) {
        const store::MessageRow *row = open.find(span.message);
        if (row && row->pinned)
            end = std::max(end, span.endToken);
    }
    const std::vector<TokenId> tokens = m_turns.branchTokens(open.row.id);
    const auto size = std::size_t(m_engine->settings().blockSize);
    const std::size_t covered = std::min(tokens.size(), (std::size_t(end) + size - 1) / size * size);
    std::vector<NodeId> nodes;
    for (const api::RibbonCell &cell : m_engine->cache().ribbon(std::span(tokens).first(covered), open.row.salt)) {
        if (cell.node.value == 0)
            break; // not computed yet, or not full
        nodes.push_back(cell.node);
    }
    return nodes;
}

void PinDesk::refresh(SessionId session)
{
    const OpenSession *open = m_sessions.findOpen(session);
    if (!m_engine || !open || m_turns.running(session))
        return;
    hold(session, wanted(*open));
}

void PinDesk::forget(SessionId session)
{
    if (m_engine)
        hold(session, {});
}

bool PinDesk::heldOtherwise(NodeId node, SessionId session) const
{
    return m_byHand.contains(node) || std::any_of(m_held.begin(), m_held.end(), [&](const auto &other) {
               return other.first != session && std::ranges::find(other.second, node) != other.second.end();
           });
}

void PinDesk::hold(SessionId session, std::vector<NodeId> nodes)
{
    const std::vector<NodeId> before = std::exchange(m_held[session], nodes);
    const std::set<NodeId> kept(nodes.begin(), nodes.end());
    std::vector<NodeId> gone;
    for (const NodeId node : before)
        if (!kept.contains(node) && !heldOtherwise(node, session))
            gone.push_back(node);
    kv::KvCache &cache = m_engine->cache();
    (void)cache.pin(gone, false, EventReason::pinnedMessage, session);
    const auto outcome = cache.pin(nodes, true, EventReason::pinnedMessage, session);
    if (std::exchange(m_refusedTold[session], outcome.refused) < outcome.refused)
        m_sessions.notice(session, Severity::warning, tooMuch(cache, outcome.refused));
    if (nodes.empty()) {
        m_held.erase(session);
        m_refusedTold.erase(session);
    }
}

} // namespace kvilt::worker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/worker/turn_desk.h"
#include "engine/store/kv_store.h"

#include <cstdint>

namespace kvilt::worker {

// What the views of the cache ask for, and the numbers and ribbons that are sent by themselves: at most ten times a
// second while something changes. Worker thread only.
class CacheDesk {
public:
    CacheDesk(SessionDesk &sessions, TurnDesk &turns, trace::EventJournal &journal, store::KvStore *kv, Outlet out);

    void setEngine(Engine *engine);

    void snapshot();
    void ribbon(SessionId session);
    void inspect(const api::command::InspectTurn &command);
    void describe(const api::command::DescribeBlock &command);
    void dropKv(SessionId session);
    void sessionDeleted(SessionId session);
    // Another branch is shown: the one left, whose tokens are given, goes first when room is needed, this one no more.
    void branchSwitched(SessionId session, std::span<const TokenId> left);
    void counts();
    // After each step and command, with the engine's clock: sends what changed, not too often.
    void refresh(std::uint64_t nowNs, bool force);

    // Fills in what the session store cannot know: blocks in memory, blocks and bytes on disk.
    void complete(std::vector<api::SessionSummary> &sessions) const;

private:
    std::vector<api::RibbonCell> cellsOf(std::span<const NodeId> path) const;
    std::vector<api::update::Remedy> remedies(const OpenSession &open, const store::MessageRow &reply,
                                              const api::TurnReceipt &receipt) const;
    void showBlocks(const OpenSession &open, const store::MessageRow &reply, api::update::TurnInspected &inspected);

    SessionDesk &m_sessions;
    TurnDesk &m_turns;
    trace::EventJournal &m_journal;
    store::KvStore *m_kv;
    Outlet m_out;
    Engine *m_engine = nullptr;
    std::uint64_t m_lastRefreshNs = 0;
    std::uint64_t m_lastEvent = 0;
};

} // namespace kvilt::worker

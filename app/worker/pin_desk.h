// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/worker/turn_desk.h"

#include <map>
#include <set>
#include <vector>

namespace kvilt::worker {

// What a user pinned, as blocks of the pool. A block can only be used together with everything before it, so a pinned
// message keeps the blocks of its chat from the beginning to its own end. The message row remembers the pin; blocks
// that were dropped or lie on disk are pinned again when they return. Blocks that the user pinned on the map are
// remembered until the model goes. Worker thread only.
class PinDesk {
public:
    PinDesk(SessionDesk &sessions, TurnDesk &turns) : m_sessions(sessions), m_turns(turns) {}

    void setEngine(Engine *engine); // with another pool: nothing is pinned there yet

    void pinMessage(const api::command::PinMessage &command);
    void pinBlocks(const api::command::PinBlocks &command);
    // The branch shown, its pins or its blocks have changed. In mid-reply nothing is done: the end of the turn counts.
    void refresh(SessionId session);
    // Its blocks are about to go; its messages stay pinned.
    void forget(SessionId session);

private:
    std::vector<NodeId> wanted(const OpenSession &open);
    void hold(SessionId session, std::vector<NodeId> nodes);
    bool heldOtherwise(NodeId node, SessionId session) const;

    SessionDesk &m_sessions;
    TurnDesk &m_turns;
    Engine *m_engine = nullptr;
    std::map<SessionId, std::vector<NodeId>> m_held; // for its pinned messages
    std::map<SessionId, std::size_t> m_refusedTold;
    std::set<NodeId> m_byHand;
};

} // namespace kvilt::worker

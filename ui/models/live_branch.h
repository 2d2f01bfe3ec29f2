// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/conversation.h"

#include <vector>

namespace kvilt::ui {

// The messages of the current session's live branch without their texts: who follows whom, which are turns.
class LiveBranch {
public:
    void open(const std::vector<api::Message> &messages);
    // A message was added, or replaced when its id is known. A new one below an earlier parent starts a new branch:
    // what followed that parent is not live any more.
    void note(const api::Message &message);

    const std::vector<api::Message> &messages() const { return m_messages; } // texts are empty
    std::vector<TurnId> turns() const;                                       // those that have a receipt, oldest first

private:
    std::vector<api::Message> m_messages;
};

} // namespace kvilt::ui

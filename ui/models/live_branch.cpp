// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/live_branch.h"

#include <algorithm>

namespace kvilt::ui {

namespace {

api::Message withoutText(const api::Message &message)
{
    api::Message light = message;
    light.text.clear();
    light.receipt = {};
    return light;
}

} // namespace

void LiveBranch::open(const std::vector<api::Message> &messages)
{
    m_messages.clear();
    for (const api::Message &message : messages)
        m_messages.push_back(withoutText(message));
}

void LiveBranch::note(const api::Message &message)
{
    const auto has = [&](MessageId id) {
        return std::find_if(m_messages.begin(), m_messages.end(), [&](const auto &m) { return m.id == id; });
    };
    if (const auto same = has(message.id); same != m_messages.end()) {
        *same = withoutText(message);
        return;
    }
    const auto parent = message.parent.value ? has(message.parent) : m_messages.end();
    if (parent != m_messages.end())
        m_messages.erase(parent + 1, m_messages.end());
    else if (message.parent.value == 0)
        m_messages.clear();
    m_messages.push_back(withoutText(message));
}

std::vector<TurnId> LiveBranch::turns() const
{
    std::vector<TurnId> ids;
    for (const api::Message &message : m_messages)
        if (message.role == api::Role::assistant && message.hasReceipt)
            ids.push_back(TurnId{message.id.value});
    return ids;
}

} // namespace kvilt::ui

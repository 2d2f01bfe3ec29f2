// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace kvilt::test {

// An engine that says what the test told it to say and remembers what it was asked.
class ScriptedPort : public api::EnginePort {
public:
    void post(api::Command command) override { posted.push_back(std::move(command)); }
    std::vector<api::Update> takeUpdates() override { return std::exchange(m_updates, {}); }
    std::size_t takeEvents(std::vector<api::CacheEvent> &out, std::size_t limit, std::uint64_t &lost) override
    {
        const std::size_t n = std::min(limit, m_events.size());
        out.insert(out.end(), m_events.begin(), m_events.begin() + std::ptrdiff_t(n));
        m_events.erase(m_events.begin(), m_events.begin() + std::ptrdiff_t(n));
        lost = std::exchange(m_lost, 0);
        return n;
    }
    void setWakeup(std::function<void()> wakeup) override { m_wakeup = std::move(wakeup); }

    void say(api::Update update)
    {
        m_updates.push_back(std::move(update));
        if (m_wakeup)
            m_wakeup();
    }
    void sayEvents(std::vector<api::CacheEvent> events, std::uint64_t lost = 0)
    {
        m_events.insert(m_events.end(), events.begin(), events.end());
        m_lost += lost;
        if (m_wakeup)
            m_wakeup();
    }
    template <typename T>
    std::vector<T> asked() const
    {
        std::vector<T> found;
        for (const api::Command &command : posted)
            if (const T *match = std::get_if<T>(&command))
                found.push_back(*match);
        return found;
    }

    std::vector<api::Command> posted;

private:
    std::vector<api::Update> m_updates;
    std::vector<api::CacheEvent> m_events;
    std::uint64_t m_lost = 0;
    std::function<void()> m_wakeup;
};

inline api::Message message(std::int64_t id, std::int64_t parent, api::Role role, std::string text)
{
    api::Message m;
    m.id = MessageId{id};
    m.parent = MessageId{parent};
    m.role = role;
    m.text = std::move(text);
    return m;
}

inline api::update::SessionOpened opened(std::int64_t session, std::vector<api::Message> messages)
{
    api::update::SessionOpened update;
    update.conversation.id = SessionId{session};
    update.conversation.title = "Test";
    update.conversation.messages = std::move(messages);
    return update;
}

inline api::update::ModelState readyModel()
{
    api::update::ModelState state;
    state.phase = api::update::ModelPhase::ready;
    state.facts.name = "Tiny";
    state.facts.path = "/models/tiny.gguf";
    state.facts.kvBytesPerToken = 23040;
    state.facts.chatTemplate = true;
    state.settings.contextLength = 8192;
    state.settings.threads = 2;
    state.isa = "avx2";
    state.device = "CPU";
    return state;
}

} // namespace kvilt::test

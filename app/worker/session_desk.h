// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/engine_port.h"
#include "engine/store/session_store.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace kvilt::worker {

using Outlet = std::function<void(api::Update)>;

// A session that was opened: its row, settings and live branch as last read.
struct OpenSession {
    store::SessionRow row;
    api::SessionSettings settings;
    std::vector<store::MessageRow> messages; // live branch, root first

    const store::MessageRow *find(MessageId id) const;
    store::MessageRow *find(MessageId id);
};

// Transcripts: reads and writes the store and tells the window. Worker thread only.
class SessionDesk {
public:
    SessionDesk(store::SessionStore &store, Outlet out);

    // Whoever runs the replies is asked whether one is being written, each time that a session is told to the window.
    void askBusy(std::function<bool(SessionId)> busy) { m_busy = std::move(busy); }

    void create(const api::SessionSettings &settings);
    void open(SessionId session);
    void openLast(const api::SessionSettings &forNew);
    void rename(SessionId session, const std::string &title);
    void file(const api::command::FileSession &command);
    void remove(SessionId session);
    void undoRemove(SessionId session);
    void setSettings(SessionId session, const api::SessionSettings &settings);
    void switchBranch(const api::command::SwitchBranch &command);
    void deleteMessage(SessionId session, MessageId message, bool undo);
    void pinMessage(const api::command::PinMessage &command);

    // Null after a notice was sent: no such session, or it cannot be read.
    OpenSession *require(SessionId session);
    OpenSession *findOpen(SessionId session);
    // Commits before it returns and becomes the live tip; sent to the window as MessageAdded.
    Result<store::MessageRow> append(OpenSession &open, store::MessageRow message);
    // Reads the live branch again; false after a notice.
    bool reload(OpenSession &open);
    void sendOpened(const OpenSession &open);
    void notice(SessionId session, api::update::Severity severity, std::string text);

    SessionId lastOpened() const { return m_lastOpened; }
    store::SessionStore &store() { return m_store; }
    // Titles of sessions that were opened or listed; empty when unknown.
    std::string titleOf(SessionId session);

private:
    Result<OpenSession> read(SessionId session);
    bool report(SessionId session, const Result<void> &result);
    Result<void> saveSettings(const OpenSession &open);

    store::SessionStore &m_store;
    Outlet m_out;
    std::function<bool(SessionId)> m_busy;
    std::map<SessionId, OpenSession> m_open;
    SessionId m_lastOpened;
};

api::Message toMessage(const store::MessageRow &row);
api::Conversation toConversation(const OpenSession &open);

} // namespace kvilt::worker

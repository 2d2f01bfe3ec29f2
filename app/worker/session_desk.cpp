// SPDX-License-Identifier: Apache-2.0
#include "app/worker/session_desk.h"

#include "app/settings/settings.h"
#include "app/settings/settings_json.h"
#include "engine/chat/turn_record.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace kvilt::worker {

using nlohmann::json;

namespace {

constexpr const char *kNewTitle = "New chat";

std::string settingsJson(const OpenSession &open)
{
    return settings::toJson(open.settings).dump(-1, ' ', false, json::error_handler_t::replace);
}

void readSettings(OpenSession &open)
{
    open.settings = settings::sessionFromJson(json::parse(open.row.settings, nullptr, false), {});
    if (!settings::validate(open.settings.sampling))
        open.settings.sampling = api::SessionSettings{}.sampling;
}

} // namespace

const store::MessageRow *OpenSession::find(MessageId id) const
{
    const auto found = std::find_if(messages.begin(), messages.end(), [id](const auto &m) { return m.id == id; });
    return found == messages.end() ? nullptr : &*found;
}

store::MessageRow *OpenSession::find(MessageId id)
{
    return const_cast<store::MessageRow *>(std::as_const(*this).find(id));
}

api::Message toMessage(const store::MessageRow &row)
{
    api::Message message;
    message.id = row.id;
    message.parent = row.parent;
    message.role = row.role;
    message.state = row.state;
    message.text = row.text;
    message.createdMs = row.createdMs;
    message.pinned = row.pinned;
    message.branchIndex = row.branchIndex;
    message.branchCount = row.branchCount;
    if (!row.receipt.empty()) {
        if (auto receipt = chat::receiptFromJson(row.receipt)) {
            message.hasReceipt = true;
            message.receipt = std::move(*receipt);
            message.receipt.turn = TurnId{row.id.value};
        }
    }
    return message;
}

api::Conversation toConversation(const OpenSession &open)
{
    api::Conversation conversation{open.row.id, open.row.title, open.settings, {}};
    conversation.messages.reserve(open.messages.size());
    for (const store::MessageRow &row : open.messages)
        conversation.messages.push_back(toMessage(row));
    return conversation;
}

SessionDesk::SessionDesk(store::SessionStore &store, Outlet out) : m_store(store), m_out(std::move(out)) {}

Result<OpenSession> SessionDesk::read(SessionId session)
{
    KVILT_TRY(store::StoredConversation stored, m_store.conversation(session));
    OpenSession open;
    open.row = std::move(stored.session);
    open.messages = std::move(stored.messages);
    readSettings(open);
    return open;
}

OpenSession *SessionDesk::findOpen(SessionId session)
{
    const auto found = m_open.find(session);
    return found == m_open.end() ? nullptr : &found->second;
}

OpenSession *SessionDesk::require(SessionId session)
{
    if (OpenSession *open = findOpen(session))
        return open;
    auto read = this->read(session);
    if (!read) {
        notice(session, api::update::Severity::error, read.error().message);
        return nullptr;
    }
    return &m_open.insert_or_assign(session, std::move(*read)).first->second;
}

bool SessionDesk::reload(OpenSession &open)
{
    auto fresh = read(open.row.id);
    if (!fresh) {
        notice(open.row.id, api::update::Severity::error, fresh.error().message);
        return false;
    }
    open = std::move(*fresh);
    return true;
}

void SessionDesk::sendOpened(const OpenSession &open)
{
    m_out(api::update::SessionOpened{toConversation(open), m_busy && m_busy(open.row.id)});
}

void SessionDesk::notice(SessionId session, api::update::Severity severity, std::string text)
{
    m_out(api::update::Notice{severity, "session:" + std::to_string(session.value), std::move(text)});
}

bool SessionDesk::report(SessionId session, const Result<void> &result)
{
    if (!result)
        notice(session, api::update::Severity::error, result.error().message);
    return result.has_value();
}

void SessionDesk::create(const api::SessionSettings &settings)
{
    OpenSession open;
    open.settings = settings;
    open.row.title = kNewTitle;
    open.row.settings = settingsJson(open);
    auto row = m_store.call([&](store::SessionDb &db) { return db.createSession(open.row); });
    if (!row) {
        m_out(api::update::Notice{api::update::Severity::error, "storage", row.error().message});
        return;
    }
    this->open(row->id);
}

void SessionDesk::open(SessionId session)
{
    OpenSession *open = require(session);
    if (!open)
        return;
    m_lastOpened = session;
    m_store.post([session](store::SessionDb &db) { (void)db.setLastSession(session); });
    sendOpened(*open);
}

void SessionDesk::openLast(const api::SessionSettings &forNew)
{
    const auto last = m_store.call([](store::SessionDb &db) { return db.lastSession(); });
    if (last && *last && m_store.conversation(**last)) {
        open(**last);
        return;
    }
    const auto sessions = m_store.list();
    if (sessions && !sessions->empty())
        open(sessions->front().id);
    else
        create(forNew);
}

void SessionDesk::rename(SessionId session, const std::string &title)
{
    if (!report(session, m_store.call([&](store::SessionDb &db) { return db.rename(session, title); })))
        return;
    if (OpenSession *open = findOpen(session)) {
        open->row.title = title;
        if (session == m_lastOpened)
            sendOpened(*open);
    }
}

void SessionDesk::file(const api::command::FileSession &command)
{
    report(command.session,
           m_store.call([&](store::SessionDb &db) { return db.file(command.session, command.folder, command.tags); }));
}

void SessionDesk::remove(SessionId session)
{
    if (!report(session, m_store.call([&](store::SessionDb &db) { return db.deleteSession(session); })))
        return;
    m_open.erase(session);
    if (m_lastOpened == session)
        m_lastOpened = {};
    m_out(api::update::SessionClosed{session});
}

void SessionDesk::undoRemove(SessionId session)
{
    if (report(session, m_store.call([&](store::SessionDb &db) { return db.undoDelete(session); })))
        open(session);
}

Result<void> SessionDesk::saveSettings(const OpenSession &open)
{
    const std::string document = settingsJson(open);
    return m_store.call([&](store::SessionDb &db) { return db.setSettings(open.row.id, document); });
}

void SessionDesk::setSettings(SessionId session, const api::SessionSettings &settings)
{
    if (auto valid = settings::validate(settings.sampling); !valid) {
        notice(session, api::update::Severity::warning, valid.error().message + " The settings stay as they were.");
        return;
    }
    if (OpenSession *open = require(session)) {
        open->settings = settings;
        report(session, saveSettings(*open));
    }
}

void SessionDesk::switchBranch(const api::command::SwitchBranch &command)
{
    const auto tip =
        m_store.call([&](store::SessionDb &db) { return db.switchBranch(command.message, command.branchIndex); });
    if (!tip) {
        notice(command.session, api::update::Severity::error, tip.error().message);
        return;
    }
    if (OpenSession *open = require(command.session); open && reload(*open))
        sendOpened(*open);
}

void SessionDesk::deleteMessage(SessionId session, MessageId message, bool undo)
{
    const auto done = m_store.call(
        [&](store::SessionDb &db) { return undo ? db.undoDeleteMessage(message) : db.deleteMessage(message); });
    if (!report(session, done))
        return;
    if (OpenSession *open = require(session); open && reload(*open))
        sendOpened(*open);
}

void SessionDesk::pinMessage(const api::command::PinMessage &command)
{
    if (!report(command.session,
                m_store.call([&](store::SessionDb &db) { return db.setPinned(command.message, command.pinned); })))
        return;
    OpenSession *open = require(command.session);
    if (!open)
        return;
    for (store::MessageRow &row : open->messages) {
        if (row.id == command.message) {
            row.pinned = command.pinned;
            m_out(api::update::MessageAdded{command.session, toMessage(row)});
        }
    }
}

Result<store::MessageRow> SessionDesk::append(OpenSession &open, store::MessageRow message)
{
    message.session = open.row.id;
    KVILT_TRY(store::MessageRow row, m_store.append(std::move(message)));
    // A message under an older parent starts a branch: what stood after the parent is no longer shown.
    const auto parent = std::find_if(open.messages.begin(), open.messages.end(),
                                     [&](const auto &m) { return m.id == row.parent; });
    open.messages.erase(parent == open.messages.end() ? open.messages.begin() : parent + 1, open.messages.end());
    open.messages.push_back(row);
    open.row.tip = row.id;
    if (row.role == api::Role::user && open.row.title == kNewTitle)
        rename(open.row.id, api::titleFrom(row.text));
    m_out(api::update::MessageAdded{open.row.id, toMessage(row)});
    return row;
}

std::string SessionDesk::titleOf(SessionId session)
{
    if (session.value == 0)
        return {};
    if (const OpenSession *open = findOpen(session))
        return open->row.title;
    const auto row = m_store.call([&](store::SessionDb &db) { return db.session(session); });
    return row && *row ? (*row)->title : std::string();
}

} // namespace kvilt::worker

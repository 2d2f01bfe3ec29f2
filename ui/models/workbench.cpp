// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/workbench.h"

#include <QDateTime>

#include <algorithm>
#include <string>

namespace kvilt::ui {

namespace {
// Events pulled in one go: 4,096 fold in well under a frame; the rest comes in the next turn of the event loop,
// so that paint and input are never kept waiting by a burst.
constexpr std::size_t kEventBatch = 4096;
} // namespace

Workbench::Workbench(api::EnginePort &port, Theme &theme, QObject *parent)
    : QObject(parent), m_port(port), m_theme(theme)
{
    m_port.setWakeup([this] { QMetaObject::invokeMethod(this, &Workbench::pull, Qt::QueuedConnection); });
}

Workbench::~Workbench()
{
    m_port.setWakeup({});
}

void Workbench::post(api::Command command)
{
    noteCommand(command);
    m_port.post(std::move(command));
}

// What the window knows before the engine answers: a reply is wanted, so Stop stands where Send was.
void Workbench::noteCommand(const api::Command &command)
{
    std::visit(
        [this](const auto &c) {
            using T = std::decay_t<decltype(c)>;
            if constexpr (std::is_same_v<T, api::command::Send> || std::is_same_v<T, api::command::Regenerate> ||
                          std::is_same_v<T, api::command::Continue>)
                setBusy(c.session, true);
            if constexpr (std::is_same_v<T, api::command::SetSessionSettings>) {
                if (c.session == m_session)
                    m_sessionSettings = c.settings;
            }
            if constexpr (std::is_same_v<T, api::command::RenameSession>) {
                if (c.session == m_session)
                    m_sessionTitle = QString::fromStdString(c.title);
            }
        },
        command);
}

bool Workbench::busy(SessionId session) const
{
    return std::find(m_busy.begin(), m_busy.end(), session) != m_busy.end();
}

void Workbench::setBusy(SessionId session, bool now)
{
    if (busy(session) == now)
        return;
    if (now)
        m_busy.push_back(session);
    else
        std::erase(m_busy, session);
    emit busyChanged(session, now);
}

QString Workbench::titleOf(SessionId session) const
{
    const auto at = m_listed.find(session.value);
    return at == m_listed.end() ? QString() : m_titles[at->second].second;
}

const api::SessionSummary *Workbench::summaryOf(SessionId session) const
{
    const auto at = m_listed.find(session.value);
    return at == m_listed.end() ? nullptr : &m_summaries[at->second];
}

// Ten thousand chats are listed again after every turn: what is known is found by its id and changed in place.
void Workbench::noteSessions(const std::vector<api::SessionSummary> &sessions)
{
    for (const api::SessionSummary &session : sessions) {
        const auto [at, added] = m_listed.emplace(session.id.value, m_titles.size());
        if (added) {
            m_titles.emplace_back(session.id, QString::fromStdString(session.title));
            m_summaries.push_back(session);
            continue;
        }
        if (m_summaries[at->second].title != session.title)
            m_titles[at->second].second = QString::fromStdString(session.title);
        m_summaries[at->second] = session;
    }
}

void Workbench::setPaused(bool paused)
{
    if (m_paused == paused)
        return;
    m_paused = paused;
    emit pausedChanged(paused);
    if (!paused) {
        post(api::command::RequestSnapshot{});
        pull();
    }
}

void Workbench::inspect(TurnId turn)
{
    m_wantedTurn = turn;
    if (m_session.value != 0)
        post(api::command::InspectTurn{m_session, turn});
    emit inspectorWanted(turn);
}

void Workbench::showBlocks(const std::vector<NodeId> &nodes)
{
    emit mapWanted(nodes);
}

void Workbench::pull()
{
    for (api::Update &update : m_port.takeUpdates())
        handle(update);
    if (!m_paused)
        pullEvents();
}

void Workbench::pullEvents()
{
    m_events.clear();
    std::uint64_t lost = 0;
    const std::size_t taken = m_port.takeEvents(m_events, kEventBatch, lost);
    if (taken == 0 && lost == 0)
        return;
    keep(m_events, lost);
    emit eventsArrived(m_events, lost);
    if (lost > 0)
        post(api::command::RequestSnapshot{});
    if (taken == kEventBatch)
        QMetaObject::invokeMethod(this, &Workbench::pull, Qt::QueuedConnection);
}

void Workbench::keep(const std::vector<api::CacheEvent> &events, std::uint64_t lost)
{
    m_eventLog.append(events, lost);
    for (const api::CacheEvent &event : events)
        if (event.kind == api::EventKind::restore)
            m_history.addRestore(event.a, event.b);
}

void Workbench::open(const api::update::SessionOpened &opened)
{
    const bool other = m_session != opened.conversation.id;
    m_session = opened.conversation.id;
    m_sessionTitle = QString::fromStdString(opened.conversation.title);
    m_sessionSettings = opened.conversation.settings;
    m_wantedTurn = {};
    m_liveBranch.open(opened.conversation.messages);
    if (other) {
        m_ribbon = {};
        m_ribbon.session = m_session;
    }
    // The same chat told anew (renamed, a branch switched) says nothing of a reply that was just asked for.
    setBusy(m_session, opened.busy || (!other && busy(m_session)));
    emit sessionOpened(opened);
    emit currentSessionChanged(m_session);
    emit sessionSettingsChanged(m_sessionSettings);
    if (other)
        emit ribbonChanged(m_ribbon);
    post(api::command::RequestRibbon{m_session});
}

void Workbench::handle(api::Update &update)
{
    std::visit(
        [this](auto &u) {
            using T = std::decay_t<decltype(u)>;
            namespace up = api::update;
            if constexpr (std::is_same_v<T, up::ModelState>) {
                m_model = std::move(u);
                emit modelChanged(m_model);
            } else if constexpr (std::is_same_v<T, up::ModelProbed>) {
                emit modelProbed(u.facts);
            } else if constexpr (std::is_same_v<T, up::ModelsFound>) {
                emit modelsFound(u);
            } else if constexpr (std::is_same_v<T, up::Sessions>) {
                noteSessions(u.sessions);
                emit sessionsListed(u);
            } else if constexpr (std::is_same_v<T, up::SessionOpened>) {
                open(u);
            } else if constexpr (std::is_same_v<T, up::SessionClosed>) {
                std::erase(m_running, u.session);
                setBusy(u.session, false);
                emit sessionClosed(u.session);
            } else if constexpr (std::is_same_v<T, up::MessageAdded>) {
                if (u.message.state == api::MessageState::streaming)
                    setBusy(u.session, true);
                if (u.session == m_session)
                    m_liveBranch.note(u.message);
                emit messageAdded(u);
            } else if constexpr (std::is_same_v<T, up::TextAppended>) {
                emit textAppended(u);
            } else if constexpr (std::is_same_v<T, up::TextReturned>) {
                emit textReturned(u.session, QString::fromStdString(u.text));
            } else if constexpr (std::is_same_v<T, up::TurnProgress>) {
                if (std::find(m_running.begin(), m_running.end(), u.session) == m_running.end())
                    m_running.push_back(u.session);
                setBusy(u.session, true);
                if (u.phase == api::update::TurnPhase::decode && u.tokensPerSecond > 0)
                    m_history.addSpeed(double(QDateTime::currentMSecsSinceEpoch()) * 1e-3, u.tokensPerSecond);
                emit turnProgressed(u);
            } else if constexpr (std::is_same_v<T, up::TurnFinished>) {
                std::erase(m_running, u.session);
                setBusy(u.session, false);
                if (u.session == m_session)
                    m_liveBranch.note(u.message);
                emit turnFinished(u);
            } else if constexpr (std::is_same_v<T, up::PromptPreview>) {
                emit promptPreviewed(u);
            } else if constexpr (std::is_same_v<T, up::TurnInspected>) {
                emit turnInspected(u);
            } else if constexpr (std::is_same_v<T, up::BlockDescribed>) {
                emit blockDescribed(u);
            } else if constexpr (std::is_same_v<T, up::MessageSpans>) {
                emit spansArrived(u);
            } else if constexpr (std::is_same_v<T, up::Snapshot>) {
                emit snapshotArrived(u.pool);
            } else if constexpr (std::is_same_v<T, up::RibbonChanged>) {
                if (u.ribbon.session == m_session) {
                    m_ribbon = std::move(u.ribbon);
                    emit ribbonChanged(m_ribbon);
                }
            } else if constexpr (std::is_same_v<T, up::Counts>) {
                m_counts = u.counts;
                m_history.addCounts(u.counts);
                emit countsChanged(u.counts);
            } else if constexpr (std::is_same_v<T, up::Notice>) {
                // A turn that was refused before it began never ends: its chat is free again.
                const bool here = u.place == "session:" + std::to_string(m_session.value);
                if (here && std::find(m_running.begin(), m_running.end(), m_session) == m_running.end())
                    setBusy(m_session, false);
                emit noticed(u);
            } else if constexpr (std::is_same_v<T, up::MachineFacts>) {
                m_machine = u;
                emit machineMeasured(m_machine);
            } else if constexpr (std::is_same_v<T, up::PoliciesCompared>) {
                emit policiesCompared(u);
            } else if constexpr (std::is_same_v<T, up::Exported>) {
                emit exported(QString::fromStdString(u.path));
            }
        },
        update);
}

} // namespace kvilt::ui

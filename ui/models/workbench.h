// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"
#include "ui/models/event_log.h"
#include "ui/models/hover_link.h"
#include "ui/models/live_branch.h"
#include "ui/models/plot_history.h"

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>

#include <optional>
#include <unordered_map>
#include <vector>

namespace kvilt::ui {

class Theme;

// The window's end of the engine port: the one place that posts commands and pulls updates. The worker's wakeup is
// queued to the GUI thread, what has come is pulled there at once and given out as one signal a type. The little
// that several views need (model, current session, counts, ribbon) is kept here. GUI thread only, except that
// the port may call the wakeup from anywhere. The port must outlive the workbench.
class Workbench : public QObject {
    Q_OBJECT
public:
    Workbench(api::EnginePort &port, Theme &theme, QObject *parent = nullptr);
    ~Workbench() override;

    void post(api::Command command);

    Theme &theme() { return m_theme; }
    HoverLink &hover() { return m_hover; }
    // Kept from the start, whether a view shows them or not.
    EventLog &eventLog() { return m_eventLog; }
    PlotHistory &history() { return m_history; }
    const LiveBranch &liveBranch() const { return m_liveBranch; } // of the current session

    const api::update::ModelState &model() const { return m_model; }
    bool modelReady() const { return m_model.phase == api::update::ModelPhase::ready; }
    SessionId session() const { return m_session; }
    const QString &sessionTitle() const { return m_sessionTitle; }
    const api::SessionSettings &sessionSettings() const { return m_sessionSettings; }
    // A reply of this session is being made.
    bool busy(SessionId session) const;
    const api::Ribbon &ribbon() const { return m_ribbon; }            // of the current session
    const std::optional<api::PoolCounts> &counts() const { return m_counts; }
    const api::update::MachineFacts &machine() const { return m_machine; } // zeros until it was measured
    // A session's title as last listed, for owners of blocks; empty when unknown.
    QString titleOf(SessionId session) const;
    // The session as last listed; null when unknown. Valid until the next listing.
    const api::SessionSummary *summaryOf(SessionId session) const;
    const std::vector<std::pair<SessionId, QString>> &titles() const { return m_titles; }
    // The view is frozen on purpose (Space): cache events wait in the ring, snapshots are asked for on resume.
    bool paused() const { return m_paused; }
    void setPaused(bool paused);

    void inspect(TurnId turn);                                        // raises the inspector at this turn
    TurnId wantedTurn() const { return m_wantedTurn; }                // the one asked for last; 0: none in this session
    void showBlocks(const std::vector<NodeId> &nodes);                // raises the map and marks them
    // Pulls now; the wakeup calls it, tests may.
    void pull();

signals:
    void modelChanged(const kvilt::api::update::ModelState &state);
    void modelProbed(const kvilt::api::ModelFacts &facts);
    void modelsFound(const kvilt::api::update::ModelsFound &found);
    void sessionsListed(const kvilt::api::update::Sessions &sessions);
    void sessionOpened(const kvilt::api::update::SessionOpened &opened);
    void sessionClosed(kvilt::SessionId session);
    void currentSessionChanged(kvilt::SessionId session);
    void sessionSettingsChanged(const kvilt::api::SessionSettings &settings);
    void messageAdded(const kvilt::api::update::MessageAdded &added);
    void textAppended(const kvilt::api::update::TextAppended &appended);
    void textReturned(kvilt::SessionId session, const QString &text); // could not be stored
    void turnProgressed(const kvilt::api::update::TurnProgress &progress);
    void turnFinished(const kvilt::api::update::TurnFinished &finished);
    void promptPreviewed(const kvilt::api::update::PromptPreview &preview);
    void turnInspected(const kvilt::api::update::TurnInspected &inspected);
    void blockDescribed(const kvilt::api::update::BlockDescribed &described);
    void spansArrived(const kvilt::api::update::MessageSpans &spans);
    void snapshotArrived(const kvilt::api::PoolSnapshot &snapshot);
    void ribbonChanged(const kvilt::api::Ribbon &ribbon);             // current session only
    void countsChanged(const kvilt::api::PoolCounts &counts);
    void noticed(const kvilt::api::update::Notice &notice);
    void exported(const QString &path);
    void machineMeasured(const kvilt::api::update::MachineFacts &machine);
    void policiesCompared(const kvilt::api::update::PoliciesCompared &compared);
    void busyChanged(kvilt::SessionId session, bool busy);
    // In order of sequence number. `lost` > 0: a gap before these; the workbench has asked for a snapshot.
    void eventsArrived(const std::vector<kvilt::api::CacheEvent> &events, quint64 lost);
    void pausedChanged(bool paused);
    void inspectorWanted(kvilt::TurnId turn);
    void mapWanted(const std::vector<kvilt::NodeId> &nodes);

private:
    void handle(api::Update &update);
    void open(const api::update::SessionOpened &opened);
    void setBusy(SessionId session, bool busy);
    void pullEvents();
    void keep(const std::vector<api::CacheEvent> &events, std::uint64_t lost);
    void noteCommand(const api::Command &command);
    void noteSessions(const std::vector<api::SessionSummary> &sessions);

    api::EnginePort &m_port;
    Theme &m_theme;
    HoverLink m_hover;
    EventLog m_eventLog;
    PlotHistory m_history;
    LiveBranch m_liveBranch;
    api::update::ModelState m_model;
    SessionId m_session;
    QString m_sessionTitle;
    api::SessionSettings m_sessionSettings;
    api::Ribbon m_ribbon;
    std::optional<api::PoolCounts> m_counts;
    api::update::MachineFacts m_machine;
    std::vector<SessionId> m_busy;    // a reply was asked for
    std::vector<SessionId> m_running; // and its turn has begun
    std::vector<std::pair<SessionId, QString>> m_titles; // of every chat ever listed; summaries likewise
    std::vector<api::SessionSummary> m_summaries;
    std::unordered_map<std::int64_t, std::size_t> m_listed; // session -> place in both
    std::vector<api::CacheEvent> m_events;
    TurnId m_wantedTurn;
    bool m_paused = false;
};

} // namespace kvilt::ui

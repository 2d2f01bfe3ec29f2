// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/worker/session_desk.h"
#include "engine/chat/prompt_builder.h"
#include "engine/chat/turn_runner.h"
#include "engine/trace/event_journal.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace kvilt::worker {

// What a turn asked of the cache, kept for the inspector and the ribbon while the program runs.
struct TurnTrace {
    SessionId session;
    std::vector<TokenId> tokens; // prompt, then the reply
    std::uint32_t promptTokens = 0;
};

// Turns in flight: any number of sessions answer at the same time, each at most once. Worker thread only.
class TurnDesk {
public:
    TurnDesk(SessionDesk &sessions, trace::EventJournal &journal, Outlet out, std::function<std::uint64_t()> clockNs);
    ~TurnDesk();

    // Null: no model. Turns in flight are stopped first, while the old engine still stands.
    void setEngine(Engine *engine);
    Engine *engine() const { return m_engine; }

    void send(const api::command::Send &command);
    void edit(const api::command::EditMessage &command);
    void regenerate(const api::command::Regenerate &command);
    void continueReply(const api::command::Continue &command);
    void stop(SessionId session);
    void stopAll();
    void preview(const api::command::PreviewPrompt &command);
    void spans(SessionId session, MessageId message);

    // Gives outputs to their turns, sends text and progress; after every step.
    void distribute();
    // Saves what has been waiting for a second.
    void tick();
    bool running(SessionId session) const { return m_running.contains(session); }
    bool anyRunning() const { return !m_running.empty(); }
    SequenceId sequenceOf(SessionId session) const;
    std::vector<std::pair<SessionId, SequenceId>> sequences() const;

    const TurnTrace *trace(TurnId turn) const;
    // Tokens of the session's live branch: of its last turn, or built from the messages; empty without a model.
    std::vector<TokenId> branchTokens(SessionId session);
    // Message positions in those tokens.
    std::vector<api::Ribbon::MessageSpan> messageSpans(SessionId session);

private:
    struct Running;
    struct Draft; // messages, prompt and what it leaves out
    class Replies;

    Result<Draft> build(OpenSession &open, const std::string &draftText, bool generation, bool mayDrop);
    Result<chat::Prompt> buildPrompt(const OpenSession &open, std::vector<chat::PromptMessage> &messages,
                                     bool generation, bool continuing) const;
    std::vector<chat::PromptMessage> promptMessages(const OpenSession &open) const;
    chat::ContextBudget budget(const OpenSession &open) const;
    // Answers the live tip.
    void answer(OpenSession &open, bool dropOldest, api::EventReason supersedes);
    void begin(OpenSession &open, const store::MessageRow &reply, Draft draft, api::EventReason supersedes);
    void sendPreview(const OpenSession &open, const Draft &draft);
    void sendProgress(Running &turn, bool force);
    void finish(Running &turn);
    bool ready(SessionId session);
    std::string tokenizerId() const;

    SessionDesk &m_sessions;
    trace::EventJournal &m_journal;
    Outlet m_out;
    std::function<std::uint64_t()> m_clockNs;
    Engine *m_engine = nullptr;
    std::optional<chat::PromptBuilder> m_builder;
    std::unique_ptr<Replies> m_replies;
    std::map<SessionId, std::unique_ptr<Running>> m_running;
    std::map<TurnId, TurnTrace> m_traces;       // the newest kMostTraces
    std::map<SessionId, TurnId> m_lastTurn;
};

} // namespace kvilt::worker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/worker/session_desk.h"
#include "engine/chat/conversation.h"
#include "engine/chat/prompt_builder.h"
#include "engine/chat/turn_runner.h"
#include "engine/trace/event_journal.h"

#include <atomic>
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
    std::optional<std::string> systemPromptBefore; // it was edited before this turn: from this
    std::uint32_t preemptions = 0; // its blocks went to another chat for a while
};

// Turns in flight: any number of sessions answer at the same time, each at most once. What is sent to a session while
// a reply is being written there is stored at once, under that reply, and answered after it. Worker thread only.
class TurnDesk {
public:
    // `stop`: true when the program ends; what takes long is given up then.
    TurnDesk(SessionDesk &sessions, trace::EventJournal &journal, Outlet out, std::function<std::uint64_t()> clockNs,
             const std::atomic<bool> *stop = nullptr);
    ~TurnDesk();

    // Null: no model. Turns in flight are stopped first, while the old engine still stands.
    void setEngine(Engine *engine);
    Engine *engine() const { return m_engine; }

    void send(const api::command::Send &command);
    void edit(const api::command::EditMessage &command);
    void regenerate(const api::command::Regenerate &command);
    void continueReply(const api::command::Continue &command);
    // The reply being written ends here; a message that waits behind it is answered next.
    void stop(SessionId session);
    // The same, and what waits behind it is not answered: its branch or its session is left.
    void leave(SessionId session);
    void stopAll();
    void preview(const api::command::PreviewPrompt &command);
    void spans(SessionId session, MessageId message);

    // Called when a turn has ended and its blocks are given back.
    void whenFinished(std::function<void(SessionId)> call) { m_whenFinished = std::move(call); }

    // Gives outputs to their turns, sends text and progress; after every step.
    void distribute();
    // Saves what has been waiting for a second.
    void tick();
    bool running(SessionId session) const { return m_running.contains(session); }
    bool anyRunning() const { return !m_running.empty(); }
    SequenceId sequenceOf(SessionId session) const;
    std::vector<std::pair<SessionId, SequenceId>> sequences() const;

    const TurnTrace *trace(TurnId turn) const;
    // The prompt that a reply was made from, rebuilt from the messages if need be; empty when it was another one.
    std::vector<TokenId> promptOf(const OpenSession &open, const store::MessageRow &reply, const api::TurnReceipt &receipt);
    // Tokens of the session's live branch: of its last turn, or built from the messages; empty without a model.
    std::vector<TokenId> branchTokens(SessionId session);
    // Message positions in those tokens.
    std::vector<api::Ribbon::MessageSpan> messageSpans(SessionId session);

private:
    struct Running;

    // The live branch, with `draft` as one more user message if it is not empty, as a prompt.
    Result<chat::TurnPlan> plan(const OpenSession &open, const std::string &draft, bool dropOldest) const;
    // What is in the prompt now, without the opening of a reply; nullopt: no model or template.
    std::optional<chat::Prompt> currentPrompt(SessionId session);
    chat::ContextBudget budget(const OpenSession &open) const;
    chat::TurnPlanOptions planOptions(const OpenSession &open) const;
    // Answers the live tip; false, and the user was told why: nothing was begun.
    bool answer(OpenSession &open, bool dropOldest, api::EventReason supersedes);
    void begin(OpenSession &open, const store::MessageRow &reply, chat::TurnPlan plan, api::EventReason supersedes);
    void tellFull(const OpenSession &open, const chat::TurnPlan &plan);
    void sendPreview(const OpenSession &open, const chat::TurnPlan &plan);
    void sendProgress(Running &turn, bool force);
    void finish(Running &turn);
    // Puts back what could not be stored, where the user can send it again.
    void giveBack(SessionId session, const std::string &text, const Error &why);
    bool ready(SessionId session);

    SessionDesk &m_sessions;
    trace::EventJournal &m_journal;
    Outlet m_out;
    std::function<std::uint64_t()> m_clockNs;
    const std::atomic<bool> *m_stop;
    std::function<void(SessionId)> m_whenFinished;
    Engine *m_engine = nullptr;
    std::optional<chat::PromptBuilder> m_builder;
    std::optional<chat::StoredReply> m_replies;
    std::string m_tokenizer; // of the engine's model
    std::map<SessionId, std::unique_ptr<Running>> m_running;
    std::map<SessionId, bool> m_waiting;        // a message stands behind the running reply; true: the oldest may be dropped
    std::map<TurnId, TurnTrace> m_traces;       // the newest kMostTraces
    std::map<SessionId, TurnId> m_lastTurn;
    std::map<SessionId, std::string> m_lastSystem; // system prompt of the last turn
};

} // namespace kvilt::worker

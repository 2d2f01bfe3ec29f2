// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/conversation.h"
#include "engine/chat/prompt_builder.h"
#include "engine/chat/turn_runner.h"
#include "engine/store/session_store.h"

#include <optional>
#include <string>
#include <vector>

// A stored conversation made ready for a turn, and the turn kept in the store: what window and CLI share.
namespace kvilt::chat {

// Whose ids a message row carries: ids of another vocabulary are never used.
std::string tokenizerId(const text::Tokenizer &tokenizer);

// Rows of a live branch as the prompt sees them, a system message in front if `systemPrompt` is not empty. Ids of
// another tokenizer are left out.
std::vector<PromptMessage> promptMessages(const std::vector<store::MessageRow> &branch, std::string_view systemPrompt,
                                          std::string_view tokenizer);

// The branch a live path belongs to, by the message that began it: the last one that has siblings and is not the
// first of them, else the first message. Stable while the branch grows.
MessageId branchOf(const std::vector<store::MessageRow> &branch);

// What earlier turns of this branch dropped stays dropped, so that prompts keep extending each other: the
// contextStart of the last receipt; 0: nothing was dropped.
MessageId contextStartOf(const std::vector<store::MessageRow> &branch);

// Which system prompt a prompt begins with: a hash of its text, never 0.
std::uint64_t systemPromptOf(const std::vector<PromptMessage> &messages);

struct TurnPlanOptions {
    api::SessionSettings settings;
    ContextBudget budget;
    bool dropOldest = false;    // the user agreed, or the setting says so
    bool continueReply = false; // the branch ends with a reply to go on with
    std::int64_t unixSeconds = 0;
    std::optional<MessageId> contextStart; // not what the last receipt says: the prompt of an earlier turn
    std::string toolsJson;
    const std::atomic<bool> *stop = nullptr; // see PromptOptions
};

// A turn before it runs. When `drop.needed` and the user did not agree, `prompt` is the whole one and does not fit.
struct TurnPlan {
    Prompt prompt;
    std::vector<PromptMessage> messages; // those in the prompt
    DropPlan drop;                       // what this turn drops, or would
    MessageId contextStart;
    std::uint64_t systemPrompt = 0;      // see TurnReceipt
    bool systemEdited = false;           // it is another one than the last turn's
    bool oldestDropped = false;          // in this turn: `prompt` has moved forward
    bool fits = true;
};
// What this turn itself changed before the end of the last prompt, for the miss report; none: nothing.
api::EventReason knownChange(const TurnPlan &plan);

Result<TurnPlan> planTurn(const PromptBuilder &builder, const std::vector<store::MessageRow> &branch,
                          std::string_view tokenizer, const TurnPlanOptions &options);

// Keeps a reply in sessions.db: streaming text is posted, the end is committed.
class StoredReply final : public ReplySink {
public:
    StoredReply(store::SessionStore &sessions, std::string tokenizer)
        : m_sessions(sessions), m_tokenizer(std::move(tokenizer))
    {
    }
    Result<void> saveReply(const Reply &reply) override;

private:
    store::SessionStore &m_sessions;
    std::string m_tokenizer;
};

} // namespace kvilt::chat

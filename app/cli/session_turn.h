// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/cli/runtime.h"
#include "engine/chat/conversation.h"

#include <functional>
#include <string>
#include <vector>

namespace kvilt::cli {

// One turn of a stored session: messages are appended and committed, the reply is made and stored with its receipt.
struct SessionTurn {
    SessionId session;
    std::string reply, problem;
    std::vector<TokenId> tokens;
    std::vector<std::vector<TokenLogprob>> logprobs;
    api::FinishReason reason = api::FinishReason::stop;
    SequenceStats stats;
    api::TurnReceipt receipt;
};

struct SessionTurnRequest {
    SessionId session;                     // 0: made when the turn can be answered
    std::string name;                      // of a session to be made
    std::vector<store::MessageRow> append; // role, text, json
    api::SamplingSettings sampling;
    api::ContextFull contextFull = api::ContextFull::dropOldest;
    bool useCache = true;
    std::uint32_t logprobs = 0;
    std::function<void(const std::string &)> onText; // as it comes; may be empty
};

// The prompt of a turn after what is `stored`. badInput: it cannot be made or does not fit.
Result<chat::TurnPlan> planSessionTurn(const LoadedModel &model, std::uint32_t contextLength,
                                       const store::StoredConversation &stored, const SessionTurnRequest &request);

// Nothing is written when the prompt cannot be made or does not fit.
Result<SessionTurn> runSessionTurn(Engine &engine, Profile &profile, const SessionTurnRequest &request);

// The session's settings as stored, else defaults with greedy sampling.
api::SessionSettings sessionSettings(const store::SessionRow &row);

// OpenAI messages as rows; badInput: an unknown role.
Result<std::vector<store::MessageRow>> rowsFromMessages(const std::string &jsonText, const std::string &where);

} // namespace kvilt::cli

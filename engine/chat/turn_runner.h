// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/conversation.h"
#include "engine/chat/prompt_builder.h"
#include "engine/engine.h"
#include "engine/support/error.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kvilt::chat {

// Where a reply is kept. saveReply is called once at the start (empty text), at least each second while text
// arrives, and once at the end with the receipt. It must not block on the disk for long.
class ReplySink {
public:
    virtual ~ReplySink() = default;
    struct Reply {
        MessageId id;
        std::string text;
        std::vector<TokenId> ids;      // as generated, without the end token
        api::MessageState state = api::MessageState::streaming;
        bool hasReceipt = false;
        api::TurnReceipt receipt;
    };
    virtual Result<void> saveReply(const Reply &reply) = 0;
};

struct TurnRequest {
    SessionId session;
    MessageId reply;                     // the row that the answer is written to; also the TurnId
    api::SamplingSettings sampling;
    std::vector<TokenId> prompt;         // from PromptBuilder
    std::string continuedText;           // Continue: the reply so far, and its ids (they stand in the prompt)
    std::vector<TokenId> continuedIds;
    std::string salt;
    MessageId branch;                    // see branchOf()
    MessageId contextStart;              // first message in the prompt after those dropped; 0: nothing was dropped
    std::uint64_t systemPrompt = 0;      // see TurnReceipt
    api::EventReason supersedes = api::EventReason::edited; // what this session's former prompt held beyond the parting
    api::EventReason knownChange = api::EventReason::none;  // see Request
    bool useCache = true;
    std::uint32_t logprobs = 0;
};

// What a view shows while a turn runs; the share from cache stands from the first step on.
struct TurnProgress {
    SequencePhase phase = SequencePhase::queued;
    std::uint32_t promptTokens = 0, cachedTokens = 0, computedTokens = 0, completionTokens = 0;
    double tokensPerSecond = 0; // of the phase it is in
    double secondsLeft = 0;     // of the prompt, at the measured rate; 0: not known or decoding
};

// One turn, driven by whoever steps the engine; never blocks. begin() submits; the owner passes each SequenceOutput
// of this sequence to consume(); tick() saves when a second has passed. One turn an object. Not thread-safe.
class TurnRunner {
public:
    // `sink` may be null (nothing is kept). `clockNs` as the engine's.
    TurnRunner(Engine &engine, ReplySink *sink, std::function<std::uint64_t()> clockNs);

    Result<void> begin(TurnRequest request);
    // Saves at the end; a failed save is returned, the turn goes on nevertheless.
    Result<void> consume(SequenceOutput output);
    Result<void> tick(); // saves if text has arrived and the last save is a second old
    void stop();         // cancel: the reply so far is kept, state `stopped`

    SequenceId sequence() const { return m_sequence; }
    bool finished() const { return m_finished; }
    std::string takeText(); // what arrived since the last call
    TurnProgress progress() const;
    const ReplySink::Reply &reply() const { return m_reply; }
    const std::vector<std::vector<TokenLogprob>> &logprobs() const { return m_logprobs; }
    const SequenceStats &stats() const { return m_stats; }
    const std::string &problem() const { return m_problem; }

private:
    Result<void> save(api::MessageState state);
    void finish(SequenceOutput &output);

    Engine &m_engine;
    ReplySink *m_sink;
    std::function<std::uint64_t()> m_clockNs;
    TurnRequest m_request;
    SequenceId m_sequence;
    ReplySink::Reply m_reply;
    std::string m_fresh;
    std::vector<std::vector<TokenLogprob>> m_logprobs;
    SequenceStats m_stats;
    std::string m_problem;
    std::uint64_t m_savedNs = 0;
    bool m_dirty = false, m_finished = false;
};

} // namespace kvilt::chat

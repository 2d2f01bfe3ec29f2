// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/engine.h"
#include "engine/kv/kv_cache.h"
#include "engine/reply_text.h"
#include "engine/sched/sampler.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace kvilt {

// One generation in flight: its tokens, how they are chosen, what it has to say. Knows no blocks: KvCache does.
class Sequence {
public:
    // waiting: holds nothing; restoring: holds blocks that wait for their payload; running: computes.
    enum class Stage : std::uint8_t { waiting, restoring, running, finished };

    Sequence(SequenceId id, Request request, std::shared_ptr<const text::Tokenizer> tokenizer,
             std::uint64_t nowNs);

    // Positions [first, first + count) have been computed; `seconds` of the step belong to it.
    void countComputed(std::uint32_t first, std::uint32_t count, double seconds);
    // The last row of logits is there: chooses and takes a token. Ends the sequence at an end token, a stop string,
    // the token limit, or when no position is left (`roomEnd`: positions there may be at most).
    void takeLogits(std::span<const float> logits, std::uint32_t roomEnd, std::uint64_t nowNs);
    // The same with a token that a device has chosen; its logits only where they are known.
    void takeToken(TokenId token, std::span<const float> logits, std::uint32_t roomEnd, std::uint64_t nowNs);
    // A token is wanted, and nothing but it: no logprobs, no forced reply.
    bool choosesByLogitsAlone() const
    {
        return request.logprobs == 0 && request.forcedReply.empty() &&
               tokens.size() - promptTokens() < std::size_t(request.sampling.maxTokens);
    }
    // Whatever the next token is, nothing follows it.
    bool endsWithNextToken(std::uint32_t roomEnd) const
    {
        return tokens.size() - promptTokens() + 1 >= std::size_t(request.sampling.maxTokens) || tokens.size() + 1 > roomEnd;
    }
    void finish(api::FinishReason reason, std::string problem = {});

    bool hasOutput() const { return m_hasOutput; }
    SequenceOutput takeOutput();
    bool promptDone() const { return stats.computed + stats.cachedMemory + stats.cachedDisk >= promptTokens(); }
    std::uint32_t promptTokens() const { return stats.promptTokens; }
    kv::Request kvRequest() const;

    const SequenceId id;
    Request request;
    std::vector<TokenId> tokens;         // prompt and reply
    Stage stage = Stage::waiting;
    SequenceStats stats;
    LookupRecord lookup;
    bool admittedBefore = false;
    bool restoreFailed = false;          // since the last admission: what it counted as cached was not
    std::uint32_t peakComputed = 0;      // positions ever covered: what runs below it runs again
    std::uint32_t cachedTokens = 0;      // while waiting: what a lookup found last
    std::deque<kv::RestoreOrder> restores;

private:
    void accept(TokenId token, std::span<const float> logits, std::uint64_t nowNs);

    std::shared_ptr<const text::Tokenizer> m_tokenizer;
    sched::Sampler m_sampler;
    ReplyText m_text;
    SequenceOutput m_output;
    std::vector<std::vector<TokenLogprob>> m_logprobs; // one list a reply token
    std::vector<std::uint32_t> m_gapsUs;               // handed out once, at the end
    std::size_t m_released = 0;                        // reply tokens handed out
    bool m_hasOutput = false;
};

} // namespace kvilt

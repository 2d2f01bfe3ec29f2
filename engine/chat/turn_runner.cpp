// SPDX-License-Identifier: Apache-2.0
#include "engine/chat/turn_runner.h"

#include "engine/chat/turn_record.h"
#include "engine/kv/kv_cache.h"

#include <algorithm>

namespace kvilt::chat {

namespace {
constexpr std::uint64_t kSaveEveryNs = 1'000'000'000;

api::MessageState stateFor(api::FinishReason reason)
{
    switch (reason) {
    case api::FinishReason::stop:
    case api::FinishReason::length: return api::MessageState::complete;
    case api::FinishReason::cancelled: return api::MessageState::stopped;
    case api::FinishReason::error: return api::MessageState::failed;
    }
    return api::MessageState::failed;
}
} // namespace

TurnRunner::TurnRunner(Engine &engine, ReplySink *sink, std::function<std::uint64_t()> clockNs)
    : m_engine(engine), m_sink(sink), m_clockNs(std::move(clockNs))
{
}

Result<void> TurnRunner::begin(TurnRequest request)
{
    m_request = std::move(request);
    m_reply.id = m_request.reply;
    m_reply.text = m_request.continuedText;
    m_reply.ids = m_request.continuedIds;
    Request generation{.tokens = m_request.prompt,
                       .sampling = m_request.sampling,
                       .salt = m_request.salt,
                       .session = m_request.session,
                       .turn = TurnId{m_request.reply.value},
                       .branch = m_request.branch,
                       .supersedes = m_request.supersedes,
                       .useCache = m_request.useCache,
                       .knownChange = m_request.knownChange,
                       .logprobs = m_request.logprobs};
    KVILT_TRY(m_sequence, m_engine.submit(std::move(generation)));
    m_savedNs = m_clockNs();
    return save(api::MessageState::streaming);
}

Result<void> TurnRunner::consume(SequenceOutput output)
{
    if (m_finished)
        return {};
    m_reply.text += output.text;
    m_fresh += output.text;
    m_reply.ids.insert(m_reply.ids.end(), output.tokens.begin(), output.tokens.end());
    std::move(output.logprobs.begin(), output.logprobs.end(), std::back_inserter(m_logprobs));
    m_dirty = m_dirty || !output.tokens.empty() || !output.text.empty();
    m_stats = output.stats;
    if (!output.finished)
        return tick();
    finish(output);
    return save(stateFor(output.reason));
}

void TurnRunner::finish(SequenceOutput &output)
{
    m_finished = true;
    m_problem = std::move(output.problem);
    const double rate = m_engine.prefillTokensPerSecond();
    api::MissReport miss = explainLookup(output.lookup, m_request.prompt, *m_engine.loaded().tokenizer, rate,
                                         std::uint32_t(m_engine.settings().blockSize));
    (void)sortPath(m_engine.cache(), m_request.session, miss);
    m_reply.receipt = makeReceipt(TurnId{m_request.reply.value}, m_stats, output.reason, std::move(miss));
    m_reply.receipt.contextStart = m_request.contextStart;
    m_reply.receipt.systemPrompt = m_request.systemPrompt;
    m_reply.hasReceipt = true;
}

Result<void> TurnRunner::tick()
{
    if (m_finished || !m_dirty || m_clockNs() - m_savedNs < kSaveEveryNs)
        return {};
    return save(api::MessageState::streaming);
}

Result<void> TurnRunner::save(api::MessageState state)
{
    m_reply.state = state;
    m_dirty = false;
    m_savedNs = m_clockNs();
    return m_sink == nullptr ? Result<void>{} : m_sink->saveReply(m_reply);
}

void TurnRunner::stop()
{
    m_engine.cancel(m_sequence);
}

std::string TurnRunner::takeText()
{
    return std::exchange(m_fresh, {});
}

TurnProgress TurnRunner::progress() const
{
    // Asked of the engine: a chat whose blocks went to another one waits, and gives no output that would say so.
    const std::optional<SequenceStats> live = m_finished ? std::nullopt : m_engine.stats(m_sequence);
    const SequencePhase phase = live ? live->phase : m_stats.phase;
    TurnProgress progress{.phase = phase,
                          .promptTokens = std::uint32_t(m_request.prompt.size()),
                          .cachedTokens = m_stats.cachedMemory + m_stats.cachedDisk,
                          .computedTokens = m_stats.computed,
                          .completionTokens = m_stats.completionTokens};
    const bool decoding = phase == SequencePhase::decode || phase == SequencePhase::finished;
    progress.tokensPerSecond = decoding ? m_stats.decodeTokensPerSecond() : m_engine.prefillTokensPerSecond();
    const std::uint32_t done = std::min(progress.cachedTokens + progress.computedTokens, progress.promptTokens);
    if (!decoding && progress.tokensPerSecond > 0)
        progress.secondsLeft = (progress.promptTokens - done) / progress.tokensPerSecond;
    return progress;
}

} // namespace kvilt::chat

// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence.h"

#include <algorithm>
#include <utility>

namespace kvilt {

double SequenceStats::tpotSeconds() const
{
    return completionTokens > 1 && lastTokenNs > firstTokenNs
               ? double(lastTokenNs - firstTokenNs) * 1e-9 / double(completionTokens - 1)
               : 0.0;
}

double SequenceStats::prefillTokensPerSecond() const
{
    return prefillSeconds > 0 ? double(computed) / prefillSeconds : 0.0;
}

double SequenceStats::decodeTokensPerSecond() const
{
    const double tpot = tpotSeconds();
    return tpot > 0 ? 1.0 / tpot : 0.0;
}

Sequence::Sequence(SequenceId sequenceId, Request r, std::shared_ptr<const text::Tokenizer> tokenizer,
                   std::uint64_t nowNs)
    : id(sequenceId), request(std::move(r)), tokens(request.tokens), m_tokenizer(tokenizer),
      m_sampler(request.sampling, tokenizer->vocabSize()), m_text(tokenizer, request.sampling.stop)
{
    stats.promptTokens = std::uint32_t(tokens.size());
    stats.submittedNs = nowNs;
    lookup.promptTokens = stats.promptTokens;
}

kv::Request Sequence::kvRequest() const
{
    return {.sequence = id,
            .session = request.session,
            .turn = request.turn,
            .tokens = tokens,
            .salt = request.salt,
            .reuse = request.useCache,
            .seal = request.useCache,
            .resumed = admittedBefore,
            .knownChange = request.knownChange};
}

void Sequence::countComputed(std::uint32_t first, std::uint32_t count, double seconds)
{
    const std::uint32_t again = std::min(count, peakComputed > first ? peakComputed - first : 0);
    const std::uint32_t end = std::min(first + count, promptTokens());
    stats.recomputed += again;
    stats.computed += end > first + again ? end - (first + again) : 0;
    peakComputed = std::max(peakComputed, first + count);
    (first < promptTokens() ? stats.prefillSeconds : stats.decodeSeconds) += seconds;
    stats.phase = peakComputed >= promptTokens() ? SequencePhase::decode : SequencePhase::prefill;
    m_hasOutput = true; // progress is news too
}

void Sequence::takeLogits(std::span<const float> logits, std::uint32_t roomEnd, std::uint64_t nowNs)
{
    const auto limit = request.forcedReply.empty() ? std::size_t(request.sampling.maxTokens)
                                                   : request.forcedReply.size();
    const std::size_t made = tokens.size() - promptTokens();
    if (made >= limit)
        return finish(api::FinishReason::length);
    takeToken(request.forcedReply.empty() ? m_sampler.sample(logits, tokens, made) : request.forcedReply[made], logits, roomEnd,
              nowNs);
}

void Sequence::takeToken(TokenId token, std::span<const float> logits, std::uint32_t roomEnd, std::uint64_t nowNs)
{
    const auto limit = request.forcedReply.empty() ? std::size_t(request.sampling.maxTokens)
                                                   : request.forcedReply.size();
    const std::size_t made = tokens.size() - promptTokens();
    const bool ends = request.forcedReply.empty() && !request.sampling.ignoreEos &&
                      m_tokenizer->isEndOfGeneration(token);
    if (ends)
        return finish(api::FinishReason::stop);
    accept(token, logits, nowNs);
    if (m_text.push(token))
        finish(api::FinishReason::stop);
    else if (made + 1 >= limit || tokens.size() > roomEnd)
        finish(api::FinishReason::length);
}

void Sequence::accept(TokenId token, std::span<const float> logits, std::uint64_t nowNs)
{
    tokens.push_back(token);
    ++stats.completionTokens;
    if (stats.firstTokenNs == 0)
        stats.firstTokenNs = nowNs;
    else
        m_gapsUs.push_back(std::uint32_t((nowNs - stats.lastTokenNs) / 1000));
    stats.lastTokenNs = nowNs;
    m_hasOutput = true;
    if (request.logprobs == 0)
        return;
    auto &list = m_logprobs.emplace_back();
    for (auto [id_, logprob] : sched::topLogprobs(logits, request.logprobs))
        list.push_back({id_, logprob});
}

void Sequence::finish(api::FinishReason reason, std::string problem)
{
    if (stage == Stage::finished)
        return;
    m_text.finish();
    stage = Stage::finished;
    stats.phase = SequencePhase::finished;
    m_output.finished = true;
    m_output.reason = reason;
    m_output.problem = std::move(problem);
    m_hasOutput = true;
}

SequenceOutput Sequence::takeOutput()
{
    const std::size_t count = m_text.takeTokens();
    const auto begin = tokens.begin() + std::ptrdiff_t(promptTokens() + m_released);
    m_output.sequence = id;
    m_output.tokens.assign(begin, begin + std::ptrdiff_t(count));
    m_output.text = m_text.takeText();
    if (request.logprobs > 0) {
        const auto first = m_logprobs.begin() + std::ptrdiff_t(m_released);
        m_output.logprobs.assign(first, first + std::ptrdiff_t(count));
    }
    m_released += count;
    if (m_output.finished)
        stats.completionTokens = std::uint32_t(m_released);
    m_output.stats = stats;
    if (m_output.finished) {
        m_output.lookup = lookup;
        m_output.stats.gapsUs = std::move(m_gapsUs);
    }
    m_hasOutput = false;
    return std::exchange(m_output, {});
}

} // namespace kvilt

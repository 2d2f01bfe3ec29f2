// SPDX-License-Identifier: Apache-2.0
#include "engine/sched/sampler.h"

#include "engine/support/check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <unordered_map>

namespace kvilt::sched {

namespace {

// exp(x) for x <= 0 to about 1 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, Taylor to r^13. Own, because a libm's last bit
// differs between versions and a drawn token must not.
double exactExp(double x)
{
    if (!(x > -700.0))
        return 0.0;
    const double n = std::nearbyint(x * 1.4426950408889634074);
    const double r = std::fma(-n, 1.9082149292705877e-10, std::fma(-n, 0.693147180369123816490, x));
    double sum = 1.0;
    for (int k = 13; k >= 1; --k)
        sum = std::fma(sum, r / k, 1.0);
    return std::ldexp(sum, int(n));
}

Result<void> inRange(const char *name, double value, double low, double high)
{
    if (std::isfinite(value) && value >= low && value <= high)
        return {};
    auto number = [](double v) {
        char text[32];
        std::snprintf(text, sizeof text, "%.10g", v); // 1e308 is 5 characters, not 309
        return std::string(text);
    };
    return fail(ErrorCode::badInput, std::string(name) + " must be between " + number(low) + " and " + number(high) +
                                         ", not " + number(value));
}

} // namespace

Result<void> checkSampling(const api::SamplingSettings &s)
{
    KVILT_TRY_VOID(inRange("temperature", s.temperature, 0, 100));
    KVILT_TRY_VOID(inRange("top-k", s.topK, 0, 1 << 30));
    KVILT_TRY_VOID(inRange("top-p", s.topP, 0, 1));
    KVILT_TRY_VOID(inRange("min-p", s.minP, 0, 1));
    KVILT_TRY_VOID(inRange("repeat penalty", s.repeatPenalty, 0.01, 100));
    KVILT_TRY_VOID(inRange("presence penalty", s.presencePenalty, -100, 100));
    KVILT_TRY_VOID(inRange("frequency penalty", s.frequencyPenalty, -100, 100));
    KVILT_TRY_VOID(inRange("penalty window", s.penaltyWindow, 0, 1 << 30));
    KVILT_TRY_VOID(inRange("max tokens", s.maxTokens, 0, 1 << 30));
    for (const std::string &stop : s.stop)
        if (stop.empty() || stop.size() > 4096)
            return fail(ErrorCode::badInput, "a stop string must have 1 to 4096 bytes");
    return {};
}

std::uint64_t CounterRandom::bits(std::uint64_t counter) const
{
    // SplitMix64's output function at state seed + (counter + 1) * golden ratio (Steele, Lea, Flood 2014).
    std::uint64_t z = m_seed + (counter + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

double CounterRandom::unit(std::uint64_t counter) const
{
    return double(bits(counter) >> 11) * 0x1.0p-53;
}

Sampler::Sampler(const api::SamplingSettings &settings, std::uint32_t vocabularySize)
    : m_settings(settings), m_random(settings.seed)
{
    m_candidates.reserve(settings.temperature > 0 ? vocabularySize : 0);
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history, std::uint64_t position)
{
    const bool penalised = m_settings.repeatPenalty != 1.0 || m_settings.presencePenalty != 0.0 ||
                           m_settings.frequencyPenalty != 0.0;
    if (penalised) {
        m_logits.assign(logits.begin(), logits.end());
        applyPenalties(history);
        logits = m_logits;
    }
    if (m_settings.temperature <= 0)
        return argMax(logits);

    m_candidates.clear();
    for (std::size_t i = 0; i < logits.size(); ++i)
        if (!std::isnan(logits[i]))
            m_candidates.push_back({logits[i], TokenId(i)});
    return m_candidates.empty() ? argMax(logits) : draw(position);
}

void Sampler::applyPenalties(std::span<const TokenId> history)
{
    const std::size_t window = std::size_t(std::max(m_settings.penaltyWindow, 0));
    const auto recent = history.size() > window ? history.last(window) : history;
    std::unordered_map<TokenId, int> counts;
    for (TokenId id : recent)
        ++counts[id];
    for (auto [id, count] : counts) {
        if (id < 0 || std::size_t(id) >= m_logits.size())
            continue;
        float &logit = m_logits[std::size_t(id)];
        const auto penalty = float(m_settings.repeatPenalty);
        // As in CTRL (Keskar et al. 2019), with the sign handled so that a penalty always lowers the logit.
        logit = logit > 0 ? logit / penalty : logit * penalty;
        logit -= float(count) * float(m_settings.frequencyPenalty) + float(m_settings.presencePenalty);
    }
}

TokenId Sampler::draw(std::uint64_t position)
{
    auto better = [](const Candidate &a, const Candidate &b) {
        return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    auto &c = m_candidates;
    if (m_settings.topK > 0 && std::size_t(m_settings.topK) < c.size()) {
        std::partial_sort(c.begin(), c.begin() + m_settings.topK, c.end(), better);
        c.resize(std::size_t(m_settings.topK));
    } else {
        std::sort(c.begin(), c.end(), better);
    }
    // Probabilities relative to the best one. A sum in sorted order is the same sum everywhere.
    const double best = c.front().logit;
    auto weight = [&](const Candidate &x, double temperature) {
        return exactExp((double(x.logit) - best) / temperature);
    };
    if (m_settings.topP < 1.0) {
        double total = 0;
        for (const Candidate &x : c)
            total += weight(x, 1.0);
        double sum = 0;
        std::size_t keep = 0;
        while (keep < c.size() && (keep == 0 || sum < m_settings.topP * total))
            sum += weight(c[keep++], 1.0);
        c.resize(keep);
    }
    if (m_settings.minP > 0.0) {
        std::size_t keep = 1;
        while (keep < c.size() && weight(c[keep], 1.0) >= m_settings.minP)
            ++keep;
        c.resize(keep);
    }
    double total = 0;
    for (const Candidate &x : c)
        total += weight(x, m_settings.temperature);
    double left = m_random.unit(position) * total;
    for (const Candidate &x : c) {
        left -= weight(x, m_settings.temperature);
        if (left < 0)
            return x.id;
    }
    return c.back().id;
}

TokenId argMax(std::span<const float> logits)
{
    KVILT_CHECK(!logits.empty());
    std::size_t best = 0;
    for (std::size_t i = 1; i < logits.size(); ++i)
        if (logits[i] > logits[best] || (std::isnan(logits[best]) && !std::isnan(logits[i])))
            best = i;
    return TokenId(best);
}

std::vector<std::pair<TokenId, float>> topLogprobs(std::span<const float> logits, std::uint32_t count)
{
    std::vector<TokenId> ids(logits.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = TokenId(i);
    const std::size_t n = std::min<std::size_t>(count, ids.size());
    std::partial_sort(ids.begin(), ids.begin() + std::ptrdiff_t(n), ids.end(), [&](TokenId a, TokenId b) {
        const float x = logits[std::size_t(a)], y = logits[std::size_t(b)];
        return x != y ? x > y : a < b;
    });
    if (n == 0)
        return {};
    const double best = logits[std::size_t(ids[0])];
    double sum = 0;
    for (float logit : logits)
        sum += exactExp(double(logit) - best);
    std::vector<std::pair<TokenId, float>> out;
    for (std::size_t i = 0; i < n; ++i)
        out.emplace_back(ids[i], float(double(logits[std::size_t(ids[i])]) - best - std::log(sum)));
    return out;
}

} // namespace kvilt::sched

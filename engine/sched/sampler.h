// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/api/settings.h"
#include "engine/support/error.h"

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace kvilt::sched {

// Refuses NaN, infinities and values that mean nothing, each with its name: "temperature must be ...".
Result<void> checkSampling(const api::SamplingSettings &settings);

// SplitMix64 over (seed, counter): a number depends on its position only, so a generation that was interrupted,
// preempted or restored goes on with the same numbers. No std distribution: their results differ by library.
class CounterRandom {
public:
    explicit CounterRandom(std::uint64_t seed) : m_seed(seed) {}
    std::uint64_t bits(std::uint64_t counter) const;
    double unit(std::uint64_t counter) const; // [0, 1), 53 bits
private:
    std::uint64_t m_seed;
};

// Logits to one token, deterministic: the same logits, history, settings and position give the same token on every
// machine. Order: penalties, greedy if the temperature is 0, else top-k, top-p, min-p, temperature, draw.
// Ties go to the lowest id everywhere.
class Sampler {
public:
    Sampler(const api::SamplingSettings &settings, std::uint32_t vocabularySize);

    // `history`: prompt and reply so far (penalties look at its last penaltyWindow). `position`: tokens made before.
    TokenId sample(std::span<const float> logits, std::span<const TokenId> history, std::uint64_t position);

private:
    void applyPenalties(std::span<const TokenId> history);
    TokenId draw(std::uint64_t position);

    struct Candidate {
        float logit;
        TokenId id;
    };
    api::SamplingSettings m_settings;
    CounterRandom m_random;
    std::vector<float> m_logits;         // scratch, only when penalties change them
    std::vector<Candidate> m_candidates; // scratch
};

TokenId argMax(std::span<const float> logits); // lowest id of equals; NaN never wins

// The `count` most probable tokens, best first (ties: lowest id), with ln softmax of these logits.
std::vector<std::pair<TokenId, float>> topLogprobs(std::span<const float> logits, std::uint32_t count);

} // namespace kvilt::sched

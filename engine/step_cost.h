// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/sched/scheduler.h"

#include <algorithm>
#include <cstdint>

namespace kvilt {

// What tokens cost on this machine with this model, learnt from each step. Half of an old value goes with each new
// one, so that a growing context or another program on the machine shows within a few steps.
//
// A step reads all weights whatever it computes, so a prompt step of one token costs what a decoding step does and says
// nothing about a long prompt. Prompt steps therefore count by their tokens, and what reading the weights takes is
// first taken off them where decoding has shown it.
class StepCostMeter {
public:
    void measured(std::uint32_t decoding, std::uint32_t promptTokens, double seconds)
    {
        if (seconds <= 0 || decoding + promptTokens == 0)
            return;
        if (promptTokens == 0)
            m_cost.decode = m_cost.decode > 0 ? 0.5 * (m_cost.decode + seconds / decoding) : seconds / decoding;
        else if (const double rest = seconds - m_cost.decode * decoding; rest > 0)
            addPrompt(promptTokens, rest, decoding == 0);
        m_cost.prefill = prefill();
    }
    const sched::StepCost &cost() const { return m_cost; }
    // For figures that people read: nothing before a prompt that is worth the name. The one token that runs after a
    // restore would make every saving ten times as large.
    double prefillRate() const { return m_sawPrompt && m_cost.prefill > 0 ? 1 / m_cost.prefill : 0; }
    double decodeRate() const { return m_cost.decode > 0 ? 1 / m_cost.decode : 0; }

private:
    static constexpr std::uint32_t kLeastPrompt = 16;

    void addPrompt(std::uint32_t tokens, double seconds, bool readsWeights)
    {
        m_sawPrompt = m_sawPrompt || tokens >= kLeastPrompt;
        m_tokens = 0.5 * m_tokens + tokens;
        m_seconds = 0.5 * m_seconds + seconds;
        m_steps = 0.5 * m_steps + (readsWeights ? 1 : 0);
    }
    double prefill() const
    {
        if (m_tokens == 0)
            return 0;
        const double plain = m_seconds / m_tokens;
        if (m_cost.decode == 0 || m_tokens < m_steps + 1)
            return plain;
        // Computing hides some of the reading: never less than a quarter of what the steps took.
        return std::max((m_seconds - m_steps * m_cost.decode) / (m_tokens - m_steps), plain / 4);
    }

    sched::StepCost m_cost;
    double m_tokens = 0, m_seconds = 0, m_steps = 0; // of recent prompt steps
    bool m_sawPrompt = false;
};

} // namespace kvilt

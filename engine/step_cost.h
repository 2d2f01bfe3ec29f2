// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/sched/scheduler.h"

#include <algorithm>
#include <cstdint>

namespace kvilt {

// What tokens cost on this machine with this model, learnt from each step. Half of an old value goes with each new
// one, so that a growing context or another program on the machine shows within a few steps.
class StepCostMeter {
public:
    void measured(std::uint32_t decoding, std::uint32_t promptTokens, double seconds)
    {
        if (seconds <= 0)
            return;
        if (promptTokens == 0)
            blend(m_cost.decode, seconds / decoding, 0.5);
        // A few tokens cost as much as reading the weights once: they say nothing of a chunk, and little until it is
        // of some size.
        else if (const double rest = seconds - m_cost.decode * decoding; rest > 0 && promptTokens >= kFewTokens)
            blend(m_cost.prefill, rest / promptTokens, std::min(0.5, promptTokens / 128.0));
    }
    const sched::StepCost &cost() const { return m_cost; }
    double prefillRate() const { return m_cost.prefill > 0 ? 1 / m_cost.prefill : 0; }
    double decodeRate() const { return m_cost.decode > 0 ? 1 / m_cost.decode : 0; }

private:
    static constexpr std::uint32_t kFewTokens = 8;
    static void blend(double &value, double fresh, double weight)
    {
        value = value > 0 ? value + weight * (fresh - value) : fresh;
    }
    sched::StepCost m_cost;
};

} // namespace kvilt

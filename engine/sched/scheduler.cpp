// SPDX-License-Identifier: Apache-2.0
#include "engine/sched/scheduler.h"

#include <algorithm>

namespace kvilt::sched {

namespace {

// Who goes first: greater priority, then earlier arrival. Preemption takes from the other end.
bool before(const SequenceState &a, const SequenceState &b)
{
    return a.priority != b.priority ? a.priority > b.priority : a.arrival < b.arrival;
}

bool decodes(const SequenceState &s)
{
    return s.running && s.tokens == s.computed + 1;
}

// One decision in the making: what is left to give, and to whom it was given.
class Planner {
public:
    Planner(const SchedulerState &state, const SchedulerLimits &limits)
        : m_limits(limits), m_blockSize(state.blockSize), m_freeBlocks(state.freeBlocks), m_order(state.sequences)
    {
        std::sort(m_order.begin(), m_order.end(), before);
    }

    // One token each, all together. Who cannot get its block takes one from the last.
    std::uint32_t runDecoding()
    {
        std::uint32_t decoding = 0;
        for (std::size_t i = 0; i < m_order.size(); ++i)
            if (decodes(m_order[i]) && !isPreempted(m_order[i].id) && decoding < m_limits.maxStepTokens)
                decoding += grant(i, 1) ? 1 : 0;
        return decoding;
    }

    // Prompts in order share the chunk; a piece is cut to the blocks there are. False: one waits for blocks.
    bool runPrompts(std::uint32_t &chunk)
    {
        for (std::size_t i = 0; i < m_order.size() && chunk > 0; ++i) {
            const SequenceState &s = m_order[i];
            if (!s.running || decodes(s) || s.tokens <= s.computed || isPreempted(s.id))
                continue;
            const std::uint32_t wanted = std::min(chunk, s.tokens - s.computed);
            makeRoom(i, blocksToAdd(s, wanted));
            const std::uint32_t count = std::min(wanted, positionsThatFit(s));
            if (count == 0)
                return false;
            grant(i, count);
            chunk -= count;
        }
        return true;
    }

    // In order while this step has time and the pool has room for the whole prompt: a sequence let in too early
    // would only be preempted. Nobody overtakes the head of the queue; a lone sequence may always try.
    void admit(std::uint32_t chunk)
    {
        std::size_t running = 0;
        for (const SequenceState &s : m_order)
            running += s.running ? 1 : 0;
        for (const SequenceState &s : m_order) {
            if (s.running)
                continue;
            const std::uint32_t cached = std::min(s.cachedTokens, s.tokens);
            const std::uint32_t need = blocksFor(s.tokens) - cached / m_blockSize + (running > 0 ? 1 : 0);
            if (chunk == 0 || running >= m_limits.maxSequences || (running > 0 && need > m_freeBlocks))
                return;
            decision.admit.push_back(s.id);
            m_freeBlocks -= std::min(m_freeBlocks, need);
            chunk -= std::min(chunk, s.tokens - cached);
            ++running;
        }
    }

    StepDecision decision;

private:
    std::uint32_t blocksFor(std::uint32_t positions) const { return (positions + m_blockSize - 1) / m_blockSize; }

    std::uint32_t blocksToAdd(const SequenceState &s, std::uint32_t count) const
    {
        const std::uint32_t need = blocksFor(s.computed + count);
        return need > s.blocks ? need - s.blocks : 0;
    }

    std::uint32_t positionsThatFit(const SequenceState &s) const
    {
        const std::uint64_t end = std::uint64_t(s.blocks + m_freeBlocks) * m_blockSize;
        return end > s.computed ? std::uint32_t(std::min<std::uint64_t>(end - s.computed, s.tokens)) : 0;
    }

    bool isPreempted(SequenceId id) const
    {
        return std::find(decision.preempt.begin(), decision.preempt.end(), id) != decision.preempt.end();
    }

    // Takes blocks from running sequences behind `keep`, last first, until `need` are free.
    bool makeRoom(std::size_t keep, std::uint32_t need)
    {
        for (std::size_t v = m_order.size(); need > m_freeBlocks && v-- > keep + 1;) {
            const SequenceState &victim = m_order[v];
            if (!victim.running || isPreempted(victim.id))
                continue;
            decision.preempt.push_back(victim.id);
            m_freeBlocks += victim.blocks;
            takeBack(victim);
        }
        return need <= m_freeBlocks;
    }

    // A prompt of an early arrival may push out a later one that was already given its decoding token.
    void takeBack(const SequenceState &victim)
    {
        auto slice = std::find_if(decision.run.begin(), decision.run.end(),
                                  [&](const PlannedSlice &s) { return s.id == victim.id; });
        if (slice == decision.run.end())
            return;
        m_freeBlocks += blocksToAdd(victim, slice->count);
        decision.run.erase(slice);
    }

    bool grant(std::size_t i, std::uint32_t count)
    {
        const std::uint32_t need = blocksToAdd(m_order[i], count);
        if (!makeRoom(i, need))
            return false;
        m_freeBlocks -= need;
        decision.run.push_back({m_order[i].id, m_order[i].computed, count});
        return true;
    }

    const SchedulerLimits &m_limits;
    std::uint32_t m_blockSize;
    std::uint32_t m_freeBlocks;
    std::vector<SequenceState> m_order;
};

} // namespace

std::uint32_t Scheduler::chunkTokens(const StepCost &cost, std::uint32_t decoding) const
{
    const std::uint32_t most = m_limits.maxStepTokens - std::min(decoding, m_limits.maxStepTokens);
    if (m_limits.fixedChunk > 0)
        return std::min(m_limits.fixedChunk, most);
    if (cost.prefill <= 0)
        return std::min(m_limits.firstChunk, most);
    const double left = m_limits.stepSeconds - cost.fixed - cost.decode * decoding;
    const double tokens = std::max(left / cost.prefill, double(m_limits.minChunk));
    return tokens < double(most) ? std::uint32_t(tokens) : most;
}

StepDecision Scheduler::plan(const SchedulerState &state, const StepCost &cost) const
{
    Planner planner(state, m_limits);
    const std::uint32_t decoding = planner.runDecoding();
    std::uint32_t chunk = chunkTokens(cost, decoding);
    const bool served = planner.runPrompts(chunk);
    if (served && planner.decision.preempt.empty())
        planner.admit(chunk);
    return std::move(planner.decision);
}

} // namespace kvilt::sched

// SPDX-License-Identifier: Apache-2.0
#include "engine/chat/prompt_builder.h"

#include <algorithm>

namespace kvilt::chat {

namespace {

// Messages [begin, end) that go together: a user's message and what follows it up to the next one. A model's
// template may insist on alternating roles, so a turn is dropped whole or not at all.
struct Turn {
    std::size_t begin = 0, end = 0;
    std::uint32_t tokens = 0; // with the template's own around them
    bool pinned = false;
};

std::vector<Turn> turnsOf(const Prompt &prompt, std::span<const PromptMessage> messages)
{
    std::vector<Turn> turns;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        if (messages[i].role == api::Role::system)
            continue;
        if (turns.empty() || messages[i].role == api::Role::user || turns.back().end != i)
            turns.push_back({.begin = i, .end = i});
        turns.back().end = i + 1;
        turns.back().pinned = turns.back().pinned || messages[i].pinned;
    }
    auto start = [&](std::size_t message) {
        return message < messages.size() ? std::uint32_t(prompt.messages[message].firstToken)
                                         : std::uint32_t(prompt.ids.size());
    };
    for (Turn &turn : turns)
        turn.tokens = start(turn.end) - std::min(start(turn.begin), start(turn.end));
    return turns;
}

} // namespace

DropPlan planDrop(const Prompt &prompt, std::span<const PromptMessage> messages, const ContextBudget &budget)
{
    const auto promptTokens = std::uint32_t(prompt.ids.size());
    const std::uint64_t context = budget.contextTokens;
    DropPlan plan;
    plan.needed = std::uint64_t(promptTokens) + budget.replyReserve > context;
    if (!plan.needed)
        return plan;
    // With the reply a quarter of the context must stay free, or the next turn would drop again, and compute again what
    // follows. As the prompt did not fit, that frees a quarter at least.
    const auto enough = [&] {
        return promptTokens - plan.dropTokens + std::uint64_t(budget.replyReserve) + (context + 3) / 4 <= context;
    };
    std::vector<Turn> turns = turnsOf(prompt, messages);
    if (!turns.empty())
        turns.pop_back(); // the one to be answered
    std::uint32_t firstCut = promptTokens;
    for (const Turn &turn : turns) {
        if (turn.pinned || enough())
            continue;
        firstCut = std::min(firstCut, std::uint32_t(prompt.messages[turn.begin].firstToken));
        plan.dropTokens += turn.tokens;
        for (std::size_t i = turn.begin; i < turn.end; ++i)
            plan.dropped.push_back(i);
    }
    const std::uint32_t left = promptTokens - plan.dropTokens;
    plan.possible = std::uint64_t(left) + std::min<std::uint64_t>(budget.replyReserve, 1) <= context;
    plan.recomputeTokens = left > firstCut ? left - firstCut : 0;
    if (budget.prefillTokensPerSecond > 0)
        plan.recomputeSeconds = plan.recomputeTokens / budget.prefillTokensPerSecond;
    return plan;
}

} // namespace kvilt::chat

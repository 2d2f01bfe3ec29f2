// SPDX-License-Identifier: Apache-2.0
#include "engine/chat/conversation.h"

#include "engine/chat/turn_record.h"
#include "engine/store/kvilt_file.h"
#include "engine/text/tokenizer.h"

#include <algorithm>

namespace kvilt::chat {

std::string tokenizerId(const text::Tokenizer &tokenizer)
{
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    for (std::uint8_t byte : tokenizer.identity()) {
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

std::vector<PromptMessage> promptMessages(const std::vector<store::MessageRow> &branch, std::string_view systemPrompt,
                                          std::string_view tokenizer)
{
    std::vector<PromptMessage> out;
    const bool hasSystem = !branch.empty() && branch.front().role == api::Role::system;
    if (!systemPrompt.empty() && !hasSystem)
        out.push_back({.id = {}, .role = api::Role::system, .content = std::string(systemPrompt), .json = {},
                       .ids = {}});
    for (const store::MessageRow &row : branch) {
        PromptMessage message{.id = row.id, .role = row.role, .content = row.text, .json = row.json, .ids = {},
                              .pinned = row.pinned};
        std::string_view owner = row.tokenizer;
        if (owner.starts_with(store::kImportedTokenizer)) {
            owner.remove_prefix(store::kImportedTokenizer.size());
            message.foreignIds = true;
        }
        if (row.role == api::Role::assistant && owner == tokenizer)
            message.ids = row.ids;
        out.push_back(std::move(message));
    }
    return out;
}

MessageId branchOf(const std::vector<store::MessageRow> &branch)
{
    for (auto row = branch.rbegin(); row != branch.rend(); ++row)
        if (row->branchIndex > 0)
            return row->id;
    return branch.empty() ? MessageId{} : branch.front().id;
}

namespace {

api::TurnReceipt lastReceiptOf(const std::vector<store::MessageRow> &branch)
{
    for (auto row = branch.rbegin(); row != branch.rend(); ++row)
        if (row->role == api::Role::assistant && !row->receipt.empty())
            return receiptFromJson(row->receipt).value_or(api::TurnReceipt{});
    return {};
}

} // namespace

MessageId contextStartOf(const std::vector<store::MessageRow> &branch)
{
    return lastReceiptOf(branch).contextStart;
}

// FNV-1a.
std::uint64_t systemPromptOf(const std::vector<PromptMessage> &messages)
{
    std::uint64_t hash = 0xcbf29ce484222325ull;
    if (!messages.empty() && messages.front().role == api::Role::system)
        for (const char c : messages.front().content)
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    return hash != 0 ? hash : 1;
}

namespace {

// Leaves out whole turns before the message that the context begins with; system and pinned turns stay.
void dropBefore(std::vector<PromptMessage> &messages, MessageId start)
{
    if (start.value == 0)
        return;
    const auto first = std::find_if(messages.begin(), messages.end(),
                                    [&](const PromptMessage &m) { return m.id == start; });
    if (first == messages.end())
        return; // that message is gone: nothing to go by
    std::vector<PromptMessage> kept;
    for (auto turn = messages.begin(); turn != first;) {
        auto end = std::next(turn);
        while (end != first && end->role != api::Role::user && end->role != api::Role::system)
            ++end;
        const bool pinned = std::any_of(turn, end, [](const PromptMessage &m) { return m.pinned; });
        if (turn->role == api::Role::system || pinned)
            std::move(turn, end, std::back_inserter(kept));
        turn = end;
    }
    std::move(first, messages.end(), std::back_inserter(kept));
    messages = std::move(kept);
}

MessageId removeDropped(std::vector<PromptMessage> &messages, const std::vector<std::size_t> &dropped)
{
    MessageId start;
    for (std::size_t i = dropped.back() + 1; i < messages.size() && start.value == 0; ++i)
        start = messages[i].id;
    for (auto i = dropped.rbegin(); i != dropped.rend(); ++i)
        messages.erase(messages.begin() + std::ptrdiff_t(*i));
    return start;
}

} // namespace

api::EventReason knownChange(const TurnPlan &plan)
{
    if (plan.systemEdited)
        return api::EventReason::systemPromptEdited;
    return plan.oldestDropped ? api::EventReason::contextDropped : api::EventReason::none;
}

Result<TurnPlan> planTurn(const PromptBuilder &builder, const std::vector<store::MessageRow> &branch,
                          std::string_view tokenizer, const TurnPlanOptions &options)
{
    TurnPlan plan;
    plan.messages = promptMessages(branch, options.settings.systemPrompt, tokenizer);
    plan.contextStart = options.contextStart.value_or(contextStartOf(branch));
    plan.systemPrompt = systemPromptOf(plan.messages);
    const std::uint64_t before = lastReceiptOf(branch).systemPrompt;
    plan.systemEdited = before != 0 && before != plan.systemPrompt;
    dropBefore(plan.messages, plan.contextStart);
    const PromptOptions promptOptions{.addGenerationPrompt = true,
                                      .continueReply = options.continueReply,
                                      .thinking = options.settings.thinking,
                                      .toolsJson = options.toolsJson,
                                      .unixSeconds = options.unixSeconds,
                                      .stop = options.stop};
    KVILT_TRY(plan.prompt, builder.build(plan.messages, promptOptions));
    plan.drop = planDrop(plan.prompt, plan.messages, options.budget);
    plan.fits = plan.prompt.ids.size() <= options.budget.contextTokens;
    if (!plan.drop.needed || !options.dropOldest || plan.drop.dropped.empty())
        return plan;
    plan.contextStart = removeDropped(plan.messages, plan.drop.dropped);
    plan.oldestDropped = true;
    KVILT_TRY(plan.prompt, builder.build(plan.messages, promptOptions));
    plan.fits = plan.prompt.ids.size() <= options.budget.contextTokens;
    return plan;
}

Result<void> StoredReply::saveReply(const Reply &reply)
{
    store::ReplyUpdate update{.id = reply.id,
                              .text = reply.text,
                              .ids = reply.ids,
                              .tokenizer = m_tokenizer,
                              .state = reply.state,
                              .receipt = reply.hasReceipt ? receiptToJson(reply.receipt) : std::string()};
    if (reply.state == api::MessageState::streaming) {
        m_sessions.updateStreaming(std::move(update));
        return {};
    }
    const std::uint32_t tokens = reply.receipt.promptTokens + reply.receipt.completionTokens;
    return m_sessions.commitTurn(std::move(update), reply.hasReceipt ? std::optional(tokens) : std::nullopt);
}

} // namespace kvilt::chat

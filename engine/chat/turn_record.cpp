// SPDX-License-Identifier: Apache-2.0
#include "engine/chat/turn_record.h"

#include "engine/kv/kv_cache.h"
#include "engine/text/tokenizer.h"
#include "engine/text/utf8.h"

#include <algorithm>
#include <cstdio>
#include <unordered_set>

namespace kvilt::chat {

namespace {

constexpr std::uint32_t kContext = 12; // tokens of text shown on either side of a difference

struct Excerpt {
    std::string text;
    std::uint32_t begin = 0, end = 0; // bytes of the differing token
};

// Each part is made valid UTF-8 on its own, so that the byte range always fits the text.
Excerpt excerpt(std::span<const TokenId> tokens, std::size_t at, const text::Tokenizer &tokenizer)
{
    std::string before, token, after;
    for (std::size_t i = 0; i < tokens.size(); ++i)
        (i < at ? before : i == at ? token : after) += tokenizer.piece(tokens[i]);
    Excerpt out;
    out.text = text::utf8::sanitized(before);
    out.begin = std::uint32_t(out.text.size());
    out.text += text::utf8::sanitized(token);
    out.end = std::uint32_t(out.text.size());
    out.text += text::utf8::sanitized(after);
    return out;
}

// Both sides of the difference at position `at`, from the same common beginning.
void showBothTexts(const LookupRecord &lookup, std::span<const TokenId> prompt, std::size_t at,
                   const text::Tokenizer &tokenizer, api::MissReport &report)
{
    const std::size_t from = at > kContext ? at - kContext : 0;
    const std::size_t shared = std::min<std::size_t>(lookup.cachedTokensBegin, at);
    const std::size_t askedEnd = std::min<std::size_t>(prompt.size(), at + kContext);
    const Excerpt asked = excerpt(prompt.subspan(from, askedEnd - from), at - from, tokenizer);
    report.askedText = asked.text;
    report.askedBegin = asked.begin;
    report.askedEnd = asked.end;

    std::vector<TokenId> cached(prompt.begin() + std::ptrdiff_t(std::min(from, shared)),
                                prompt.begin() + std::ptrdiff_t(shared));
    cached.insert(cached.end(), lookup.cachedTokens.begin(), lookup.cachedTokens.end());
    const std::size_t first = std::min(from, shared);
    std::span<const TokenId> window(cached);
    window = window.subspan(std::min(from - first, window.size()));
    window = window.first(std::min<std::size_t>(window.size(), at - from + kContext));
    const Excerpt held = excerpt(window, at - from, tokenizer);
    report.cachedText = held.text;
    report.cachedBegin = held.begin;
    report.cachedEnd = held.end;
}

std::string_view bytesOf(std::span<const TokenId> tokens)
{
    return {reinterpret_cast<const char *>(tokens.data()), tokens.size_bytes()};
}

// How many tokens of `asked` stand in runs of at least kRun that `held` has as well, wherever. That is what a changed
// beginning makes the engine compute a second time: the same words, after other ones.
std::uint32_t repeatedTokens(std::span<const TokenId> asked, std::span<const TokenId> held)
{
    constexpr std::size_t kRun = 8; // shorter ones are the template's own, between any two messages
    std::unordered_set<std::string_view> runs;
    for (std::size_t i = 0; i + kRun <= held.size(); ++i)
        runs.insert(bytesOf(held.subspan(i, kRun)));
    std::uint32_t repeated = 0;
    std::size_t counted = 0; // tokens before this one are counted
    for (std::size_t i = 0; i + kRun <= asked.size(); ++i) {
        if (!runs.contains(bytesOf(asked.subspan(i, kRun))))
            continue;
        repeated += std::uint32_t(i + kRun - std::max(i, counted));
        counted = i + kRun;
    }
    return repeated;
}

std::string withCommas(std::uint32_t n)
{
    std::string digits = std::to_string(n);
    for (std::size_t i = digits.size(); i > 3; i -= 3)
        digits.insert(i - 3, ",");
    return digits;
}

std::string_view cause(api::EventReason reason)
{
    switch (reason) {
    case api::EventReason::neverStored: return "these tokens had not been computed after this beginning before";
    case api::EventReason::evicted: return "their blocks had been evicted";
    case api::EventReason::lastToken: return "the last token always runs, to give the first logits";
    case api::EventReason::differentSalt: return "they were computed under another salt, which is never shared";
    case api::EventReason::differentModel: return "they were computed by another model";
    case api::EventReason::differentTemplate: return "the chat template or its settings have changed";
    case api::EventReason::numerics: return "they were computed by other arithmetic (another device or version)";
    case api::EventReason::contextDropped: return "the oldest turns were dropped because the context was full";
    case api::EventReason::partialBlock: return "it is new, or lay in a block that was not full, and only full blocks are shared";
    case api::EventReason::windowHole: return "a sliding window no longer holds what stood before them";
    case api::EventReason::cacheOff: return "the cache was off for this request";
    case api::EventReason::dropped: return "you had dropped their KV";
    case api::EventReason::systemPromptEdited: return "the system prompt was edited before this turn";
    case api::EventReason::corruptPayload: return "the stored block failed its check and was dropped";
    default: return "the cache held nothing for them";
    }
}

// "305 tokens that had been computed before were computed again, which took 0.31 s"
std::string again(const api::MissReport &miss)
{
    std::string out = withCommas(miss.repeatedTokens) + " tokens that had been computed before were computed again";
    if (miss.lostSeconds <= 0)
        return out;
    char took[48];
    std::snprintf(took, sizeof took, ", which took about %.*f s", miss.lostSeconds < 10 ? 2 : 0, miss.lostSeconds);
    return out + took;
}

} // namespace

api::MissReport explainLookup(const LookupRecord &lookup, std::span<const TokenId> prompt,
                              const text::Tokenizer &tokenizer, double prefillTokensPerSecond, std::uint32_t blockSize)
{
    api::MissReport report;
    report.promptTokens = lookup.promptTokens;
    report.matchedTokens = lookup.matchedTokens;
    report.reason = lookup.reason;
    report.firstDifference = lookup.firstDifference;
    report.evictedAtNs = lookup.evictedAtNs;
    report.cachedPath = lookup.cachedPath;
    report.deadInMemory = lookup.pathInMemory;
    report.deadEvicted = lookup.pathEvicted;
    report.deadOnDisk = lookup.pathOnDisk;
    report.deadBlocks = std::uint32_t(lookup.cachedPath.size());
    if (lookup.evictedAtNs != 0 && lookup.reason != api::EventReason::dropped) {
        report.evictedBy = std::string(api::toString(lookup.evictedFor));
        if (lookup.evictedBy.value != 0)
            report.evictedBy += ", for session " + std::to_string(lookup.evictedBy.value);
    }
    const auto at = lookup.firstDifference;
    if (at >= 0 && std::size_t(at) < prompt.size()) {
        showBothTexts(lookup, prompt, std::size_t(at), tokenizer, report);
        report.repeatedTokens = repeatedTokens(prompt.subspan(std::size_t(at)), lookup.cachedTokens);
    }
    const double again = double(lookup.wantedGhosts) * blockSize + report.repeatedTokens;
    if (prefillTokensPerSecond > 0)
        report.lostSeconds = again / prefillTokensPerSecond;
    return report;
}

api::TurnReceipt makeReceipt(TurnId turn, const SequenceStats &stats, api::FinishReason finish, api::MissReport miss)
{
    api::TurnReceipt receipt;
    receipt.turn = turn;
    receipt.promptTokens = stats.promptTokens;
    receipt.fromMemory = stats.cachedMemory;
    receipt.fromDisk = stats.cachedDisk;
    receipt.computed = stats.computed;
    receipt.recomputed = stats.recomputed;
    receipt.completionTokens = stats.completionTokens;
    receipt.ttftSeconds = stats.ttftSeconds();
    receipt.prefillTokensPerSecond = stats.prefillTokensPerSecond();
    receipt.decodeTokensPerSecond = stats.decodeTokensPerSecond();
    receipt.savedSeconds = stats.savedSeconds;
    receipt.restoredBlocks = stats.restoredBlocks;
    receipt.evictedBlocks = stats.evictedBlocks;
    receipt.finish = finish;
    receipt.miss = std::move(miss);
    return receipt;
}

bool sortPath(const kv::KvCache &cache, SessionId asker, api::MissReport &report)
{
    api::MissReport sorted = report;
    sorted.deadInMemory = sorted.deadEvicted = sorted.deadOnDisk = sorted.heldBlocks = sorted.droppedBlocks = 0;
    sorted.heldBy = {};
    for (const NodeId node : report.cachedPath) {
        const auto info = cache.describe(node);
        if (!info)
            return false;
        const bool inMemory = std::ranges::find(info->blocks, kNoBlock) == info->blocks.end();
        SessionId other = info->owner != asker ? info->owner : SessionId{};
        for (const SessionId sharer : info->sharers)
            other = other.value == 0 && sharer != asker ? sharer : other;
        if (!inMemory && !info->onDisk)
            info->evictedFor == api::EventReason::dropped ? ++sorted.droppedBlocks : sorted.deadEvicted += other.value == 0;
        else if (other.value != 0 || (inMemory && !info->dead))
            ++sorted.heldBlocks, sorted.heldBy = other.value != 0 ? other : asker;
        else
            inMemory ? ++sorted.deadInMemory : ++sorted.deadOnDisk;
    }
    sorted.deadBlocks = sorted.deadInMemory + sorted.deadEvicted + sorted.deadOnDisk;
    report = std::move(sorted);
    return true;
}

std::string describe(const api::MissReport &miss)
{
    std::string out = "Matched " + withCommas(miss.matchedTokens) + " of " + withCommas(miss.promptTokens) + " tokens";
    if (miss.matchedTokens >= miss.promptTokens)
        return out + ".";
    if (miss.repeatedTokens > 0 && miss.reason == api::EventReason::systemPromptEdited)
        return out + ". The system prompt was edited before this turn, and blocks are named by everything before them: so " +
               again(miss) + ".";
    if (miss.repeatedTokens > 0 && miss.reason == api::EventReason::contextDropped)
        return out + ". The oldest turns were dropped because the context was full, and what follows them moved forward: so " +
               again(miss) + ".";
    if (miss.repeatedTokens > 0 && miss.reason == api::EventReason::neverStored)
        return out + ". From token " + withCommas(std::uint32_t(miss.firstDifference)) +
               " on the text is another one than the cache holds, and blocks are named by everything before them: so " +
               withCommas(miss.repeatedTokens) + " tokens that had been computed after the old beginning were computed again.";
    out += "; the rest was computed because " + std::string(cause(miss.reason));
    if (!miss.evictedBy.empty())
        out += " (" + miss.evictedBy + ")";
    return out + ".";
}

} // namespace kvilt::chat

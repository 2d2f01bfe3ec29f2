// SPDX-License-Identifier: Apache-2.0
#include "engine/chat/turn_record.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace kvilt::chat {

namespace {

using nlohmann::json;

// A document from the store is data from outside: a field that is absent, of another type or out of range keeps its
// default, so that an old or damaged receipt still shows what it has.
template <typename Number>
void read(const json &from, const char *key, Number &to)
{
    const auto it = from.find(key);
    if (it == from.end() || !it->is_number())
        return;
    const double value = it->get<double>();
    if (std::isfinite(value) && value >= double(std::numeric_limits<Number>::lowest()) &&
        value <= double(std::numeric_limits<Number>::max()))
        to = it->get<Number>();
}

void read(const json &from, const char *key, std::string &to)
{
    const auto it = from.find(key);
    if (it != from.end() && it->is_string())
        to = it->get<std::string>();
}

template <typename Enum>
void readName(const json &from, const char *key, Enum &to, int count)
{
    std::string name;
    read(from, key, name);
    for (int i = 0; i < count; ++i)
        if (api::toString(static_cast<Enum>(i)) == name)
            to = static_cast<Enum>(i);
}

json missToJson(const api::MissReport &m)
{
    json path = json::array();
    for (NodeId node : m.cachedPath)
        path.push_back(node.value);
    return {{"prompt_tokens", m.promptTokens}, {"matched_tokens", m.matchedTokens},
            {"reason", api::toString(m.reason)}, {"first_difference", m.firstDifference},
            {"cached_text", m.cachedText}, {"asked_text", m.askedText},
            {"cached_begin", m.cachedBegin}, {"cached_end", m.cachedEnd},
            {"asked_begin", m.askedBegin}, {"asked_end", m.askedEnd},
            {"evicted_at_ns", m.evictedAtNs}, {"evicted_by", m.evictedBy},
            {"dead_blocks", m.deadBlocks}, {"dead_in_memory", m.deadInMemory},
            {"dead_evicted", m.deadEvicted}, {"dead_on_disk", m.deadOnDisk},
            {"held_blocks", m.heldBlocks}, {"held_by", m.heldBy.value}, {"dropped_blocks", m.droppedBlocks},
            {"repeated_tokens", m.repeatedTokens}, {"lost_seconds", m.lostSeconds}, {"cached_path", path}};
}

void readMiss(const json &from, api::MissReport &m)
{
    read(from, "prompt_tokens", m.promptTokens);
    read(from, "matched_tokens", m.matchedTokens);
    readName(from, "reason", m.reason, api::kEventReasons);
    read(from, "first_difference", m.firstDifference);
    read(from, "cached_text", m.cachedText);
    read(from, "asked_text", m.askedText);
    read(from, "cached_begin", m.cachedBegin);
    read(from, "cached_end", m.cachedEnd);
    read(from, "asked_begin", m.askedBegin);
    read(from, "asked_end", m.askedEnd);
    read(from, "evicted_at_ns", m.evictedAtNs);
    read(from, "evicted_by", m.evictedBy);
    read(from, "dead_blocks", m.deadBlocks);
    read(from, "dead_in_memory", m.deadInMemory);
    read(from, "dead_evicted", m.deadEvicted);
    read(from, "dead_on_disk", m.deadOnDisk);
    read(from, "held_blocks", m.heldBlocks);
    read(from, "held_by", m.heldBy.value);
    read(from, "dropped_blocks", m.droppedBlocks);
    read(from, "repeated_tokens", m.repeatedTokens);
    read(from, "lost_seconds", m.lostSeconds);
    // A range that does not fit its text would be painted out of bounds.
    m.cachedEnd = std::min(m.cachedEnd, std::uint32_t(m.cachedText.size()));
    m.cachedBegin = std::min(m.cachedBegin, m.cachedEnd);
    m.askedEnd = std::min(m.askedEnd, std::uint32_t(m.askedText.size()));
    m.askedBegin = std::min(m.askedBegin, m.askedEnd);
    if (const auto path = from.find("cached_path"); path != from.end() && path->is_array())
        for (const json &node : *path)
            if (node.is_number_unsigned())
                m.cachedPath.push_back(NodeId{node.get<std::uint64_t>()});
}

} // namespace

std::string receiptToJson(const api::TurnReceipt &r)
{
    const json document = {{"turn", r.turn.value},
                           {"prompt_tokens", r.promptTokens},
                           {"from_memory", r.fromMemory},
                           {"from_disk", r.fromDisk},
                           {"computed", r.computed},
                           {"recomputed", r.recomputed},
                           {"completion_tokens", r.completionTokens},
                           {"ttft_seconds", r.ttftSeconds},
                           {"prefill_tokens_per_s", r.prefillTokensPerSecond},
                           {"decode_tokens_per_s", r.decodeTokensPerSecond},
                           {"saved_seconds", r.savedSeconds},
                           {"restored_blocks", r.restoredBlocks},
                           {"evicted_blocks", r.evictedBlocks},
                           {"finish", api::toString(r.finish)},
                           {"system_prompt", r.systemPrompt},
                           {"context_start", r.contextStart.value},
                           {"miss", missToJson(r.miss)}};
    return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<api::TurnReceipt> receiptFromJson(std::string_view text)
{
    const json document = json::parse(text, nullptr, false);
    if (!document.is_object())
        return fail(ErrorCode::corrupt, "a stored receipt is not a JSON object");
    api::TurnReceipt r;
    read(document, "turn", r.turn.value);
    read(document, "prompt_tokens", r.promptTokens);
    read(document, "from_memory", r.fromMemory);
    read(document, "from_disk", r.fromDisk);
    read(document, "computed", r.computed);
    read(document, "recomputed", r.recomputed);
    read(document, "completion_tokens", r.completionTokens);
    read(document, "ttft_seconds", r.ttftSeconds);
    read(document, "prefill_tokens_per_s", r.prefillTokensPerSecond);
    read(document, "decode_tokens_per_s", r.decodeTokensPerSecond);
    read(document, "saved_seconds", r.savedSeconds);
    read(document, "restored_blocks", r.restoredBlocks);
    read(document, "evicted_blocks", r.evictedBlocks);
    readName(document, "finish", r.finish, 4);
    read(document, "system_prompt", r.systemPrompt);
    read(document, "context_start", r.contextStart.value);
    if (const auto miss = document.find("miss"); miss != document.end() && miss->is_object())
        readMiss(*miss, r.miss);
    return r;
}

} // namespace kvilt::chat

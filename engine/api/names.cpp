// SPDX-License-Identifier: Apache-2.0
#include "engine/api/conversation.h"

#include <array>

namespace kvilt::api {

namespace {
template <std::size_t N, typename Enum>
std::string_view nameOf(const std::array<std::string_view, N> &names, Enum value)
{
    const auto index = static_cast<std::size_t>(value);
    return index < N ? names[index] : std::string_view("unknown");
}
} // namespace

std::string_view toString(EventKind kind)
{
    static constexpr std::array<std::string_view, kEventKinds> names{
        "allocate", "reference", "release", "seal",  "hit",     "miss",        "copy-on-write", "pin",   "unpin",
        "evict",    "demote",    "promote", "store", "restore", "dead-branch", "free",          "regret"};
    return nameOf(names, kind);
}

std::string_view toString(EventReason reason)
{
    static constexpr std::array<std::string_view, kEventReasons> names{
        "none",          "never-stored",    "evicted",        "last-token",    "different-salt", "different-model",
        "different-template", "numerics",   "partial-block",  "window-hole",   "cache-off",      "corrupt-payload",
        "lru",           "fifo",            "lfu",            "belady",        "dead-branch-first", "finished",
        "cancelled",     "preempted",       "edited",         "regenerated",   "dropped",        "window-passed",
        "context-dropped", "model-unloaded", "forked",        "deduplicated",  "pinned-message", "pinned-block",
        "system-prompt-edited", "branch-switched"};
    return nameOf(names, reason);
}

std::string_view toString(Tier tier)
{
    static constexpr std::array<std::string_view, 3> names{"device", "host", "disk"};
    return nameOf(names, tier);
}

std::string_view toString(Role role)
{
    static constexpr std::array<std::string_view, 4> names{"system", "user", "assistant", "tool"};
    return nameOf(names, role);
}

std::string_view toString(MessageState state)
{
    static constexpr std::array<std::string_view, 5> names{"complete", "streaming", "interrupted", "stopped", "failed"};
    return nameOf(names, state);
}

std::string_view toString(FinishReason reason)
{
    static constexpr std::array<std::string_view, 4> names{"stop", "length", "cancelled", "error"};
    return nameOf(names, reason);
}

std::string_view toString(KvType type)
{
    static constexpr std::array<std::string_view, 6> names{"f32", "f16", "bf16", "q8", "q4", "fp8"};
    return nameOf(names, type);
}

namespace {

// What was typed; of a message that is files alone, the first one's name, or its content where the name was made up for
// a long paste.
std::string_view wordsForTitle(std::string_view message)
{
    constexpr std::string_view open = "<file name=\"", openEnd = "\">\n", pasted = "pasted text";
    if (!message.starts_with(open))
        return message.substr(0, message.find("\n\n<file name=\""));
    const auto nameEnd = message.find(openEnd);
    if (nameEnd == std::string_view::npos)
        return message;
    const std::string_view name = message.substr(open.size(), nameEnd - open.size());
    if (!name.starts_with(pasted) && !name.empty())
        return name;
    const std::string_view content = message.substr(nameEnd + openEnd.size());
    return content.substr(0, content.find("\n</file>"));
}

} // namespace

std::string titleFrom(std::string_view message)
{
    const std::string_view firstMessage = wordsForTitle(message);
    std::string title;
    bool space = false;
    int words = 0;
    for (const char c : firstMessage) {
        const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        if (blank) {
            space = !title.empty();
            continue;
        }
        if (space) {
            if (++words >= 12 || title.size() > 60)
                return title + "…";
            title += ' ';
            space = false;
        }
        title += c;
        if (title.size() > 120) { // one very long word: cut at a UTF-8 boundary
            while (!title.empty() && (static_cast<unsigned char>(title.back()) & 0xC0) == 0x80)
                title.pop_back();
            if (!title.empty() && static_cast<unsigned char>(title.back()) >= 0xC0)
                title.pop_back();
            return title + "…";
        }
    }
    return title;
}

} // namespace kvilt::api

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"
#include "engine/api/settings.h"

#include <cstdint>
#include <string>
#include <vector>

namespace kvilt::api {

enum class Role : std::uint8_t { system, user, assistant, tool };
enum class MessageState : std::uint8_t {
    complete,
    streaming,   // being written now
    interrupted, // the program ended while it was written: the text so far is kept
    stopped,     // the user stopped it
    failed,
};
enum class FinishReason : std::uint8_t { stop, length, cancelled, error };

// A run of tokens of a message's text: `chars` UTF-8 bytes from `begin` belong to prompt position `token`.
struct TokenSpan {
    std::int32_t token = 0;      // position in the sequence, 0 = first token of the prompt
    std::uint32_t begin = 0;     // byte offset in the message's text
    std::uint32_t bytes = 0;
};

// One lookup, explained: what matched, where it parted, why, and what that cost.
struct MissReport {
    std::uint32_t promptTokens = 0;
    std::uint32_t matchedTokens = 0;
    EventReason reason = EventReason::none;
    std::int32_t firstDifference = -1;     // token position; -1: none
    std::string cachedText;                // around the first difference, as the cache holds it
    std::string askedText;                 // and as it was asked
    std::uint32_t cachedBegin = 0, cachedEnd = 0; // byte range of the differing token in cachedText
    std::uint32_t askedBegin = 0, askedEnd = 0;
    std::uint64_t evictedAtNs = 0;         // last eviction of the first missing node, if that was the reason
    std::string evictedBy;                 // policy's reason and the session that needed the room
    std::uint32_t deadBlocks = 0;          // blocks of this chat that the parting left behind and nobody needs
    std::uint32_t deadInMemory = 0, deadEvicted = 0, deadOnDisk = 0;
    std::uint32_t heldBlocks = 0;          // what the cache held there lives on, for `heldBy`
    SessionId heldBy;                      // another chat, or this one: another branch of it
    std::uint32_t droppedBlocks = 0;       // the user dropped them
    std::uint32_t repeatedTokens = 0;      // computed again although the cache held the same words after another beginning
    double lostSeconds = 0;                // computing what was missed although it had been computed before
    std::vector<NodeId> cachedPath;        // the nodes the cache held after the parting, in order
};

// The receipt under a reply. prompt = fromMemory + fromDisk + computed.
struct TurnReceipt {
    TurnId turn;
    std::uint32_t promptTokens = 0;
    std::uint32_t fromMemory = 0;
    std::uint32_t fromDisk = 0;
    std::uint32_t computed = 0;
    std::uint32_t recomputed = 0;          // work repeated after a preemption, counted apart
    std::uint32_t completionTokens = 0;
    double ttftSeconds = 0;
    double prefillTokensPerSecond = 0;
    double decodeTokensPerSecond = 0;
    double savedSeconds = 0;               // what the cached part would have cost to compute
    std::uint32_t restoredBlocks = 0;
    std::uint32_t evictedBlocks = 0;
    FinishReason finish = FinishReason::stop;
    std::uint64_t systemPrompt = 0;        // which one it ran with: a hash, never 0; 0: not known
    MessageId contextStart;                // the first message of its prompt after those dropped; 0: none dropped
    MissReport miss;
};

struct Message {
    MessageId id;
    MessageId parent;                      // 0: first of its session
    Role role = Role::user;
    MessageState state = MessageState::complete;
    std::string text;
    std::int64_t createdMs = 0;            // Unix time
    bool pinned = false;
    int branchIndex = 0;                   // position among its siblings, from 0
    int branchCount = 1;
    bool hasReceipt = false;
    TurnReceipt receipt;                   // assistant messages
};

// A session as the chat view shows it: the live branch, root first.
struct Conversation {
    SessionId id;
    std::string title;
    SessionSettings settings;
    std::vector<Message> messages;
};

struct SessionSummary {
    SessionId id;
    std::string title;
    std::string name;                      // given on the command line; empty: none
    std::string folder;
    std::vector<std::string> tags;
    std::int64_t updatedMs = 0;
    std::uint32_t messages = 0;
    std::uint32_t tokens = 0;              // of the live branch at its last turn
    std::uint64_t kvBytes = 0;             // on disk
    std::uint32_t blocksInMemory = 0;
    std::uint32_t blocksOnDisk = 0;
    std::string snippet;                   // search hit with <b>…</b> marks; empty without a search
};

// The twelve-word title that a chat gets from its first message.
std::string titleFrom(std::string_view firstMessage);

std::string_view toString(Role role);
std::string_view toString(MessageState state);
std::string_view toString(FinishReason reason);
std::string_view toString(KvType type);

} // namespace kvilt::api

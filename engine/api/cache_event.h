// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"

#include <cstdint>
#include <string_view>

namespace kvilt::api {

// What happened to a block. A small closed set: views switch over it, files store the number, so values are
// only ever appended.
enum class EventKind : std::uint8_t {
    allocate,   // a block got an owner; a = logical index in the sequence, b = tokens it may hold
    reference,  // references grew because a lookup hit it; a = logical index
    release,    // references fell; references == 0 means idle and evictable (or free when it has no node)
    seal,       // block is full and now has a node; a = first token position, b = tokens in it
    hit,        // once a lookup; a = tokens matched, b = tokens asked
    miss,       // once a lookup that left something to compute; a = first position not matched, b = tokens missing
    copyOnWrite,// block is a copy of block a
    pin,
    unpin,
    evict,      // reason says why; a = idle time in ms, b = uses
    demote,     // copied to a slower tier (tier = the target)
    promote,    // copied to a faster tier
    store,      // handed to disk and committed; a = bytes
    restore,    // read from disk into block; a = bytes, b = microseconds
    deadBranch, // no live branch needs it any more: goes first; a = 1: one does again
    free,       // content dropped without eviction (drop KV, model unloaded)
    regret,     // a lookup wanted a node that had been evicted; a = ms since its eviction, b = tokens to compute again
};
inline constexpr int kEventKinds = 17;

enum class EventReason : std::uint8_t {
    none,
    // misses
    neverStored,     // nobody computed these tokens after this prefix
    evicted,         // it was there; see the node's last eviction
    lastToken,       // everything matched, but the last token has to run
    differentSalt,
    differentModel,
    differentTemplate,
    numerics,        // stored by other arithmetic
    partialBlock,    // the tail of a block that was not full
    windowHole,      // a sliding-window group no longer holds the window before this point
    cacheOff,
    corruptPayload,  // a stored payload failed its checksum
    // evictions
    lru,
    fifo,
    lfu,
    belady,
    deadBranchFirst,
    // releases and drops
    finished,
    cancelled,
    preempted,
    edited,
    regenerated,
    dropped,         // the user asked
    windowPassed,    // sliding window moved on
    contextDropped,  // oldest turns dropped because the context was full
    modelUnloaded,
    forked,
    deduplicated,
    // pins
    pinnedMessage,   // a message that the user pinned needs it
    pinnedBlock,     // the user pinned the block itself
    // misses, again
    systemPromptEdited,
    branchSwitched,  // the user shows another branch of the chat
};
inline constexpr int kEventReasons = 32;

enum class Tier : std::uint8_t { device, host, disk };

// One decision about one block, as written by the engine's single producer. 64 bytes, trivially copyable: it
// crosses rings and files as it is.
struct CacheEvent {
    std::uint64_t sequenceNumber = 0; // position in the journal; a gap tells the reader that it missed some
    std::uint64_t timeNs = 0;         // CLOCK_REALTIME, for display
    std::uint64_t node = 0;           // NodeId, 0 when the block is not sealed
    std::uint64_t sequence = 0;       // SequenceId, 0 when none
    std::int64_t turn = 0;            // TurnId, 0 when none
    std::uint32_t block = kNoBlock.value; // BlockId within `group`
    std::uint16_t references = 0;     // after the event
    std::uint16_t group = 0;          // GroupIndex
    EventKind kind = EventKind::allocate;
    EventReason reason = EventReason::none;
    Tier tier = Tier::device;
    std::uint8_t reserved = 0;
    std::uint32_t session = 0;        // SessionId on whose behalf it was done (evict: who needed the room); 0 none
    std::uint32_t a = 0; // meaning by kind, saturated
    std::uint32_t b = 0;
};
static_assert(sizeof(CacheEvent) == 64);

std::string_view toString(EventKind kind);     // "copy-on-write"
std::string_view toString(EventReason reason); // "never-stored"
std::string_view toString(Tier tier);

} // namespace kvilt::api

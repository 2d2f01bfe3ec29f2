// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"

#include <cstdint>
#include <string>
#include <vector>

namespace kvilt::api {

enum class BlockState : std::uint8_t {
    free,        // holds nothing
    inUse,       // one sequence holds it
    cached,      // idle: nobody holds it, but a hit would
    shared,      // two or more hold it
    pinned,
    writing,     // in use and not full
    deadBranch,  // idle, and no live branch needs it
};
inline constexpr int kBlockStates = 7;

// One block of the pool, as a snapshot gives it.
struct BlockInfo {
    BlockState state = BlockState::free;
    std::uint16_t references = 0;
    std::uint32_t uses = 0;                // lookups that hit it
    std::uint64_t lastUseNs = 0;
    NodeId node;                           // 0: not sealed
    NodeId parent;
    SessionId owner;                       // the session that wrote it; 0: none
    std::int32_t firstToken = 0;           // position in its sequence
    std::uint16_t tokens = 0;              // filled
    std::int32_t evictionRank = -1;        // 0 = next to go; -1: not evictable
    bool onDisk = false;
};

struct GroupView {
    GroupIndex group;
    std::string name;                      // "all layers", "window 512", ...
    std::uint32_t capacity = 0;            // blocks it may grow to
    std::uint32_t bytesPerBlock = 0;
    std::vector<BlockInfo> blocks;         // index = BlockId
};

// The whole pool at one point of the event stream: apply events with a greater number on top.
struct PoolSnapshot {
    std::uint64_t sequenceNumber = 0;
    std::uint16_t blockSize = 16;
    std::string policy;
    std::vector<GroupView> groups;
};

// A cell of the ribbon under the message box.
enum class RibbonState : std::uint8_t { memory, shared, pinned, writing, disk, evicted, droppedByWindow, unused };
struct RibbonCell {
    RibbonState state = RibbonState::unused;
    NodeId node;
    BlockId block = kNoBlock;
    std::int32_t firstToken = 0;
    std::uint16_t tokens = 0;
};
struct Ribbon {
    SessionId session;
    std::uint32_t contextTokens = 0;       // the limit
    std::uint32_t usedTokens = 0;
    std::uint16_t blockSize = 16;
    std::vector<RibbonCell> cells;
    // text -> block: for each message of the live branch, its tokens; parallel arrays by message
    struct MessageSpan {
        MessageId message;
        std::int32_t firstToken = 0, endToken = 0;
    };
    std::vector<MessageSpan> messages;
};

// Numbers for the status bar and the plots; the four counts add up to capacity of group 0.
struct PoolCounts {
    std::uint64_t timeNs = 0;
    std::uint32_t capacity = 0, inUse = 0, partlyFilled = 0, cachedIdle = 0, free = 0;
    std::uint64_t bytesInMemory = 0, bytesBudget = 0, bytesOnDisk = 0, quota = 0;
    std::uint64_t lookupTokens = 0, hitTokensMemory = 0, hitTokensDisk = 0; // running totals
    std::uint64_t evictions = 0, regretted = 0;
};

} // namespace kvilt::api

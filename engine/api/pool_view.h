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
    bool onDisk = false;                   // a copy is stored
    bool inHost = false;                   // a copy lies in the host's memory; beside a GPU only
    // Where it comes back from once the pool has evicted it, the map's texture: host before disk; device: from nowhere.
    Tier tier = Tier::device;
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
    Tier tier = Tier::device;              // the nearest that holds it; state disk: host or disk
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

// The device that computes and its memory, whoever uses it; without a GPU that is the processor and the host's memory.
struct DeviceCounts {
    std::string name;                      // the processor's, or "NVIDIA H200 (139.8 GiB)"
    bool gpu = false;                      // has memory of its own, and the host's is a tier beside it
    std::uint64_t totalBytes = 0, freeBytes = 0; // 0 of 0: not known
    std::uint64_t poolBytes = 0;           // of KV blocks, taken so far
    std::uint64_t usedBytes() const { return totalBytes > freeBytes ? totalBytes - freeBytes : 0; }
};

// Payloads of sealed blocks outside the pool: one a block and layer group.
struct TierCounts {
    std::uint64_t blocks = 0, bytes = 0;
    std::uint64_t inPool = 0;              // of these blocks: the pool has them too
    std::uint64_t onlyHere() const { return blocks - inPool; } // evicted from the pool: they come back from here
};

// Numbers for the status bar and the plots; the four counts add up to capacity of group 0.
struct PoolCounts {
    std::uint64_t timeNs = 0;
    std::uint32_t capacity = 0, inUse = 0, partlyFilled = 0, cachedIdle = 0, free = 0;
    std::uint64_t bytesInMemory = 0, bytesBudget = 0, bytesOnDisk = 0, quota = 0;
    std::uint64_t lookupTokens = 0, hitTokensMemory = 0, hitTokensDisk = 0; // running totals
    std::uint64_t evictions = 0, regretted = 0;
    DeviceCounts device;
    TierCounts host, disk;                 // host: always empty without a GPU; disk: all that is stored, of every model
};

} // namespace kvilt::api

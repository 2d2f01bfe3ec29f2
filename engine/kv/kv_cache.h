// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"
#include "engine/api/pool_view.h"
#include "engine/kv/block_hash.h"
#include "engine/kv/block_table.h"
#include "engine/kv/kv_layout.h"
#include "engine/support/clock.h"
#include "engine/support/error.h"
#include "engine/trace/event_sink.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// The only door to blocks, nodes and tables. The way of one generation:
//
//   Lookup found = cache.lookup(request);          // changes nothing, may be repeated while the request waits
//   auto start = cache.allocate(request, found, firstChunkEnd);  // nullopt: does not fit, nothing changed
//   ... do start->copies, then start->restores (cache.restored(...) for each), then compute from start->hitTokens
//   cache.append(sequence, tokensJustComputed);    // full blocks are sealed and become hits for others
//   cache.reserve(sequence, positions, copies);    // before each further step; false: does not fit
//   store.put(cache.takeSealed());                 // after a step, before blocks may be overwritten
//   cache.release(sequence, api::EventReason::finished);
//
// Not thread-safe: one owner thread (the engine's). Every decision is an event in the sink, with a reason.
namespace kvilt::kv {

struct KvCacheConfig {
    KvLayout layout;                     // blockSize here may be any number ≥ 1 (replay takes any)
    CacheIdentity identity;
    std::uint32_t blocks = 0;            // capacity of each layer group's pool
    std::string policy = "lru";          // lru, fifo, lfu
    std::string numerics = "cpu:1";      // which arithmetic fills the blocks of this process
    bool caching = true;                 // false: neither looks up nor seals
    bool partialReuse = false;           // copy the longest matching part of one more block
    bool dedupe = false;                 // a block sealed with tokens that are cached already gives way to the earlier
    bool nearReuse = false;              // the user allowed KV of other numerics
    // Of which other numerics, for it has to mean the same (see backend/numerics.h). Not set: of none.
    std::function<bool(std::string_view numerics)> isNear;
    std::uint32_t maxGhosts = 0;         // remembered nodes without payload; 0: max(1024, 4 × blocks)
    // Asked before block `blocks - 1` of a group is taken for the first time; false: there is no storage for it, and
    // the pool stays at what it has. Not set: storage is there.
    std::function<bool(GroupIndex group, std::uint32_t blocks)> grow;
    int fastHashBits = 64;               // tests cut it: a hit compares tokens and parent, never the hash alone
};

// A prompt that wants KV.
struct Request {
    SequenceId sequence;                 // unique among live sequences
    SessionId session;
    TurnId turn;
    std::span<const TokenId> tokens;     // whole prompt
    std::string_view salt;               // part of the root: never shares with another salt
    bool reuse = true;                   // false: takes new blocks only
    bool seal = true;                    // false: its blocks never become hits
    bool resumed = false;                // after a preemption: hits are not counted again
    // What the caller knows to have changed since this session's last turn (differentModel, differentTemplate):
    // the reason given when the tokens are simply unknown here.
    api::EventReason knownChange = api::EventReason::none;
};

// Where a request parts from what is cached. Plain data; it goes stale with the next change of the cache, which
// allocate() notices and repeats the lookup.
struct Lookup {
    std::size_t promptTokens = 0;
    std::size_t matchedTokens = 0;       // = memoryTokens + diskTokens + partialTokens; never the whole prompt
    std::size_t memoryTokens = 0;
    std::size_t diskTokens = 0;          // from outside the pool: the disk, or the host's memory beside a GPU
    std::size_t hostTokens = 0;          // of diskTokens, those that the host's memory has
    std::size_t partialTokens = 0;       // of one more block, to be copied (partialReuse)
    NodeId partialNode;
    bool near = false;                   // some of it was made by other numerics (nearReuse)
    std::vector<NodeId> nodes;           // matched, first block first

    // The first position that has to be computed, and why. reason is lastToken when nothing else was missed.
    std::size_t firstMissing = 0;
    api::EventReason reason = api::EventReason::none;
    NodeId missingNode;                  // the node wanted there, when it is remembered; else 0
    std::uint64_t evictedAtNs = 0;       // its last eviction, if that was the reason
    api::EventReason evictedFor = api::EventReason::none; // the policy's reason
    SessionId evictedBy;                 // whose allocation needed the room
    TurnId evictedByTurn;
    std::vector<NodeId> wantedGhosts;    // further nodes of this prompt that had been evicted

    // The cache's own notes, good while nothing changed since.
    std::uint64_t epoch = 0;
    std::vector<std::uint32_t> places;
};

// What the cache held where a request parted from it: for the miss report.
struct Parting {
    std::int64_t firstDifference = -1;   // token position; -1: the cache held nothing further here
    std::vector<NodeId> cachedPath;      // what it held after the parting, in order
    std::uint32_t inMemory = 0, evicted = 0, onDisk = 0; // of cachedPath
};

// Before the step is computed: copy the first `tokens` rows of a block.
struct CopyOrder {
    GroupIndex group;
    BlockId from, to;
    std::uint32_t tokens = 0;
};

// Before the step is computed: read this payload into the block, compare its tokens, then restored().
struct RestoreOrder {
    NodeId node;
    GroupIndex group;
    BlockId block;
    BlockName name;
    std::int64_t row = 0;                // as given to addStored/markStored
    std::uint64_t bytes = 0;
    std::int32_t firstToken = 0;
    bool near = false;                   // made by other numerics: the block stays this sequence's own
    std::string numerics;                // which
    api::Tier tier = api::Tier::disk;    // where it lies
};

struct Allocation {
    std::size_t hitTokens = 0;           // computing starts here
    std::vector<CopyOrder> copies;
    std::vector<RestoreOrder> restores;
    std::vector<BlockId> newBlocks;      // of group 0, in logical order
    std::uint32_t evictedBlocks = 0;     // all groups
};

// A full block that has no stored payload of this numerics yet.
struct SealedBlock {
    NodeId node;
    GroupIndex group;
    BlockId block;
    BlockName name, parentName;
    std::int32_t firstToken = 0;
    std::vector<TokenId> tokens;
    SessionId session;
    TurnId turn;
};

// A payload outside the pool: on disk, or (tier host) only in the host's memory beside a GPU.
struct StoredPayload {
    BlockName name;
    GroupIndex group;
    std::string_view numerics;
    std::int64_t row = 0;                // the store's own key
    std::uint64_t bytes = 0;
    api::Tier tier = api::Tier::disk;
};

// What is remembered of a node, for the inspector.
struct NodeInfo {
    NodeId node, parent;                 // parent 0: child of a root
    std::int32_t firstToken = 0;
    std::span<const TokenId> tokens;     // valid until the next change
    std::uint32_t uses = 0;
    std::vector<BlockId> blocks;         // one a group; kNoBlock: not in memory
    bool onDisk = false;                 // or in the host's memory: in every group, with usable numerics
    bool dead = false, pinned = false;
    SessionId owner;
    std::vector<SessionId> sharers;      // other sessions that use it
    std::uint64_t evictedAtNs = 0;       // 0: never evicted
    api::EventReason evictedFor = api::EventReason::none;
    SessionId evictedBy;
};

class KvCache {
public:
    // badInput: no group, block size or capacity 0, more than 32 groups, an unknown policy.
    static Result<std::unique_ptr<KvCache>> create(KvCacheConfig config, trace::EventSink &sink, const Clock &clock);
    ~KvCache();
    KvCache(const KvCache &) = delete;
    KvCache &operator=(const KvCache &) = delete;

    const KvCacheConfig &config() const;

    // --- One generation ---

    // The longest prefix that every group can serve: rows groups every block, window groups the blocks that cover
    // the window before its end; from memory, then from disk. Never the last token, which has to run. Emits nothing
    // and counts nothing. (Not const: a disk-resident node met for the first time gets its NodeId.)
    Lookup lookup(const Request &request);
    Parting parting(const Request &request, const Lookup &found) const;

    // Starts a sequence: takes the hit blocks and new ones up to `positions` (at least the hit). Refused whole when
    // it does not fit: nothing changed, nothing emitted. Hits and misses are counted here, once a request.
    std::optional<Allocation> allocate(const Request &request, const Lookup &found, std::size_t positions);

    // Makes positions [0, positions) writable from the computed length on. A tail block that others hold or that is
    // sealed is replaced by a copy: `copies` gets the order; orders are carried out in the order given. False: does
    // not fit, nothing changed.
    [[nodiscard]] bool reserve(SequenceId sequence, std::size_t positions, std::vector<CopyOrder> &copies);

    // These tokens, which follow the computed length, have been computed into the reserved blocks.
    void append(SequenceId sequence, std::span<const TokenId> tokens);

    // A second sequence with the same first `tokens` (≤ computed) tokens; blocks are shared until one of them writes.
    // False, and nothing changed, when a window group no longer holds the window before that point: allocate instead.
    [[nodiscard]] bool fork(SequenceId from, SequenceId to, SessionId session, TurnId turn, std::size_t tokens);

    // Forgets everything after the first `tokens` tokens of the sequence. Sealed nodes stay cached. False as for fork.
    [[nodiscard]] bool truncate(SequenceId sequence, std::size_t tokens);

    // Blocks that lie wholly within [begin, end) become holes. What is computed afterwards saw a history with a gap,
    // so it is never sealed.
    void dropMiddle(SequenceId sequence, std::size_t begin, std::size_t end);

    // Gives every block back: those that hold no cached node are reused first, the others wait, tail before head.
    void release(SequenceId sequence, api::EventReason reason);

    bool holds(SequenceId sequence) const;
    std::size_t computedTokens(SequenceId sequence) const;
    std::size_t reservedPositions(SequenceId sequence) const;
    // The block that its next token goes into is shared, so that writing takes one block more than the table shows.
    bool sharesTail(SequenceId sequence) const;
    std::span<const BlockTable *const> tables(SequenceId sequence) const; // one a group; valid until release()
    std::vector<NodeId> path(SequenceId sequence) const;                  // sealed nodes, first block first

    // --- Nodes ---

    // A pinned node's block is never evicted; one that is only on disk is pinned when it returns. At most half of the
    // pool may be pinned, or running chats would find no room: nodes beyond pinLimit() are refused, in the order given.
    struct PinOutcome {
        std::size_t known = 0;   // of the nodes given
        std::size_t refused = 0; // of those known
    };
    PinOutcome pin(std::span<const NodeId> nodes, bool pinned, api::EventReason reason = api::EventReason::pinnedBlock,
                   SessionId session = {});
    std::size_t pinLimit() const;    // nodes
    std::size_t pinnedNodes() const; // now
    // These nodes belong to a branch that nobody continues: idle blocks of them go first. Nodes that another session
    // wrote are left alone. A later hit makes a node live again.
    std::size_t markDead(std::span<const NodeId> nodes, SessionId session, api::EventReason reason);
    // A branch of the session leads to these nodes again: they are as good as any other. Returns how many were dead.
    std::size_t revive(std::span<const NodeId> nodes, SessionId session, api::EventReason reason);
    // Frees the idle blocks that the session wrote and no other session has hit since. Returns how many.
    std::size_t dropSession(SessionId session);
    // Blocks of group 0 that each session uses or used; a shared one counts for each.
    std::map<SessionId, std::uint32_t> blocksOfSessions() const;
    // Frees every idle block and forgets every ghost; false, and nothing changed, while a sequence holds a block.
    bool reset(api::EventReason reason);
    // After a reset(): the blocks are filled by another arithmetic from now on, in other storage, which is asked for anew.
    void changeNumerics(const std::string &numerics);
    std::optional<NodeInfo> describe(NodeId node) const;
    std::optional<NodeId> nodeOf(GroupIndex group, BlockId block) const;
    std::optional<BlockName> name(NodeId node); // its name on disk; nothing when the node is not known (any more)

    // --- Disk ---

    // What the store holds, at start, in any order; nodes are resolved lazily, when a prompt asks for their name.
    void addStored(const StoredPayload &payload);
    // Full blocks sealed since the last call, still in memory and not stored yet.
    std::vector<SealedBlock> takeSealed();
    // The store committed a payload (microseconds: how long it took).
    void markStored(const StoredPayload &payload, SessionId session, TurnId turn);
    // The store no longer has it (quota, drop KV, checksum): `reason` none, dropped, corruptPayload, ...
    void forgetStored(const BlockName &name, GroupIndex group, std::string_view numerics, api::EventReason reason,
                      api::Tier tier = api::Tier::disk);
    // A restore order is done: the block now is the node's.
    // `from`: disk, or the host's memory.
    void restored(SequenceId sequence, const RestoreOrder &order, std::uint32_t microseconds,
                  api::Tier from = api::Tier::disk);
    // When a restore fails: forgetStored(), release(sequence), look up again.

    // --- Views ---

    std::uint32_t highWater(GroupIndex group) const; // blocks ever used: what the backend has to reserve
    std::uint32_t available(GroupIndex group) const; // blocks an allocation could take now
    api::PoolSnapshot snapshot() const;              // sequenceNumber is left to the journal's owner
    // timeNs, bytesBudget and quota are left to the caller where the cache cannot know them.
    api::PoolCounts counts() const;
    // Cells for a prompt of these tokens (what a chat would reuse); for a live sequence, its own blocks.
    std::vector<api::RibbonCell> ribbon(std::span<const TokenId> tokens, std::string_view salt);
    std::vector<api::RibbonCell> ribbon(SequenceId sequence) const;
    std::vector<BlockId> evictionOrder(GroupIndex group) const; // next to go first; never-used blocks included

private:
    struct Impl;
    explicit KvCache(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::kv

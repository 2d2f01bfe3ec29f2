// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/kv/block_pool.h"
#include "engine/kv/eviction_policy.h"
#include "engine/kv/kv_cache.h"
#include "engine/kv/prefix_tree.h"
#include "engine/kv/residency.h"

#include <deque>
#include <limits>
#include <unordered_map>

// KvCache's inside. Its functions live where they belong: kv_cache_lookup.cpp (what would match, and why not more),
// kv_cache_sequence.cpp (one generation), kv_cache_nodes.cpp (nodes, disk), kv_cache_views.cpp (snapshots).
namespace kvilt::kv {

inline std::uint32_t saturate(std::uint64_t value)
{
    return value > 0xffffffffu ? 0xffffffffu : std::uint32_t(value);
}

// On whose behalf something happens.
struct Actor {
    SequenceId sequence;
    SessionId session;
    TurnId turn;
};

struct SequenceState {
    Actor actor;
    NodeSlot root = kNoSlot;
    NodeSlot tip = kNoSlot;          // last sealed node or the root; held in the tree while the sequence lives
    std::vector<NodeSlot> path;      // sealed nodes; while `seals`, path.size() == computed / blockSize
    std::vector<TokenId> pending;    // computed tokens behind the last sealed node
    std::size_t computed = 0;
    bool seals = true;
    std::uint64_t admission = 0;
    std::vector<BlockTable> tables;  // one a group
    std::vector<const BlockTable *> tableView;
    std::vector<std::size_t> passed; // one a group: leading entries that the window has passed
};

struct KvCache::Impl {
    static constexpr std::size_t kWholePast = std::numeric_limits<std::size_t>::max();
    static constexpr std::size_t kMostTails = 256, kMostSaltsCompared = 16;

    struct Group {
        BlockPool pool;
        std::size_t keep; // tokens before the next one that it must hold; kWholePast for rows
        std::uint32_t backed = 0; // blocks with storage, when config.grow gives it
        BlockId protectedBlock = kNoBlock; // the running allocation copies from it: not to be evicted by it
    };
    // The part of a prompt that was computed into a block which never filled: a later prompt misses it.
    struct Tail {
        NodeId after;
        std::string salt;
        std::vector<TokenId> tokens;
    };
    struct SealedRef {
        std::uint16_t group;
        BlockId block;
    };

    Impl(KvCacheConfig config, std::unique_ptr<EvictionPolicy> policy, trace::EventSink &sink, const Clock &clock);

    // --- kv_cache_lookup.cpp ---
    Lookup lookup(const Request &request);
    Parting parting(const Request &request, const Lookup &found) const;
    NodeSlot findOrResolve(NodeSlot parent, const TokenId *tokens);
    const BlockName &nameOf(NodeSlot slot);
    bool servable(NodeSlot node, std::size_t group) const;
    bool servableFromOutside(NodeSlot node, std::size_t group) const; // of the pool
    bool inMemory(NodeSlot node) const; // in every group
    api::Tier nearestOutside(NodeSlot node, std::size_t group) const; // device: nowhere
    bool rowsServable(NodeSlot node) const;
    std::size_t longestServable(const std::vector<NodeSlot> &walked) const;
    std::size_t firstNeeded(std::size_t group, std::size_t position) const; // logical block
    void splitByTier(Lookup &found) const;
    void findPartial(const Request &request, Lookup &found) const;
    NodeSlot closestChild(NodeSlot parent, std::span<const TokenId> tokens, bool memoryOnly, std::size_t &common) const;
    NodeSlot partedChild(NodeSlot parent, std::span<const TokenId> tokens, SessionId session,
                         std::size_t &common) const;
    void explainMiss(const Request &request, Lookup &found, const std::vector<NodeSlot> &walked, NodeSlot wanted);
    void explainEviction(Lookup &found, NodeSlot node) const;
    api::EventReason unknownReason(const Request &request, const Lookup &found);
    bool tailMatches(const Request &request, const Lookup &found) const;
    bool otherSaltHolds(const Request &request, const Lookup &found) const;

    // --- kv_cache_sequence.cpp ---
    std::optional<Allocation> allocate(const Request &request, const Lookup &given, std::size_t positions);
    std::optional<Allocation> admit(const Request &request, const Lookup &found, std::size_t positions);
    std::unique_ptr<SequenceState> begin(const Request &request, const Lookup &found);
    bool fits(const Lookup &found, std::size_t blocks);
    bool room(std::size_t group, std::size_t needed, std::size_t kept);
    void takeHits(SequenceState &s, const Lookup &found, Allocation &out);
    void takeHitsOfGroup(SequenceState &s, std::size_t group, const Lookup &found, Allocation &out);
    void takePartial(SequenceState &s, const Request &request, const Lookup &found, Allocation &out);
    void countLookup(const Actor &actor, const Request &request, const Lookup &found);
    void regret(const Actor &actor, NodeId node);
    BlockId takeBlock(SequenceState &s, std::size_t group, std::size_t logical);
    void evict(const Actor &actor, std::size_t group, BlockId block, api::EventReason reason);
    void referenceHit(SequenceState &s, std::size_t group, std::size_t logical, BlockId block, api::EventReason reason);
    std::uint32_t newBlocksFor(const SequenceState &s, std::size_t group, std::size_t positions) const;
    bool writable(std::size_t group, BlockId block) const;
    bool reserve(SequenceId id, std::size_t positions, std::vector<CopyOrder> &copies);
    void copyOnWrite(SequenceState &s, std::size_t group, std::size_t logical, std::vector<CopyOrder> &copies);
    void append(SequenceId id, std::span<const TokenId> tokens);
    void fill(SequenceState &s, std::size_t from, std::size_t to);
    void seal(SequenceState &s, const TokenId *tokens);
    void sealBlock(SequenceState &s, std::size_t group, std::size_t logical, NodeSlot node);
    bool dedupe(SequenceState &s, std::size_t group, std::size_t logical, NodeSlot node);
    void passWindows(SequenceState &s);
    bool fork(SequenceId from, SequenceId to, SessionId session, TurnId turn, std::size_t tokens);
    bool holdsWindowBefore(const SequenceState &s, std::size_t tokens) const;
    bool truncate(SequenceId id, std::size_t tokens);
    void shortenPath(SequenceState &s, std::size_t tokens);
    void dropMiddle(SequenceId id, std::size_t begin, std::size_t end);
    void release(SequenceId id, api::EventReason reason);
    void rememberTail(const SequenceState &s);
    void moveTip(SequenceState &s, NodeSlot tip);
    // Gives back table entries [begin, end) of one group, tail before head.
    void giveBack(SequenceState &s, std::size_t group, std::size_t begin, std::size_t end, api::EventReason reason);
    void enqueueIdle(std::size_t group, BlockId block);

    // --- kv_cache_nodes.cpp ---
    PinOutcome pin(std::span<const NodeId> nodes, bool pinned, api::EventReason reason, SessionId session);
    std::size_t pinLimit() const;
    void tellPinned(NodeSlot node, std::size_t group, SessionId session); // the block that came to a pinned node
    std::size_t markDead(std::span<const NodeId> nodes, SessionId session, api::EventReason reason);
    std::size_t revive(std::span<const NodeId> nodes, SessionId session, api::EventReason reason);
    void revive(NodeSlot node);
    void tellDead(NodeSlot node, SessionId session, api::EventReason reason);
    void requeue(NodeSlot node); // idle blocks of the node, after a flag of it changed
    std::size_t dropSession(SessionId session);
    void dropBlock(std::size_t group, BlockId block, api::EventReason reason, SessionId session);
    SessionId leaveNode(NodeSlot slot, SessionId session);
    std::map<SessionId, std::uint32_t> blocksOfSessions() const;
    bool reset(api::EventReason reason);
    void changeNumerics(const std::string &numerics);
    std::optional<NodeInfo> describe(NodeId node) const;
    std::vector<SealedBlock> takeSealed();
    void markStored(const StoredPayload &payload, SessionId session, TurnId turn);
    void forgetStored(const BlockName &name, GroupIndex group, std::string_view numerics, api::EventReason reason,
                      api::Tier tier);
    void restored(SequenceId sequence, const RestoreOrder &order, std::uint32_t microseconds, api::Tier from);

    // --- kv_cache_views.cpp ---
    api::PoolSnapshot snapshot() const;
    api::BlockInfo blockInfo(std::size_t group, BlockId block) const;
    api::PoolCounts counts() const;
    std::vector<api::RibbonCell> ribbon(std::span<const TokenId> tokens, std::string_view salt);
    std::vector<api::RibbonCell> ribbon(SequenceId sequence) const;
    api::RibbonState blockCell(std::size_t group, BlockId block) const;
    bool copiedTo(api::Tier tier, std::size_t group, BlockId block) const;
    std::size_t displayGroup() const;

    SequenceState &at(SequenceId id);
    const SequenceState &at(SequenceId id) const;
    std::size_t blocksFor(std::size_t positions) const { return (positions + m_blockSize - 1) / m_blockSize; }
    api::CacheEvent event(api::EventKind kind, const Actor &actor) const;
    api::CacheEvent event(api::EventKind kind, const Actor &actor, std::size_t group, BlockId block) const;
    void emit(const api::CacheEvent &event) { m_sink.emit(event); }
    void tick() { m_now = m_clock.nowNs(); }
    void changed() { ++m_epoch; }

    KvCacheConfig m_config;
    std::unique_ptr<EvictionPolicy> m_policy;
    trace::EventSink &m_sink;
    const Clock &m_clock;
    std::size_t m_blockSize;
    std::size_t m_maxGhosts;
    PrefixTree m_tree;
    Residency m_residency;
    std::vector<Group> m_groups;
    std::unordered_map<SequenceId, std::unique_ptr<SequenceState>> m_sequences;
    std::deque<Tail> m_tails;
    std::vector<SealedRef> m_sealed;
    std::vector<NodeSlot> m_walk; // scratch of lookup()
    std::uint64_t m_epoch = 1;    // grows with every change that can make a Lookup stale
    std::uint64_t m_admissions = 0;
    std::uint64_t m_now = 0;
    std::uint32_t m_evictedNow = 0; // blocks, since the running allocate() began
    api::PoolCounts m_totals;       // running totals only
};

} // namespace kvilt::kv

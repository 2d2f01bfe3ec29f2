// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kvilt::kv {

// Place of a node in the tree's arrays: reused after the node is gone, unlike its NodeId.
using NodeSlot = std::uint32_t;
inline constexpr NodeSlot kNoSlot = 0xffffffffu;

// The last time a node lost a payload.
struct Eviction {
    std::uint64_t atNs = 0; // 0: never
    api::EventReason reason = api::EventReason::none;
    bool unregretted = false; // nobody has asked for it since
    SessionId session;        // whose allocation needed the room
    TurnId turn;
};

struct PrefixNode {
    std::uint64_t hash = 0;
    NodeSlot parent = kNoSlot; // kNoSlot: a root
    NodeSlot nextInBucket = kNoSlot;
    NodeId id;
    NodeSlot firstChild = kNoSlot, nextSibling = kNoSlot, previousSibling = kNoSlot;
    NodeSlot nextById = kNoSlot;
    std::uint32_t depth = 0;    // blocks before this one; of a root: 0
    std::uint32_t uses = 0;     // lookups that hit it, over its whole life
    std::uint32_t payloads = 0; // blocks in memory and stored rows, of all groups
    std::uint32_t holders = 0;  // sequences whose last sealed node it is
    bool alive = false, dead = false, pinned = false, ghost = false;
    NodeSlot ghostPrevious = kNoSlot, ghostNext = kNoSlot;
    api::EventReason pinnedFor = api::EventReason::none;
    SessionId owner; // who computed it first
    std::vector<SessionId> sharers; // other sessions that hit it since
    TurnId turn;
    std::uint64_t lastUseNs = 0;
    Eviction eviction;
};

// Interned prefixes: a node is one block's tokens after one parent. A hit needs equal tokens and the parent just
// matched; the hash only finds candidates, so a bad or cut hash costs time and never reuses anything wrong. Each salt
// has a root of its own, and with it a tree that shares nothing with others.
//
// A node lives while it has a payload, a child, a holder or a pin. After that it is a ghost, if it was evicted: kept
// to know that it was there, oldest forgotten first when there are too many. Not thread-safe.
class PrefixTree {
public:
    // `onFree` is told of a node just before its slot may be used again: others keep things by slot.
    PrefixTree(std::uint32_t blockSize, int hashBits, std::function<void(NodeSlot)> onFree);

    // kNoSlot when that salt has no root (yet). root() makes it.
    NodeSlot findRoot(std::string_view salt) const;
    NodeSlot root(std::string_view salt);
    std::string_view saltOf(NodeSlot root) const;
    const std::unordered_map<NodeSlot, std::string> &roots() const { return m_salts; }

    // `tokens` points at one block of them.
    NodeSlot findChild(NodeSlot parent, const TokenId *tokens) const noexcept;
    NodeSlot intern(NodeSlot parent, const TokenId *tokens); // the caller gives a new one a payload or a holder
    NodeSlot find(NodeId id) const noexcept;

    PrefixNode &operator[](NodeSlot slot) { return m_nodes[slot]; }
    const PrefixNode &operator[](NodeSlot slot) const { return m_nodes[slot]; }
    std::span<const TokenId> tokens(NodeSlot slot) const; // valid until the next intern()
    bool isRoot(NodeSlot slot) const { return m_nodes[slot].parent == kNoSlot; }
    std::size_t slotCount() const { return m_nodes.size(); }
    std::size_t bareNodes() const { return m_bare; } // without payload, roots left out
    std::size_t nodes() const { return m_alive; }

    void addPayload(NodeSlot slot);
    void removePayload(NodeSlot slot);
    void hold(NodeSlot slot) { ++m_nodes[slot].holders; }
    void unhold(NodeSlot slot);
    void setPinned(NodeSlot slot, bool pinned);
    std::size_t pinned() const { return m_pinned; } // nodes
    // Frees what nothing keeps alive, makes a ghost of what is worth remembering.
    void settle(NodeSlot slot);
    // Forgets the oldest ghosts until at most `most` nodes without payload are left, or no more can go.
    void trimGhosts(std::size_t most);

private:
    std::uint64_t hashOf(NodeSlot parent, const TokenId *tokens) const noexcept;
    NodeSlot newSlot();
    NodeSlot addNode(NodeSlot parent, const TokenId *tokens, std::uint64_t hash);
    void enterBuckets(NodeSlot slot);
    void rehash(std::size_t buckets);
    void linkChild(NodeSlot parent, NodeSlot child);
    void unlinkChild(NodeSlot child);
    void linkGhost(NodeSlot slot, bool oldest);
    void unlinkGhost(NodeSlot slot);
    bool kept(NodeSlot slot) const;
    void freeNode(NodeSlot slot);
    void leaveBuckets(NodeSlot slot);

    std::uint32_t m_blockSize;
    std::uint64_t m_hashMask;
    std::uint64_t m_nextId = 1;
    std::size_t m_alive = 0, m_bare = 0, m_pinned = 0;
    std::vector<PrefixNode> m_nodes;
    std::vector<TokenId> m_tokens; // slot × blockSize
    std::vector<NodeSlot> m_freeSlots;
    std::function<void(NodeSlot)> m_onFree;
    std::vector<NodeSlot> m_byHash, m_byId; // bucket heads, a power of two
    NodeSlot m_oldestGhost = kNoSlot, m_newestGhost = kNoSlot;

    struct SaltHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
    };
    std::unordered_map<std::string, NodeSlot, SaltHash, std::equal_to<>> m_roots;
    std::unordered_map<NodeSlot, std::string> m_salts;
};

} // namespace kvilt::kv

// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/prefix_tree.h"

#include "engine/support/check.h"

#include <cstring>
#include <utility>
#include <xxhash.h>

namespace kvilt::kv {

PrefixTree::PrefixTree(std::uint32_t blockSize, int hashBits, std::function<void(NodeSlot)> onFree)
    : m_blockSize(blockSize), m_hashMask(hashBits >= 64 ? ~0ull : (1ull << hashBits) - 1), m_onFree(std::move(onFree))
{
    rehash(1024);
}

NodeSlot PrefixTree::findRoot(std::string_view salt) const
{
    const auto found = m_roots.find(salt);
    return found == m_roots.end() ? kNoSlot : found->second;
}

NodeSlot PrefixTree::root(std::string_view salt)
{
    if (const NodeSlot slot = findRoot(salt); slot != kNoSlot)
        return slot;
    const NodeSlot slot = newSlot();
    PrefixNode &node = m_nodes[slot];
    node.alive = true;
    // Children hash over their parent's hash; different roots start apart. The root has no id of its own: views know
    // one root, and blocks of two salts never meet in any other way.
    node.hash = XXH3_64bits_withSeed(salt.data(), salt.size(), 0x6b76696c74ull);
    m_roots.emplace(salt, slot);
    m_salts.emplace(slot, salt);
    return slot;
}

std::string_view PrefixTree::saltOf(NodeSlot root) const
{
    return m_salts.at(root);
}

std::uint64_t PrefixTree::hashOf(NodeSlot parent, const TokenId *tokens) const noexcept
{
    return XXH3_64bits_withSeed(tokens, m_blockSize * sizeof(TokenId), m_nodes[parent].hash) & m_hashMask;
}

NodeSlot PrefixTree::findChild(NodeSlot parent, const TokenId *tokens) const noexcept
{
    const std::uint64_t hash = hashOf(parent, tokens);
    for (NodeSlot slot = m_byHash[hash & (m_byHash.size() - 1)]; slot != kNoSlot; slot = m_nodes[slot].nextInBucket) {
        const PrefixNode &node = m_nodes[slot];
        if (node.hash == hash && node.parent == parent &&
            std::memcmp(&m_tokens[std::size_t(slot) * m_blockSize], tokens, m_blockSize * sizeof(TokenId)) == 0)
            return slot;
    }
    return kNoSlot;
}

NodeSlot PrefixTree::intern(NodeSlot parent, const TokenId *tokens)
{
    const NodeSlot known = findChild(parent, tokens);
    return known != kNoSlot ? known : addNode(parent, tokens, hashOf(parent, tokens));
}

NodeSlot PrefixTree::find(NodeId id) const noexcept
{
    for (NodeSlot slot = m_byId[id.value & (m_byId.size() - 1)]; slot != kNoSlot; slot = m_nodes[slot].nextById)
        if (m_nodes[slot].id == id)
            return slot;
    return kNoSlot;
}

std::span<const TokenId> PrefixTree::tokens(NodeSlot slot) const
{
    return {&m_tokens[std::size_t(slot) * m_blockSize], m_blockSize};
}

NodeSlot PrefixTree::newSlot()
{
    if (!m_freeSlots.empty()) {
        const NodeSlot slot = m_freeSlots.back();
        m_freeSlots.pop_back();
        m_nodes[slot] = {};
        return slot;
    }
    m_nodes.emplace_back();
    m_tokens.resize(m_nodes.size() * m_blockSize);
    return NodeSlot(m_nodes.size() - 1);
}

NodeSlot PrefixTree::addNode(NodeSlot parent, const TokenId *tokens, std::uint64_t hash)
{
    const NodeSlot slot = newSlot();
    PrefixNode &node = m_nodes[slot];
    node.alive = true;
    node.id = NodeId{m_nextId++};
    node.hash = hash;
    node.depth = isRoot(parent) ? 0 : m_nodes[parent].depth + 1;
    std::memcpy(&m_tokens[std::size_t(slot) * m_blockSize], tokens, m_blockSize * sizeof(TokenId));
    linkChild(parent, slot);
    ++m_alive;
    ++m_bare;
    if (m_alive > m_byHash.size())
        rehash(m_byHash.size() * 2);
    else
        enterBuckets(slot);
    return slot;
}

void PrefixTree::enterBuckets(NodeSlot slot)
{
    PrefixNode &node = m_nodes[slot];
    NodeSlot &byHash = m_byHash[node.hash & (m_byHash.size() - 1)];
    node.nextInBucket = byHash;
    byHash = slot;
    NodeSlot &byId = m_byId[node.id.value & (m_byId.size() - 1)];
    node.nextById = byId;
    byId = slot;
}

void PrefixTree::rehash(std::size_t buckets)
{
    m_byHash.assign(buckets, kNoSlot);
    m_byId.assign(buckets, kNoSlot);
    for (NodeSlot slot = 0; slot < m_nodes.size(); ++slot)
        if (m_nodes[slot].alive && !isRoot(slot))
            enterBuckets(slot);
}

void PrefixTree::linkChild(NodeSlot parent, NodeSlot child)
{
    PrefixNode &node = m_nodes[child];
    NodeSlot &first = m_nodes[parent].firstChild;
    node.parent = parent;
    node.nextSibling = first;
    if (first != kNoSlot)
        m_nodes[first].previousSibling = child;
    first = child;
}

void PrefixTree::unlinkChild(NodeSlot child)
{
    const PrefixNode &node = m_nodes[child];
    if (node.previousSibling == kNoSlot)
        m_nodes[node.parent].firstChild = node.nextSibling;
    else
        m_nodes[node.previousSibling].nextSibling = node.nextSibling;
    if (node.nextSibling != kNoSlot)
        m_nodes[node.nextSibling].previousSibling = node.previousSibling;
}

void PrefixTree::addPayload(NodeSlot slot)
{
    PrefixNode &node = m_nodes[slot];
    if (node.ghost)
        unlinkGhost(slot);
    m_bare -= node.payloads++ == 0;
}

void PrefixTree::removePayload(NodeSlot slot)
{
    PrefixNode &node = m_nodes[slot];
    KVILT_CHECK(node.payloads > 0);
    if (--node.payloads > 0)
        return;
    ++m_bare;
    settle(slot);
}

void PrefixTree::unhold(NodeSlot slot)
{
    KVILT_CHECK(m_nodes[slot].holders > 0);
    --m_nodes[slot].holders;
    settle(slot);
}

void PrefixTree::setPinned(NodeSlot slot, bool pinned)
{
    if (std::exchange(m_nodes[slot].pinned, pinned) != pinned)
        m_pinned += pinned ? 1 : std::size_t(-1);
    settle(slot);
}

bool PrefixTree::kept(NodeSlot slot) const
{
    const PrefixNode &node = m_nodes[slot];
    return node.payloads > 0 || node.holders > 0 || node.pinned || node.firstChild != kNoSlot;
}

void PrefixTree::settle(NodeSlot slot)
{
    const PrefixNode &node = m_nodes[slot];
    if (kept(slot)) {
        if (node.ghost)
            unlinkGhost(slot);
    } else if (isRoot(slot) || node.eviction.atNs == 0) {
        freeNode(slot);
    } else if (!node.ghost) {
        linkGhost(slot, false);
    }
}

void PrefixTree::trimGhosts(std::size_t most)
{
    while (m_bare > most && m_oldestGhost != kNoSlot)
        freeNode(m_oldestGhost);
}

void PrefixTree::linkGhost(NodeSlot slot, bool oldest)
{
    PrefixNode &node = m_nodes[slot];
    node.ghost = true;
    node.ghostPrevious = oldest ? kNoSlot : m_newestGhost;
    node.ghostNext = oldest ? m_oldestGhost : kNoSlot;
    (node.ghostPrevious == kNoSlot ? m_oldestGhost : m_nodes[node.ghostPrevious].ghostNext) = slot;
    (node.ghostNext == kNoSlot ? m_newestGhost : m_nodes[node.ghostNext].ghostPrevious) = slot;
}

void PrefixTree::unlinkGhost(NodeSlot slot)
{
    PrefixNode &node = m_nodes[slot];
    node.ghost = false;
    (node.ghostPrevious == kNoSlot ? m_oldestGhost : m_nodes[node.ghostPrevious].ghostNext) = node.ghostNext;
    (node.ghostNext == kNoSlot ? m_newestGhost : m_nodes[node.ghostNext].ghostPrevious) = node.ghostPrevious;
}

void PrefixTree::leaveBuckets(NodeSlot slot)
{
    const PrefixNode &node = m_nodes[slot];
    NodeSlot *link = &m_byHash[node.hash & (m_byHash.size() - 1)];
    while (*link != slot)
        link = &m_nodes[*link].nextInBucket;
    *link = node.nextInBucket;
    link = &m_byId[node.id.value & (m_byId.size() - 1)];
    while (*link != slot)
        link = &m_nodes[*link].nextById;
    *link = node.nextById;
}

// A loop, not a recursion: a chain is as long as a context.
void PrefixTree::freeNode(NodeSlot slot)
{
    for (NodeSlot parent; slot != kNoSlot; slot = parent) {
        PrefixNode &node = m_nodes[slot];
        parent = node.parent;
        if (node.ghost)
            unlinkGhost(slot);
        if (parent == kNoSlot) {
            m_roots.erase(m_salts.at(slot));
            m_salts.erase(slot);
        } else {
            unlinkChild(slot);
            leaveBuckets(slot);
            --m_alive;
            --m_bare;
        }
        m_onFree(slot);
        node.alive = false;
        m_freeSlots.push_back(slot);
        if (parent == kNoSlot || kept(parent))
            return;
        // An ancestor that only its child kept is older than every ghost: it is the next to be forgotten.
        if (!isRoot(parent) && m_nodes[parent].eviction.atNs != 0) {
            linkGhost(parent, true);
            return;
        }
    }
}

} // namespace kvilt::kv

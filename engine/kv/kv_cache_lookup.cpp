// SPDX-License-Identifier: Apache-2.0
// What a prompt would find, and why not more.
#include "engine/kv/kv_cache_impl.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace kvilt::kv {

Lookup KvCache::Impl::lookup(const Request &request)
{
    Lookup found;
    found.promptTokens = request.tokens.size();
    found.epoch = m_epoch;
    if (request.tokens.empty())
        return found;
    if (!m_config.caching || !request.reuse) {
        found.reason = api::EventReason::cacheOff;
        return found;
    }
    NodeSlot tip = m_tree.findRoot(request.salt);
    const bool newRoot = tip == kNoSlot && m_residency.anyStored();
    if (newRoot)
        tip = m_tree.root(request.salt);

    const std::size_t usable = (request.tokens.size() - 1) / m_blockSize; // the last token has to run
    NodeSlot wanted = kNoSlot;
    m_walk.clear();
    while (tip != kNoSlot && m_walk.size() < usable) {
        wanted = findOrResolve(tip, request.tokens.data() + m_walk.size() * m_blockSize);
        if (wanted == kNoSlot || !rowsServable(wanted))
            break;
        m_walk.push_back(wanted);
        tip = std::exchange(wanted, kNoSlot);
    }

    const std::size_t matched = longestServable(m_walk);
    found.places.assign(m_walk.begin(), m_walk.begin() + std::ptrdiff_t(matched));
    found.nodes.reserve(matched);
    for (const NodeSlot slot : found.places)
        found.nodes.push_back(m_tree[slot].id);
    found.matchedTokens = matched * m_blockSize;
    splitByTier(found);
    if (m_config.partialReuse && matched == m_walk.size())
        findPartial(request, found);
    found.firstMissing = found.matchedTokens;
    explainMiss(request, found, m_walk, wanted);
    if (newRoot)
        m_tree.settle(m_tree.findRoot(request.salt)); // nothing on disk has this salt: forget it again
    return found;
}

// A node met in memory needs no name. One that memory cannot serve is looked for on disk by its name, once.
NodeSlot KvCache::Impl::findOrResolve(NodeSlot parent, const TokenId *tokens)
{
    const NodeSlot known = m_tree.findChild(parent, tokens);
    if (!m_residency.anyStored())
        return known;
    if (known != kNoSlot) {
        if (!inMemory(known))
            nameOf(known);
        return known;
    }
    const BlockName name = childName(nameOf(parent), {tokens, m_blockSize});
    if (!m_residency.knowsName(name))
        return kNoSlot;
    const NodeSlot node = m_tree.intern(parent, tokens);
    m_residency.bindName(name, node);
    return node;
}

const BlockName &KvCache::Impl::nameOf(NodeSlot slot)
{
    std::vector<NodeSlot> unnamed;
    const BlockName *name = nullptr;
    for (NodeSlot at = slot; !(name = m_residency.nameOf(at)); at = m_tree[at].parent) {
        if (m_tree.isRoot(at)) {
            m_residency.bindName(rootName(m_config.identity, m_tree.saltOf(at)), at);
            name = m_residency.nameOf(at);
            break;
        }
        unnamed.push_back(at);
    }
    for (auto at = unnamed.rbegin(); at != unnamed.rend(); ++at) {
        m_residency.bindName(childName(*name, m_tree.tokens(*at)), *at);
        name = m_residency.nameOf(*at);
    }
    return *name;
}

bool KvCache::Impl::servable(NodeSlot node, std::size_t group) const
{
    return m_residency.block(node, group) != kNoBlock || servableFromOutside(node, group);
}

bool KvCache::Impl::servableFromOutside(NodeSlot node, std::size_t group) const
{
    return m_residency.stored(node, group) || (m_config.nearReuse && m_residency.storedNear(node, group));
}

bool KvCache::Impl::inMemory(NodeSlot node) const
{
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        if (m_residency.block(node, g) == kNoBlock)
            return false;
    return true;
}

bool KvCache::Impl::rowsServable(NodeSlot node) const
{
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        if (m_groups[g].keep == kWholePast && !servable(node, g))
            return false;
    return true;
}

std::size_t KvCache::Impl::firstNeeded(std::size_t group, std::size_t position) const
{
    const std::size_t keep = m_groups[group].keep;
    return position > keep ? (position - keep) / m_blockSize : 0;
}

// All walked nodes can be served by rows groups. A window group serves a length when the run of nodes it has, up to
// that length, covers the window before it.
std::size_t KvCache::Impl::longestServable(const std::vector<NodeSlot> &walked) const
{
    std::array<std::size_t, 32> run{};
    std::size_t longest = 0;
    for (std::size_t i = 0; i < walked.size(); ++i) {
        bool all = true;
        for (std::size_t g = 0; g < m_groups.size(); ++g) {
            if (m_groups[g].keep == kWholePast)
                continue;
            run[g] = servable(walked[i], g) ? run[g] + 1 : 0;
            all = all && run[g] >= i + 1 - firstNeeded(g, (i + 1) * m_blockSize);
        }
        if (all)
            longest = i + 1;
    }
    return longest;
}

void KvCache::Impl::splitByTier(Lookup &found) const
{
    std::array<std::size_t, 32> first{};
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        first[g] = firstNeeded(g, found.matchedTokens);
    std::size_t disk = 0, host = 0;
    for (std::size_t i = 0; i < found.places.size(); ++i) {
        bool fromDisk = false, allInHost = true;
        for (std::size_t g = 0; g < m_groups.size(); ++g) {
            if (i < first[g] || m_residency.block(found.places[i], g) != kNoBlock)
                continue;
            fromDisk = true;
            allInHost = allInHost && m_residency.stored(found.places[i], g, api::Tier::host);
            found.near = found.near || !m_residency.stored(found.places[i], g);
        }
        disk += fromDisk;
        host += fromDisk && allInHost;
    }
    found.hostTokens = host * m_blockSize;
    found.diskTokens = disk * m_blockSize;
    found.memoryTokens = found.matchedTokens - found.diskTokens;
}

void KvCache::Impl::findPartial(const Request &request, Lookup &found) const
{
    const NodeSlot parent = found.places.empty() ? m_tree.findRoot(request.salt) : found.places.back();
    const std::size_t left = request.tokens.size() - 1 - found.matchedTokens;
    if (parent == kNoSlot || left == 0)
        return;
    std::size_t common = 0;
    const auto next = request.tokens.subspan(found.matchedTokens, std::min(left, m_blockSize));
    const NodeSlot child = closestChild(parent, next, true, common);
    if (child == kNoSlot || common == 0)
        return;
    found.partialNode = m_tree[child].id;
    found.partialTokens = common;
    found.matchedTokens += common;
}

// The child that shares the longest beginning with `tokens`; of equals the oldest.
NodeSlot KvCache::Impl::closestChild(NodeSlot parent, std::span<const TokenId> tokens, bool memoryOnly,
                                     std::size_t &common) const
{
    NodeSlot best = kNoSlot;
    common = 0;
    for (NodeSlot child = m_tree[parent].firstChild; child != kNoSlot; child = m_tree[child].nextSibling) {
        if (memoryOnly && !inMemory(child))
            continue;
        const auto theirs = m_tree.tokens(child).first(std::min(tokens.size(), m_blockSize));
        const auto parted = std::mismatch(theirs.begin(), theirs.end(), tokens.begin());
        const std::size_t length = std::size_t(parted.first - theirs.begin());
        if (best == kNoSlot || length >= common) {
            best = child;
            common = length;
        }
    }
    return best;
}

// `wanted`: the node that stopped the walk, when it is known at all.
void KvCache::Impl::explainMiss(const Request &request, Lookup &found, const std::vector<NodeSlot> &walked,
                                NodeSlot wanted)
{
    if (found.places.size() < walked.size()) {
        found.reason = api::EventReason::windowHole;
        for (std::size_t i = walked.size(); i-- > 0;) {
            bool hole = false;
            for (std::size_t g = 0; g < m_groups.size(); ++g)
                hole = hole || !servable(walked[i], g);
            if (hole)
                return explainEviction(found, walked[i]);
        }
        return;
    }
    if (wanted == kNoSlot) {
        found.reason = unknownReason(request, found);
        return;
    }
    bool otherwise = false;
    for (std::size_t g = 0; g < m_groups.size(); ++g)
        otherwise = otherwise || (!servable(wanted, g) && m_residency.storedOtherwise(wanted, g));
    explainEviction(found, wanted);
    found.reason = otherwise                ? api::EventReason::numerics
                   : found.evictedAtNs == 0 ? unknownReason(request, found)
                   : found.evictedFor == api::EventReason::corruptPayload ? api::EventReason::corruptPayload
                   : found.evictedFor == api::EventReason::dropped        ? api::EventReason::dropped
                                                                          : api::EventReason::evicted;
    const std::size_t usable = (request.tokens.size() - 1) / m_blockSize;
    for (std::size_t i = walked.size() + 1; i < usable && wanted != kNoSlot; ++i) {
        wanted = m_tree.findChild(wanted, request.tokens.data() + i * m_blockSize);
        if (wanted == kNoSlot || rowsServable(wanted))
            continue;
        // What the user dropped is computed again like the rest; only nobody regrets having evicted it.
        if (const Eviction &last = m_tree[wanted].eviction; last.unregretted || last.reason == api::EventReason::dropped)
            found.wantedGhosts.push_back(m_tree[wanted].id);
    }
}

void KvCache::Impl::explainEviction(Lookup &found, NodeSlot node) const
{
    const PrefixNode &n = m_tree[node];
    found.missingNode = n.id;
    found.evictedAtNs = n.eviction.atNs;
    found.evictedFor = n.eviction.reason;
    found.evictedBy = n.eviction.session;
    found.evictedByTurn = n.eviction.turn;
}

api::EventReason KvCache::Impl::unknownReason(const Request &request, const Lookup &found)
{
    const std::size_t left = request.tokens.size() - found.matchedTokens;
    if (left == 1)
        return api::EventReason::lastToken;
    const NodeSlot parent = found.places.empty() ? m_tree.findRoot(request.salt) : found.places.back();
    if (left <= m_blockSize && found.partialTokens == 0 && parent != kNoSlot) {
        std::size_t common = 0;
        const NodeSlot child = closestChild(parent, request.tokens.last(left), false, common);
        if (child != kNoSlot && common == left && rowsServable(child))
            return left == m_blockSize ? api::EventReason::lastToken : api::EventReason::partialBlock;
    }
    if (tailMatches(request, found))
        return api::EventReason::partialBlock;
    // What followed a block that is on disk only was in another process's memory: nobody knows tails from then.
    if (left <= m_blockSize && !found.places.empty() && !inMemory(found.places.back())) {
        if (left < m_blockSize)
            return api::EventReason::partialBlock;
        if (m_residency.knowsName(childName(nameOf(found.places.back()), request.tokens.last(left))))
            return api::EventReason::lastToken;
    }
    if (request.knownChange != api::EventReason::none)
        return request.knownChange;
    return otherSaltHolds(request, found) ? api::EventReason::differentSalt : api::EventReason::neverStored;
}

bool KvCache::Impl::tailMatches(const Request &request, const Lookup &found) const
{
    const NodeId after = found.nodes.empty() ? kRootNode : found.nodes.back();
    const TokenId next = request.tokens[found.nodes.size() * m_blockSize];
    return std::any_of(m_tails.begin(), m_tails.end(), [&](const Tail &tail) {
        return tail.after == after && tail.salt == request.salt && tail.tokens.front() == next;
    });
}

bool KvCache::Impl::otherSaltHolds(const Request &request, const Lookup &found) const
{
    const std::size_t more = found.places.size() + 1;
    if (request.tokens.size() < more * m_blockSize)
        return false;
    std::size_t compared = 0;
    for (const auto &[root, salt] : m_tree.roots()) {
        if (salt == request.salt)
            continue;
        NodeSlot node = root;
        for (std::size_t i = 0; i < more && node != kNoSlot; ++i) {
            node = m_tree.findChild(node, request.tokens.data() + i * m_blockSize);
            if (node != kNoSlot && !rowsServable(node))
                node = kNoSlot;
        }
        if (node != kNoSlot)
            return true;
        if (++compared == kMostSaltsCompared)
            return false;
    }
    return false;
}

// What most likely followed here the last time: the longest common beginning, then the asker's own, then the latest.
NodeSlot KvCache::Impl::partedChild(NodeSlot parent, std::span<const TokenId> tokens, SessionId session,
                                    std::size_t &common) const
{
    NodeSlot best = kNoSlot;
    std::tuple<std::size_t, bool, std::uint64_t, NodeId> bestKey;
    for (NodeSlot child = m_tree[parent].firstChild; child != kNoSlot; child = m_tree[child].nextSibling) {
        const PrefixNode &node = m_tree[child];
        const auto theirs = m_tree.tokens(child).first(std::min(tokens.size(), m_blockSize));
        const auto parted = std::mismatch(theirs.begin(), theirs.end(), tokens.begin());
        const std::tuple key(std::size_t(parted.first - theirs.begin()), node.owner == session, node.lastUseNs, node.id);
        if (best == kNoSlot || key > bestKey) {
            best = child;
            bestKey = key;
        }
    }
    common = std::get<0>(bestKey);
    return best;
}

Parting KvCache::Impl::parting(const Request &request, const Lookup &found) const
{
    Parting out;
    const std::size_t blocks = found.nodes.size();
    NodeSlot node = found.nodes.empty() ? m_tree.findRoot(request.salt) : m_tree.find(found.nodes.back());
    std::size_t at = blocks * m_blockSize;
    bool differs = false;
    while (node != kNoSlot) {
        std::size_t common = 0;
        const auto left = request.tokens.subspan(std::min(at, request.tokens.size()));
        node = partedChild(node, differs ? left.first(0) : left, request.session, common);
        if (node == kNoSlot)
            break;
        if (!differs && common < std::min(left.size(), m_blockSize)) {
            differs = true;
            out.firstDifference = std::int64_t(at + common);
        }
        at += m_blockSize;
        out.cachedPath.push_back(m_tree[node].id);
        if (inMemory(node))
            ++out.inMemory;
        else if (rowsServable(node) && m_tree[node].payloads > 0)
            ++out.onDisk;
        else
            ++out.evicted;
    }
    return out;
}

} // namespace kvilt::kv

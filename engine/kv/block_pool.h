// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

namespace kvilt::kv {

// Block ids, reference counts and the free queue of one layer group. Knows no tokens and no bytes.
//
// A block is in exactly one state: fresh (never taken), held (references > 0), queued (no references, in the free
// queue) or parked (no references, kept out of the queue: pinned). All moves go through link() and unlink().
//
// The order of the free queue is the eviction order:
//   blank blocks, last freed first (their memory is still warm) · fresh ones, ascending, so that the pool grows only
//   when it must · dead-branch blocks · cached blocks by ascending rank, and of one rank the longest waiting first.
// The rank is the policy's; LRU gives every block the same. Memory follows the highest block used, not the capacity.
class BlockPool {
public:
    enum class Queue : std::uint8_t { none, blank, dead, cached };

    explicit BlockPool(std::uint32_t capacity) : m_capacity(capacity) {}

    std::uint32_t capacity() const { return m_capacity; }
    std::uint32_t highWater() const { return m_highWater; }
    std::uint32_t available() const { return m_queued + m_capacity - m_fresh; }
    std::uint32_t blank() const { return m_blankCount + m_capacity - m_fresh; }
    bool fits(std::uint32_t count) const { return count <= available(); }
    // How far the pool will reach once `count` blocks are taken: the blocks that must then have storage.
    std::uint32_t reachAfter(std::uint32_t count) const;
    // No block from `capacity` on is ever taken for the first time; blocks taken already stay.
    void limit(std::uint32_t capacity) { m_capacity = std::min(m_capacity, std::max(capacity, m_fresh)); }
    void unlimit(std::uint32_t capacity) { m_capacity = std::max(capacity, m_fresh); }

    std::uint32_t references(BlockId id) const { return id.value < m_links.size() ? m_links[id.value].references : 0; }
    Queue queue(BlockId id) const { return id.value < m_links.size() ? m_links[id.value].queue : Queue::none; }

    struct Taken {
        BlockId id = kNoBlock;
        Queue from = Queue::none;
    };
    // The front of the queue with one reference, passing over the cached block `keep`; kNoBlock when nothing is left.
    Taken take(BlockId keep = kNoBlock);

    void reference(BlockId id); // leaves the queue if it waited there
    // Returns the references left. At 0 the block is parked until one of the enqueue functions.
    std::uint32_t unreference(BlockId id);

    void enqueueBlank(BlockId id);                               // to the very front
    void enqueue(BlockId id, Queue queue, std::uint64_t rank);   // dead or cached, to the back of its rank
    void park(BlockId id);                                       // out of the queue, still without references

    // Everything without references becomes blank, in the order the queue has now. Parked blocks must not exist.
    void makeAllBlank();

    // In eviction order, fresh blocks left out: visit(BlockId, Queue).
    template <typename Visit>
    void forEachQueued(Visit visit) const
    {
        walk(m_blank, visit);
        walk(m_dead, visit);
        for (const auto &[rank, list] : m_cached)
            walk(list, visit);
    }
    std::vector<BlockId> order() const; // fresh ones included

private:
    static constexpr std::uint32_t kEnd = 0xffffffffu;
    struct Link {
        std::uint32_t previous = kEnd, next = kEnd;
        std::uint32_t references = 0;
        Queue queue = Queue::none;
        std::uint64_t rank = 0;
    };
    struct List {
        std::uint32_t head = kEnd, tail = kEnd;
    };

    template <typename Visit>
    void walk(const List &list, Visit &visit) const
    {
        for (std::uint32_t block = list.head; block != kEnd; block = m_links[block].next)
            visit(BlockId{block}, m_links[block].queue);
    }
    List &listOf(const Link &link);
    void link(std::uint32_t block, Queue queue, std::uint64_t rank, bool front);
    void unlink(std::uint32_t block);
    void growTo(std::uint32_t size);
    std::uint32_t frontAfterBlank(std::uint32_t keep) const;

    std::uint32_t m_capacity;
    std::uint32_t m_fresh = 0;     // first block never taken
    std::uint32_t m_highWater = 0;
    std::uint32_t m_queued = 0, m_blankCount = 0;
    std::vector<Link> m_links;
    List m_blank, m_dead;
    std::map<std::uint64_t, List> m_cached; // by rank
};

} // namespace kvilt::kv

// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/block_pool.h"

#include "engine/support/check.h"

#include <algorithm>

namespace kvilt::kv {

BlockPool::List &BlockPool::listOf(const Link &link)
{
    if (link.queue == Queue::blank)
        return m_blank;
    return link.queue == Queue::dead ? m_dead : m_cached[link.rank];
}

void BlockPool::link(std::uint32_t block, Queue queue, std::uint64_t rank, bool front)
{
    Link &self = m_links[block];
    KVILT_CHECK(self.references == 0 && self.queue == Queue::none);
    self.queue = queue;
    self.rank = rank;
    List &list = listOf(self);
    self.previous = front ? kEnd : list.tail;
    self.next = front ? list.head : kEnd;
    (self.previous == kEnd ? list.head : m_links[self.previous].next) = block;
    (self.next == kEnd ? list.tail : m_links[self.next].previous) = block;
    ++m_queued;
    m_blankCount += queue == Queue::blank;
}

void BlockPool::unlink(std::uint32_t block)
{
    Link &self = m_links[block];
    KVILT_CHECK(self.queue != Queue::none);
    List &list = listOf(self);
    (self.previous == kEnd ? list.head : m_links[self.previous].next) = self.next;
    (self.next == kEnd ? list.tail : m_links[self.next].previous) = self.previous;
    // Rank 0 stays: under LRU it is the only one, and would come and go with every block.
    if (self.queue == Queue::cached && list.head == kEnd && self.rank != 0)
        m_cached.erase(self.rank);
    --m_queued;
    m_blankCount -= self.queue == Queue::blank;
    self.previous = self.next = kEnd;
    self.queue = Queue::none;
}

void BlockPool::growTo(std::uint32_t size)
{
    if (size > m_links.size())
        m_links.resize(size);
}

BlockPool::Taken BlockPool::take(BlockId keep)
{
    std::uint32_t block = m_blank.head;
    if (block == kEnd && m_fresh < m_capacity) {
        block = m_fresh++;
        growTo(m_fresh);
        m_highWater = std::max(m_highWater, m_fresh);
        m_links[block].references = 1;
        return {BlockId{block}, Queue::blank};
    }
    if (block == kEnd)
        block = frontAfterBlank(keep.value);
    if (block == kEnd)
        return {};
    const Queue from = m_links[block].queue;
    unlink(block);
    m_links[block].references = 1;
    m_highWater = std::max(m_highWater, block + 1);
    return {BlockId{block}, from};
}

std::uint32_t BlockPool::frontAfterBlank(std::uint32_t keep) const
{
    const auto first = [&](const List &list) {
        return list.head != kEnd && list.head == keep ? m_links[list.head].next : list.head;
    };
    if (const std::uint32_t block = first(m_dead); block != kEnd)
        return block;
    for (const auto &[rank, list] : m_cached)
        if (const std::uint32_t block = first(list); block != kEnd)
            return block;
    return kEnd;
}

std::uint32_t BlockPool::reachAfter(std::uint32_t count) const
{
    const std::uint32_t fresh = count - std::min(count, m_blankCount); // blank blocks go first
    return m_fresh + std::min(fresh, m_capacity - m_fresh);
}

void BlockPool::reference(BlockId id)
{
    KVILT_CHECK(id.value < m_links.size());
    if (m_links[id.value].queue != Queue::none)
        unlink(id.value);
    ++m_links[id.value].references;
}

std::uint32_t BlockPool::unreference(BlockId id)
{
    KVILT_CHECK(id.value < m_links.size() && m_links[id.value].references > 0);
    return --m_links[id.value].references;
}

void BlockPool::enqueueBlank(BlockId id)
{
    link(id.value, Queue::blank, 0, true);
}

void BlockPool::enqueue(BlockId id, Queue queue, std::uint64_t rank)
{
    link(id.value, queue, queue == Queue::dead ? 0 : rank, false);
}

void BlockPool::park(BlockId id)
{
    if (m_links[id.value].queue != Queue::none)
        unlink(id.value);
}

void BlockPool::makeAllBlank()
{
    const std::vector<BlockId> all = order();
    growTo(m_capacity);
    m_fresh = m_capacity;
    for (const BlockId id : all) {
        park(id);
        link(id.value, Queue::blank, 0, false);
    }
}

std::vector<BlockId> BlockPool::order() const
{
    std::vector<BlockId> out;
    out.reserve(available());
    const auto add = [&](BlockId block, Queue) { out.push_back(block); };
    walk(m_blank, add);
    for (std::uint32_t block = m_fresh; block < m_capacity; ++block)
        out.push_back(BlockId{block});
    walk(m_dead, add);
    for (const auto &[rank, list] : m_cached)
        walk(list, add);
    return out;
}

} // namespace kvilt::kv

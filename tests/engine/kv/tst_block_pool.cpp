// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/block_pool.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt;
using kv::BlockPool;

namespace {
std::vector<std::uint32_t> ids(const std::vector<BlockId> &blocks)
{
    std::vector<std::uint32_t> out;
    for (const BlockId b : blocks)
        out.push_back(b.value);
    return out;
}
using Ids = std::vector<std::uint32_t>;
} // namespace

class BlockPoolTest : public QObject {
    Q_OBJECT
private slots:
    void growsOnlyWhenNothingBlankIsLeft()
    {
        BlockPool pool(1000);
        QCOMPARE(pool.highWater(), 0u);
        const BlockId a = pool.take().id, b = pool.take().id;
        QCOMPARE(pool.highWater(), 2u);
        pool.unreference(a);
        pool.enqueueBlank(a);
        QCOMPARE(pool.take().id, a);
        QCOMPARE(pool.highWater(), 2u);
        QCOMPARE(pool.available(), 998u);
        QCOMPARE(pool.references(b), 1u);
    }

    void ordersBlankThenFreshThenDeadThenCachedByRank()
    {
        BlockPool pool(7);
        std::vector<BlockId> b;
        for (int i = 0; i < 6; ++i)
            b.push_back(pool.take().id);
        for (const BlockId id : b)
            pool.unreference(id);
        pool.enqueue(b[0], BlockPool::Queue::cached, 5);
        pool.enqueue(b[1], BlockPool::Queue::cached, 3);
        pool.enqueue(b[2], BlockPool::Queue::dead, 9);
        pool.enqueue(b[3], BlockPool::Queue::cached, 3);
        pool.enqueueBlank(b[4]);
        pool.enqueueBlank(b[5]);
        QCOMPARE(ids(pool.order()), (Ids{5, 4, 6, 2, 1, 3, 0}));
        QCOMPARE(pool.blank(), 3u);
        for (const std::uint32_t next : Ids{5, 4, 6, 2, 1, 3, 0})
            QCOMPARE(pool.take().id.value, next);
        QCOMPARE(pool.take().id, kNoBlock);
        QCOMPARE(pool.available(), 0u);
    }

    void passesOverTheProtectedBlockWhereverItStands()
    {
        for (const auto queue : {BlockPool::Queue::dead, BlockPool::Queue::cached}) {
            BlockPool pool(2);
            const BlockId a = pool.take().id, b = pool.take().id;
            pool.unreference(a);
            pool.unreference(b);
            pool.enqueue(a, queue, 1);
            pool.enqueue(b, BlockPool::Queue::cached, 2);
            QCOMPARE(pool.take(a).id, b);
            QCOMPARE(pool.take(a).id, kNoBlock);
            QCOMPARE(pool.take().id, a);
        }
    }

    void aReferenceLeavesTheQueueAndAParkedBlockStaysOut()
    {
        BlockPool pool(2);
        const BlockId a = pool.take().id;
        pool.unreference(a);
        pool.enqueue(a, BlockPool::Queue::cached, 0);
        pool.reference(a);
        pool.reference(a);
        QCOMPARE(pool.available(), 1u);
        QCOMPARE(pool.unreference(a), 1u);
        QCOMPARE(pool.unreference(a), 0u);
        QCOMPARE(pool.queue(a), BlockPool::Queue::none); // parked
        QCOMPARE(pool.available(), 1u);
        pool.enqueue(a, BlockPool::Queue::cached, 0);
        pool.park(a);
        QCOMPARE(ids(pool.order()), (Ids{1}));
    }

    void makingAllBlankKeepsTheOrder()
    {
        BlockPool pool(5);
        const BlockId a = pool.take().id, b = pool.take().id, c = pool.take().id;
        pool.unreference(a);
        pool.unreference(b);
        pool.unreference(c);
        pool.enqueue(b, BlockPool::Queue::cached, 0);
        pool.enqueue(a, BlockPool::Queue::cached, 0);
        pool.enqueueBlank(c);
        pool.makeAllBlank();
        QCOMPARE(ids(pool.order()), (Ids{2, 3, 4, 1, 0}));
        QCOMPARE(pool.blank(), 5u);
        QCOMPARE(pool.highWater(), 3u); // nothing was touched by that
    }
};

KVILT_TEST_CLASS(BlockPoolTest)
#include "tst_block_pool.moc"

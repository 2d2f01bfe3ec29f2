// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/kv/kv_test_support.h"
#include "tests/support/test_registry.h"

using namespace kvilt;
using namespace kvilt::kv;
using namespace kvilt::test;
using api::EventKind;
using api::EventReason;
using Ids = std::vector<std::uint32_t>;

namespace {
constexpr std::uint32_t kHole = kNoBlock.value;
}

class KvCacheWindowsTest : public QObject {
    Q_OBJECT
private slots:
    // Window 6: the token at position p sees p-5..p, so at 16 computed tokens it needs 11..15.
    void blocksThatTheWindowPassedBecomeHoles()
    {
        CacheBench b(10, windowGroup(6));
        b.run(1, iota(16));
        QCOMPARE(b.table(1, 0), (Ids{0, 1, 2, 3}));
        QCOMPARE(b.table(1, 1), (Ids{kHole, kHole, 2, 3}));
        const auto passed = b.log.of(EventKind::release);
        QCOMPARE(passed.size(), std::size_t(2));
        COMPARE_ENUM(passed[0].reason, EventReason::windowPassed);
        QCOMPARE(passed[0].group, std::uint16_t(1));
        QCOMPARE(b.order(1).size(), std::size_t(8)); // cached, but to be had
    }

    void aHitTakesOnlyTheWindowsLastBlocks()
    {
        CacheBench b(10, windowGroup(6));
        b.runAndEnd(1, iota(16));
        const auto prompt = iota(17);
        const Request r = b.request(2, prompt);
        QCOMPARE(b.cache->allocate(r, b.cache->lookup(r), 17)->hitTokens, std::size_t(16));
        QCOMPARE(b.table(2, 1), (Ids{kHole, kHole, 2, 3, 4}));
        QCOMPARE(b.cache->snapshot().groups[1].blocks[0].references, std::uint16_t(0));
    }

    // Without the window's blocks before it a longer prefix is useless: the hit falls back to where the window is whole.
    void aHoleInTheWindowShortensTheHit()
    {
        CacheBench b(4, windowGroup(6));
        b.runAndEnd(1, iota(16)); // the window passed blocks 1 and 0 of group 1: they go first
        QCOMPARE(b.order(1), (Ids{1, 0, 3, 2}));
        b.runAndEnd(2, iota(4, 100)); // takes block 3 of group 0 and block 1 of group 1
        const Lookup found = b.find(iota(17));
        QCOMPARE(found.matchedTokens, std::size_t(4)); // 12 and 8 would need block 1
        COMPARE_ENUM(found.reason, EventReason::windowHole);
        QCOMPARE(found.evictedBy, SessionId{2});
        QCOMPARE(b.cache->describe(found.missingNode)->firstToken, 4);
    }

    void aBranchBehindTheWindowIsRefused()
    {
        CacheBench b(10, windowGroup(6));
        b.run(1, iota(16));
        const auto before = b.order(1);
        QVERIFY(!b.cache->fork(SequenceId{1}, SequenceId{2}, SessionId{1}, TurnId{1}, 6));
        QVERIFY(!b.cache->truncate(SequenceId{1}, 6));
        QCOMPARE(b.order(1), before);
        QVERIFY(b.cache->fork(SequenceId{1}, SequenceId{2}, SessionId{1}, TurnId{1}, 14));
        QVERIFY(b.cache->truncate(SequenceId{1}, 14));
    }

    void groupsOfWindowsOnlyStillHit()
    {
        CacheBench b(10, [](KvCacheConfig &c) {
            c.layout.groups[0].kind = GroupKind::window;
            c.layout.groups[0].window = 6;
        });
        b.runAndEnd(1, iota(32));
        b.runAndEnd(2, iota(16, 100)); // takes the two that were never used, then what the window passed
        QCOMPARE(b.run(3, iota(33)), 32);
    }

    // A recurrent state is right only at its own position: the last block's.
    void aSnapshotServesOnlyTheEndItWasTakenAt()
    {
        CacheBench b(10, [](KvCacheConfig &c) {
            c.layout.groups.push_back({.name = "state", .kind = GroupKind::snapshot, .snapshotBytes = 64});
        });
        b.run(1, iota(17));
        QCOMPARE(b.table(1, 1), (Ids{kHole, kHole, kHole, kHole, 4}));
        b.end(1);
        const auto prompt = iota(13);
        const Request r = b.request(2, prompt);
        QCOMPARE(b.cache->allocate(r, b.cache->lookup(r), 13)->hitTokens, std::size_t(12));
        QCOMPARE(b.table(2, 1), (Ids{kHole, kHole, 2, 4}));
    }

    void aTightWindowPoolRefusesWhole()
    {
        CacheBench b(4, windowGroup(6));
        b.run(1, iota(12));
        QCOMPARE(b.run(2, iota(12, 100)), -1);
        QCOMPARE(b.cache->available(GroupIndex{0}), 1u);
        QCOMPARE(b.cache->available(GroupIndex{1}), 2u);
    }
};

KVILT_TEST_CLASS(KvCacheWindowsTest)
#include "tst_kv_cache_windows.moc"

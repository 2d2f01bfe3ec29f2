// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/eviction_policy.h"
#include "tests/engine/kv/kv_test_support.h"
#include "tests/support/test_registry.h"

using namespace kvilt;
using namespace kvilt::kv;
using namespace kvilt::test;
using api::EventKind;
using api::EventReason;
using Ids = std::vector<std::uint32_t>;

class KvCacheTest : public QObject {
    Q_OBJECT
private slots:
    void hitsFullBlocksButNeverTheLastToken()
    {
        CacheBench b(10);
        QCOMPARE(b.run(1, iota(10)), 0);
        QCOMPARE(b.run(2, iota(10)), 8);
        QCOMPARE(b.run(3, iota(8)), 4); // the second block holds the last token
        QCOMPARE(b.table(2), (Ids{0, 1, 3}));
        QCOMPARE(b.find(iota(9)).matchedTokens, std::size_t(8));
        COMPARE_ENUM(b.find(iota(8)).reason, EventReason::lastToken);
        QCOMPARE(b.find({}).matchedTokens, std::size_t(0));
    }

    void refusesWholeWhatDoesNotFit()
    {
        CacheBench b(4);
        QCOMPARE(b.run(1, iota(12)), 0);
        b.log.events.clear();
        const auto before = b.order();
        QCOMPARE(b.run(2, iota(12) + iota(8, 100)), -1); // hits 3, needs 2 more, 1 is left
        QVERIFY(b.log.events.empty());
        QCOMPARE(b.order(), before);
        QVERIFY(!b.cache->holds(SequenceId{2}));
        std::vector<CopyOrder> copies;
        QVERIFY(!b.cache->reserve(SequenceId{1}, 17, copies));
        QVERIFY(b.cache->reserve(SequenceId{1}, 16, copies));
        QCOMPARE(b.cache->reservedPositions(SequenceId{1}), std::size_t(16));
    }

    void neverEvictsWhatTheSameAllocationHit()
    {
        CacheBench b(3);
        b.runAndEnd(1, iota(4));          // block 0, oldest
        b.runAndEnd(2, iota(4, 100));     // block 1
        b.runAndEnd(3, iota(4, 200));     // block 2
        QCOMPARE(b.run(4, iota(4) + iota(8, 300)), 4);
        QCOMPARE(b.table(4), (Ids{0, 1, 2}));
        CacheBench full(2);
        full.runAndEnd(1, iota(8));
        QCOMPARE(full.run(2, iota(8) + iota(4, 300)), -1); // both hit blocks would have to go
        QCOMPARE(full.find(iota(9)).matchedTokens, std::size_t(8));
    }

    void aRequestsTailGoesBeforeItsHeadAndUnsealedBlocksFirst()
    {
        CacheBench b(6);
        b.run(1, iota(10));
        b.end(1);
        QCOMPARE(b.order(), (Ids{2, 3, 4, 5, 1, 0}));
    }

    void saysWhyAndForWhomItEvicted()
    {
        CacheBench b(2);
        b.runAndEnd(1, iota(4));
        b.runAndEnd(2, iota(4) + iota(1, 9));
        b.clock.ns += 5'000'000'000;
        b.runAndEnd(3, iota(8, 100));
        const auto evictions = b.log.of(EventKind::evict);
        QCOMPARE(evictions.size(), std::size_t(1));
        COMPARE_ENUM(evictions[0].reason, EventReason::lru);
        QCOMPARE(evictions[0].session, std::uint32_t(3));
        QCOMPARE(evictions[0].turn, std::int64_t(103));
        QCOMPARE(evictions[0].a, 5000u);
        QCOMPARE(evictions[0].b, 1u); // request 2 hit it
        b.clock.ns += 1'000'000'000;
        const Lookup found = b.find(iota(6));
        COMPARE_ENUM(found.reason, EventReason::evicted);
        COMPARE_ENUM(found.evictedFor, EventReason::lru);
        QCOMPARE(found.evictedBy, SessionId{3});
        QCOMPARE(found.evictedByTurn, TurnId{103});
        QCOMPARE(found.missingNode.value, evictions[0].node);
        QCOMPARE(found.evictedAtNs, evictions[0].timeNs);
    }

    void regretsAnEvictionOnceAndSaysHowOldItIs()
    {
        CacheBench b(3);
        b.runAndEnd(1, iota(9));
        b.runAndEnd(2, iota(12, 100));
        b.clock.ns += 2'000'000'000;
        b.find(iota(9)); // a look changes nothing
        QVERIFY(b.log.of(EventKind::regret).empty());
        b.runAndEnd(3, iota(9));
        const auto regrets = b.log.of(EventKind::regret);
        QCOMPARE(regrets.size(), std::size_t(2)); // both full blocks had gone
        QCOMPARE(regrets[0].a, 2000u);
        QCOMPARE(regrets[0].b, 4u);
        QCOMPARE(b.cache->counts().regretted, std::uint64_t(2));
        b.runAndEnd(4, iota(12, 100)); // evicted in turn
        b.runAndEnd(5, iota(12, 100));
        const auto again = b.log.of(EventKind::regret).size();
        b.runAndEnd(6, iota(12, 100));
        QCOMPARE(b.log.of(EventKind::regret).size(), again);
    }

    void everyMissHasItsReason()
    {
        CacheBench b(16);
        b.run(1, iota(14));
        b.end(1); // blocks of 1..12 sealed; 13 and 14 in a block that never filled
        COMPARE_ENUM(b.find(iota(12) + std::vector<TokenId>{13, 14, 15, 16, 17}).reason, EventReason::partialBlock);
        COMPARE_ENUM(b.find(iota(12) + std::vector<TokenId>{99, 98, 97, 96, 95}).reason, EventReason::neverStored);
        COMPARE_ENUM(b.find(iota(11)).reason, EventReason::partialBlock); // 9, 10, 11 lie in a longer block
        COMPARE_ENUM(b.find(iota(13)).reason, EventReason::lastToken);
        COMPARE_ENUM(b.find(iota(12)).reason, EventReason::lastToken);
        COMPARE_ENUM(b.find(iota(9), "other").reason, EventReason::differentSalt);
        COMPARE_ENUM(b.find(iota(9, 500), "other").reason, EventReason::neverStored);
        const auto unknown = iota(20, 500);
        Request r = b.request(7, unknown);
        r.knownChange = EventReason::differentTemplate;
        COMPARE_ENUM(b.cache->lookup(r).reason, EventReason::differentTemplate);
        r.reuse = false;
        COMPARE_ENUM(b.cache->lookup(r).reason, EventReason::cacheOff);
        QCOMPARE(b.find(iota(14)).firstMissing, std::size_t(12));
    }

    void saltsNeverShare()
    {
        CacheBench b(10);
        b.runAndEnd(1, iota(9), "alice");
        QCOMPARE(b.runAndEnd(2, iota(9), "bob"), 0);
        QCOMPARE(b.runAndEnd(3, iota(9)), 0);
        QCOMPARE(b.runAndEnd(4, iota(9), "alice"), 8);
        QCOMPARE(b.runAndEnd(5, iota(9), "bob"), 8);
    }

    void aLookupOfAnUnknownSaltLeavesNothingBehind()
    {
        CacheBench b(10);
        b.runAndEnd(1, iota(9));
        b.cache->addStored({.name = {}, .group = GroupIndex{0}, .numerics = "cpu:1", .row = 1, .bytes = 1});
        for (int i = 0; i < 100; ++i)
            QCOMPARE(b.find(iota(9), "salt " + std::to_string(i)).matchedTokens, std::size_t(0));
        QCOMPARE(b.runAndEnd(2, iota(9)), 8);
    }

    void theEarliestOfEqualBlocksIsHit()
    {
        CacheBench b(6);
        QCOMPARE(b.run(1, iota(4)), 0);
        QCOMPARE(b.run(2, iota(4)), 0); // its only block holds the last token: computed again
        QCOMPARE(b.run(3, iota(5)), 4);
        QCOMPARE(b.table(3), (Ids{0, 2}));
        b.end(1);
        b.end(3);
        b.run(4, iota(16, 100)); // takes 2..5; nothing cached is evicted
        QVERIFY(b.log.of(EventKind::evict).empty());
        b.runAndEnd(5, iota(4, 200)); // evicts block 0
        QCOMPARE(b.log.of(EventKind::evict).size(), std::size_t(1));
        QCOMPARE(b.find(iota(5)).matchedTokens, std::size_t(4)); // the other one survives
    }

    void dedupeHoldsTheEarlierBlock()
    {
        CacheBench b(6, [](KvCacheConfig &c) { c.dedupe = true; });
        b.run(1, iota(4));
        b.run(2, iota(4));
        QCOMPARE(b.table(2), (Ids{0}));
        QCOMPARE(b.order(), (Ids{1, 2, 3, 4, 5}));
        QCOMPARE(b.log.of(EventKind::seal).size(), std::size_t(1));
        std::vector<CopyOrder> copies;
        QVERIFY(b.cache->reserve(SequenceId{2}, 5, copies));
        QVERIFY(copies.empty());
        b.cache->append(SequenceId{2}, iota(1, 50));
        QCOMPARE(b.table(2), (Ids{0, 1}));
    }

    void partialReuseCopiesTheLongestMatchingPart()
    {
        CacheBench b(8, [](KvCacheConfig &c) { c.partialReuse = true; });
        b.runAndEnd(1, iota(4) + std::vector<TokenId>{5, 6, 7, 8}); // blocks 0, 1
        b.runAndEnd(2, iota(4) + std::vector<TokenId>{5, 6, 9, 9}); // block 2
        const auto prompt = iota(4) + std::vector<TokenId>{5, 6, 7, 1, 1};
        const Request r = b.request(3, prompt);
        const auto start = b.cache->allocate(r, b.cache->lookup(r), prompt.size());
        QCOMPARE(start->hitTokens, std::size_t(7));
        QCOMPARE(start->copies.size(), std::size_t(1));
        QCOMPARE(start->copies[0].from.value, 1u);
        QCOMPARE(start->copies[0].tokens, 3u);
        QCOMPARE(start->newBlocks.size(), std::size_t(2));
        b.cache->append(r.sequence, std::span(prompt).subspan(7));
        QCOMPARE(b.find(prompt + iota(1)).matchedTokens, std::size_t(8)); // sealed with the right tokens
        QCOMPARE(b.find(iota(8)).matchedTokens, std::size_t(7));           // all but the last token
        COMPARE_ENUM(b.find(iota(8)).reason, EventReason::lastToken);
    }

    void partialReuseGivesWayWhenItsSourceIsNeeded()
    {
        CacheBench b(2, [](KvCacheConfig &c) { c.partialReuse = true; });
        b.runAndEnd(1, iota(4));
        QCOMPARE(b.run(2, iota(3) + iota(5, 50)), 0); // needs both blocks: nothing is copied
        QCOMPARE(b.cache->computedTokens(SequenceId{2}), std::size_t(8));
        CacheBench roomy(3, [](KvCacheConfig &c) { c.partialReuse = true; });
        roomy.runAndEnd(1, iota(4));
        QCOMPARE(roomy.run(2, iota(3) + iota(5, 50)), 3);
        QCOMPARE(roomy.table(2), (Ids{1, 2}));
    }

    void withoutCachingNothingIsSealedOrHit()
    {
        CacheBench b(4, [](KvCacheConfig &c) { c.caching = false; });
        b.runAndEnd(1, iota(8));
        QCOMPARE(b.runAndEnd(2, iota(9)), 0);
        QVERIFY(b.log.of(EventKind::seal).empty());
        QCOMPARE(b.order().size(), std::size_t(4));
        CacheBench off(4);
        Request r = off.request(1, iota(8));
        const auto tokens = iota(8);
        r.tokens = tokens;
        r.seal = false;
        QVERIFY(off.cache->allocate(r, off.cache->lookup(r), 8));
        off.cache->append(r.sequence, tokens);
        off.end(1);
        QCOMPARE(off.find(iota(9)).matchedTokens, std::size_t(0));
    }

    void forkedBranchesShareUntilOneWrites()
    {
        CacheBench b(10);
        b.run(1, iota(6));
        QVERIFY(b.cache->fork(SequenceId{1}, SequenceId{2}, SessionId{1}, TurnId{5}, 6));
        QCOMPARE(b.table(2), b.table(1));
        std::vector<CopyOrder> copies;
        QVERIFY(b.cache->reserve(SequenceId{2}, 7, copies));
        QCOMPARE(copies.size(), std::size_t(1));
        QCOMPARE(copies[0].from.value, 1u);
        QCOMPARE(copies[0].to.value, 2u);
        QCOMPARE(copies[0].tokens, 2u);
        b.cache->append(SequenceId{2}, iota(1, 70));
        copies.clear();
        QVERIFY(b.cache->reserve(SequenceId{1}, 7, copies)); // alone now: writes in place
        QVERIFY(copies.empty());
        b.cache->append(SequenceId{1}, iota(1, 80));
        QCOMPARE(b.log.of(EventKind::copyOnWrite).size(), std::size_t(1));
        b.end(1);
        b.end(2);
        QCOMPARE(b.cache->counts().cachedIdle, 1u);
    }

    // The system refuses memory for a fourth block: who has blocks goes on, and idle ones are used again.
    void aPoolThatCannotGrowStaysAtWhatItHas()
    {
        std::vector<std::uint32_t> asked;
        CacheBench b(10, [&](KvCacheConfig &config) {
            config.grow = [&](GroupIndex group, std::uint32_t blocks) {
                asked.push_back(blocks);
                return group.value == 0 && blocks <= 3;
            };
        });
        QCOMPARE(b.run(1, iota(8)), 0);
        b.runAndEnd(2, iota(4, 100));
        std::vector<CopyOrder> copies;
        QVERIFY(!b.cache->reserve(SequenceId{1}, 13, copies)); // two more, one is idle
        QCOMPARE(asked, (std::vector<std::uint32_t>{2, 3, 5}));
        QCOMPARE(b.cache->available(GroupIndex{0}), 1u);
        QCOMPARE(b.run(3, iota(8, 200)), -1);
        QVERIFY(b.cache->reserve(SequenceId{1}, 12, copies));
        QCOMPARE(b.table(1), (Ids{0, 1, 2}));
        QCOMPARE(asked.size(), std::size_t(3)); // it is not asked again
        QCOMPARE(b.cache->counts().capacity, 3u);
    }

    void aSequenceSaysWhetherItsNextTokenTakesACopy()
    {
        CacheBench b(10);
        b.run(1, iota(6));
        QVERIFY(!b.cache->sharesTail(SequenceId{1}));
        QVERIFY(b.cache->fork(SequenceId{1}, SequenceId{2}, SessionId{1}, TurnId{5}, 6));
        QVERIFY(b.cache->sharesTail(SequenceId{1}) && b.cache->sharesTail(SequenceId{2}));
        std::vector<CopyOrder> copies;
        QVERIFY(b.cache->reserve(SequenceId{2}, 7, copies));
        QVERIFY(!b.cache->sharesTail(SequenceId{1}) && !b.cache->sharesTail(SequenceId{2}));
    }

    // Forking inside a sealed block and letting the parent go leaves one holder of a block that others may hit.
    void aSealedBlockIsNeverWritten()
    {
        CacheBench b(10);
        b.run(1, iota(8));
        QVERIFY(b.cache->fork(SequenceId{1}, SequenceId{2}, SessionId{1}, TurnId{5}, 6));
        b.end(1);
        std::vector<CopyOrder> copies;
        QVERIFY(b.cache->reserve(SequenceId{2}, 8, copies));
        QCOMPARE(copies.size(), std::size_t(1));
        b.cache->append(SequenceId{2}, std::vector<TokenId>{70, 71});
        QCOMPARE(b.find(iota(9)).matchedTokens, std::size_t(8));
        QCOMPARE(b.find(iota(6) + std::vector<TokenId>{70, 71, 72}).matchedTokens, std::size_t(8));
    }

    void truncatedSequencesGoOnFromThere()
    {
        CacheBench b(10);
        b.run(1, iota(10));
        QVERIFY(b.cache->truncate(SequenceId{1}, 6));
        QCOMPARE(b.cache->computedTokens(SequenceId{1}), std::size_t(6));
        std::vector<CopyOrder> copies;
        QVERIFY(b.cache->reserve(SequenceId{1}, 9, copies));
        QCOMPARE(copies.size(), std::size_t(1)); // the second block is sealed: others may hit it
        b.cache->append(SequenceId{1}, std::vector<TokenId>{60, 61, 62});
        QCOMPARE(b.find(iota(6) + std::vector<TokenId>{60, 61, 1}).matchedTokens, std::size_t(8));
        QCOMPARE(b.find(iota(9)).matchedTokens, std::size_t(8));
    }

    void whatWasComputedBehindAGapIsNeverSealed()
    {
        CacheBench b(10);
        b.run(1, iota(16));
        b.cache->dropMiddle(SequenceId{1}, 3, 13); // wholly inside: blocks 1 and 2
        QCOMPARE(b.table(1), (Ids{0, kNoBlock.value, kNoBlock.value, 3}));
        std::vector<CopyOrder> copies;
        QVERIFY(b.cache->reserve(SequenceId{1}, 24, copies));
        b.cache->append(SequenceId{1}, iota(8, 17));
        b.end(1);
        QCOMPARE(b.find(iota(24)).matchedTokens, std::size_t(16));
    }

    void policiesOrderWhatWaits_data()
    {
        QTest::addColumn<QString>("policy");
        QTest::addColumn<std::vector<std::uint32_t>>("order");
        QTest::newRow("lru") << "lru" << Ids{2, 3, 1, 0};
        QTest::newRow("fifo") << "fifo" << Ids{0, 1, 2, 3};
        QTest::newRow("lfu") << "lfu" << Ids{2, 3, 0, 1};
    }
    // 0 is admitted first and hit twice, 1 second and hit three times, 2 and 3 are never hit; 0 is used last.
    void policiesOrderWhatWaits()
    {
        QFETCH(QString, policy);
        QFETCH(std::vector<std::uint32_t>, order);
        CacheBench b(5, [&](KvCacheConfig &c) { c.policy = policy.toStdString(); });
        for (TokenId i = 0; i < 4; ++i)
            b.runAndEnd(10 + std::uint64_t(i), iota(4, 100 * i));
        std::uint64_t id = 50;
        for (const TokenId i : {0, 1, 1, 1, 0})
            QCOMPARE(b.runAndEnd(++id, iota(5, 100 * i)), 4);
        auto waiting = b.order();
        waiting.erase(std::remove(waiting.begin(), waiting.end(), 4u), waiting.end()); // the blank one
        QCOMPARE(waiting, order);
        b.run(99, iota(8, 1000));
        const auto evictions = b.log.of(EventKind::evict);
        QCOMPARE(evictions.size(), std::size_t(1));
        QCOMPARE(evictions[0].block, order[0]);
        QCOMPARE(QString::fromUtf8(api::toString(evictions[0].reason).data()), policy);
    }

    void everyPolicyEvictsATailBeforeItsHead()
    {
        for (const char *policy : {"lru", "fifo", "lfu"}) {
            CacheBench b(4, [&](KvCacheConfig &c) { c.policy = policy; });
            b.runAndEnd(1, iota(16));
            QCOMPARE(b.order(), (Ids{3, 2, 1, 0}));
        }
    }

    void deadBranchesGoFirstAndAHitRevivesThem()
    {
        CacheBench b(4);
        b.runAndEnd(1, iota(4));
        b.runAndEnd(2, iota(4, 100));
        b.runAndEnd(3, iota(4, 200));
        const NodeId young = *b.cache->nodeOf(GroupIndex{0}, BlockId{2});
        QCOMPARE(b.cache->markDead(std::vector{young}, SessionId{1}, EventReason::edited), std::size_t(0)); // not its own
        QCOMPARE(b.cache->markDead(std::vector{young}, SessionId{3}, EventReason::edited), std::size_t(1));
        QCOMPARE(b.order(), (Ids{3, 2, 0, 1}));
        COMPARE_ENUM(b.log.of(EventKind::deadBranch)[0].reason, EventReason::edited);
        COMPARE_ENUM(b.cache->snapshot().groups[0].blocks[2].state, api::BlockState::deadBranch);
        QCOMPARE(b.runAndEnd(4, iota(5, 200)), 4);
        QCOMPARE(b.order(), (Ids{3, 0, 1, 2}));
        QCOMPARE(b.cache->markDead(std::vector{young}, SessionId{3}, EventReason::edited), std::size_t(0)); // chat 4 uses it, too
        b.cache->dropSession(SessionId{4});
        QCOMPARE(b.cache->markDead(std::vector{young}, SessionId{3}, EventReason::edited), std::size_t(1));
        b.runAndEnd(5, iota(8, 300));
        COMPARE_ENUM(b.log.of(EventKind::evict)[0].reason, EventReason::deadBranchFirst);
        QCOMPARE(b.log.of(EventKind::evict)[0].block, 2u);
    }

    void aHeldBranchIsNotDead()
    {
        CacheBench b(4);
        b.run(1, iota(4));
        const NodeId node = *b.cache->nodeOf(GroupIndex{0}, BlockId{0});
        QCOMPARE(b.cache->markDead(std::vector{node}, SessionId{1}, EventReason::regenerated), std::size_t(0));
    }

    void pinnedBlocksAreNeverEvicted()
    {
        CacheBench b(3);
        b.runAndEnd(1, iota(4));
        const std::vector node{*b.cache->nodeOf(GroupIndex{0}, BlockId{0})};
        QCOMPARE(b.cache->pin(node, true).known, std::size_t(1));
        QCOMPARE(b.cache->available(GroupIndex{0}), 2u);
        QCOMPARE(b.run(2, iota(12, 100)), -1);
        QCOMPARE(b.runAndEnd(3, iota(8, 100)), 0);
        QCOMPARE(b.runAndEnd(4, iota(5)), 4);
        COMPARE_ENUM(b.cache->snapshot().groups[0].blocks[0].state, api::BlockState::pinned);
        QCOMPARE(b.cache->pin(node, false).known, std::size_t(1));
        QCOMPARE(b.order().back(), 0u);
        QCOMPARE(b.cache->pin(std::vector{NodeId{12345}}, true).known, std::size_t(0));
        QCOMPARE(b.log.of(EventKind::pin).size() + b.log.of(EventKind::unpin).size(), std::size_t(2));
    }

    void atMostHalfOfThePoolIsPinned()
    {
        CacheBench b(8);
        b.run(1, iota(28));
        const auto path = b.cache->path(SequenceId{1});
        b.end(1);
        const auto outcome = b.cache->pin(path, true, EventReason::pinnedMessage, SessionId{1});
        QCOMPARE(outcome.known, std::size_t(7));
        QCOMPARE(outcome.refused, std::size_t(3));
        QCOMPARE(b.cache->pinnedNodes(), b.cache->pinLimit());
        COMPARE_ENUM(b.log.of(EventKind::pin)[0].reason, EventReason::pinnedMessage);
        QCOMPARE(b.log.of(EventKind::pin)[0].session, 1u);
        QCOMPARE(b.runAndEnd(2, iota(16, 100)), 0); // the other half is there for others
        QCOMPARE(b.find(iota(28)).memoryTokens, std::size_t(16));
        b.cache->pin(path, false);
        QCOMPARE(b.cache->pinnedNodes(), std::size_t(0));
        QCOMPARE(b.cache->available(GroupIndex{0}), 8u);
    }

    void aSecondCopyOfAPinnedBlockIsNotKept()
    {
        CacheBench b(4);
        b.runAndEnd(1, iota(4));
        b.cache->pin(std::vector{*b.cache->nodeOf(GroupIndex{0}, BlockId{0})}, true);
        Request again = b.request(2, iota(4) + iota(1, 50));
        const auto tokens = iota(4) + iota(1, 50);
        again.tokens = tokens;
        again.reuse = false;
        QVERIFY(b.cache->allocate(again, b.cache->lookup(again), 5));
        b.cache->append(SequenceId{2}, tokens);
        b.end(2);
        QCOMPARE(b.cache->available(GroupIndex{0}), 3u);
    }

    void aBranchShownAgainIsAliveAgain()
    {
        CacheBench b(4);
        b.run(1, iota(8));
        const auto path = b.cache->path(SequenceId{1});
        b.end(1);
        b.runAndEnd(2, iota(4, 100));
        QCOMPARE(b.cache->markDead(path, SessionId{1}, EventReason::branchSwitched), std::size_t(2));
        QCOMPARE(b.cache->revive(path, SessionId{1}, EventReason::branchSwitched), std::size_t(2));
        QCOMPARE(b.cache->revive(path, SessionId{1}, EventReason::branchSwitched), std::size_t(0));
        const auto told = b.log.of(EventKind::deadBranch);
        QCOMPARE(told.size(), std::size_t(4));
        QCOMPARE(told[0].a, 0u);
        QCOMPARE(told[3].a, 1u);
        COMPARE_ENUM(b.cache->snapshot().groups[0].blocks[0].state, api::BlockState::cached);
    }

    void droppingASessionFreesWhatItWroteAndNobodyHolds()
    {
        CacheBench b(8);
        b.run(1, iota(8));
        QCOMPARE(b.cache->dropSession(SessionId{1}), std::size_t(0));
        b.end(1);
        b.runAndEnd(2, iota(4, 50));
        QCOMPARE(b.cache->dropSession(SessionId{1}), std::size_t(2));
        QCOMPARE(b.log.of(EventKind::free)[0].session, 1u);
        COMPARE_ENUM(b.log.of(EventKind::free)[0].reason, EventReason::dropped);
        const Lookup found = b.find(iota(9));
        QCOMPARE(found.matchedTokens, std::size_t(0));
        COMPARE_ENUM(found.evictedFor, EventReason::dropped);
        COMPARE_ENUM(found.reason, EventReason::dropped); // not an eviction, and nobody's mistake ...
        QCOMPARE(found.wantedGhosts.size(), std::size_t(1)); // ... but both blocks are computed again
        QCOMPARE(b.runAndEnd(3, iota(9)), 0);
        QCOMPARE(b.cache->counts().regretted, 0u);
        b.cache->dropSession(SessionId{3});
        QCOMPARE(b.cache->counts().cachedIdle, 1u);
    }

    void whatAnotherSessionHitOutlivesTheOneThatWroteIt()
    {
        CacheBench b(8);
        b.runAndEnd(1, iota(8) + iota(4, 80));
        b.run(2, iota(8) + iota(4, 50)); // two blocks of session 1, one of its own
        b.run(3, iota(8) + iota(4, 60));
        QCOMPARE((b.cache->blocksOfSessions()), (std::map<SessionId, std::uint32_t>{
                                                    {SessionId{1}, 3}, {SessionId{2}, 3}, {SessionId{3}, 3}}));
        QCOMPARE(b.cache->dropSession(SessionId{1}), std::size_t(1)); // what it had for itself
        b.end(2);
        b.end(3);
        QCOMPARE(b.find(iota(9)).matchedTokens, std::size_t(8));
        QCOMPARE(b.cache->dropSession(SessionId{2}), std::size_t(1));
        QCOMPARE(b.find(iota(9)).matchedTokens, std::size_t(8));
        QCOMPARE(b.cache->dropSession(SessionId{3}), std::size_t(3));
        QCOMPARE(b.find(iota(9)).matchedTokens, std::size_t(0));
        QVERIFY(b.cache->blocksOfSessions().empty());
    }

    void resetWaitsForTheLastHolder()
    {
        CacheBench b(4);
        b.run(1, iota(8));
        QVERIFY(!b.cache->reset(EventReason::modelUnloaded));
        b.end(1);
        const auto order = b.order();
        QVERIFY(b.cache->reset(EventReason::modelUnloaded));
        QCOMPARE(b.order(), order);
        QCOMPARE(b.cache->counts().free, 4u);
        COMPARE_ENUM(b.find(iota(8)).reason, EventReason::neverStored); // not even ghosts
        QCOMPARE(b.runAndEnd(2, iota(8)), 0);
    }

    void ghostsAreBounded()
    {
        CacheBench b(4, [](KvCacheConfig &c) { c.maxGhosts = 3; });
        b.runAndEnd(1, iota(16));
        for (TokenId i = 1; i < 40; ++i)
            b.runAndEnd(std::uint64_t(i) + 1, iota(16, i * 1000));
        std::size_t remembered = 0;
        for (std::uint64_t id = 1; id < 200; ++id)
            remembered += b.cache->describe(NodeId{id}).has_value();
        QCOMPARE(remembered, std::size_t(4 + 3));
        COMPARE_ENUM(b.find(iota(16)).reason, EventReason::neverStored); // long forgotten
    }

    void tellsWhereThePromptParted()
    {
        CacheBench b(16);
        b.runAndEnd(1, iota(16));
        const auto prompt = iota(6) + std::vector<TokenId>{70, 71, 72, 73};
        const Lookup found = b.find(prompt);
        const Parting parting = b.cache->parting(b.request(1, prompt), found);
        QCOMPARE(parting.firstDifference, std::int64_t(6));
        QCOMPARE(parting.cachedPath.size(), std::size_t(3)); // 5..8, 9..12, 13..16
        QCOMPARE(parting.inMemory, 3u);
        QCOMPARE(b.cache->describe(parting.cachedPath[0])->firstToken, 4);
        QCOMPARE(b.cache->parting(b.request(1, iota(8)), b.find(iota(8))).firstDifference, std::int64_t(-1));
        // With nothing in common the session's own words are shown, not a stranger's.
        b.runAndEnd(2, iota(16, 900));
        const auto other = iota(9, 300);
        const Parting own = b.cache->parting(b.request(1, other), b.find(other));
        QCOMPARE(own.firstDifference, std::int64_t(0));
        QCOMPARE(b.cache->describe(own.cachedPath[0])->owner, SessionId{1});
    }

    void countsAddUpAndHitsAreCountedOnceARequest()
    {
        CacheBench b(10);
        b.runAndEnd(1, iota(9));
        const auto tokens = iota(11);
        Request r = b.request(2, tokens);
        r.resumed = true;
        QVERIFY(b.cache->allocate(r, b.cache->lookup(r), 11));
        b.cache->append(r.sequence, std::span(tokens).subspan(8));
        const api::PoolCounts c = b.cache->counts();
        QCOMPARE(c.lookupTokens, std::uint64_t(9));
        QCOMPARE(c.hitTokensMemory, std::uint64_t(0));
        QCOMPARE(c.inUse, 2u);
        QCOMPARE(c.partlyFilled, 1u);
        QCOMPARE(c.inUse + c.partlyFilled + c.cachedIdle + c.free, c.capacity);
        b.run(3, iota(12));
        QCOMPARE(b.cache->counts().hitTokensMemory, std::uint64_t(8));
    }

    void aStaleLookupIsRepeated()
    {
        CacheBench b(3);
        b.runAndEnd(1, iota(8));
        const auto tokens = iota(9);
        const Request r = b.request(2, tokens);
        const Lookup found = b.cache->lookup(r);
        QCOMPARE(found.matchedTokens, std::size_t(8));
        b.runAndEnd(3, iota(12, 100)); // evicts what was found
        const auto start = b.cache->allocate(r, found, 9);
        QCOMPARE(start->hitTokens, std::size_t(0));
    }

    void theRibbonShowsWhatAPromptWouldReuse()
    {
        CacheBench b(4);
        b.run(1, iota(9));
        const auto live = b.cache->ribbon(SequenceId{1});
        QCOMPARE(live.size(), std::size_t(3));
        COMPARE_ENUM(live[2].state, api::RibbonState::writing);
        QCOMPARE(live[2].tokens, std::uint16_t(1));
        b.end(1);
        b.runAndEnd(2, iota(12, 100)); // the tail of the first goes
        const auto cells = b.cache->ribbon(iota(12), "");
        COMPARE_ENUM(cells[0].state, api::RibbonState::memory);
        COMPARE_ENUM(cells[1].state, api::RibbonState::evicted);
        COMPARE_ENUM(cells[2].state, api::RibbonState::unused);
    }

    void refusesAStageThatCannotWork()
    {
        EventLog log;
        const ManualClock clock;
        const auto problem = [&](auto edit) {
            KvCacheConfig config;
            config.blocks = 4;
            config.layout.groups.resize(1);
            edit(config);
            const auto made = KvCache::create(std::move(config), log, clock);
            return made ? std::string() : made.error().message;
        };
        QVERIFY(problem([](KvCacheConfig &) {}).empty());
        QVERIFY(!problem([](KvCacheConfig &c) { c.blocks = 0; }).empty());
        QVERIFY(!problem([](KvCacheConfig &c) { c.layout.groups.clear(); }).empty());
        QVERIFY(!problem([](KvCacheConfig &c) { c.layout.groups.resize(33); }).empty());
        QVERIFY(!problem([](KvCacheConfig &c) { c.layout.blockSize = 0; }).empty());
        QVERIFY(!problem([](KvCacheConfig &c) { c.fastHashBits = 0; }).empty());
        for (const char *policy : {"", "LRU", "belady", "random"})
            QVERIFY(problem([&](KvCacheConfig &c) { c.policy = policy; }).find(evictionPolicyList()) != std::string::npos);
    }
};

KVILT_TEST_CLASS(KvCacheTest)
#include "tst_kv_cache.moc"

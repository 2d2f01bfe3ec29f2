// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/kv/kv_test_support.h"
#include "tests/support/test_registry.h"

using namespace kvilt;
using namespace kvilt::kv;
using namespace kvilt::test;
using api::EventKind;
using api::EventReason;

namespace {

struct Row {
    BlockName name;
    GroupIndex group;
    std::vector<TokenId> tokens;
};

// What a first run of the program leaves on disk.
std::vector<Row> storeAll(CacheBench &b)
{
    std::vector<Row> rows;
    for (const SealedBlock &block : b.cache->takeSealed()) {
        rows.push_back({block.name, block.group, block.tokens});
        b.cache->markStored({block.name, block.group, "cpu:1", std::int64_t(rows.size()), 100}, block.session, block.turn);
    }
    return rows;
}

void openWith(CacheBench &b, const std::vector<Row> &rows, std::string_view numerics = "cpu:1")
{
    for (std::size_t i = rows.size(); i-- > 0;) // any order will do
        b.cache->addStored({rows[i].name, rows[i].group, numerics, std::int64_t(i + 1), 100});
}

} // namespace

class KvCacheDiskTest : public QObject {
    Q_OBJECT
private slots:
    void sealedBlocksAreOfferedOnceWithTheirNames()
    {
        CacheBench b(10);
        b.run(1, iota(10));
        const auto sealed = b.cache->takeSealed();
        QCOMPARE(sealed.size(), std::size_t(2));
        CacheIdentity identity = b.cache->config().identity;
        QCOMPARE(identity.blockSize, 4u);
        QVERIFY(sealed[0].parentName == rootName(identity, ""));
        QVERIFY(sealed[0].name == childName(sealed[0].parentName, iota(4)));
        QVERIFY(sealed[1].parentName == sealed[0].name);
        QCOMPARE(sealed[1].tokens, iota(4, 5));
        QCOMPARE(sealed[1].firstToken, 4);
        QCOMPARE(sealed[1].session, SessionId{1});
        QVERIFY(b.cache->takeSealed().empty());
        QVERIFY(*b.cache->name(sealed[1].node) == sealed[1].name);
        QVERIFY(!b.cache->name(NodeId{777}));
    }

    void aNewProcessKnowsWhyTheTailIsMissing()
    {
        CacheBench first(10);
        first.run(1, iota(14)); // three full blocks and two tokens
        const auto rows = storeAll(first);
        CacheBench b(10);
        openWith(b, rows);
        COMPARE_ENUM(b.find(iota(14)).reason, EventReason::partialBlock);
        COMPARE_ENUM(b.find(iota(13)).reason, EventReason::lastToken);
        COMPARE_ENUM(b.find(iota(12)).reason, EventReason::lastToken); // the third block is there, but its end has to run
        COMPARE_ENUM(b.find(iota(11)).reason, EventReason::partialBlock);
        COMPARE_ENUM(b.find(iota(8) + iota(4, 50)).reason, EventReason::neverStored); // a full block that nobody stored
        COMPARE_ENUM(b.find(iota(8) + iota(6, 50)).reason, EventReason::neverStored);
        COMPARE_ENUM(b.find(iota(3, 50)).reason, EventReason::neverStored);
    }

    void aDamagedPayloadIsTheReasonOfItsMiss()
    {
        CacheBench first(10);
        first.run(1, iota(14));
        const auto rows = storeAll(first);
        CacheBench b(10);
        openWith(b, rows);
        QCOMPARE(b.find(iota(14)).matchedTokens, std::size_t(12));
        b.cache->forgetStored(rows[1].name, rows[1].group, "cpu:1", EventReason::corruptPayload);
        const Lookup found = b.find(iota(14));
        QCOMPARE(found.matchedTokens, std::size_t(4));
        COMPARE_ENUM(found.reason, EventReason::corruptPayload);
    }

    void aNewProcessFindsWhatTheLastOneStored()
    {
        CacheBench first(10);
        first.run(1, iota(14));
        const auto rows = storeAll(first);
        CacheBench b(10);
        openWith(b, rows);
        QCOMPARE(b.cache->counts().bytesOnDisk, std::uint64_t(300));
        const auto prompt = iota(14);
        const Request r = b.request(1, prompt);
        const Lookup found = b.cache->lookup(r);
        QCOMPARE(found.matchedTokens, std::size_t(12));
        QCOMPARE(found.diskTokens, std::size_t(12));
        const auto start = b.cache->allocate(r, found, 14);
        QCOMPARE(start->restores.size(), std::size_t(3));
        QCOMPARE(b.cache->counts().hitTokensDisk, std::uint64_t(12));
        for (std::size_t i = 0; i < 3; ++i) {
            const RestoreOrder &order = start->restores[i];
            QVERIFY(order.name == rows[i].name);
            QCOMPARE(order.row, std::int64_t(i + 1));
            QCOMPARE(order.firstToken, std::int32_t(4 * i));
            b.cache->restored(r.sequence, order, 7);
        }
        QCOMPARE(b.log.of(EventKind::restore).size(), std::size_t(3));
        b.cache->append(r.sequence, std::span(prompt).subspan(12));
        QVERIFY(b.cache->takeSealed().empty()); // all of it is on disk already
        QCOMPARE(b.find(prompt).memoryTokens, std::size_t(12));
        b.end(1);
        QCOMPARE(b.find(iota(14), "salted").matchedTokens, std::size_t(0));
    }

    void memoryAndDiskTogetherMakeOneHit()
    {
        CacheBench b(4);
        b.runAndEnd(1, iota(12));
        storeAll(b);
        b.runAndEnd(2, iota(8, 100)); // takes the blank one and evicts the tail
        const Lookup found = b.find(iota(13));
        QCOMPARE(found.memoryTokens, std::size_t(8));
        QCOMPARE(found.diskTokens, std::size_t(4));
        QVERIFY(b.cache->describe(found.nodes[2])->onDisk);
        b.runAndEnd(3, iota(13));
        QVERIFY(b.log.of(EventKind::regret).empty()); // it was not lost
        const auto cells = b.cache->ribbon(iota(12), "");
        QCOMPARE(cells.size(), std::size_t(3));
    }

    // A block may have a copy in the host's memory, on the disk, in both: views tell them apart, and one that goes leaves the other.
    void copiesOfBothTiersAreTold()
    {
        CacheBench b(10);
        b.runAndEnd(1, iota(14));
        const auto sealed = b.cache->takeSealed();
        QCOMPARE(sealed.size(), std::size_t(3));
        const auto copy = [&](std::size_t i, api::Tier tier, std::int64_t row) {
            b.cache->markStored({sealed[i].name, sealed[i].group, "cpu:1", row, 100, tier}, {}, {});
        };
        copy(0, api::Tier::host, 0);
        copy(0, api::Tier::disk, 7);
        copy(1, api::Tier::disk, 8);
        const auto block = [&](std::size_t i) { return b.cache->snapshot().groups[0].blocks[sealed[i].block.value]; };
        QVERIFY(block(0).inHost && block(0).onDisk && block(0).tier == api::Tier::host);
        QVERIFY(!block(1).inHost && block(1).onDisk && block(1).tier == api::Tier::disk);
        QVERIFY(!block(2).inHost && !block(2).onDisk && block(2).tier == api::Tier::device);
        api::PoolCounts counts = b.cache->counts();
        QCOMPARE(counts.host.blocks, std::uint64_t(1));
        QCOMPARE(counts.disk.blocks, std::uint64_t(2));
        QCOMPARE(counts.disk.bytes, std::uint64_t(200));
        QCOMPARE(counts.disk.inPool, std::uint64_t(2));

        QVERIFY(b.cache->reset(EventReason::dropped));
        counts = b.cache->counts();
        QCOMPARE(counts.host.onlyHere(), std::uint64_t(1));
        QCOMPARE(counts.disk.onlyHere(), std::uint64_t(2));
        const auto cells = b.cache->ribbon(iota(14), "");
        QVERIFY(cells[0].state == api::RibbonState::disk && cells[0].tier == api::Tier::host);
        QVERIFY(cells[1].state == api::RibbonState::disk && cells[1].tier == api::Tier::disk);
        const auto prompt = iota(14);
        const Request request = b.request(2, prompt);
        const Lookup found = b.cache->lookup(request);
        QCOMPARE(found.diskTokens, std::size_t(8));
        QCOMPARE(found.hostTokens, std::size_t(4));
        const auto start = b.cache->allocate(request, found, 14);
        QVERIFY(start->restores[0].tier == api::Tier::host && start->restores[1].tier == api::Tier::disk);
        QCOMPARE(start->restores[1].row, std::int64_t(8));
        b.cache->release(request.sequence, EventReason::finished);

        b.cache->forgetStored(sealed[0].name, sealed[0].group, "cpu:1", EventReason::lru, api::Tier::host);
        QVERIFY(b.cache->ribbon(iota(14), "")[0].tier == api::Tier::disk);
        QCOMPARE(b.cache->counts().host.blocks, std::uint64_t(0));
        b.cache->forgetStored(sealed[0].name, sealed[0].group, "cpu:1", EventReason::dropped);
        QCOMPARE(b.find(iota(14)).matchedTokens, std::size_t(0));
        QCOMPARE(b.cache->counts().disk.blocks, std::uint64_t(1));
    }

    void otherArithmeticIsAMissUnlessAllowed()
    {
        CacheBench first(10);
        first.run(1, iota(14));
        const auto rows = storeAll(first);
        CacheBench exact(10);
        openWith(exact, rows, "cuda:90:1:none");
        const Lookup missed = exact.find(iota(14));
        QCOMPARE(missed.matchedTokens, std::size_t(0));
        COMPARE_ENUM(missed.reason, EventReason::numerics);

        // Allowed, but they are numbers of another kind there.
        CacheBench foreign(10, [](KvCacheConfig &c) {
            c.nearReuse = true;
            c.isNear = [](std::string_view made) { return made == "cpu:0"; };
        });
        openWith(foreign, rows, "cuda:90:1:none");
        QCOMPARE(foreign.find(iota(14)).matchedTokens, std::size_t(0));
        COMPARE_ENUM(foreign.find(iota(14)).reason, EventReason::numerics);

        CacheBench near(10, [](KvCacheConfig &c) {
            c.nearReuse = true;
            c.isNear = [](std::string_view made) { return made == "cuda:90:1:none"; };
        });
        openWith(near, rows, "cuda:90:1:none");
        const auto prompt = iota(18);
        const Request r = near.request(1, prompt);
        const Lookup found = near.cache->lookup(r);
        QVERIFY(found.near);
        const auto start = near.cache->allocate(r, found, 18);
        QCOMPARE(start->hitTokens, std::size_t(12));
        for (const RestoreOrder &order : start->restores) {
            QCOMPARE(order.numerics, std::string("cuda:90:1:none")); // the store is asked for theirs
            near.cache->restored(r.sequence, order, 1);
        }
        near.cache->append(r.sequence, std::span(prompt).subspan(12));
        QVERIFY(near.cache->takeSealed().empty()); // nothing computed on it is stored as exact
        QVERIFY(near.log.of(EventKind::seal).empty());
        QCOMPARE(near.find(prompt).memoryTokens, std::size_t(0));
    }

    void aForgottenRowIsAMissAndSaysWhy()
    {
        CacheBench first(10);
        first.run(1, iota(14));
        const auto rows = storeAll(first);
        CacheBench b(10);
        openWith(b, rows);
        QCOMPARE(b.find(iota(14)).diskTokens, std::size_t(12));
        b.cache->forgetStored(rows[1].name, GroupIndex{0}, "cpu:1", EventReason::corruptPayload);
        b.cache->forgetStored(rows[1].name, GroupIndex{0}, "cpu:1", EventReason::corruptPayload);
        QCOMPARE(b.log.of(EventKind::evict).size(), std::size_t(1));
        const Lookup found = b.find(iota(14));
        QCOMPARE(found.diskTokens, std::size_t(4));
        COMPARE_ENUM(found.evictedFor, EventReason::corruptPayload);
        QCOMPARE(b.cache->counts().bytesOnDisk, std::uint64_t(200));
        b.cache->forgetStored(rows[0].name, GroupIndex{0}, "cpu:1", EventReason::none);
        b.cache->forgetStored(rows[2].name, GroupIndex{0}, "cpu:1", EventReason::none);
        QCOMPARE(b.find(iota(14)).matchedTokens, std::size_t(0));
        QCOMPARE(b.cache->counts().bytesOnDisk, std::uint64_t(0));
    }

    void aFailedRestoreIsTriedAgainWithoutIt()
    {
        CacheBench first(10);
        first.run(1, iota(14));
        const auto rows = storeAll(first);
        CacheBench b(10);
        openWith(b, rows);
        const auto prompt = iota(14);
        const Request r = b.request(1, prompt);
        auto start = b.cache->allocate(r, b.cache->lookup(r), 14);
        b.cache->restored(r.sequence, start->restores[0], 1);
        b.cache->forgetStored(start->restores[1].name, GroupIndex{0}, "cpu:1", EventReason::corruptPayload);
        b.cache->release(r.sequence, EventReason::corruptPayload);
        b.cache->restored(r.sequence, start->restores[2], 1); // comes too late: nobody waits for it
        QCOMPARE(b.log.of(EventKind::restore).size(), std::size_t(1));
        start = b.cache->allocate(r, b.cache->lookup(r), 14);
        QCOMPARE(start->hitTokens, std::size_t(4));
        QVERIFY(start->restores.empty());
    }

    void aBlockComputedAgainFindsItsRow()
    {
        CacheBench first(10);
        first.run(1, iota(14));
        const auto rows = storeAll(first);
        CacheBench b(10);
        openWith(b, rows);
        const auto prompt = iota(14);
        Request r = b.request(1, prompt);
        r.reuse = false; // computed without a look at the disk
        QVERIFY(b.cache->allocate(r, b.cache->lookup(r), 14));
        b.cache->append(r.sequence, prompt);
        QVERIFY(b.cache->takeSealed().empty());
    }

    void whatIsEvictedBeforeTheStoreAsksIsNotOffered()
    {
        CacheBench b(2);
        b.runAndEnd(1, iota(8));
        b.runAndEnd(2, iota(8, 100));
        const auto sealed = b.cache->takeSealed();
        QCOMPARE(sealed.size(), std::size_t(2));
        for (const SealedBlock &block : sealed)
            QVERIFY(block.tokens[0] >= 100);
    }

    void aWindowGroupIsRestoredWhereItIsNeeded()
    {
        CacheBench first(10, windowGroup(6));
        first.run(1, iota(18));
        const auto rows = storeAll(first);
        CacheBench b(10, windowGroup(6));
        openWith(b, rows);
        const auto prompt = iota(18);
        const Request r = b.request(1, prompt);
        const auto start = b.cache->allocate(r, b.cache->lookup(r), 18);
        QCOMPARE(start->hitTokens, std::size_t(16));
        QCOMPARE(start->restores.size(), std::size_t(4 + 2));
        QCOMPARE(std::count_if(start->restores.begin(), start->restores.end(),
                               [](const RestoreOrder &o) { return o.group == GroupIndex{1} && o.firstToken >= 8; }),
                 std::ptrdiff_t(2));
    }

    void onlyTheFirstGroupsRowsAreNoHit()
    {
        CacheBench first(10, windowGroup(6));
        first.run(1, iota(18));
        auto rows = storeAll(first);
        std::erase_if(rows, [](const Row &row) { return row.group == GroupIndex{1}; });
        CacheBench b(10, windowGroup(6));
        openWith(b, rows);
        const Lookup found = b.find(iota(18));
        QCOMPARE(found.matchedTokens, std::size_t(0));
        COMPARE_ENUM(found.reason, EventReason::windowHole);
    }

    void storingMakesAnEvent()
    {
        CacheBench b(10);
        b.run(1, iota(5));
        storeAll(b);
        const auto stores = b.log.of(EventKind::store);
        QCOMPARE(stores.size(), std::size_t(1));
        COMPARE_ENUM(stores[0].tier, api::Tier::disk);
        QCOMPARE(stores[0].a, 100u);
        QCOMPARE(stores[0].block, 0u);
        QVERIFY(b.cache->snapshot().groups[0].blocks[0].onDisk);
    }
};

KVILT_TEST_CLASS(KvCacheDiskTest)
#include "tst_kv_cache_disk.moc"

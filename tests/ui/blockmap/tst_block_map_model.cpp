// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/blockmap/block_map_model.h"

#include <QTest>

#include <numeric>
#include <random>

using namespace kvilt;
using namespace kvilt::ui;
using api::BlockState;
using api::CacheEvent;
using api::EventKind;

namespace {

api::PoolSnapshot emptyPool(std::uint32_t blocks, std::uint64_t number = 0, int groups = 1)
{
    api::PoolSnapshot snapshot{.sequenceNumber = number, .blockSize = 16, .policy = "lru"};
    for (int g = 0; g < groups; ++g) {
        snapshot.groups.push_back({.group = GroupIndex{std::uint16_t(g)}, .name = "all layers", .capacity = blocks,
                                   .bytesPerBlock = 1024});
        snapshot.groups.back().blocks.resize(blocks);
    }
    return snapshot;
}

// Events with numbers in order, as the journal gives them.
class Script {
public:
    explicit Script(std::uint64_t first = 1) : m_next(first) {}

    CacheEvent &add(EventKind kind, std::uint32_t block, std::uint16_t references = 0, std::uint64_t node = 0)
    {
        CacheEvent event;
        event.sequenceNumber = m_next++;
        event.timeNs = event.sequenceNumber * 1'000'000;
        event.kind = kind;
        event.block = block;
        event.references = references;
        event.node = node;
        event.sequence = 1;
        event.session = 7;
        m_events.push_back(event);
        return m_events.back();
    }
    void skip(std::uint64_t count) { m_next += count; }
    std::vector<CacheEvent> take() { return std::exchange(m_events, {}); }

private:
    std::uint64_t m_next;
    std::vector<CacheEvent> m_events;
};

int count(const BlockMapModel &model, BlockState state)
{
    return int(model.counts(0)[int(state)]);
}

std::uint32_t total(const BlockMapModel &model, std::size_t group = 0)
{
    const StateCounts &counts = model.counts(group);
    return std::accumulate(counts.begin(), counts.end(), 0u);
}

} // namespace

class BlockMapModelTest : public QObject {
    Q_OBJECT
private slots:
    void foldsTheLifeOfABlock();
    void whatTheDiskForgetsIsNoLongerShownThere();
    void idleBlocksWearTheTierTheyComeBackFrom();
    void countsAlwaysAddUpToCapacity();
    void gapAsksForOneSnapshot();
    void snapshotOlderThanKeptEventsIsLaidBelowThem();
    void olderUnaskedSnapshotIsIgnored();
    void eventsBeforeTheSnapshotAreSkipped();
    void eventsWithoutASnapshotAskForOne();
    void blockBeyondThePoolAsksForASnapshot();
    void groupsDoNotMix();
    void parentIsTheNodeSealedBefore();
    void dirtyListsEachBlockOnce();
    void filterDimsHiddenStates();
    void restoredFadesWithinTwoSeconds();
    void reducedMotionLeavesNoTraces();
    void coloursByHitsReferencesAndRank();
    void arrangesBySession();
    void arrangesByPrefixTree();
    void arrangementsArePermutations();
};

void BlockMapModelTest::foldsTheLifeOfABlock()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::allocate, 2, 1).a = 3;
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 2), BlockState::writing);
    QCOMPARE(model.cell(0, 2).owner, SessionId{7});
    QCOMPARE(model.cell(0, 2).firstToken, 48);

    CacheEvent &seal = script.add(EventKind::seal, 2, 1, 11);
    seal.a = 48;
    seal.b = 16;
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 2), BlockState::inUse);
    QCOMPARE(model.blockOf(0, NodeId{11}), std::optional<std::uint32_t>(2));

    script.add(EventKind::reference, 2, 2, 11);
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 2), BlockState::shared);
    QCOMPARE(model.cell(0, 2).uses, 1u);

    script.add(EventKind::release, 2, 1, 11);
    script.add(EventKind::release, 2, 0, 11);
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 2), BlockState::cached);

    script.add(EventKind::pin, 2, 0, 11);
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 2), BlockState::pinned);
    script.add(EventKind::unpin, 2, 0, 11);
    script.add(EventKind::deadBranch, 2, 0, 11);
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 2), BlockState::deadBranch);

    script.add(EventKind::evict, 2, 0, 11);
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 2), BlockState::free);
    QCOMPARE(model.blockOf(0, NodeId{11}), std::optional<std::uint32_t>());
    QCOMPARE(model.cell(0, 2).uses, 0u);
}

void BlockMapModelTest::whatTheDiskForgetsIsNoLongerShownThere()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::allocate, 2, 1);
    script.add(EventKind::seal, 2, 1, 11);
    script.add(EventKind::store, kNoBlock.value, 0, 11).tier = api::Tier::disk;
    model.fold(script.take(), 0);
    QVERIFY(model.cell(0, 2).onDisk);
    script.add(EventKind::evict, kNoBlock.value, 0, 11).tier = api::Tier::disk; // quota, "drop KV", damage
    model.fold(script.take(), 0);
    QVERIFY(!model.cell(0, 2).onDisk);
    QCOMPARE(model.state(0, 2), BlockState::inUse); // what is in memory stays
    QCOMPARE(model.blockOf(0, NodeId{11}), std::optional<std::uint32_t>(2));
}

void BlockMapModelTest::idleBlocksWearTheTierTheyComeBackFrom()
{
    using api::Tier;
    BlockMapModel model;
    api::PoolSnapshot pool = emptyPool(4);
    pool.groups[0].blocks[2] = {.state = BlockState::cached, .node = NodeId{11}, .tokens = 16, .inHost = true};
    model.apply(pool, 0);
    QVERIFY(model.shownTier(0, 2) == Tier::device); // without a GPU nothing is marked
    model.setTiersShown(true);
    QVERIFY(model.shownTier(0, 2) == Tier::host);
    QVERIFY(model.shownTier(0, 1) == Tier::device); // free
    Script script;
    const auto fold = [&](EventKind kind, Tier tier) {
        (void)model.takeDirty(0);
        script.add(kind, kNoBlock.value, 0, 11).tier = tier;
        model.fold(script.take(), 0);
        return model.takeDirty(0).blocks == std::vector<std::uint32_t>{2};
    };
    QVERIFY(!fold(EventKind::store, Tier::disk)); // the host is nearer: nothing to paint
    QVERIFY(model.cell(0, 2).onDisk);
    QVERIFY(model.shownTier(0, 2) == Tier::host);
    QVERIFY(fold(EventKind::evict, Tier::host));
    QVERIFY(model.shownTier(0, 2) == Tier::disk);
    QVERIFY(fold(EventKind::evict, Tier::disk));
    QVERIFY(model.shownTier(0, 2) == Tier::device);
    QVERIFY(fold(EventKind::demote, Tier::host));
    QVERIFY(model.shownTier(0, 2) == Tier::host);
    QCOMPARE(model.state(0, 2), BlockState::cached); // the block itself stayed where it was
    script.add(EventKind::reference, 2, 1, 11);      // taken up again: it goes nowhere
    model.fold(script.take(), 0);
    QVERIFY(model.shownTier(0, 2) == Tier::device);
}

void BlockMapModelTest::countsAlwaysAddUpToCapacity()
{
    std::mt19937 random(3);
    BlockMapModel model;
    model.apply(emptyPool(64, 0, 2), 0);
    Script script;
    for (int round = 0; round < 200; ++round) {
        for (int i = 0; i < 20; ++i) {
            CacheEvent &event = script.add(EventKind(random() % api::kEventKinds), random() % 64,
                                           std::uint16_t(random() % 4), random() % 100);
            event.group = std::uint16_t(random() % 2);
            event.a = random() % 64;
            event.b = random() % 17;
        }
        model.fold(script.take(), round);
        QCOMPARE(total(model, 0), 64u);
        QCOMPARE(total(model, 1), 64u);
        StateCounts counted{};
        for (std::uint32_t b = 0; b < 64; ++b)
            ++counted[int(stateOf(model.cell(0, b), 16))];
        QCOMPARE(model.counts(0), counted);
    }
}

void BlockMapModelTest::gapAsksForOneSnapshot()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::allocate, 0, 1);
    model.fold(script.take(), 0);
    QVERIFY(!model.takeSnapshotRequest());
    QVERIFY(model.complete());
    script.skip(1);
    script.add(EventKind::allocate, 1, 1);
    model.fold(script.take(), 0);
    QVERIFY(!model.complete());
    QVERIFY(model.takeSnapshotRequest());
    QVERIFY(!model.takeSnapshotRequest());
    QCOMPARE(model.state(0, 1), BlockState::writing); // goes on with what it has
}

void BlockMapModelTest::snapshotOlderThanKeptEventsIsLaidBelowThem()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script(5); // 1..4 lost
    script.add(EventKind::allocate, 1, 1);
    model.fold(script.take(), 0);
    QVERIFY(model.takeSnapshotRequest());
    script.add(EventKind::allocate, 2, 1); // 6, still under way when the engine answers with 5
    model.fold(script.take(), 0);
    api::PoolSnapshot answer = emptyPool(4, 5);
    answer.groups[0].blocks[0].references = 1;
    answer.groups[0].blocks[1].references = 1;
    model.apply(answer, 0);
    QVERIFY(model.complete());
    QCOMPARE(count(model, BlockState::writing), 3);
    QCOMPARE(model.lastSequenceNumber(), 6u);
    script.add(EventKind::release, 2, 0);
    model.fold(script.take(), 0);
    QVERIFY(model.complete());
    QCOMPARE(count(model, BlockState::writing), 2);
}

void BlockMapModelTest::olderUnaskedSnapshotIsIgnored()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::allocate, 0, 1);
    script.add(EventKind::allocate, 1, 1);
    model.fold(script.take(), 0);
    model.apply(emptyPool(4, 1), 0);
    QCOMPARE(count(model, BlockState::writing), 2);
    model.apply(emptyPool(4, 2), 0);
    QCOMPARE(count(model, BlockState::writing), 0);
}

void BlockMapModelTest::eventsBeforeTheSnapshotAreSkipped()
{
    BlockMapModel model;
    Script script;
    script.add(EventKind::allocate, 0, 1);
    script.add(EventKind::release, 0, 0);
    script.add(EventKind::allocate, 1, 1);
    model.apply(emptyPool(4, 2), 0);
    model.fold(script.take(), 0);
    QVERIFY(model.complete());
    QCOMPARE(count(model, BlockState::writing), 1);
    QCOMPARE(model.state(0, 1), BlockState::writing);
}

void BlockMapModelTest::eventsWithoutASnapshotAskForOne()
{
    BlockMapModel model;
    Script script(9);
    script.add(EventKind::allocate, 0, 1);
    model.fold(script.take(), 0);
    QVERIFY(model.empty());
    QVERIFY(model.takeSnapshotRequest());
    model.apply(emptyPool(4, 8), 0);
    QCOMPARE(count(model, BlockState::writing), 1);
}

void BlockMapModelTest::blockBeyondThePoolAsksForASnapshot()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::allocate, 4, 1);
    model.fold(script.take(), 0);
    QVERIFY(model.takeSnapshotRequest());
    QCOMPARE(total(model), 4u);
}

void BlockMapModelTest::groupsDoNotMix()
{
    BlockMapModel model;
    model.apply(emptyPool(4, 0, 2), 0);
    Script script;
    script.add(EventKind::allocate, 0, 1).group = 1;
    script.add(EventKind::allocate, 1, 1).group = 9;
    model.fold(script.take(), 0);
    QCOMPARE(model.state(0, 0), BlockState::free);
    QCOMPARE(model.state(1, 0), BlockState::writing);
    QCOMPARE(model.bytesOfAllGroups(), 2048u);
}

void BlockMapModelTest::parentIsTheNodeSealedBefore()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::reference, 0, 1, 10);
    script.add(EventKind::allocate, 1, 1);
    script.add(EventKind::seal, 1, 1, 11);
    script.add(EventKind::allocate, 2, 1);
    script.add(EventKind::seal, 2, 1, 12);
    model.fold(script.take(), 0);
    QCOMPARE(model.cell(0, 1).parent, NodeId{10});
    QCOMPARE(model.cell(0, 2).parent, NodeId{11});
}

void BlockMapModelTest::dirtyListsEachBlockOnce()
{
    BlockMapModel model;
    model.apply(emptyPool(8), 0);
    QVERIFY(model.takeDirty(0).all);
    QVERIFY(!model.dirty(0));
    Script script;
    script.add(EventKind::allocate, 3, 1);
    script.add(EventKind::seal, 3, 1, 5);
    script.add(EventKind::allocate, 4, 1);
    script.add(EventKind::reference, 3, 1, 5); // nothing to be seen of it
    model.fold(script.take(), 0);
    const auto dirty = model.takeDirty(0);
    QVERIFY(!dirty.all);
    QCOMPARE(dirty.blocks, (std::vector<std::uint32_t>{3, 4}));
    QVERIFY(!model.dirty(0));
}

void BlockMapModelTest::filterDimsHiddenStates()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::allocate, 0, 1);
    script.add(EventKind::reference, 1, 1, 5);
    model.fold(script.take(), 0);
    model.showOnly(BlockState::writing);
    QCOMPARE(int(model.codes(0)[0]), int(BlockState::writing));
    QCOMPARE(model.codes(0)[1], code::kDimmed);
    QCOMPARE(model.codes(0)[2], code::kDimmed);
    QCOMPARE(total(model), 4u); // a filter changes looks, not counts
    script.add(EventKind::seal, 0, 1, 6);
    model.fold(script.take(), 0);
    QCOMPARE(model.codes(0)[0], code::kDimmed);
    model.setShown(BlockState::inUse, true);
    QCOMPARE(int(model.codes(0)[0]), int(BlockState::inUse));
    model.showAll();
    QVERIFY(!model.filtered());
    QCOMPARE(model.codes(0)[2], code::kFree);
}

void BlockMapModelTest::restoredFadesWithinTwoSeconds()
{
    BlockMapModel model;
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::restore, 1, 1, 5);
    script.add(EventKind::evict, 2, 0, 6);
    model.fold(script.take(), 1000);
    const int inUse = int(BlockState::inUse);
    QCOMPARE(int(model.codes(0)[1]), code::kRestored + inUse * code::kFadeSteps);
    QCOMPARE(int(model.codes(0)[2]), code::kEvicted);
    QVERIFY(model.advance(2000));
    QCOMPARE(int(model.codes(0)[1]), code::kRestored + inUse * code::kFadeSteps + 8);
    QVERIFY(model.advance(2999));
    QVERIFY(!model.advance(3000));
    QCOMPARE(int(model.codes(0)[1]), inUse);
    QCOMPARE(model.codes(0)[2], code::kFree);
}

void BlockMapModelTest::reducedMotionLeavesNoTraces()
{
    BlockMapModel model(BlockMapModel::Options{.traces = false});
    model.apply(emptyPool(4), 0);
    Script script;
    script.add(EventKind::restore, 1, 1, 5);
    model.fold(script.take(), 0);
    QCOMPARE(int(model.codes(0)[1]), int(BlockState::inUse));
    QVERIFY(!model.advance(1));
}

void BlockMapModelTest::coloursByHitsReferencesAndRank()
{
    BlockMapModel model;
    api::PoolSnapshot snapshot = emptyPool(4);
    for (int b = 0; b < 3; ++b)
        snapshot.groups[0].blocks[b] = {.state = BlockState::cached, .uses = std::uint32_t(b * 5),
                                        .node = NodeId{std::uint64_t(b + 1)}, .tokens = 16, .evictionRank = b};
    model.apply(snapshot, 0);
    model.setColourBy(ColourBy::hits);
    QVERIFY(model.codes(0)[0] < model.codes(0)[1]);
    QVERIFY(model.codes(0)[1] < model.codes(0)[2]);
    QCOMPARE(model.codes(0)[3], code::kFree);
    model.setColourBy(ColourBy::eviction);
    QVERIFY(model.codes(0)[0] > model.codes(0)[1]); // next to go stands out most
    QVERIFY(model.codes(0)[1] > model.codes(0)[2]);
    model.setColourBy(ColourBy::references);
    QCOMPARE(model.codes(0)[0], code::kFirst);
    QVERIFY(model.takeDirty(0).all);
}

void BlockMapModelTest::arrangesBySession()
{
    BlockMapModel model;
    api::PoolSnapshot snapshot = emptyPool(5);
    const auto fill = [&](int block, std::int64_t owner, std::int32_t token) {
        snapshot.groups[0].blocks[block] = {.node = NodeId{std::uint64_t(block + 1)}, .owner = SessionId{owner},
                                            .firstToken = token, .tokens = 16};
    };
    fill(0, 2, 16);
    fill(1, 1, 0);
    fill(3, 2, 0);
    fill(4, 0, 0);
    model.apply(snapshot, 0);
    QCOMPARE(model.arranged(0, ArrangeBy::session), (std::vector<std::uint32_t>{1, 3, 0, 4, 2}));
    QCOMPARE(model.arranged(0, ArrangeBy::block), (std::vector<std::uint32_t>{0, 1, 2, 3, 4}));
}

void BlockMapModelTest::arrangesByPrefixTree()
{
    BlockMapModel model;
    api::PoolSnapshot snapshot = emptyPool(6);
    const auto fill = [&](int block, std::uint64_t node, std::uint64_t parent) {
        snapshot.groups[0].blocks[block] = {.node = NodeId{node}, .parent = NodeId{parent}, .tokens = 16};
    };
    fill(5, 1, 0); //  1 ─ 2 ─ 4
    fill(4, 2, 1); //    └ 3
    fill(3, 3, 1);
    fill(0, 4, 2);
    model.apply(snapshot, 0);
    QCOMPARE(model.arranged(0, ArrangeBy::prefixTree), (std::vector<std::uint32_t>{5, 4, 0, 3, 1, 2}));
}

void BlockMapModelTest::arrangementsArePermutations()
{
    std::mt19937 random(5);
    BlockMapModel model;
    api::PoolSnapshot snapshot = emptyPool(100);
    for (auto &block : snapshot.groups[0].blocks) // parents at random: cycles too
        block = {.references = std::uint16_t(random() % 2), .node = NodeId{random() % 50},
                 .parent = NodeId{random() % 50}, .owner = SessionId{std::int64_t(random() % 5)}, .tokens = 16};
    model.apply(snapshot, 0);
    for (const ArrangeBy by : {ArrangeBy::block, ArrangeBy::session, ArrangeBy::prefixTree}) {
        std::vector<std::uint32_t> order = model.arranged(0, by);
        std::sort(order.begin(), order.end());
        QCOMPARE(order.size(), std::size_t(100));
        for (std::uint32_t i = 0; i < 100; ++i)
            QCOMPARE(order[i], i);
    }
}

KVILT_TEST_CLASS(BlockMapModelTest)
#include "tst_block_map_model.moc"

// SPDX-License-Identifier: Apache-2.0
#include "app/worker/policy_compare.h"
#include "tests/support/test_registry.h"

#include <QTest>

#undef emit // Qt's empty keyword; here it is EventSink's method

using namespace kvilt;
using namespace kvilt::worker;
using api::EventKind;

namespace {

// One prompt of full blocks of 16 tokens: `hits` are found, `fresh` are computed, and one block of reply follows.
void ask(trace::EventJournal &journal, std::uint64_t sequence, const std::vector<std::uint64_t> &hits,
         const std::vector<std::uint64_t> &fresh, std::uint64_t reply)
{
    const auto event = [&](EventKind kind, std::uint64_t node, std::uint32_t a, std::uint32_t b) {
        api::CacheEvent e;
        e.kind = kind;
        e.node = node;
        e.sequence = sequence;
        e.a = a;
        e.b = b;
        journal.emit(e);
    };
    const auto prompt = std::uint32_t(16 * (hits.size() + fresh.size()));
    event(EventKind::hit, 0, std::uint32_t(16 * hits.size()), prompt);
    for (const std::uint64_t node : hits)
        event(EventKind::reference, node, 0, 0);
    for (const std::uint64_t node : fresh)
        event(EventKind::seal, node, 0, 16);
    event(EventKind::seal, reply, prompt, 16);
}

const api::update::PolicyOutcome &outcome(const api::update::PoliciesCompared &c, const std::string &policy, std::uint64_t blocks)
{
    for (const auto &o : c.outcomes)
        if (o.policy == policy && o.blocks == blocks)
            return o;
    qFatal("no such outcome");
}

} // namespace

class PolicyCompareTest : public QObject {
    Q_OBJECT
private slots:
    void countsTheBlocksOfPromptsOnly()
    {
        trace::EventJournal journal({});
        ask(journal, 1, {}, {1, 2}, 3);
        ask(journal, 2, {1, 2, 3}, {4}, 5); // the reply of the first is part of the second prompt
        const auto compared = comparePolicies({journal, 0, 16, 64, "lru"});
        QVERIFY2(compared.problem.empty(), compared.problem.c_str());
        QCOMPARE(compared.requests, std::uint64_t(2));
        QCOMPARE(compared.promptBlocks, std::uint64_t(6));
        QCOMPARE(outcome(compared, "lru", 64).hitRatio, 0.5);
        QCOMPARE(outcome(compared, "lru", 64).evictions, std::uint64_t(0));
        QCOMPARE(compared.unlimitedHitRatio, 0.5);
    }

    void aSmallPoolTellsThePoliciesApart()
    {
        trace::EventJournal journal({});
        std::uint64_t node = 100, sequence = 1;
        ask(journal, sequence++, {1, 2, 3, 4}, {}, node++);
        for (int turn = 0; turn < 12; ++turn) {
            ask(journal, sequence++, {1, 2, 3, 4}, {}, node++); // wanted again and again
            for (int other = 0; other < 2; ++other, node += 4) // and prompts that nobody wants twice
                ask(journal, sequence++, {}, {node, node + 1, node + 2}, node + 3);
        }
        const auto compared = comparePolicies({journal, 0, 16, 8, "lru"});
        QCOMPARE(compared.outcomes.size(), std::size_t(4 * 4));
        QVERIFY(outcome(compared, "belady", 8).hitRatio >= outcome(compared, "lfu", 8).hitRatio);
        QVERIFY(outcome(compared, "lfu", 8).hitRatio > outcome(compared, "lru", 8).hitRatio);
        QVERIFY(outcome(compared, "lru", 8).evictions > 0);
    }

    void whatAnEarlierModelDidIsNotCounted()
    {
        trace::EventJournal journal({});
        ask(journal, 1, {}, {1, 2}, 3);
        const std::uint64_t first = journal.nextNumber();
        const auto nothing = comparePolicies({journal, first, 16, 64, "lru"});
        QVERIFY(nothing.problem.starts_with("Nothing has been asked"));
        ask(journal, 1, {}, {1}, 2);
        QCOMPARE(comparePolicies({journal, first, 16, 64, "lru"}).promptBlocks, std::uint64_t(1));
    }
};

KVILT_TEST_CLASS(PolicyCompareTest)
#include "tst_policy_compare.moc"

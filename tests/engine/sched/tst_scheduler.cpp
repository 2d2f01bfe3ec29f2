// SPDX-License-Identifier: Apache-2.0
#include "engine/sched/sampler.h"
#include "engine/sched/scheduler.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <algorithm>
#include <map>
#include <set>

using namespace kvilt;
using namespace kvilt::sched;

namespace {

SequenceState waiting(std::uint64_t id, std::uint32_t tokens, std::uint32_t cached = 0)
{
    return {.id = SequenceId{id}, .arrival = id, .tokens = tokens, .cachedTokens = cached};
}

SequenceState running(std::uint64_t id, std::uint32_t tokens, std::uint32_t computed)
{
    return {.id = SequenceId{id}, .arrival = id, .running = true, .tokens = tokens, .computed = computed,
            .blocks = (computed + 15) / 16};
}

std::vector<SequenceId> ids(std::initializer_list<std::uint64_t> values)
{
    std::vector<SequenceId> out;
    for (auto v : values)
        out.push_back({v});
    return out;
}

// Plays an engine: applies decisions until all are done, checks each one, counts the work.
struct Simulation {
    Scheduler scheduler;
    std::uint32_t totalBlocks;
    StepCost cost{.fixed = 0.001, .decode = 0.002, .prefill = 0.001};
    struct Live {
        SequenceState state;
        std::uint32_t target; // tokens at which it ends
        std::uint32_t ran = 0;
        std::uint32_t prompt;
    };
    std::map<std::uint64_t, Live> live;
    std::vector<std::uint64_t> finished;
    std::uint32_t preemptions = 0, steps = 0;

    void add(std::uint64_t id, std::uint32_t prompt, std::uint32_t reply, int priority = 0)
    {
        Live l{.state = waiting(id, prompt), .target = prompt + reply, .prompt = prompt};
        l.state.priority = priority;
        live.emplace(id, l);
    }
    std::uint32_t held() const
    {
        std::uint32_t sum = 0;
        for (const auto &[id, l] : live)
            sum += l.state.blocks;
        return sum;
    }
    SchedulerState state() const
    {
        SchedulerState s{.freeBlocks = totalBlocks - held(), .totalBlocks = totalBlocks};
        for (const auto &[id, l] : live)
            s.sequences.push_back(l.state);
        return s;
    }
    bool step()
    {
        ++steps;
        const StepDecision d = scheduler.plan(state(), cost);
        for (SequenceId id : d.preempt) {
            auto &s = live.at(id.value).state;
            if (!s.running)
                return false;
            s.running = false;
            s.computed = s.blocks = 0;
            ++preemptions;
        }
        std::uint32_t tokens = 0;
        std::set<std::uint64_t> seen;
        for (const PlannedSlice &slice : d.run) {
            Live &l = live.at(slice.id.value);
            if (!l.state.running || !seen.insert(slice.id.value).second || slice.first != l.state.computed ||
                slice.count == 0 || slice.first + slice.count > l.state.tokens)
                return false;
            tokens += slice.count;
            l.ran += slice.count;
            l.state.computed += slice.count;
            l.state.blocks = std::max(l.state.blocks, (l.state.computed + 15) / 16);
            if (l.state.computed == l.state.tokens)
                ++l.state.tokens;
        }
        if (held() > totalBlocks || tokens > scheduler.limits().maxStepTokens)
            return false;
        for (SequenceId id : d.admit)
            live.at(id.value).state.running = true;
        for (auto it = live.begin(); it != live.end();) {
            if (it->second.state.tokens > it->second.target) {
                finished.push_back(it->first);
                it = live.erase(it);
            } else {
                ++it;
            }
        }
        return !d.run.empty() || !d.admit.empty() || !d.preempt.empty();
    }
};

} // namespace

class SchedulerTest : public QObject {
    Q_OBJECT
private slots:
    void decodesAllTogetherBesideOneChunk()
    {
        Scheduler s({.stepSeconds = 0.1, .maxStepTokens = 512});
        const auto d = s.plan({.sequences = {running(1, 33, 32), running(2, 50, 49), running(3, 1000, 0)},
                               .freeBlocks = 1000, .totalBlocks = 1000},
                              {.fixed = 0.01, .decode = 0.005, .prefill = 0.001});
        QCOMPARE(d.run.size(), std::size_t(3));
        QCOMPARE(d.run[0], (PlannedSlice{SequenceId{1}, 32, 1}));
        QCOMPARE(d.run[1], (PlannedSlice{SequenceId{2}, 49, 1}));
        QCOMPARE(d.run[2], (PlannedSlice{SequenceId{3}, 0, 80})); // 100 ms − 10 − 2·5 = 80 ms at 1 ms a token
    }

    void aChunkIsSizedFromTheMeasuredRate()
    {
        Scheduler s({.stepSeconds = 0.1, .maxStepTokens = 512, .firstChunk = 32, .minChunk = 16});
        QCOMPARE(s.chunkTokens({}, 0), 32u);                               // not measured yet
        QCOMPARE(s.chunkTokens({.prefill = 0.0005}, 0), 200u);
        QCOMPARE(s.chunkTokens({.prefill = 1e-9}, 0), 512u);
        QCOMPARE(s.chunkTokens({.decode = 0.05, .prefill = 0.01}, 4), 16u); // no time left: still moves on
        QCOMPARE(Scheduler({.fixedChunk = 7}).chunkTokens({.prefill = 1e-9}, 3), 7u);
    }

    void firstComeFirstServed()
    {
        Scheduler s({.stepSeconds = 0.1, .maxStepTokens = 64, .firstChunk = 32});
        const auto d = s.plan({.sequences = {waiting(3, 10), waiting(1, 20), waiting(2, 100), waiting(4, 5)},
                               .freeBlocks = 100, .totalBlocks = 100},
                              {});
        QCOMPARE(d.admit, ids({1, 2})); // 20 + 100 spend the step's 32 tokens
        QVERIFY(d.run.empty());
    }

    void nobodyOvertakesAHeadThatDoesNotFit()
    {
        Scheduler s({});
        const auto d = s.plan({.sequences = {running(1, 101, 100), waiting(2, 500), waiting(3, 5)},
                               .freeBlocks = 3, .totalBlocks = 10},
                              {.prefill = 0.001});
        QVERIFY(d.admit.empty());
        QCOMPARE(d.run.size(), std::size_t(1));
    }

    void cachedTokensNeedNoRoom()
    {
        Scheduler s({});
        const SchedulerState state{.sequences = {running(1, 101, 100), waiting(2, 500, 496)},
                                   .freeBlocks = 3, .totalBlocks = 40};
        QCOMPARE(s.plan(state, {.prefill = 0.001}).admit, ids({2}));
    }

    void theLatestGivesUpItsBlocksWhenTheyRunOut()
    {
        Scheduler s({});
        const auto d = s.plan({.sequences = {running(1, 33, 32), running(2, 33, 32), running(3, 33, 32)},
                               .freeBlocks = 1, .totalBlocks = 7},
                              {.prefill = 0.001});
        QCOMPARE(d.preempt, ids({3}));
        QCOMPARE(d.run.size(), std::size_t(2));
        QVERIFY(d.admit.empty());
    }

    void priorityDecidesWhoGivesUp()
    {
        Scheduler s({});
        SchedulerState state{.sequences = {running(1, 33, 32), running(2, 33, 32)}, .freeBlocks = 0, .totalBlocks = 4};
        state.sequences[1].priority = 5;
        QCOMPARE(s.plan(state, {}).preempt, ids({1}));
    }

    void aPreemptedSequenceRunsNothingInThatStep()
    {
        Scheduler s({});
        // The prompt of 1 pushes out 2, which had been given its decoding token before.
        const auto d = s.plan({.sequences = {running(1, 64, 16), running(2, 34, 33)}, .freeBlocks = 0,
                               .totalBlocks = 4},
                              {.prefill = 0.0001});
        QCOMPARE(d.preempt, ids({2}));
        QCOMPARE(d.run.size(), std::size_t(1));
        QCOMPARE(d.run[0], (PlannedSlice{SequenceId{1}, 16, 48}));
    }

    void theLastOneIsNeverPreempted()
    {
        Scheduler s({});
        const auto d = s.plan({.sequences = {running(1, 33, 32)}, .freeBlocks = 0, .totalBlocks = 2}, {});
        QVERIFY(d.preempt.empty());
        QVERIFY(d.run.empty());
    }

    void everySequenceEndsWithinThePool_data()
    {
        QTest::addColumn<quint64>("seed");
        for (quint64 seed = 1; seed <= 40; ++seed)
            QTest::addRow("seed %llu", seed) << seed;
    }
    void everySequenceEndsWithinThePool()
    {
        QFETCH(quint64, seed);
        CounterRandom random(seed);
        std::uint64_t n = 0;
        auto pick = [&](std::uint32_t low, std::uint32_t high) {
            return low + std::uint32_t(random.bits(n++) % (high - low + 1));
        };
        const std::uint32_t blocks = pick(8, 60);
        Simulation sim{.scheduler = Scheduler({.maxStepTokens = pick(1, 200), .maxSequences = pick(1, 9)}),
                       .totalBlocks = blocks};
        const std::uint32_t count = pick(1, 20);
        for (std::uint64_t id = 1; id <= count; ++id) {
            const std::uint32_t prompt = pick(1, blocks * 16 - 2);
            sim.add(id, prompt, pick(1, blocks * 16 - prompt), int(pick(0, 2)));
        }
        while (!sim.live.empty() && sim.steps < 100000)
            QVERIFY2(sim.step(), qPrintable(QString("stuck or broken at step %1").arg(sim.steps)));
        QCOMPARE(sim.finished.size(), std::size_t(count));
    }

    void aDecisionIsAPureFunction()
    {
        Simulation sim{.scheduler = Scheduler({}), .totalBlocks = 20};
        for (std::uint64_t id = 1; id <= 6; ++id)
            sim.add(id, std::uint32_t(30 * id), 40);
        while (!sim.live.empty()) {
            SchedulerState a = sim.state(), b = a;
            std::reverse(b.sequences.begin(), b.sequences.end());
            const auto x = sim.scheduler.plan(a, sim.cost), y = sim.scheduler.plan(b, sim.cost);
            QCOMPARE(x.preempt, y.preempt);
            QCOMPARE(x.admit, y.admit);
            QCOMPARE(x.run, y.run);
            QVERIFY(sim.step());
        }
        QVERIFY(sim.preemptions > 0); // the case was worth it
    }
};

KVILT_TEST_CLASS(SchedulerTest)
#include "tst_scheduler.moc"

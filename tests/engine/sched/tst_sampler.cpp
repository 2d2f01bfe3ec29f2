// SPDX-License-Identifier: Apache-2.0
#include "engine/sched/sampler.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <cmath>
#include <limits>
#include <set>

using namespace kvilt;
using namespace kvilt::sched;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TokenId sampleOnce(const api::SamplingSettings &settings, std::vector<float> logits, std::vector<TokenId> history = {},
                   std::uint64_t position = 0)
{
    return Sampler(settings, std::uint32_t(logits.size())).sample(logits, history, position);
}

std::set<TokenId> drawn(const api::SamplingSettings &settings, const std::vector<float> &logits, int draws = 2000)
{
    std::set<TokenId> ids;
    Sampler sampler(settings, std::uint32_t(logits.size()));
    for (int i = 0; i < draws; ++i)
        ids.insert(sampler.sample(logits, {}, std::uint64_t(i)));
    return ids;
}

} // namespace

class SamplerTest : public QObject {
    Q_OBJECT
private slots:
    void greedyTakesTheLowestIdOfEquals()
    {
        QCOMPARE(sampleOnce({}, {1, 3, 3, 2}), 1);
        QCOMPARE(argMax(std::vector<float>{kNan, -5, -5, kNan}), 1);
        QCOMPARE(argMax(std::vector<float>{-HUGE_VALF, -HUGE_VALF}), 0);
    }

    void numbersDependOnSeedAndPositionOnly()
    {
        // SplitMix64 from state 1234567: the published sequence.
        CounterRandom random(1234567);
        QCOMPARE(random.bits(0), std::uint64_t(6457827717110365317ull));
        QCOMPARE(random.bits(1), std::uint64_t(3203168211198807973ull));
        QCOMPARE(random.bits(2), std::uint64_t(9817491932198370423ull));
        for (std::uint64_t i = 0; i < 1000; ++i)
            QVERIFY(random.unit(i) >= 0 && random.unit(i) < 1);
        QVERIFY(CounterRandom(1).bits(0) != CounterRandom(2).bits(0));
    }

    void topKKeepsExactlyK()
    {
        QCOMPARE(drawn({.temperature = 5, .topK = 2}, {0, 1, 1, 0.9f}), (std::set<TokenId>{1, 2}));
        QCOMPARE(drawn({.temperature = 5, .topK = 1}, {0, 1, 1, 0.9f}), (std::set<TokenId>{1}));
    }

    void topPKeepsTheSmallestSetThatReachesIt()
    {
        // probabilities 0.5, 0.25, 0.125, 0.125
        const std::vector<float> logits{std::log(0.5f), std::log(0.25f), std::log(0.125f), std::log(0.125f)};
        QCOMPARE(drawn({.temperature = 1, .topP = 0.4}, logits), (std::set<TokenId>{0}));
        QCOMPARE(drawn({.temperature = 1, .topP = 0.6}, logits), (std::set<TokenId>{0, 1}));
        QCOMPARE(drawn({.temperature = 1, .topP = 0.8}, logits), (std::set<TokenId>{0, 1, 2}));
        QCOMPARE(drawn({.temperature = 1, .topP = 0.0}, logits), (std::set<TokenId>{0}));
    }

    void minPComparesWithTheBest()
    {
        const std::vector<float> logits{0, std::log(0.5f), std::log(0.2f), std::log(0.05f)};
        QCOMPARE(drawn({.temperature = 3, .minP = 0.1}, logits), (std::set<TokenId>{0, 1, 2}));
        QCOMPARE(drawn({.temperature = 3, .minP = 1.0}, logits), (std::set<TokenId>{0}));
    }

    void frequenciesFollowTheDistribution()
    {
        const std::vector<float> logits{std::log(0.7f), std::log(0.2f), std::log(0.1f)};
        int count[3] = {};
        Sampler sampler({.temperature = 1, .seed = 42}, 3);
        for (std::uint64_t i = 0; i < 20000; ++i)
            ++count[sampler.sample(logits, {}, i)];
        // five standard deviations of a binomial at n = 20000
        QVERIFY(std::abs(count[0] - 14000) < 325);
        QVERIFY(std::abs(count[1] - 4000) < 283);
        QVERIFY(std::abs(count[2] - 2000) < 213);
    }

    void penaltiesLowerWhatWasSaid()
    {
        const std::vector<float> logits{2.0f, 1.9f, -1.0f, -1.1f};
        QCOMPARE(sampleOnce({.repeatPenalty = 1.2}, logits, {0}), 1);
        QCOMPARE(sampleOnce({.presencePenalty = 0.2}, logits, {0}), 1);
        QCOMPARE(sampleOnce({.frequencyPenalty = 0.06}, logits, {0}), 0);
        QCOMPARE(sampleOnce({.frequencyPenalty = 0.06}, logits, {0, 0}), 1);
        QCOMPARE(sampleOnce({.repeatPenalty = 1.2}, {-1.0f, -1.1f}, {0}), 1); // a negative logit falls too
        QCOMPARE(sampleOnce({.repeatPenalty = 1.2, .penaltyWindow = 1}, logits, {0, 3}), 0); // out of the window
    }

    void nanNeverWins()
    {
        QCOMPARE(drawn({.temperature = 1}, {kNan, 0, kNan, -1}), (std::set<TokenId>{1, 3}));
    }

    void logprobsAreOfTheRawLogits()
    {
        const auto top = topLogprobs(std::vector<float>{std::log(0.25f), std::log(0.5f), std::log(0.25f)}, 2);
        QCOMPARE(top.size(), std::size_t(2));
        QCOMPARE(top[0].first, 1);
        QCOMPARE(top[1].first, 0); // tie: lowest id
        QVERIFY(std::abs(top[0].second - std::log(0.5f)) < 1e-6f);
        QVERIFY(std::abs(top[1].second - std::log(0.25f)) < 1e-6f);
        QCOMPARE(topLogprobs(std::vector<float>{1, 2}, 10).size(), std::size_t(2));
    }

    void refusesWhatMeansNothing_data()
    {
        QTest::addColumn<double>("value");
        QTest::newRow("nan") << std::numeric_limits<double>::quiet_NaN();
        QTest::newRow("inf") << std::numeric_limits<double>::infinity();
        QTest::newRow("negative") << -0.5;
        QTest::newRow("1e308") << 1e308;
    }
    void refusesWhatMeansNothing()
    {
        QFETCH(double, value);
        QVERIFY(!checkSampling({.temperature = value}));
        QVERIFY(!checkSampling({.topP = value}));
        QVERIFY(!checkSampling({.minP = value}));
        QVERIFY(!checkSampling({.repeatPenalty = value}));
        QVERIFY(checkSampling({.temperature = -0.0}));
        QVERIFY(!checkSampling({.topK = -1}));
        QVERIFY(!checkSampling({.stop = {""}}));
        QVERIFY(checkSampling({.temperature = 1, .topK = 40, .topP = 0.9, .minP = 0.05, .stop = {"x"}}));
    }
};

KVILT_TEST_CLASS(SamplerTest)
#include "tst_sampler.moc"

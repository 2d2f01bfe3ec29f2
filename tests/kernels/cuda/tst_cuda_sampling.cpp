// SPDX-License-Identifier: Apache-2.0
// Sampling kernels, thread by thread on the CPU: the same tokens as the reference, which follows sched::Sampler.
#include "tests/kernels/cuda/cuda_kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <limits>

using namespace kvilt::kernels;
using namespace kvilt::kernels::cuda;
using namespace kvilt::kernels::cuda::test;
using kvilt::kernels::test::randomFloats;

namespace {

constexpr std::uint32_t kVocabulary = 3001;

SampleSlot slot(std::uint32_t index, std::uint32_t topK, double temperature)
{
    SampleSlot s{};
    s.logitRow = index;
    s.outSlot = index;
    s.topK = topK;
    s.repeatPenalty = 1;
    s.temperature = temperature;
    s.topP = 1;
    s.seed = 7;
    s.position = index;
    return s;
}

struct Rig {
    std::vector<SampleSlot> places;
    std::vector<float> logits;
    std::vector<std::int32_t> history{0};
    bool greedyOnly = false;

    std::vector<std::int32_t> run(bool reference) const
    {
        return sampleTokens(places, logits, history, kVocabulary, greedyOnly, reference);
    }
};

} // namespace

class CudaSamplingTest : public QObject {
    Q_OBJECT
private slots:
    void greedyTakesTheFirstOfTheBestAndNeverANan()
    {
        Random random(1);
        Rig rig;
        rig.logits = randomFloats(random, 5 * kVocabulary);
        float *row = rig.logits.data();
        row[2000] = row[12] = 9; // a tie
        row[kVocabulary + 5] = std::numeric_limits<float>::quiet_NaN();
        row[kVocabulary + 3000] = 11;
        for (std::uint32_t i = 0; i < kVocabulary; ++i) {
            row[2 * kVocabulary + i] = std::numeric_limits<float>::quiet_NaN(); // nothing but NaNs
            row[3 * kVocabulary + i] = -std::numeric_limits<float>::infinity();
            row[4 * kVocabulary + i] = -1;
        }
        row[4 * kVocabulary + 9] = 0.0f;
        row[4 * kVocabulary + 7] = -0.0f; // equal to 0, and earlier
        for (std::uint32_t i = 0; i < 5; ++i)
            rig.places.push_back(slot(i, 0, 0));
        for (const bool greedyOnly : {true, false}) {
            rig.greedyOnly = greedyOnly;
            QCOMPARE(rig.run(false), rig.run(true));
        }
        QCOMPARE(rig.run(false), (std::vector<std::int32_t>{12, 3000, 0, 0, 7, 17}));
    }

    void drawsTheSameTokensAsTheReference()
    {
        Random random(2);
        for (int round = 0; round < 6; ++round) {
            Rig rig;
            const std::uint32_t topK[] = {1, 5, 40, kMaxTopK};
            for (std::uint32_t i = 0; i < 4; ++i) {
                SampleSlot s = slot(i, topK[(i + std::uint32_t(round)) % 4], 0.4 + 0.5 * i);
                s.topP = round % 2 == 0 ? 0.9 : 1.0;
                s.minP = round % 3 == 0 ? 0.05 : 0.0;
                s.seed = std::uint64_t(round) * 1000;
                rig.places.push_back(s);
            }
            rig.logits = randomFloats(random, 4 * kVocabulary, 3.0f);
            for (std::uint32_t i = 0; i < 4 * kVocabulary; i += 3)
                rig.logits[i] = std::round(rig.logits[i]); // many ties
            const auto got = rig.run(false);
            QCOMPARE(got.size(), std::size_t(5));
            QCOMPARE(got, rig.run(true));
        }
    }

    void penaltiesCountTheHistoryAndTheNewestToken()
    {
        Random random(3);
        Rig rig;
        rig.logits = randomFloats(random, 3 * kVocabulary);
        for (std::uint32_t i = 0; i < 3; ++i)
            for (const std::uint32_t id : {100u, 200u, 300u})
                rig.logits[i * kVocabulary + id] = 6.0f + float(id) / 1000;
        rig.history = {300, 300, 5, 200, -4, 99999};
        for (std::uint32_t i = 0; i < 3; ++i) {
            SampleSlot s = slot(i, 0, 0);
            s.historyBegin = i;
            s.historyCount = 6 - i;
            s.repeatPenalty = 1.3f;
            s.presencePenalty = 0.25f;
            s.frequencyPenalty = 0.5f;
            s.historyLast = i == 2 ? -1 - 3 : 0; // sampled[3] is 17
            rig.places.push_back(s);
        }
        rig.logits[2 * kVocabulary + 17] = 6.9f; // wins but for its penalty
        const auto got = rig.run(false);
        QCOMPARE(got, rig.run(true));
        QCOMPARE(got, (std::vector<std::int32_t>{100, 100, 300, 17}));
    }

    void fewerTokensThanTopKAreAllCandidates()
    {
        Rig rig;
        rig.logits.assign(kVocabulary, std::numeric_limits<float>::quiet_NaN());
        rig.logits[40] = 1;
        rig.logits[50] = 1;
        rig.logits[2999] = -3;
        for (std::uint32_t i = 0; i < 3; ++i) {
            rig.places.push_back(slot(i, kMaxTopK, 5.0));
            rig.places.back().logitRow = 0;
        }
        QCOMPARE(rig.run(false), rig.run(true));
    }
};

KVILT_TEST_CLASS(CudaSamplingTest)
#include "tst_cuda_sampling.moc"

// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/lab/policy_text.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;

namespace {

api::update::PoliciesCompared sample(std::uint64_t evictions)
{
    api::update::PoliciesCompared c;
    c.requests = 3;
    c.promptBlocks = 40;
    c.capacity = 64;
    c.policy = "lru";
    c.unlimitedHitRatio = 0.75;
    c.outcomes = {{"lru", 64, 0.5, evictions, 2}, {"belady", 64, 0.625, evictions, 1},
                  {"lru", 32, 0.25, 20, 9},       {"belady", 32, 0.375, 15, 4}};
    return c;
}

} // namespace

class PolicyTextTest : public QObject {
    Q_OBJECT
private slots:
    void saysWhatThePolicyInForceFindsAndWhatTheOptimumWould()
    {
        const PolicyText text = policyText(sample(7));
        QVERIFY(text.sentence.contains("3 prompts since the model was loaded asked for 40 full blocks."));
        QVERIFY(text.sentence.contains("With 64 blocks, lru finds 50.0 %"));
        QVERIFY(text.sentence.contains("would find 62.5 %"));
        QVERIFY(text.sentence.contains("a pool without end 75.0 %"));
        QCOMPARE(text.columns, QStringList({"Policy", "64 blocks", "32 blocks", "Evictions", "Wanted again"}));
        QCOMPARE(text.rows.at(0), QStringList({"lru", "50.0 %", "25.0 %", "7", "2"}));
        QCOMPARE(text.rows.at(1), QStringList({"optimum", "62.5 %", "37.5 %", "7", "1"}));
        QCOMPARE(text.currentRow, 0);
    }

    void withoutEvictionsThereIsNothingToChoose()
    {
        QVERIFY(policyText(sample(0)).sentence.contains("nothing had to go"));
    }

    void aProblemIsTheWholeAnswer()
    {
        api::update::PoliciesCompared c;
        c.problem = "No model is loaded.";
        const PolicyText text = policyText(c);
        QCOMPARE(text.sentence, QStringLiteral("No model is loaded."));
        QVERIFY(text.rows.empty());
    }
};

KVILT_TEST_CLASS(PolicyTextTest)
#include "tst_policy_text.moc"

// SPDX-License-Identifier: Apache-2.0
#include "engine/step_cost.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <cmath>

using kvilt::StepCostMeter;

// A machine that needs 10 ms to read the weights and 1 ms a token.
class StepCostTest : public QObject {
    Q_OBJECT

    static bool near(double a, double b) { return std::abs(a - b) < 1e-9; }

private slots:
    void aTailOfAPromptSaysLittleAboutALongOne()
    {
        StepCostMeter meter;
        meter.measured(0, 500, 0.510);
        QVERIFY(near(meter.cost().prefill, 0.510 / 500));
        meter.measured(0, 1, 0.011); // the last token after a restore
        QVERIFY(meter.cost().prefill < 0.0011);
    }

    void whatReadingTheWeightsTakesIsNoCostOfTokens()
    {
        StepCostMeter meter;
        meter.measured(0, 25, 0.035); // all that a restored chat had to compute
        QVERIFY(near(meter.cost().prefill, 0.0014));
        meter.measured(1, 0, 0.011);
        QVERIFY(near(meter.cost().decode, 0.011));
        QVERIFY(near(meter.cost().prefill, 0.001));
        QVERIFY(near(meter.prefillRate(), 1000));
    }

    void tokensBesideDecodingChatsAreChargedAlone()
    {
        StepCostMeter meter;
        meter.measured(2, 0, 0.012);
        meter.measured(2, 50, 0.062);
        QVERIFY(near(meter.cost().prefill, 0.001));
        meter.measured(2, 10, 0.001); // faster than its decoding alone: no word about prompts
        QVERIFY(near(meter.cost().prefill, 0.001));
    }

    void onlyOnePromptTokenIsBetterThanNothing()
    {
        StepCostMeter meter;
        meter.measured(0, 0, 1);
        meter.measured(0, 4, 0);
        QCOMPARE(meter.prefillRate(), 0.0);
        meter.measured(1, 0, 0.011);
        meter.measured(0, 1, 0.011);
        QVERIFY(near(meter.cost().prefill, 0.011));
        QCOMPARE(meter.prefillRate(), 0.0); // for planning, not for telling people
        meter.measured(0, 16, 0.026);
        QVERIFY(meter.prefillRate() > 0);
    }
};

KVILT_TEST_CLASS(StepCostTest)
#include "tst_step_cost.moc"

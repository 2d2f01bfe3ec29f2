// SPDX-License-Identifier: Apache-2.0
#include "app/cli/statistics.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt::cli;

class StatisticsTest : public QObject {
    Q_OBJECT
private slots:
    void quantilesLieBetweenNeighbours()
    {
        QCOMPARE(quantile({4, 1, 3, 2}, 0.5), 2.5);
        QCOMPARE(quantile({4, 1, 3, 2}, 0.1), 1.3);
        QCOMPARE(quantile({7}, 0.9), 7.0);
    }

    void theIntervalIsStudents()
    {
        // t(0.975) of 4 degrees of freedom is 2.7764, of 19 degrees 2.0930 (tables); standard error of 1..5: sqrt(2.5 / 5)
        const Interval five = meanInterval({1, 2, 3, 4, 5});
        QCOMPARE(five.mean, 3.0);
        QVERIFY(std::abs((five.high - 3) / std::sqrt(0.5) - 2.7764) < 0.01);
        QCOMPARE(five.high - five.mean, five.mean - five.low);
        std::vector<double> twenty;
        for (int i = 0; i < 20; ++i)
            twenty.push_back(i % 2 ? 1 : -1);
        QVERIFY(std::abs(meanInterval(twenty).high / std::sqrt(20.0 / 19 / 20) - 2.0930) < 0.001);
    }
};

KVILT_TEST_CLASS(StatisticsTest)
#include "tst_statistics.moc"

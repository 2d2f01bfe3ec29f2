// SPDX-License-Identifier: Apache-2.0
#include "engine/support/checked_math.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <limits>

using namespace kvilt;

class CheckedMathTest : public QObject {
    Q_OBJECT
private slots:
    void refusesWhatWraps()
    {
        constexpr auto max = std::numeric_limits<std::uint64_t>::max();
        QCOMPARE(checkedAdd<std::uint64_t>(max, 1).has_value(), false);
        QCOMPARE(checkedMul<std::uint64_t>(max / 2 + 1, 2).has_value(), false);
        QCOMPARE(*checkedMul<std::uint64_t>(max / 2, 2), max - 1);
        QCOMPARE(checkedAlignUp<std::uint64_t>(max, 32).has_value(), false);
        QCOMPARE(*checkedAlignUp<std::uint64_t>(33, 32), std::uint64_t(64));
        QCOMPARE(*checkedAlignUp<std::uint64_t>(64, 32), std::uint64_t(64));
    }
};

KVILT_TEST_CLASS(CheckedMathTest)
#include "tst_checked_math.moc"

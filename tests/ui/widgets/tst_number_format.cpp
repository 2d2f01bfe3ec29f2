// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/widgets/format.h"

#include <QTest>

#include <limits>

using namespace kvilt::ui;

class NumberFormatTest : public QObject {
    Q_OBJECT
private slots:
    void groupsDigitsByThree()
    {
        QCOMPARE(grouped(0), "0");
        QCOMPARE(grouped(999), "999");
        QCOMPARE(grouped(1204), "1,204");
        QCOMPARE(grouped(std::numeric_limits<std::uint64_t>::max()), "18,446,744,073,709,551,615");
    }

    void keepsThreeSignificantDigits()
    {
        QCOMPARE(threeDigits(0), "0");
        QCOMPARE(threeDigits(61.24), "61.2");
        QCOMPARE(threeDigits(231.4), "231");
        QCOMPARE(threeDigits(0.0612), "0.0612");
        QCOMPARE(threeDigits(1204.4), "1,204");
        QCOMPARE(threeDigits(-2.5), "−2.50");
        QCOMPARE(threeDigits(std::nan("")), "–");
    }

    void writesBinaryUnits()
    {
        QCOMPARE(bytes(512), "512 B");
        QCOMPARE(bytes(28'016'640), "26.7 MiB");
        QCOMPARE(bytes(98'304'000), "93.8 MiB");
        QCOMPARE(bytes(1023 * 1024), "1.0 MiB");
        QCOMPARE(bytes(std::uint64_t(256) << 30), "256 GiB");
        QCOMPARE(bytes(std::numeric_limits<std::uint64_t>::max()), "16.0 EiB");
    }

    void neverRoundsAShareToAllOrNothing()
    {
        QCOMPARE(percent(0, 10), "0 %");
        QCOMPARE(percent(1, 100000), "1 %");
        QCOMPARE(percent(99999, 100000), "99 %");
        QCOMPARE(percent(10, 10), "100 %");
        QCOMPARE(percent(1, 0), "–");
    }

    void writesDurationsAsPeopleReadThem()
    {
        QCOMPARE(seconds(0.009), "9 ms");
        QCOMPARE(seconds(0.06), "0.06 s");
        QCOMPARE(seconds(3), "3.00 s");
        QCOMPARE(seconds(12.34), "12.3 s");
        QCOMPARE(seconds(125), "2 min 5 s");
        QCOMPARE(seconds(3 * 3600 + 61), "3 h 1 min");
        QCOMPARE(seconds(-1), "–");
    }

    void countsOneAndMany()
    {
        QCOMPARE(count(1, "block", "blocks"), "1 block");
        QCOMPARE(count(1024, "block", "blocks"), "1,024 blocks");
    }

    void tellsHowLongAgo()
    {
        QCOMPARE(ago(0, 71'000), "71 s ago");
        QCOMPARE(ago(0, 600'000), "10 min ago");
        QCOMPARE(ago(5000, 0), "0 s ago"); // the clock went backwards
    }
};

KVILT_TEST_CLASS(NumberFormatTest)
#include "tst_number_format.moc"

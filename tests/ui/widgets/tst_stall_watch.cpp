// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/widgets/stall_watch.h"

#include <QSignalSpy>
#include <QTest>

using kvilt::ui::StallWatch;

class StallWatchTest : public QObject {
    Q_OBJECT
private slots:
    void countsOnlyDelaysOverTheLimit()
    {
        StallWatch watch;
        QSignalSpy stalled(&watch, &StallWatch::stalled);
        std::int64_t now = 0;
        watch.beat(now);
        for (const double ms : {5.0, 5.2, 55.0, 56.0, 5.0, 205.0})
            watch.beat(now += std::int64_t(ms * 1e6));
        QCOMPARE(watch.beats(), 6u);
        QCOMPARE(watch.stalls(), 2u); // 55 ms is 50 ms late: not over
        QCOMPARE(stalled.size(), 2);
        QCOMPARE(int(watch.longestMs()), 200);
    }

    void reportsInOneLine()
    {
        StallWatch watch;
        watch.beat(0);
        watch.beat(5'000'000);
        QCOMPARE(watch.report(), "event loop: 1 beats, 0 stalls over 50 ms, longest 0.0 ms (most own work at a stretch "
                                 "0.0 ms), 99.9 % under 0.0 ms");
    }

    // A machine that gives no processor is not our handler's fault, and the report tells the two apart.
    void tellsOwnWorkFromWaiting()
    {
        StallWatch watch;
        watch.beat(0, 0);
        watch.beat(205'000'000, 3'000'000);  // 200 ms late, 3 of them worked
        watch.beat(240'000'000, 33'000'000); // 30 ms late, all worked
        QCOMPARE(watch.longestMs(), 200.0);
        QCOMPARE(watch.longestOwnMs(), 30.0);
        watch.stop();
        watch.beat(900'000'000, 700'000'000); // begins anew: what lay between does not count
        QCOMPARE(watch.longestOwnMs(), 30.0);
    }
};

KVILT_TEST_CLASS(StallWatchTest)
#include "tst_stall_watch.moc"

// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "engine/trace/event_ring.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <array>
#include <atomic>
#include <thread>

using namespace kvilt;

class EventRingTest : public QObject {
    Q_OBJECT
private slots:
    void givesBackWhatWasPushedInOrder()
    {
        trace::EventRing ring(4);
        for (std::uint64_t i = 1; i <= 3; ++i)
            QVERIFY(ring.push({.sequenceNumber = i}));
        std::array<api::CacheEvent, 8> out;
        QCOMPARE(ring.pop(out), std::size_t(3));
        QCOMPARE(out[0].sequenceNumber, std::uint64_t(1));
        QCOMPARE(out[2].sequenceNumber, std::uint64_t(3));
        QCOMPARE(ring.pop(out), std::size_t(0));
    }

    void dropsAndCountsWhenFull()
    {
        trace::EventRing ring(4);
        int kept = 0;
        for (std::uint64_t i = 1; i <= 10; ++i)
            kept += ring.push({.sequenceNumber = i}) ? 1 : 0;
        QCOMPARE(kept, 4);
        QCOMPARE(ring.dropped(), std::uint64_t(6));
        std::array<api::CacheEvent, 2> out;
        QCOMPARE(ring.pop(out), std::size_t(2));
        QVERIFY(ring.push({.sequenceNumber = 11})); // room again
        QCOMPARE(out[1].sequenceNumber, std::uint64_t(2));
    }

    void capacityIsRoundedUpToAPowerOfTwo()
    {
        QCOMPARE(trace::EventRing(5).capacity(), std::size_t(8));
        QCOMPARE(trace::EventRing(0).capacity(), std::size_t(2));
    }

    void twoThreadsSeeEveryEventOrAGap()
    {
        constexpr std::uint64_t kEvents = 200'000;
        trace::EventRing ring(256);
        std::atomic<bool> done = false;
        std::jthread producer([&] {
            for (std::uint64_t i = 1; i <= kEvents; ++i)
                ring.push({.sequenceNumber = i, .timeNs = i * 3, .node = ~i});
            done = true;
        });
        std::array<api::CacheEvent, 64> out;
        std::uint64_t last = 0, seen = 0;
        bool torn = false;
        for (;;) {
            const bool finished = done;
            const std::size_t count = ring.pop(out);
            for (std::size_t i = 0; i < count; ++i) {
                torn |= out[i].sequenceNumber <= last || out[i].timeNs != out[i].sequenceNumber * 3 ||
                        out[i].node != ~out[i].sequenceNumber;
                last = out[i].sequenceNumber;
            }
            seen += count;
            if (finished && count == 0)
                break;
        }
        QVERIFY(!torn);
        QCOMPARE(seen + ring.dropped(), kEvents);
    }
};

KVILT_TEST_CLASS(EventRingTest)
#include "tst_event_ring.moc"

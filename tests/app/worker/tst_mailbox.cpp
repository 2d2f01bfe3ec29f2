// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "app/worker/mailbox.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <atomic>
#include <chrono>
#include <thread>

using namespace kvilt::worker;

class MailboxTest : public QObject {
    Q_OBJECT
private slots:
    void urgentLettersGoFirst()
    {
        Mailbox<int> box;
        box.post(1);
        box.post(2);
        box.postUrgent(3);
        QCOMPARE(box.take(), std::optional(3));
        QCOMPARE(box.take(), std::optional(1));
        QCOMPARE(box.take(), std::optional(2));
        QCOMPARE(box.take(), std::optional<int>());
    }

    void keepsEachSendersOrderAndLosesNothing()
    {
        constexpr int kEach = 5000;
        Mailbox<std::pair<int, int>> box;
        std::vector<std::jthread> senders;
        for (int sender = 0; sender < 3; ++sender) {
            senders.emplace_back([&box, sender] {
                for (int i = 0; i < kEach; ++i)
                    box.post({sender, i});
            });
        }
        std::array<int, 3> next{};
        const std::stop_source stop;
        for (int received = 0; received < 3 * kEach; ++received) {
            const auto letter = box.waitUntil(stop.get_token(), std::chrono::steady_clock::time_point::max());
            QVERIFY(letter.has_value());
            QCOMPARE(letter->second, next[letter->first]++);
        }
        QCOMPARE(next, (std::array<int, 3>{kEach, kEach, kEach}));
    }

    void aStopEndsTheWait()
    {
        Mailbox<int> box;
        std::atomic<bool> ended = false;
        std::jthread owner([&](std::stop_token stop) {
            QCOMPARE(box.waitUntil(stop, std::chrono::steady_clock::time_point::max()), std::optional<int>());
            ended = true;
        });
        owner.request_stop();
        owner.join();
        QVERIFY(ended);
    }

    void wakesTheReaderOnceUntilItCame()
    {
        Outbox<int> box;
        QVERIFY(box.add(1));
        QVERIFY(!box.add(2));
        QCOMPARE(box.takeAll(), (std::vector<int>{1, 2}));
        QVERIFY(box.add(3));
        QCOMPARE(box.takeAll(), std::vector<int>{3});
        QCOMPARE(box.takeAll(), std::vector<int>());
    }
};

KVILT_TEST_CLASS(MailboxTest)
#include "tst_mailbox.moc"

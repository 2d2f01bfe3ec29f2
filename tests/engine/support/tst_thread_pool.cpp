// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "engine/support/thread_pool.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <chrono>
#include <numeric>

using namespace kvilt;

class ThreadPoolTest : public QObject {
    Q_OBJECT
private slots:
    void runsEveryTaskOnce_data()
    {
        QTest::addColumn<int>("threads");
        for (const int threads : {1, 2, 3, 8})
            QTest::addRow("%d", threads) << threads;
    }
    void runsEveryTaskOnce()
    {
        QFETCH(int, threads);
        ThreadPool pool(threads);
        QCOMPARE(pool.threads(), threads);
        for (const std::uint32_t tasks : {0u, 1u, 2u, 7u, 1000u}) {
            std::vector<int> runs(tasks, 0); // plain ints: two threads at one task would be a race
            pool.parallelFor(tasks, [&](std::uint32_t task, int thread) {
                ++runs[task];
                QVERIFY(thread >= 0 && thread < threads);
            });
            QCOMPARE(std::count(runs.begin(), runs.end(), 1), qsizetype(tasks));
        }
    }

    // Each phase reads what all tasks of the phase before wrote, without atomics: TSan sees a missing barrier.
    void phasesFollowEachOther_data() { runsEveryTaskOnce_data(); }
    void phasesFollowEachOther()
    {
        QFETCH(int, threads);
        ThreadPool pool(threads);
        const std::vector<std::uint32_t> tasks = {5, 1, 0, 9, 1, 1, 0, 16, 3, 0};
        for (int round = 0; round < 200; ++round) {
            std::vector<std::vector<std::uint32_t>> values(tasks.size());
            for (std::size_t p = 0; p < tasks.size(); ++p)
                values[p].assign(tasks[p], 0);
            pool.run(tasks, [&](std::uint32_t phase, std::uint32_t task, int) {
                std::uint32_t sum = 1;
                for (std::uint32_t before = 0; before < phase; ++before)
                    sum = std::accumulate(values[before].begin(), values[before].end(), sum);
                values[phase][task] = sum;
            });
            std::uint32_t expected = 1;
            for (std::size_t p = 0; p < tasks.size(); ++p) {
                QCOMPARE(std::count(values[p].begin(), values[p].end(), expected), qsizetype(tasks[p]));
                expected += expected * tasks[p];
            }
        }
    }

    void sleepsAndWakesAgain()
    {
        ThreadPool pool(2);
        std::atomic<int> sum = 0;
        for (int round = 0; round < 20; ++round) {
            pool.parallelFor(64, [&](std::uint32_t, int) { sum.fetch_add(1); });
            std::this_thread::sleep_for(std::chrono::microseconds(300)); // past the spin, so that the worker sleeps
        }
        QCOMPARE(sum.load(), 20 * 64);
    }

    // A worker that never comes (here: still busy in the first phase's task) holds up that one task only.
    void othersTakeOverTheShareOfASlowThread()
    {
        ThreadPool pool(2);
        std::atomic<int> doneByOthers = 0;
        pool.parallelFor(20, [&](std::uint32_t task, int) {
            if (task == 0) {
                while (doneByOthers.load() < 19) // the other thread must take all the rest, this one's share too
                    std::this_thread::yield();
            } else {
                doneByOthers.fetch_add(1);
            }
        });
        QCOMPARE(doneByOthers.load(), 19);
    }

    void stampsTheEndOfEveryPhase()
    {
        ThreadPool pool(2);
        const std::vector<std::uint32_t> tasks = {4, 1, 0, 4};
        std::vector<std::uint64_t> ends(tasks.size(), 0);
        pool.run(tasks, [](std::uint32_t, std::uint32_t, int) {}, ends);
        QVERIFY(ends[0] > 0 && ends[0] <= ends[1] && ends[1] <= ends[3]);
        QCOMPARE(ends[2], std::uint64_t(0));
    }

    void measuresItsBarrier()
    {
        ThreadPool pool(2);
        QVERIFY(pool.measureBarrierNs() > 0);
    }
};

KVILT_TEST_CLASS(ThreadPoolTest)
#include "tst_thread_pool.moc"

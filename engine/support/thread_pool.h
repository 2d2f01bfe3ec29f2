// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/function_ref.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

namespace kvilt {

// Threads for computing, owned by whoever makes it and passed by reference. One thread calls run() at a time and
// works along; the others sleep between calls (after spinning for at most 50 µs).
//
// A region is a list of phases, each of some tasks; no task of a phase begins before every task of the phase before
// has ended. Thread t owns the t-th share of a phase's tasks and takes those first, so it meets the same weights
// every step; then it takes what others have not begun. A phase ends when its tasks are done, not when every thread
// has arrived: a thread that the window preempts delays the others by the one task it holds.
class ThreadPool {
public:
    // body(phase, task, thread); thread is in [0, threads()).
    using Body = FunctionRef<void(std::uint32_t, std::uint32_t, int)>;

    explicit ThreadPool(int threads); // the caller of run() included; at least 1, fewer where the system refuses some
    ~ThreadPool();
    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    int threads() const { return static_cast<int>(m_workers.size()) + 1; }

    // tasksOfPhase[p] tasks of phase p; phases without tasks are skipped. body must not throw and not call run().
    // `endNs`, when given, has an entry a phase and gets the steady clock at its end (skipped phases: not written).
    void run(std::span<const std::uint32_t> tasksOfPhase, Body body, std::span<std::uint64_t> endNs = {});
    // One phase: body(task, thread).
    void parallelFor(std::uint32_t tasks, FunctionRef<void(std::uint32_t, int)> body);

    // Median time between the end of one phase and the begin of the next with all threads awake.
    double measureBarrierNs();

private:
    // The state word: bit 0 says that a region is open, bits 1..15 count the workers inside, the rest counts regions.
    static constexpr std::uint32_t kOpen = 1;
    static constexpr std::uint32_t kOneInside = 2;
    static constexpr std::uint32_t kInsideMask = 0xfffe;
    static constexpr std::uint32_t kOneRegion = 0x10000;

    void workerLoop(int thread, const std::stop_token &stop);
    bool enter();
    void leave();
    void work(int thread);
    std::uint32_t takeTasks(std::uint32_t phase, int thread);
    std::uint32_t takeShare(std::uint32_t phase, int owner, int thread);
    void finish(std::uint32_t phase, int thread);
    std::uint32_t nextPhase(std::uint32_t phase) const; // the first at or after `phase` that has tasks
    std::atomic<std::uint32_t> &cursor(int owner, std::uint32_t phase)
    {
        return m_cursors[std::size_t(owner) * m_cursorStride + phase];
    }
    void prepare(std::span<const std::uint32_t> tasksOfPhase);

    alignas(64) std::atomic<std::uint32_t> m_state{0};
    alignas(64) std::atomic<std::uint32_t> m_phase{0};
    // Written by run() while no worker is inside.
    alignas(64) const Body *m_body = nullptr;
    std::span<const std::uint32_t> m_tasks;
    std::span<std::uint64_t> m_endNs;
    std::uint32_t m_phases = 0;
    std::size_t m_cursorStride = 0;
    std::unique_ptr<std::atomic<std::uint32_t>[]> m_cursors; // a share's next task, counted from the share's begin
    std::unique_ptr<std::atomic<std::uint32_t>[]> m_done;    // tasks of a phase that have ended
    std::vector<std::jthread> m_workers;
};

} // namespace kvilt

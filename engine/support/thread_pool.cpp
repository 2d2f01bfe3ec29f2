// SPDX-License-Identifier: Apache-2.0
#include "engine/support/thread_pool.h"

#include "engine/support/check.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace kvilt {
namespace {

void relax()
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

// Waits until the word differs from `seen`: spins for 50 µs at most, because a barrier is far shorter and a sleep
// costs two system calls and a wake-up of some 50 µs; then sleeps.
std::uint32_t waitForChange(const std::atomic<std::uint32_t> &word, std::uint32_t seen)
{
    using Clock = std::chrono::steady_clock;
    // Most waits end in the first round, before the clock is worth asking.
    Clock::time_point deadline = Clock::time_point::max();
    for (int round = 0; round < 2 || Clock::now() < deadline; ++round) {
        if (round == 1)
            deadline = Clock::now() + std::chrono::microseconds(50);
        for (int i = 0; i < 64; ++i) {
            const std::uint32_t value = word.load(std::memory_order_acquire);
            if (value != seen)
                return value;
            relax();
        }
    }
    word.wait(seen, std::memory_order_acquire);
    return word.load(std::memory_order_acquire);
}

std::uint64_t nowNs()
{
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

std::uint32_t shareBegin(std::uint32_t tasks, int owner, int threads)
{
    return static_cast<std::uint32_t>(std::uint64_t(tasks) * static_cast<std::uint32_t>(owner) /
                                      static_cast<std::uint32_t>(threads));
}

} // namespace

ThreadPool::ThreadPool(int threads)
{
    const int others = std::clamp(threads, 1, 1024) - 1;
    m_workers.reserve(static_cast<std::size_t>(others));
    // A system that refuses a thread gets the work done with fewer.
    try {
        for (int i = 1; i <= others; ++i)
            m_workers.emplace_back([this, i](const std::stop_token &stop) { workerLoop(i, stop); });
    } catch (const std::system_error &) {
    }
}

ThreadPool::~ThreadPool()
{
    for (std::jthread &worker : m_workers)
        worker.request_stop();
    m_state.fetch_add(kOneRegion, std::memory_order_release);
    m_state.notify_all();
}

void ThreadPool::workerLoop(int thread, const std::stop_token &stop)
{
    std::uint32_t seen = 0; // the region worked on last, or the state that had none open
    for (;;) {
        // In this order: the destructor requests the stop before it changes the state that is waited for.
        const std::uint32_t state = m_state.load(std::memory_order_acquire);
        if (stop.stop_requested())
            return;
        const std::uint32_t region = state / kOneRegion;
        if ((state & kOpen) && region != seen && enter()) {
            seen = region;
            work(thread);
            leave();
            continue;
        }
        waitForChange(m_state, state);
    }
}

// Fails when the region closed meanwhile.
bool ThreadPool::enter()
{
    std::uint32_t state = m_state.load(std::memory_order_relaxed);
    while (state & kOpen)
        if (m_state.compare_exchange_weak(state, state + kOneInside, std::memory_order_acquire,
                                          std::memory_order_relaxed))
            return true;
    return false;
}

void ThreadPool::leave()
{
    m_state.fetch_sub(kOneInside, std::memory_order_release);
    m_state.notify_all();
}

std::uint32_t ThreadPool::nextPhase(std::uint32_t phase) const
{
    while (phase < m_phases && m_tasks[phase] == 0)
        ++phase;
    return phase;
}

std::uint32_t ThreadPool::takeShare(std::uint32_t phase, int owner, int thread)
{
    const std::uint32_t begin = shareBegin(m_tasks[phase], owner, threads());
    const std::uint32_t count = shareBegin(m_tasks[phase], owner + 1, threads()) - begin;
    std::atomic<std::uint32_t> &next = cursor(owner, phase);
    std::uint32_t taken = 0;
    // The load first: whoever only looks must not pull the line away from its owner.
    while (next.load(std::memory_order_relaxed) < count) {
        const std::uint32_t mine = next.fetch_add(1, std::memory_order_relaxed);
        if (mine >= count)
            break;
        (*m_body)(phase, begin + mine, thread);
        ++taken;
    }
    return taken;
}

std::uint32_t ThreadPool::takeTasks(std::uint32_t phase, int thread)
{
    std::uint32_t taken = 0;
    for (int i = 0; i < threads(); ++i)
        taken += takeShare(phase, (thread + i) % threads(), thread);
    return taken;
}

void ThreadPool::work(int thread)
{
    std::uint32_t phase = m_phase.load(std::memory_order_acquire);
    while (phase < m_phases) {
        const std::uint32_t taken = takeTasks(phase, thread);
        if (taken != 0 && m_done[phase].fetch_add(taken, std::memory_order_acq_rel) + taken == m_tasks[phase])
            finish(phase, thread);
        phase = waitForChange(m_phase, phase);
    }
}

// Runs by the one thread that ended the phase's last task.
void ThreadPool::finish(std::uint32_t phase, int thread)
{
    const auto stamp = [&] {
        if (!m_endNs.empty())
            m_endNs[phase] = nowNs();
    };
    stamp();
    std::uint32_t next = nextPhase(phase + 1);
    while (next < m_phases && m_tasks[next] == 1) {
        phase = next;
        (*m_body)(phase, 0, thread);
        stamp();
        next = nextPhase(phase + 1);
    }
    // Sequentially consistent, so that notify_all's look at the waiters cannot overtake the store.
    m_phase.store(next, std::memory_order_seq_cst);
    m_phase.notify_all();
}

void ThreadPool::prepare(std::span<const std::uint32_t> tasksOfPhase)
{
    m_tasks = tasksOfPhase;
    m_phases = static_cast<std::uint32_t>(tasksOfPhase.size());
    if (m_cursorStride < m_phases) {
        // Whole cache lines a thread, so that owners never share one.
        m_cursorStride = (std::size_t(m_phases) + 31) / 16 * 16;
        m_cursors = std::make_unique<std::atomic<std::uint32_t>[]>(m_cursorStride * static_cast<std::size_t>(threads()));
        m_done = std::make_unique<std::atomic<std::uint32_t>[]>(m_cursorStride);
    }
    for (int owner = 0; owner < threads(); ++owner)
        for (std::uint32_t p = 0; p < m_phases; ++p)
            cursor(owner, p).store(0, std::memory_order_relaxed);
    for (std::uint32_t p = 0; p < m_phases; ++p)
        m_done[p].store(0, std::memory_order_relaxed);
    m_phase.store(nextPhase(0), std::memory_order_relaxed);
}

void ThreadPool::run(std::span<const std::uint32_t> tasksOfPhase, Body body, std::span<std::uint64_t> endNs)
{
    KVILT_CHECK((m_state.load(std::memory_order_acquire) & (kOpen | kInsideMask)) == 0);
    KVILT_CHECK(endNs.empty() || endNs.size() >= tasksOfPhase.size());
    m_body = &body;
    m_endNs = endNs;
    prepare(tasksOfPhase);
    if (m_workers.empty()) {
        work(0);
        return;
    }
    m_state.fetch_add(kOneRegion | kOpen, std::memory_order_release);
    m_state.notify_all();
    work(0);
    // Close the region, then wait for the workers that are still inside: they hold no task, only their way out.
    std::uint32_t state = m_state.fetch_sub(kOpen, std::memory_order_acq_rel) - kOpen;
    while (state & kInsideMask)
        state = waitForChange(m_state, state);
    m_body = nullptr;
}

void ThreadPool::parallelFor(std::uint32_t tasks, FunctionRef<void(std::uint32_t, int)> body)
{
    run(std::span(&tasks, 1), [&](std::uint32_t, std::uint32_t task, int thread) { body(task, thread); });
}

double ThreadPool::measureBarrierNs()
{
    using Clock = std::chrono::steady_clock;
    constexpr std::uint32_t kPhases = 512;
    const std::vector<std::uint32_t> phases(kPhases, static_cast<std::uint32_t>(threads()));
    std::vector<double> times;
    for (int round = 0; round < 15; ++round) {
        const auto begin = Clock::now();
        run(phases, [](std::uint32_t, std::uint32_t, int) {});
        times.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / kPhases);
    }
    std::nth_element(times.begin(), times.begin() + 7, times.end());
    return times[7];
}

} // namespace kvilt

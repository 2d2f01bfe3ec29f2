// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace kvilt::store {

// One thread for one SQLite file: its only writer and checkpointer. Jobs run in the order they were posted; post()
// never waits for the disk. When the queue runs dry the idle job runs once (checkpoint, deferred work). The
// destructor finishes every job that was posted. Jobs must not throw.
class StoreThread {
public:
    using Job = std::function<void()>;
    explicit StoreThread(Job whenIdle = {});
    ~StoreThread();
    StoreThread(const StoreThread &) = delete;
    StoreThread &operator=(const StoreThread &) = delete;

    void post(Job job);
    void drain(); // waits until everything posted before has run; never from a job
    std::size_t waiting() const;

private:
    void run(std::stop_token stop);

    Job m_whenIdle;
    mutable std::mutex m_mutex;
    std::condition_variable_any m_changed;
    std::deque<Job> m_jobs;
    std::jthread m_thread; // last: starts when the rest is ready
};

} // namespace kvilt::store

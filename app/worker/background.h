// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/worker/mailbox.h"

#include <atomic>
#include <functional>
#include <thread>

namespace kvilt::worker {

// The one thread for work that takes its time and touches nothing of the engine: scanning folders, opening and
// hashing models, exports. Tasks run in order, those still waiting at the end as well; a task gets a flag that is set
// when the program ends, and long ones look at it.
class Background {
public:
    using Task = std::function<void(const std::atomic<bool> &cancel)>;

    Background() : m_thread([this](std::stop_token stop) { run(stop); }) {}
    ~Background()
    {
        m_cancel = true;
        m_thread.request_stop();
    }

    void post(Task task) { m_tasks.post(std::move(task)); }

private:
    void run(std::stop_token stop)
    {
        while (!stop.stop_requested()) {
            if (auto task = m_tasks.waitUntil(stop, std::chrono::steady_clock::time_point::max()))
                (*task)(m_cancel);
        }
        while (auto task = m_tasks.take()) // an export or the settings must not be lost at the end
            (*task)(m_cancel);
    }

    Mailbox<Task> m_tasks;
    std::atomic<bool> m_cancel = false;
    std::jthread m_thread; // last: starts when the rest stands, ends before it goes
};

} // namespace kvilt::worker

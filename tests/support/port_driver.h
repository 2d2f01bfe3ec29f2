// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/engine_port.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace kvilt::test {

// A window without pixels: posts commands to a port, collects what it says, and waits for what a test is about.
// Waiting ends with the awaited update; the limit only keeps a broken port from hanging the run.
class PortDriver {
public:
    explicit PortDriver(api::EnginePort &port) : m_port(port)
    {
        port.setWakeup([this] {
            const std::lock_guard lock(m_mutex);
            m_awake = true;
            m_changed.notify_one();
        });
    }
    ~PortDriver() { m_port.setWakeup({}); }

    void post(api::Command command) { m_port.post(std::move(command)); }

    // The first update of type T from now on that `wanted` accepts; everything that came is kept in `seen`.
    template <typename T>
    std::optional<T> await(std::function<bool(const T &)> wanted = {})
    {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(120);
        while (std::chrono::steady_clock::now() < limit) {
            for (; m_next < seen.size(); ++m_next) {
                const T *update = std::get_if<T>(&seen[m_next]);
                if (update && (!wanted || wanted(*update))) {
                    ++m_next;
                    return *update;
                }
            }
            pull();
        }
        return std::nullopt;
    }

    template <typename T>
    std::vector<T> all() const
    {
        std::vector<T> found;
        for (const api::Update &update : seen) {
            if (const T *typed = std::get_if<T>(&update))
                found.push_back(*typed);
        }
        return found;
    }

    std::vector<api::Update> seen;

private:
    void pull()
    {
        std::unique_lock lock(m_mutex);
        m_changed.wait_for(lock, std::chrono::seconds(1), [this] { return m_awake; });
        m_awake = false;
        lock.unlock();
        for (api::Update &update : m_port.takeUpdates())
            seen.push_back(std::move(update));
    }

    api::EnginePort &m_port;
    std::mutex m_mutex;
    std::condition_variable m_changed;
    bool m_awake = false; // guarded by m_mutex
    std::size_t m_next = 0;
};

} // namespace kvilt::test

// SPDX-License-Identifier: Apache-2.0
#include "engine/store/store_thread.h"

#include <future>
#include <memory>

namespace kvilt::store {

StoreThread::StoreThread(Job whenIdle)
    : m_whenIdle(std::move(whenIdle)), m_thread([this](std::stop_token stop) { run(std::move(stop)); })
{
}

StoreThread::~StoreThread()
{
    m_thread.request_stop();
    m_thread.join();
}

void StoreThread::post(Job job)
{
    {
        const std::lock_guard lock(m_mutex);
        m_jobs.push_back(std::move(job));
    }
    m_changed.notify_one();
}

void StoreThread::drain()
{
    const auto reached = std::make_shared<std::promise<void>>(); // shared: set_value() may outlast the wait
    post([reached] { reached->set_value(); });
    reached->get_future().wait();
}

std::size_t StoreThread::waiting() const
{
    const std::lock_guard lock(m_mutex);
    return m_jobs.size();
}

void StoreThread::run(std::stop_token stop)
{
    bool worked = false;
    for (;;) {
        Job job;
        {
            std::unique_lock lock(m_mutex);
            if (m_jobs.empty() && worked && m_whenIdle) {
                worked = false;
                lock.unlock();
                m_whenIdle();
                lock.lock();
            }
            m_changed.wait(lock, stop, [this] { return !m_jobs.empty(); });
            if (m_jobs.empty())
                return; // asked to stop, and everything is done
            job = std::move(m_jobs.front());
            m_jobs.pop_front();
        }
        job();
        worked = true;
    }
}

} // namespace kvilt::store

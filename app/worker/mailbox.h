// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

namespace kvilt::worker {

// Letters to one thread. Any thread posts and never waits longer than a push takes; the owner takes one at a time
// and may sleep until one comes. Urgent letters go before all others.
template <typename Letter>
class Mailbox {
public:
    void post(Letter letter)
    {
        {
            const std::lock_guard lock(m_mutex);
            m_letters.push_back(std::move(letter));
        }
        m_arrived.notify_one();
    }

    void postUrgent(Letter letter)
    {
        {
            const std::lock_guard lock(m_mutex);
            m_letters.push_front(std::move(letter));
        }
        m_arrived.notify_one();
    }

    std::optional<Letter> take()
    {
        const std::lock_guard lock(m_mutex);
        return takeLocked();
    }

    // Sleeps until a letter comes, `until` passes or `stop` is asked for. No letter: one of the latter two.
    template <typename TimePoint>
    std::optional<Letter> waitUntil(std::stop_token stop, TimePoint until)
    {
        std::unique_lock lock(m_mutex);
        m_arrived.wait_until(lock, stop, until, [this] { return !m_letters.empty(); });
        return takeLocked();
    }

    void wake() { m_arrived.notify_all(); }

private:
    std::optional<Letter> takeLocked()
    {
        if (m_letters.empty())
            return std::nullopt;
        Letter letter = std::move(m_letters.front());
        m_letters.pop_front();
        return letter;
    }

    std::mutex m_mutex;
    std::condition_variable_any m_arrived;
    std::deque<Letter> m_letters; // guarded by m_mutex
};

// The other way: the owner adds, one reader swaps everything out. The wakeup is called once until the reader came.
template <typename Item>
class Outbox {
public:
    // Returns true when the reader has to be woken.
    [[nodiscard]] bool add(Item item)
    {
        const std::lock_guard lock(m_mutex);
        m_items.push_back(std::move(item));
        return !std::exchange(m_woken, true);
    }

    std::vector<Item> takeAll()
    {
        const std::lock_guard lock(m_mutex);
        m_woken = false;
        return std::exchange(m_items, {});
    }

private:
    std::mutex m_mutex;
    std::vector<Item> m_items; // guarded by m_mutex
    bool m_woken = false;      // guarded by m_mutex
};

} // namespace kvilt::worker

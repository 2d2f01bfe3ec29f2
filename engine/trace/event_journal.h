// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"
#include "engine/support/error.h"
#include "engine/trace/event_ring.h"
#include "engine/trace/event_sink.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace kvilt::trace {

// Events with consecutive numbers.
struct EventChunk {
    std::vector<api::CacheEvent> events;
};

// Which events to show: all that are set must hold.
struct EventFilter {
    std::optional<SessionId> session;     // on whose behalf it was done
    std::optional<TurnId> turn;
    std::uint64_t firstNumber = 0;
    std::uint64_t endNumber = UINT64_MAX; // exclusive
    bool matches(const api::CacheEvent &event) const;
};

// Where chunks go to be kept (engine/store/event_store.h). save() and turnEnded() never wait for a disk.
class ChunkStore {
public:
    virtual ~ChunkStore() = default;
    virtual void save(EventChunk chunk) noexcept = 0;
    virtual void turnEnded(SessionId session, TurnId turn, std::uint64_t firstNumber,
                           std::uint64_t endNumber) noexcept = 0;
    virtual std::uint64_t nextNumber() const = 0; // one more than the greatest ever saved; 1 for a new file
    // Ascending by number; what was saved before the call is seen.
    virtual Result<void> visit(const EventFilter &filter,
                               const std::function<void(const api::CacheEvent &)> &visitor) = 0;
};

struct JournalOptions {
    ChunkStore *store = nullptr;             // not owned; null: the newest events are kept in memory only
    EventRing *ring = nullptr;               // not owned; the view's copy
    std::size_t chunkEvents = 4096;
    std::size_t memoryEvents = 1u << 20;     // without a store: the oldest chunk goes beyond this
};

// Every event, in order, with no loss while a store takes them: chunks fill in memory and leave at the end of a turn
// or when full. emit(), endTurn() and flush() belong to the engine's thread; visit() may be called from any.
class EventJournal final : public EventSink {
public:
    explicit EventJournal(JournalOptions options);
    ~EventJournal() override; // hands over what is left

    void emit(const api::CacheEvent &event) noexcept override;
    // The turn is over: its events leave for the store, where they are found by turn also after a restart.
    void endTurn(SessionId session, TurnId turn) noexcept;
    void flush() noexcept; // hands the open chunk to the store

    std::uint64_t nextNumber() const;        // the number that the next event gets
    std::uint64_t lost() const;              // no memory for a chunk, or no store and too many: 0 in good health
    Result<void> visit(const EventFilter &filter, const std::function<void(const api::CacheEvent &)> &visitor) const;

private:
    void closeChunk() noexcept; // with the lock held
    void keep(EventChunk chunk);

    JournalOptions m_options;
    mutable std::mutex m_mutex;              // held for a push_back; visit() copies under it
    EventChunk m_open;
    std::deque<EventChunk> m_kept;           // without a store
    std::size_t m_keptEvents = 0;
    std::uint64_t m_next = 1;
    std::uint64_t m_lost = 0;
    std::uint64_t m_turnFirst = 1;           // the first event after the last endTurn()
};

} // namespace kvilt::trace

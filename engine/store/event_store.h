// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"
#include "engine/trace/event_journal.h"

#include <filesystem>
#include <memory>

namespace kvilt::store {

struct EventStoreOptions {
    std::filesystem::path file;
    bool writable = true;                      // false: another process holds the profile
    std::uint64_t quotaBytes = 256ull << 20;   // oldest chunks go first
    std::string vfs;                           // SQLite VFS by name (tests)
};

// Packed chunks of cache events in events.db (EVENTS_DB.md), behind a store thread of its own. Disposable: a file
// that is damaged, foreign or newer is set aside and made anew. Thread-safe.
class EventStore final : public trace::ChunkStore {
public:
    static Result<std::unique_ptr<EventStore>> open(EventStoreOptions options);
    ~EventStore() override;

    void save(trace::EventChunk chunk) noexcept override;
    void turnEnded(SessionId session, TurnId turn, std::uint64_t firstNumber, std::uint64_t endNumber) noexcept override;
    std::uint64_t nextNumber() const override;
    Result<void> visit(const trace::EventFilter &filter,
                       const std::function<void(const api::CacheEvent &)> &visitor) override;

    Result<void> flush();
    std::vector<std::string> takeNotices();

private:
    struct Impl;
    explicit EventStore(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/event_store.h"
#include "engine/store/kv_store.h"
#include "engine/store/profile_lock.h"
#include "engine/store/profile_paths.h"
#include "engine/store/session_store.h"
#include "engine/support/error.h"
#include "engine/trace/event_journal.h"

#include <nlohmann/json.hpp>

#include <memory>
#include <optional>
#include <string>

namespace kvilt::cli {

// The stores of one profile, opened for one command. The first process of a profile writes; a later one only reads,
// and the user is told. Order of members is order of closing: the journal hands its events to the event store.
struct Profile {
    store::ProfilePaths paths;
    std::optional<store::ProfileLock> lock;
    std::unique_ptr<store::SessionStore> sessions;
    std::unique_ptr<store::KvStore> kv;          // null: no place for KV; it is computed instead
    std::unique_ptr<store::EventStore> eventStore;
    std::unique_ptr<trace::EventJournal> journal;
    bool writable = false;

    struct Wanted {
        bool sessions = false, kv = false, events = false;
        std::uint64_t kvQuota = 4ull << 30;
    };
    static Result<std::unique_ptr<Profile>> open(const std::string &folder, const Wanted &wanted);
    void sayNotices(); // on standard error
};

// A session as the command line names it: the name it was made with (`--session NAME`), or its number.
Result<std::optional<SessionId>> findSession(store::SessionStore &sessions, const std::string &id);
Result<SessionId> makeSession(store::SessionStore &sessions, const std::string &name, const std::string &firstMessage);
// badInput: no name for a session.
Result<void> checkSessionName(const std::string &name);
// How `session list` shows it: its name if it has one, else its number.
nlohmann::json shownId(SessionId id, const std::string &name);

} // namespace kvilt::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/event_store.h"
#include "engine/store/kv_store.h"
#include "engine/store/profile_lock.h"
#include "engine/store/profile_paths.h"
#include "engine/store/session_store.h"
#include "engine/support/error.h"
#include "engine/trace/event_journal.h"

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
    std::string whyNot;                          // nothing is stored: why; empty: it is

    struct Wanted {
        bool sessions = false, kv = false, events = false;
        bool mustStore = false;                  // the command is about storing a session: else it is refused
        bool onlyReads = false;                  // that nothing can be stored does not matter
        std::uint64_t kvQuota = 4ull << 30;
    };
    // badInput: a folder that was named and cannot be used at all. With `mustStore`, full: the session would not be
    // stored (read-only, no room, another program holds the profile).
    static Result<std::unique_ptr<Profile>> open(const std::string &folder, const Wanted &wanted);
    // full: what was written since is in memory only, and goes with this process.
    Result<void> sessionsStored();
    void sayNotices(); // on standard error
};

// A session as the command line names it: the name it was made with (`--session NAME`), or its number.
Result<std::optional<SessionId>> findSession(store::SessionStore &sessions, const std::string &id);
Result<SessionId> makeSession(store::SessionStore &sessions, const std::string &name, const std::string &firstMessage);
// badInput: no name for a session.
Result<void> checkSessionName(const std::string &name);
// How `session list` shows it, and `--session` takes it: its name if it has one, else its number; always a string.
std::string shownId(SessionId id, const std::string &name);

} // namespace kvilt::cli

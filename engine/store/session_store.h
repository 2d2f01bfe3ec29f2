// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/session_db.h"
#include "engine/store/store_thread.h"

#include <functional>
#include <map>
#include <mutex>

namespace kvilt::store {

struct SessionStoreOptions {
    std::filesystem::path file;
    bool writable = true;                      // false: another process holds the profile; the caller has said so
    const Clock *clock = nullptr;              // null: the system's
    std::uint64_t reserveBytes = 4ull << 20;   // kept aside on the disk for the messages of a full disk
    std::uint64_t maxBytes = 0;                // of the file; 0: no limit (tests)
    std::function<void()> wake;                // on the store thread, when a notice waits
    std::string vfs;                           // SQLite VFS by name (tests); empty: the default
};

// The transcripts of a profile: precious. Opening never fails: what cannot be stored is kept in memory and the user
// is told (takeNotices). A damaged file is set aside and every readable session is taken over; a newer one is left
// alone. Writes run on the store thread.
//
// Thread-safe. The named calls return when their transaction is on the disk; post() returns at once; reads see
// every write that was posted before them.
class SessionStore {
public:
    enum class Mode : std::uint8_t {
        file,
        copyInMemory, // a copy of the file, or nothing, in memory: nothing is stored
    };

    explicit SessionStore(SessionStoreOptions options);
    ~SessionStore();
    SessionStore(const SessionStore &) = delete;
    SessionStore &operator=(const SessionStore &) = delete;

    Mode mode() const;
    // What is written is in a file that somebody can find: false in memory, and while a deleted file cannot be written anew.
    bool kept() const;
    std::vector<std::string> takeNotices(); // sentences for the user since the last call

    // Runs `work` on the store thread, and returns at once. `work` says by whatever way it likes how it went.
    void post(std::function<void(SessionDb &)> work);
    // Runs `work` on the store thread and waits for its answer.
    template <typename Work>
    auto call(Work work) -> decltype(work(std::declval<SessionDb &>()))
    {
        std::optional<decltype(work(std::declval<SessionDb &>()))> answer;
        runAndWait([&](SessionDb &db) { answer.emplace(work(db)); });
        return std::move(*answer);
    }

    // A user's message is committed before anything runs.
    Result<MessageRow> append(MessageRow message);
    // Text that is still growing: returns at once, the newest state of each message is written with the next
    // transaction.
    void updateStreaming(ReplyUpdate reply);
    // The turn's end: text, ids, state and receipt, committed on return together with the session's token count.
    Result<void> commitTurn(ReplyUpdate reply, std::optional<std::uint32_t> sessionTokens = {});
    Result<std::vector<api::SessionSummary>> list(std::string_view query = {});
    Result<StoredConversation> conversation(SessionId session);
    Result<void> flush(); // everything posted is on the disk; the first error since the last flush

private:
    struct Impl;
    void runAndWait(const std::function<void(SessionDb &)> &work);
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"
#include "engine/kv/block_hash.h"
#include "engine/support/clock.h"
#include "engine/support/error.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// KV payloads in kvcache.db (KVCACHE_DB.md): disposable, so a file that is damaged, foreign or newer is set aside and
// made anew, and deleting it loses nothing but time. Written by one store thread; read through a connection of the
// caller's side. The way of a block:
//
//   for (sealed : cache.takeSealed()) store.put({...exported bytes...});    // never waits
//   for (done : store.takeCompletions()) cache.markStored(...) / cache.forgetStored(...);
//   store.read(row, key, tokens, out);                                      // a restore order
//
// Thread-safe: every method may be called from any thread; read() calls are serialised among themselves.
namespace kvilt::store {

struct KvStoreOptions {
    std::filesystem::path file;
    bool writable = true;                       // false: another process holds the profile
    std::uint64_t quotaBytes = 4ull << 30;      // of the file; rows are evicted one by one before it grows beyond
    std::uint64_t pendingBytes = 256ull << 20;  // payloads waiting for the store thread; beyond it put() declines
    std::uint64_t minFreeBytes = 256ull << 20;  // left free on the disk for everything else
    const Clock *clock = nullptr;               // null: the system's
    std::function<void()> wake;                 // on the store thread, when completions wait
    std::uint32_t pageBytes = 65536;            // of a new file
    std::string vfs;                            // SQLite VFS by name (tests); empty: the default
};

// What a payload is asked for by: no other arithmetic, group or prefix ever answers.
struct PayloadKey {
    kv::BlockName name;
    GroupIndex group;
    std::string numerics;
    bool operator==(const PayloadKey &) const = default;
};

struct NewPayload {
    PayloadKey key;
    kv::BlockName parent;                       // the root's name for a first block
    std::int32_t firstToken = 0;
    std::vector<TokenId> tokens;
    SessionId session;                          // whose it is; 0: nobody's
    TurnId turn;
    std::vector<std::byte> bytes;               // canonical stored form
};

struct StoredEntry {
    PayloadKey key;
    std::int64_t row = 0;
    std::uint64_t bytes = 0;
};

// What the store thread reports: a payload was committed, or is gone.
struct KvCompletion {
    enum class Kind : std::uint8_t { stored, removed };
    Kind kind = Kind::stored;
    PayloadKey key;
    std::int64_t row = 0;
    std::uint64_t bytes = 0;
    SessionId session;                          // stored: who sent it
    TurnId turn;
    std::uint32_t microseconds = 0;             // stored: its share of the transaction
    api::EventReason reason = api::EventReason::none; // removed: lru, deadBranchFirst, dropped, corruptPayload
};

enum class ReadOutcome : std::uint8_t {
    ok,
    missing, // evicted meanwhile, or never there
    corrupt, // another length, other tokens, a wrong checksum or an unreadable page: the row is dropped
};

struct KvStats {
    std::uint64_t bytes = 0;                    // payloads
    std::uint64_t fileBytes = 0;                // kvcache.db and its WAL
    std::uint64_t quota = 0;
    std::uint64_t payloads = 0;
    std::uint64_t stored = 0, evicted = 0;      // since open
    std::uint64_t declined = 0;                 // put() refused: queue full, read-only, disk full
    std::uint64_t corrupt = 0;
    std::uint64_t pendingBytes = 0;
};

struct KvUsage {
    std::uint64_t bytes = 0;
    std::uint32_t blocks = 0;                   // nodes with a payload, whatever the number of groups
};

// One node of a session's KV, parents before children (export).
struct StoredNode {
    kv::BlockName name, parent;
    std::int32_t firstToken = 0;
    std::vector<TokenId> tokens;
    struct Payload {
        std::int64_t row = 0;
        GroupIndex group;
        std::string numerics;
        std::uint64_t bytes = 0;
    };
    std::vector<Payload> payloads;
};

// What a root name stands for; without it a session's KV cannot be exported.
struct StoredRoot {
    kv::CacheIdentity identity;
    std::string salt;
};

class KvStore {
public:
    // Fails only when no file can be had at all (a folder that is missing, read-only or full).
    static Result<std::unique_ptr<KvStore>> open(KvStoreOptions options);
    ~KvStore(); // finishes what was posted
    KvStore(const KvStore &) = delete;
    KvStore &operator=(const KvStore &) = delete;

    bool writable() const;
    std::vector<std::string> takeNotices(); // sentences for the user since the last call

    // Every payload there is, in any order.
    void forEach(const std::function<void(const StoredEntry &)> &visit) const;
    bool contains(const PayloadKey &key) const;

    // Queues a payload. False: declined and counted; it simply is not stored. A key that is stored already is only
    // touched.
    bool put(NewPayload payload);
    // `out` has the length that the model's layout gives; the row must have it, and these tokens.
    ReadOutcome read(std::int64_t row, const PayloadKey &key, std::span<const TokenId> tokens,
                     std::span<std::byte> out);
    // These rows were used together just now: they leave last, tail before head.
    void touch(std::span<const std::int64_t> rows);
    std::vector<KvCompletion> takeCompletions();
    Result<void> flush(); // waits until everything posted is committed; the first error since the last flush

    void rememberRoot(const kv::CacheIdentity &identity, std::string_view salt);
    std::optional<StoredRoot> root(const kv::BlockName &name) const;

    // Sessions are those of the sessions.db with this number (SessionDb::lineage). When they were another file's, what
    // was kept is nobody's: tips are forgotten, so that a new session does not inherit from a lost one with its id.
    void claim(std::int64_t lineage);
    // Branch `branch` of a session ends at `node` now.
    void setTip(SessionId session, MessageId branch, const kv::BlockName &node);
    // Nobody continues this branch: nodes that no other tip needs become dead and leave first.
    void endBranch(SessionId session, MessageId branch);
    // Drops the session's payloads that no other session needs ("drop KV, keep the text"; a deleted session).
    void dropSession(SessionId session);
    // What the branches of a session need, and what it wrote besides; a shared prefix counts for each that needs it.
    KvUsage usage(SessionId session) const;
    std::map<SessionId, KvUsage> usages() const; // of every session that has any, in one pass
    std::vector<StoredNode> sessionNodes(SessionId session) const;

    void setQuota(std::uint64_t bytes); // evicts at once
    KvStats stats() const;

private:
    struct Impl;
    explicit KvStore(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::store

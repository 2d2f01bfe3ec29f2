// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/file_identity.h"
#include "engine/store/kv_db.h"
#include "engine/store/kv_index.h"
#include "engine/store/kv_store.h"
#include "engine/store/store_thread.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <set>
#include <tuple>

// What KvStore's two sides share: kv_store.cpp answers callers, kv_store_writer.cpp is the store thread's work.
namespace kvilt::store {

std::uint64_t kvFileBytes(const std::filesystem::path &file); // 0: not there

// `mutex` guards what every thread sees; `writer` belongs to the store thread; `reader` has a lock of its own, so
// that a restore never waits for a commit.
struct KvStore::Impl {
    KvStoreOptions options;
    mutable std::mutex mutex;
    KvIndex index;
    std::unordered_map<kv::BlockName, StoredRoot> roots;
    std::int64_t lineage = 0;                   // of the sessions that tips and rows name; 0: not said yet
    std::deque<NewPayload> queue;
    std::set<std::tuple<kv::BlockName, std::uint16_t, std::string>> queued; // keys of `queue` and of the batch at work
    std::set<std::int64_t> touched;             // rows whose use is not saved yet
    std::vector<std::int64_t> strays;           // rows to delete with the next transaction
    std::vector<KvCompletion> completions;
    std::vector<std::string> notices;
    std::optional<Error> firstError;
    KvStats counts;
    std::atomic<std::uint64_t> quota = 0;
    bool writeJobWaits = false;
    bool diskFullTold = false;
    bool canWrite = false;

    std::unique_ptr<sql::Database> writer;
    FileIdentity identity;                      // of the file that `writer` has open
    std::mutex readMutex;
    std::unique_ptr<sql::Database> reader;
    std::unique_ptr<StoreThread> thread;        // last to come, first to go: its jobs use all of the above

    // --- Opening ---
    Result<void> open();
    Result<void> openForWriting();
    Result<void> openOnce(sql::Access access);
    Result<void> load();
    void setAsideAndTell(const Error &why);

    // --- The store thread ---
    void postWrite();
    void writeQueued();
    Result<void> writeBatch(std::deque<NewPayload> &batch, std::vector<KvCompletion> &done);
    Result<void> saveTouched();
    Result<bool> makeRoom(const NewPayload &payload, std::vector<KvCompletion> &done);
    Result<void> evict(KvIndex::Row row, api::EventReason reason, std::vector<KvCompletion> &done);
    Result<std::int64_t> usedPages();
    Result<std::int64_t> pagesFor(std::uint64_t bytes);
    void finish(Result<void> result, std::vector<KvCompletion> done);
    void startAnew(const std::function<void()> &clearAway, api::EventReason reason);
    Result<void> keepRoots(const std::unordered_map<kv::BlockName, StoredRoot> &kept, std::int64_t owner);
    void noticeLostFile();
    void removeRow(std::int64_t id, api::EventReason reason);
    void shrinkToQuota();
    void idle();
    Result<void> change(const std::function<Result<void>()> &work);
    bool diskHasRoom(std::uint64_t bytes);
};

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
// The store thread's side of KvStore: batches, eviction, room, and what to do when the file fails.
#include "engine/store/kv_store_impl.h"
#include "engine/support/check.h"

#include <algorithm>
#include <chrono>
#include <system_error>

namespace kvilt::store {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kBatchBytes = 32ull << 20;      // payloads of one transaction
constexpr std::uint64_t kWalBytes = 64ull << 20;        // beyond it the WAL is brought into the file at once
constexpr std::int64_t kSparePages = 64;                // free pages that stay in the file for the next payloads
constexpr std::int64_t kSlackPages = 8;                 // b-tree pages that a row may add

std::uint32_t microsecondsSince(std::chrono::steady_clock::time_point start)
{
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
    return std::uint32_t(std::clamp<std::int64_t>(us.count(), 0, UINT32_MAX));
}

} // namespace

void KvStore::Impl::postWrite()
{
    if (!std::exchange(writeJobWaits, true))
        thread->post([this] { writeQueued(); });
}

void KvStore::Impl::writeQueued()
{
    noticeLostFile();
    for (;;) {
        std::deque<NewPayload> batch;
        std::uint64_t bytes = 0;
        {
            const std::lock_guard lock(mutex);
            while (!queue.empty() && (batch.empty() || bytes + queue.front().bytes.size() <= kBatchBytes)) {
                bytes += queue.front().bytes.size();
                batch.push_back(std::move(queue.front()));
                queue.pop_front();
            }
            if (batch.empty()) {
                writeJobWaits = false;
                return;
            }
        }
        std::vector<KvCompletion> done;
        auto result = writer && diskHasRoom(bytes) ? writeBatch(batch, done) : Result<void>();
        {
            const std::lock_guard lock(mutex);
            counts.pendingBytes -= bytes;
            for (const NewPayload &p : batch)
                queued.erase(std::tuple(p.key.name, p.key.group.value, p.key.numerics));
            const auto kept = std::uint64_t(std::ranges::count(done, KvCompletion::Kind::stored, &KvCompletion::kind));
            counts.declined += batch.size() - (result ? kept : 0);
        }
        finish(std::move(result), std::move(done));
        if (writer && kvFileBytes(options.file.string() + "-wal") > kWalBytes)
            (void)writer->checkpoint(false);
    }
}

bool KvStore::Impl::diskHasRoom(std::uint64_t bytes)
{
    std::error_code unknown;
    const auto space = fs::space(options.file.parent_path(), unknown);
    const std::lock_guard lock(mutex);
    if (unknown || space.available >= bytes + options.minFreeBytes) {
        diskFullTold = false;
        return true;
    }
    if (!std::exchange(diskFullTold, true))
        notices.push_back("The disk of " + options.file.string() +
                          " is nearly full: KV is not stored until there is room again; chats are kept.");
    return false;
}

// One transaction. The index changes with the rows; if the transaction fails it is read again from the file.
Result<void> KvStore::Impl::writeBatch(std::deque<NewPayload> &batch, std::vector<KvCompletion> &done)
{
    const auto start = std::chrono::steady_clock::now();
    KVILT_TRY(auto transaction, sql::Transaction::begin(*writer));
    KVILT_TRY_VOID(saveTouched());
    std::size_t stored = 0;
    for (NewPayload &payload : batch) {
        KVILT_TRY(const bool fits, makeRoom(payload, done));
        if (!fits)
            continue;
        KvIndex::Row row{.name = payload.key.name, .parent = payload.parent, .group = payload.key.group,
                         .numerics = payload.key.numerics, .firstToken = payload.firstToken,
                         .bytes = payload.bytes.size(), .session = payload.session.value};
        {
            const std::lock_guard lock(mutex);
            row.id = index.nextRowId();
            row.used = index.useCounter();
        }
        KVILT_TRY_VOID(insertPayload(*writer, row.id, row.used, payload));
        done.push_back({KvCompletion::Kind::stored, payload.key, row.id, row.bytes, payload.session, payload.turn});
        ++stored;
        const std::lock_guard lock(mutex);
        index.add(std::move(row));
    }
    KVILT_TRY_VOID(transaction.commit());
    const std::uint32_t each = stored ? microsecondsSince(start) / std::uint32_t(stored) : 0;
    for (KvCompletion &completion : done)
        completion.microseconds = completion.kind == KvCompletion::Kind::stored ? each : 0;
    return {};
}

Result<void> KvStore::Impl::saveTouched()
{
    std::vector<KvIndex::Row> rows;
    std::vector<std::int64_t> gone;
    {
        const std::lock_guard lock(mutex);
        for (const std::int64_t id : std::exchange(touched, {}))
            if (const KvIndex::Row *row = index.find(id))
                rows.push_back(*row);
        gone = std::exchange(strays, {});
    }
    for (const std::int64_t id : gone)
        KVILT_TRY_VOID(deletePayload(*writer, id));
    for (const KvIndex::Row &row : rows)
        KVILT_TRY_VOID(saveUse(*writer, row));
    return {};
}

Result<std::int64_t> KvStore::Impl::usedPages()
{
    KVILT_TRY(const std::int64_t pages, writer->integer("PRAGMA page_count"));
    KVILT_TRY(const std::int64_t free, writer->integer("PRAGMA freelist_count"));
    return pages - free;
}

Result<std::int64_t> KvStore::Impl::pagesFor(std::uint64_t bytes)
{
    KVILT_TRY(const std::int64_t pageBytes, writer->integer("PRAGMA page_size"));
    return std::int64_t(bytes) / std::max<std::int64_t>(pageBytes - 64, 1);
}

// False: the payload is not worth what would have to go for it.
Result<bool> KvStore::Impl::makeRoom(const NewPayload &payload, std::vector<KvCompletion> &done)
{
    KVILT_TRY(const std::int64_t need, pagesFor(payload.bytes.size()));
    for (;;) {
        KVILT_TRY(const std::int64_t limit, pagesFor(quota));
        KVILT_TRY(const std::int64_t used, usedPages());
        if (used + need + kSlackPages <= limit)
            return true;
        std::optional<KvIndex::Row> victim;
        {
            const std::lock_guard lock(mutex);
            if (!index.wouldGoFirst(payload.firstToken))
                victim = *index.victim();
        }
        if (!victim)
            return false;
        const auto reason = victim->dead ? api::EventReason::deadBranchFirst : api::EventReason::lru;
        KVILT_TRY_VOID(evict(std::move(*victim), reason, done));
    }
}

Result<void> KvStore::Impl::evict(KvIndex::Row row, api::EventReason reason, std::vector<KvCompletion> &done)
{
    KVILT_TRY_VOID(deletePayload(*writer, row.id));
    done.push_back({.kind = KvCompletion::Kind::removed, .key = {row.name, row.group, row.numerics}, .row = row.id,
                    .bytes = row.bytes, .reason = reason});
    const std::lock_guard lock(mutex);
    index.remove(row.id);
    return {};
}

// Reports what a transaction did, or puts index and file back into step when it failed.
void KvStore::Impl::finish(Result<void> result, std::vector<KvCompletion> done)
{
    if (result) {
        const std::lock_guard lock(mutex);
        for (const KvCompletion &completion : done)
            ++(completion.kind == KvCompletion::Kind::stored ? counts.stored : counts.evicted);
        std::ranges::move(done, std::back_inserter(completions));
    } else if (result.error().code == ErrorCode::corrupt) {
        startAnew([&] { setAsideAndTell(result.error()); }, api::EventReason::corruptPayload);
    } else {
        const std::lock_guard lock(mutex);
        if (!firstError)
            firstError = result.error();
        if (!std::exchange(diskFullTold, true))
            notices.push_back(result.error().message + " KV is not stored meanwhile; chats are kept.");
        const KvIndex::Tips tips = index.tips(); // some may not be in the file yet
        if (auto loaded = load(); !loaded)
            index = KvIndex(); // nothing is a hit until the file can be read again
        for (const auto &[session, branches] : tips)
            for (const auto &[branch, node] : branches)
                index.setTip(session, branch, node);
    }
    if (options.wake)
        options.wake();
}

// `clearAway` takes the file from its place, once it is closed.
void KvStore::Impl::startAnew(const std::function<void()> &clearAway, api::EventReason reason)
{
    const std::lock_guard readLock(readMutex);
    const std::lock_guard lock(mutex);
    for (const auto &[id, row] : index.rows())
        completions.push_back({.kind = KvCompletion::Kind::removed, .key = {row.name, row.group, row.numerics},
                               .row = id, .bytes = row.bytes, .reason = reason});
    writer.reset();
    reader.reset();
    clearAway();
    index = KvIndex();
    touched.clear();
    const auto kept = std::exchange(roots, {});
    const std::int64_t owner = lineage;
    auto opened = openOnce(sql::Access::readWrite);
    if (opened)
        opened = keepRoots(kept, owner);
    if (!opened) {
        writer.reset();
        canWrite = false;
        notices.push_back(opened.error().message + " KV is not stored.");
    }
}

// Who asks remembers that he has said these things and says them once.
Result<void> KvStore::Impl::keepRoots(const std::unordered_map<kv::BlockName, StoredRoot> &kept, std::int64_t owner)
{
    KVILT_TRY(auto transaction, sql::Transaction::begin(*writer));
    for (const auto &[name, root] : kept)
        KVILT_TRY_VOID(saveRoot(*writer, name, root));
    if (owner != 0)
        KVILT_TRY_VOID(saveLineage(*writer, owner, false));
    KVILT_TRY_VOID(transaction.commit());
    roots = kept;
    lineage = owner;
    return {};
}

// Deleted or replaced while it was open: what is written now would be gone with the program.
void KvStore::Impl::noticeLostFile()
{
    const FileIdentity now = FileIdentity::of(options.file);
    if (!writer || !identity.exists || now == identity)
        return;
    const auto clearAway = [&] {
        std::string kept;
        if (now.exists)
            if (const auto aside = sql::setAside(options.file, "replaced"))
                kept = " The other file is kept as " + aside->filename().string() + ".";
        std::error_code missing;
        for (const char *suffix : {"-wal", "-shm"})
            fs::remove(options.file.string() + suffix, missing);
        fs::create_directories(options.file.parent_path(), missing);
        notices.push_back(options.file.string() + (now.exists ? " was replaced" : " was deleted") +
                          " while Kvilt was running; a new one was made." + kept +
                          " Chats are complete, but what had been stored of their KV is computed again.");
    };
    startAnew(clearAway, api::EventReason::dropped);
    if (options.wake)
        options.wake();
}

// A transaction around small changes; the store thread only.
Result<void> KvStore::Impl::change(const std::function<Result<void>()> &work)
{
    noticeLostFile();
    if (!writer)
        return {};
    KVILT_TRY(auto transaction, sql::Transaction::begin(*writer));
    KVILT_TRY_VOID(saveTouched());
    KVILT_TRY_VOID(work());
    return transaction.commit();
}

void KvStore::Impl::removeRow(std::int64_t id, api::EventReason reason)
{
    std::vector<KvCompletion> done;
    auto result = change([&]() -> Result<void> {
        std::optional<KvIndex::Row> row;
        {
            const std::lock_guard lock(mutex);
            if (const KvIndex::Row *found = index.find(id))
                row = *found;
        }
        return row ? evict(std::move(*row), reason, done) : Result<void>();
    });
    finish(std::move(result), std::move(done));
}

void KvStore::Impl::shrinkToQuota()
{
    if (!writer)
        return;
    std::vector<KvCompletion> done;
    auto result = change([&]() -> Result<void> {
        for (;;) {
            KVILT_TRY(const std::int64_t limit, pagesFor(quota));
            KVILT_TRY(const std::int64_t used, usedPages());
            std::optional<KvIndex::Row> victim;
            {
                const std::lock_guard lock(mutex);
                if (const KvIndex::Row *row = index.victim(); row && used > limit)
                    victim = *row;
            }
            if (!victim)
                return {};
            KVILT_TRY_VOID(evict(std::move(*victim), api::EventReason::lru, done));
        }
    });
    if (result) { // a guard behind the accounting above; SQLite does not take less than the file has
        KVILT_CHECK(writer != nullptr);
        if (auto limit = pagesFor(quota); limit)
            (void)writer->exec("PRAGMA max_page_count=" + std::to_string(*limit + 2 * kSlackPages));
    }
    finish(std::move(result), std::move(done));
}

// Nothing waits: bring the WAL home, save uses, give pages back to the disk.
void KvStore::Impl::idle()
{
    if (!writer)
        return;
    bool dirty = false;
    {
        const std::lock_guard lock(mutex);
        dirty = !touched.empty() || !strays.empty();
    }
    Result<void> result = dirty ? change([] { return Result<void>(); }) : Result<void>();
    for (bool more = true; result && more && thread->waiting() == 0;) {
        const auto free = writer->integer("PRAGMA freelist_count");
        more = free && *free > kSparePages;
        if (more)
            result = writer->exec("PRAGMA incremental_vacuum(" + std::to_string(kSparePages) + ")");
    }
    if (result)
        result = writer->checkpoint(false);
    if (!result)
        finish(std::move(result), {});
}

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
#include "engine/store/kv_store.h"

#include "engine/store/kv_db.h"
#include "engine/store/kv_index.h"
#include "engine/store/store_thread.h"
#include "engine/support/check.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <set>
#include <system_error>

namespace kvilt::store {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kBatchBytes = 32ull << 20;      // payloads of one transaction
constexpr std::uint64_t kWalBytes = 64ull << 20;        // beyond it the WAL is brought into the file at once
constexpr std::int64_t kSparePages = 64;                // free pages that stay in the file for the next payloads
constexpr std::int64_t kSlackPages = 8;                 // b-tree pages that a row may add

bool mustBeSetAside(ErrorCode code)
{
    return code == ErrorCode::corrupt || code == ErrorCode::badInput || code == ErrorCode::unsupported;
}

std::uint32_t microsecondsSince(std::chrono::steady_clock::time_point start)
{
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
    return std::uint32_t(std::clamp<std::int64_t>(us.count(), 0, UINT32_MAX));
}

std::uint64_t fileBytes(const fs::path &file)
{
    std::error_code missing;
    const auto bytes = fs::file_size(file, missing);
    return missing ? 0 : std::uint64_t(bytes);
}

} // namespace

// m_mutex guards what every thread sees; m_writer belongs to the store thread; m_reader has a lock of its own, so
// that a restore never waits for a commit.
struct KvStore::Impl {
    KvStoreOptions options;
    mutable std::mutex mutex;
    KvIndex index;
    std::unordered_map<kv::BlockName, StoredRoot> roots;
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
    void startAnew(const Error &why);
    void removeRow(std::int64_t id, api::EventReason reason);
    void shrinkToQuota();
    void idle();
    Result<void> change(const std::function<Result<void>()> &work);
    bool diskHasRoom(std::uint64_t bytes);
};

// --- Opening ---

void KvStore::Impl::setAsideAndTell(const Error &why)
{
    const auto target = sql::setAside(options.file);
    if (target)
        notices.push_back(why.message + "; it was set aside as " + target->filename().string() +
                          " and a new one was made. Chats are complete, but their first turn is computed again.");
    else
        notices.push_back(target.error().message);
}

Result<void> KvStore::Impl::load()
{
    index = KvIndex();
    roots.clear();
    sql::Database &db = writer ? *writer : *reader;
    KVILT_TRY(strays, loadIndex(db, index));
    return loadRoots(db, roots);
}

Result<void> KvStore::Impl::openOnce(sql::Access access)
{
    writer.reset();
    reader.reset();
    if (access == sql::Access::readWrite) {
        KVILT_TRY(writer, openKvDb(options, access));
        KVILT_TRY(reader, openKvDb(options, sql::Access::readOnly));
    } else {
        KVILT_TRY(reader, openKvDb(options, access));
    }
    return load();
}

Result<void> KvStore::Impl::openForWriting()
{
    auto opened = openOnce(sql::Access::readWrite);
    if (opened || !mustBeSetAside(opened.error().code))
        return opened;
    writer.reset();
    reader.reset();
    setAsideAndTell(opened.error());
    return openOnce(sql::Access::readWrite);
}

Result<void> KvStore::Impl::open()
{
    quota = options.quotaBytes;
    std::optional<Error> why;
    if (options.writable) {
        auto opened = openForWriting();
        canWrite = opened.has_value();
        if (canWrite)
            return {};
        why = opened.error();
        notices.push_back(why->message + " KV is not stored.");
    }
    for (const auto access : {sql::Access::readOnly, sql::Access::immutable})
        if (openOnce(access))
            return {};
    writer.reset();
    reader.reset();
    index = KvIndex();
    return why ? Result<void>(tl::unexpected(*why)) : Result<void>(); // nothing to read is no fault of a reader
}

Result<std::unique_ptr<KvStore>> KvStore::open(KvStoreOptions options)
{
    auto impl = std::make_unique<Impl>();
    impl->options = std::move(options);
    KVILT_TRY_VOID(impl->open());
    Impl *raw = impl.get();
    if (impl->canWrite)
        impl->thread = std::make_unique<StoreThread>([raw] { raw->idle(); });
    std::unique_ptr<KvStore> store(new KvStore(std::move(impl)));
    if (raw->canWrite)
        raw->thread->post([raw] { raw->shrinkToQuota(); });
    return store;
}

KvStore::KvStore(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
KvStore::~KvStore() = default;

bool KvStore::writable() const
{
    const std::lock_guard lock(m_impl->mutex);
    return m_impl->canWrite;
}

std::vector<std::string> KvStore::takeNotices()
{
    const std::lock_guard lock(m_impl->mutex);
    return std::exchange(m_impl->notices, {});
}

void KvStore::forEach(const std::function<void(const StoredEntry &)> &visit) const
{
    const std::lock_guard lock(m_impl->mutex);
    for (const auto &[id, row] : m_impl->index.rows())
        visit({{row.name, row.group, row.numerics}, id, row.bytes});
}

bool KvStore::contains(const PayloadKey &key) const
{
    const std::lock_guard lock(m_impl->mutex);
    return m_impl->index.find(key) != nullptr;
}

// --- Writing ---

bool KvStore::put(NewPayload payload)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    if (const KvIndex::Row *row = d.index.find(payload.key)) {
        const std::int64_t id = row->id;
        for (const std::int64_t known : d.index.touch(std::span(&id, 1)))
            d.touched.insert(known);
        return true;
    }
    const auto key = std::tuple(payload.key.name, payload.key.group.value, payload.key.numerics);
    if (d.queued.contains(key))
        return true;
    if (!d.canWrite || d.counts.pendingBytes + payload.bytes.size() > d.options.pendingBytes) {
        ++d.counts.declined;
        return false;
    }
    d.counts.pendingBytes += payload.bytes.size();
    d.queued.insert(key);
    d.queue.push_back(std::move(payload));
    d.postWrite();
    return true;
}

void KvStore::Impl::postWrite()
{
    if (!std::exchange(writeJobWaits, true))
        thread->post([this] { writeQueued(); });
}

void KvStore::Impl::writeQueued()
{
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
        if (writer && fileBytes(options.file.string() + "-wal") > kWalBytes)
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
        startAnew(result.error());
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

void KvStore::Impl::startAnew(const Error &why)
{
    const std::lock_guard readLock(readMutex);
    const std::lock_guard lock(mutex);
    for (const auto &[id, row] : index.rows())
        completions.push_back({.kind = KvCompletion::Kind::removed, .key = {row.name, row.group, row.numerics},
                               .row = id, .bytes = row.bytes, .reason = api::EventReason::corruptPayload});
    writer.reset();
    reader.reset();
    setAsideAndTell(why);
    index = KvIndex();
    touched.clear();
    if (auto opened = openOnce(sql::Access::readWrite); !opened) {
        writer.reset();
        canWrite = false;
        notices.push_back(opened.error().message + " KV is not stored.");
    }
}

// A transaction around small changes; the store thread only.
Result<void> KvStore::Impl::change(const std::function<Result<void>()> &work)
{
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

// --- Reading ---

ReadOutcome KvStore::read(std::int64_t row, const PayloadKey &key, std::span<const TokenId> tokens,
                          std::span<std::byte> out)
{
    Impl &d = *m_impl;
    Result<void> result;
    {
        const std::lock_guard lock(d.readMutex);
        if (!d.reader)
            return ReadOutcome::missing;
        result = readPayload(*d.reader, row, key, tokens, out);
    }
    if (result)
        return ReadOutcome::ok;
    if (result.error().code != ErrorCode::corrupt)
        return ReadOutcome::missing;
    const std::lock_guard lock(d.mutex);
    ++d.counts.corrupt;
    if (d.canWrite)
        d.thread->post([&d, row] { d.removeRow(row, api::EventReason::corruptPayload); });
    return ReadOutcome::corrupt;
}

void KvStore::touch(std::span<const std::int64_t> rows)
{
    const std::lock_guard lock(m_impl->mutex);
    for (const std::int64_t id : m_impl->index.touch(rows))
        m_impl->touched.insert(id);
}

std::vector<KvCompletion> KvStore::takeCompletions()
{
    const std::lock_guard lock(m_impl->mutex);
    return std::exchange(m_impl->completions, {});
}

Result<void> KvStore::flush()
{
    if (m_impl->thread)
        m_impl->thread->drain();
    const std::lock_guard lock(m_impl->mutex);
    if (const auto error = std::exchange(m_impl->firstError, std::nullopt))
        return tl::unexpected(*error);
    return {};
}

// --- Sessions ---

void KvStore::rememberRoot(const kv::CacheIdentity &identity, std::string_view salt)
{
    Impl &d = *m_impl;
    const kv::BlockName name = kv::rootName(identity, salt);
    const std::lock_guard lock(d.mutex);
    if (!d.canWrite || !d.roots.emplace(name, StoredRoot{identity, std::string(salt)}).second)
        return;
    d.thread->post([&d, name, root = StoredRoot{identity, std::string(salt)}] {
        d.finish(d.change([&] { return saveRoot(*d.writer, name, root); }), {});
    });
}

std::optional<StoredRoot> KvStore::root(const kv::BlockName &name) const
{
    const std::lock_guard lock(m_impl->mutex);
    const auto it = m_impl->roots.find(name);
    return it == m_impl->roots.end() ? std::nullopt : std::optional(it->second);
}

void KvStore::setTip(SessionId session, MessageId branch, const kv::BlockName &node)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    if (!d.canWrite)
        return;
    d.index.setTip(session.value, branch.value, node);
    std::vector<std::int64_t> rows;
    for (const kv::BlockName &name : d.index.chain(node))
        std::ranges::copy(d.index.rowsOf(name), std::back_inserter(rows));
    for (const std::int64_t id : d.index.touch(rows)) // used together: none leaves before its successors
        d.touched.insert(id);
    d.thread->post([&d, session, branch, node] {
        d.finish(d.change([&] { return saveTip(*d.writer, session.value, branch.value, node); }), {});
    });
}

void KvStore::endBranch(SessionId session, MessageId branch)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    const auto tips = d.index.tips().find(session.value);
    if (!d.canWrite || tips == d.index.tips().end() || !tips->second.contains(branch.value))
        return;
    const auto chain = d.index.chain(tips->second.at(branch.value));
    d.index.removeTip(session.value, branch.value);
    const auto needed = d.index.neededNodes();
    for (const kv::BlockName &name : chain)
        for (const std::int64_t id : needed.contains(name) ? std::vector<std::int64_t>() : d.index.rowsOf(name)) {
            d.index.setDead(id, true);
            d.touched.insert(id);
        }
    d.thread->post([&d, session, branch] {
        d.finish(d.change([&] { return deleteTip(*d.writer, session.value, branch.value); }), {});
    });
}

void KvStore::dropSession(SessionId session)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    if (!d.canWrite)
        return;
    // On the store thread, after what was put before: payloads of the session may still wait there.
    d.thread->post([&d, session] {
        std::vector<KvCompletion> done;
        auto result = d.change([&]() -> Result<void> {
            std::vector<KvIndex::Row> rows;
            {
                const std::lock_guard guard(d.mutex);
                const auto ids = d.index.rowsOfSession(session.value);
                d.index.removeSession(session.value);
                const auto needed = d.index.neededNodes();
                for (const std::int64_t id : ids)
                    if (const KvIndex::Row &row = *d.index.find(id); !needed.contains(row.name))
                        rows.push_back(row);
            }
            for (KvIndex::Row &row : rows)
                KVILT_TRY_VOID(d.evict(std::move(row), api::EventReason::dropped, done));
            return deleteTips(*d.writer, session.value);
        });
        d.finish(std::move(result), std::move(done));
    });
}

KvUsage KvStore::usage(SessionId session) const
{
    const std::lock_guard lock(m_impl->mutex);
    KvUsage usage;
    std::unordered_set<kv::BlockName> names;
    for (const std::int64_t id : m_impl->index.rowsOfSession(session.value)) {
        const KvIndex::Row &row = *m_impl->index.find(id);
        usage.bytes += row.bytes;
        usage.blocks += names.insert(row.name).second ? 1 : 0;
    }
    return usage;
}

std::vector<StoredNode> KvStore::sessionNodes(SessionId session) const
{
    Impl &d = *m_impl;
    std::vector<StoredNode> nodes;
    {
        const std::lock_guard lock(d.mutex);
        for (const kv::BlockName &name : d.index.nodesOf(session.value)) {
            StoredNode node{.name = name};
            for (const std::int64_t id : d.index.rowsOf(name)) {
                const KvIndex::Row &row = *d.index.find(id);
                node.parent = row.parent;
                node.firstToken = row.firstToken;
                node.payloads.push_back({id, row.group, row.numerics, row.bytes});
            }
            nodes.push_back(std::move(node));
        }
    }
    std::ranges::sort(nodes, [](const StoredNode &a, const StoredNode &b) {
        return std::tie(a.firstToken, a.name) < std::tie(b.firstToken, b.name);
    });
    const std::lock_guard lock(d.readMutex);
    std::erase_if(nodes, [&](StoredNode &node) {
        auto tokens = d.reader ? readTokens(*d.reader, node.payloads.front().row)
                               : Result<std::vector<TokenId>>(fail(ErrorCode::notFound, ""));
        if (tokens)
            node.tokens = std::move(*tokens);
        return !tokens;
    });
    return nodes;
}

void KvStore::setQuota(std::uint64_t bytes)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    d.quota = bytes;
    if (d.canWrite)
        d.thread->post([&d] { d.shrinkToQuota(); });
}

KvStats KvStore::stats() const
{
    const std::lock_guard lock(m_impl->mutex);
    KvStats stats = m_impl->counts;
    stats.bytes = m_impl->index.bytes();
    stats.payloads = m_impl->index.rows().size();
    stats.quota = m_impl->quota;
    stats.fileBytes = fileBytes(m_impl->options.file) + fileBytes(m_impl->options.file.string() + "-wal");
    return stats;
}

} // namespace kvilt::store

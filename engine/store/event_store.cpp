// SPDX-License-Identifier: Apache-2.0
#include "engine/store/event_store.h"

#include "engine/store/sqlite.h"
#include "engine/store/store_thread.h"
#include "engine/trace/event_pack.h"

#include <xxhash.h>

#include <algorithm>
#include <atomic>

namespace kvilt::store {

namespace {

constexpr const char *kCreate =
    "CREATE TABLE chunk(first INTEGER PRIMARY KEY, end INTEGER NOT NULL, count INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL, data BLOB NOT NULL);"
    "CREATE TABLE turn(turn INTEGER PRIMARY KEY, session INTEGER NOT NULL, first INTEGER NOT NULL,"
    " end INTEGER NOT NULL);";
constexpr const char *kMigrations[] = {kCreate};
constexpr std::uint64_t kGreatestNumber = 1ull << 62; // SQLite's integers are signed

const sql::Schema &eventSchema()
{
    static const sql::Schema schema{.applicationId = 0x4b564c45, .migrations = kMigrations, .shadowPrefix = {}};
    return schema;
}

std::int64_t checksumOf(std::span<const std::byte> data)
{
    return std::int64_t(XXH3_64bits(data.data(), data.size()));
}

Result<std::unique_ptr<sql::Database>> openEventDb(const EventStoreOptions &options, sql::Access access)
{
    KVILT_TRY(auto db, sql::Database::open(options.file, {.access = access, .vfs = options.vfs, .ownerOnly = true}));
    KVILT_TRY(const sql::FileState state, sql::inspect(*db, eventSchema()));
    const bool fresh = state == sql::FileState::empty || state == sql::FileState::older;
    if (!fresh && state != sql::FileState::current)
        return fail(ErrorCode::corrupt, options.file.string() + " is damaged or was not written by this Kvilt");
    if (fresh && access != sql::Access::readWrite)
        return fail(ErrorCode::notFound, options.file.string() + " holds no events yet");
    if (access == sql::Access::readWrite)
        KVILT_TRY_VOID(db->exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=OFF"));
    if (fresh)
        KVILT_TRY_VOID(sql::migrate(*db, eventSchema()));
    return db;
}

} // namespace

struct EventStore::Impl {
    EventStoreOptions options;
    std::unique_ptr<sql::Database> writer;   // the store thread's
    std::mutex readMutex;
    std::unique_ptr<sql::Database> reader;
    std::atomic<std::uint64_t> next = 1;
    std::mutex mutex;
    std::vector<std::string> notices;
    std::optional<Error> firstError;
    bool failureTold = false;
    std::unique_ptr<StoreThread> thread;

    Result<void> openFiles(sql::Access access);
    Result<void> write(const trace::EventChunk &chunk);
    Result<void> makeRoom(std::uint64_t bytes);
    void note(Result<void> result);
    void post(std::function<Result<void>()> work);
};

Result<void> EventStore::Impl::openFiles(sql::Access access)
{
    writer.reset();
    reader.reset();
    if (access == sql::Access::readWrite) {
        KVILT_TRY(writer, openEventDb(options, access));
        KVILT_TRY(reader, openEventDb(options, sql::Access::readOnly));
    } else {
        KVILT_TRY(reader, openEventDb(options, access));
    }
    KVILT_TRY(const std::int64_t end, reader->integer("SELECT coalesce(max(end), 1) FROM chunk"));
    next = std::clamp<std::uint64_t>(std::uint64_t(std::max<std::int64_t>(end, 1)), 1, kGreatestNumber);
    return {};
}

Result<std::unique_ptr<EventStore>> EventStore::open(EventStoreOptions options)
{
    auto impl = std::make_unique<Impl>();
    impl->options = std::move(options);
    Impl &d = *impl;
    if (d.options.writable) {
        auto opened = d.openFiles(sql::Access::readWrite);
        if (!opened && opened.error().code == ErrorCode::corrupt) {
            d.writer.reset();
            d.reader.reset();
            KVILT_TRY(const auto aside, sql::setAside(d.options.file));
            d.notices.push_back(opened.error().message + "; it was set aside as " + aside.filename().string() +
                                ", and the record of cache events begins anew.");
            opened = d.openFiles(sql::Access::readWrite);
        }
        KVILT_TRY_VOID(std::move(opened));
        d.thread = std::make_unique<StoreThread>();
    } else if (!d.openFiles(sql::Access::readOnly) && !d.openFiles(sql::Access::immutable)) {
        d.reader.reset(); // nothing to read is no fault of a reader
    }
    return std::unique_ptr<EventStore>(new EventStore(std::move(impl)));
}

EventStore::EventStore(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
EventStore::~EventStore() = default;

void EventStore::Impl::note(Result<void> result)
{
    const std::lock_guard lock(mutex);
    if (result)
        return;
    if (!firstError)
        firstError = result.error();
    if (!std::exchange(failureTold, true))
        notices.push_back(result.error().message + " Cache events are not recorded meanwhile.");
}

void EventStore::Impl::post(std::function<Result<void>()> work)
{
    if (thread)
        thread->post([this, work = std::move(work)] { note(work()); });
}

// The oldest chunks make room: at least one eighth of the quota goes at once, so that this is rare.
Result<void> EventStore::Impl::makeRoom(std::uint64_t bytes)
{
    KVILT_TRY(const std::int64_t pageBytes, writer->integer("PRAGMA page_size"));
    const auto used = [&]() -> Result<std::uint64_t> {
        KVILT_TRY(const std::int64_t pages, writer->integer("PRAGMA page_count"));
        KVILT_TRY(const std::int64_t free, writer->integer("PRAGMA freelist_count"));
        return std::uint64_t(pages - free) * std::uint64_t(pageBytes);
    };
    KVILT_TRY(std::uint64_t now, used());
    if (now + bytes <= options.quotaBytes)
        return {};
    const std::uint64_t wanted = options.quotaBytes - options.quotaBytes / 8;
    while (now + bytes > wanted) {
        KVILT_TRY_VOID(writer->exec("DELETE FROM chunk WHERE first=(SELECT min(first) FROM chunk)"));
        if (writer->changes() == 0)
            break;
        KVILT_TRY(now, used());
    }
    return writer->exec("DELETE FROM turn WHERE end<=coalesce((SELECT min(first) FROM chunk), 0)");
}

Result<void> EventStore::Impl::write(const trace::EventChunk &chunk)
{
    const auto packed = trace::packEvents(chunk.events);
    KVILT_TRY(auto transaction, sql::Transaction::begin(*writer));
    KVILT_TRY_VOID(makeRoom(packed.size()));
    {
        KVILT_TRY(auto insert, writer->statement("INSERT OR REPLACE INTO chunk VALUES(?,?,?,?,?)"));
        insert.bind(chunk.events.front().sequenceNumber, chunk.events.back().sequenceNumber + 1,
                    std::uint64_t(chunk.events.size()), checksumOf(packed), std::span<const std::byte>(packed));
        KVILT_TRY_VOID(insert.run());
    }
    return transaction.commit();
}

void EventStore::save(trace::EventChunk chunk) noexcept
{
    if (chunk.events.empty())
        return;
    Impl &d = *m_impl;
    d.next = chunk.events.back().sequenceNumber + 1;
    d.post([&d, chunk = std::make_shared<trace::EventChunk>(std::move(chunk))] { return d.write(*chunk); });
}

void EventStore::turnEnded(SessionId session, TurnId turn, std::uint64_t firstNumber, std::uint64_t endNumber) noexcept
{
    Impl &d = *m_impl;
    d.post([=, &d]() -> Result<void> {
        // A reply that was continued has more than one stretch: the range covers them all.
        KVILT_TRY(auto insert, d.writer->statement("INSERT INTO turn VALUES(?,?,?,?) ON CONFLICT(turn) DO UPDATE SET"
                                                   " first=min(first, excluded.first), end=max(end, excluded.end)"));
        return insert.bind(turn.value, session.value, firstNumber, endNumber).run();
    });
}

std::uint64_t EventStore::nextNumber() const { return m_impl->next; }

namespace {

struct Range {
    std::uint64_t first, end;
};

// A turn's events lie in its range, if the turn has ended; several turns run at once, so the range holds others too.
Result<Range> rangeOf(sql::Database &db, const trace::EventFilter &filter)
{
    Range range{filter.firstNumber, std::min(filter.endNumber, kGreatestNumber)};
    if (!filter.turn)
        return range;
    KVILT_TRY(auto query, db.statement("SELECT end FROM turn WHERE turn=?"));
    KVILT_TRY(const bool any, query.bind(filter.turn->value).step());
    if (any)
        range.end = std::min(range.end, std::uint64_t(std::max<std::int64_t>(query.integer(0), 0)));
    return range;
}

} // namespace

Result<void> EventStore::visit(const trace::EventFilter &filter,
                               const std::function<void(const api::CacheEvent &)> &visitor)
{
    Impl &d = *m_impl;
    if (d.thread)
        d.thread->drain();
    const std::lock_guard lock(d.readMutex);
    if (!d.reader)
        return {};
    KVILT_TRY(const Range range, rangeOf(*d.reader, filter));
    KVILT_TRY(auto query, d.reader->statement("SELECT count, checksum, data FROM chunk WHERE end>? AND first<?"
                                              " ORDER BY first"));
    query.bind(std::min(range.first, kGreatestNumber), range.end);
    for (;;) {
        KVILT_TRY(const bool any, query.step());
        if (!any)
            return {};
        const auto data = query.blob(2);
        const auto events = trace::unpackEvents(data, std::uint64_t(query.integer(0)));
        if (!events || checksumOf(data) != query.integer(1))
            continue; // a damaged chunk is a gap in the numbers, as a lost one is
        for (const api::CacheEvent &event : *events)
            if (filter.matches(event))
                visitor(event);
    }
}

Result<void> EventStore::flush()
{
    if (m_impl->thread)
        m_impl->thread->drain();
    const std::lock_guard lock(m_impl->mutex);
    if (const auto error = std::exchange(m_impl->firstError, std::nullopt))
        return tl::unexpected(*error);
    return {};
}

std::vector<std::string> EventStore::takeNotices()
{
    const std::lock_guard lock(m_impl->mutex);
    return std::exchange(m_impl->notices, {});
}

} // namespace kvilt::store

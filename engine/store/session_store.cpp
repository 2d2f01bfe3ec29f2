// SPDX-License-Identifier: Apache-2.0
#include "engine/store/session_store.h"

#include "engine/store/file_identity.h"
#include "engine/store/session_db_impl.h"
#include "engine/store/session_salvage.h"

#include <atomic>
#include <cstdlib>
#include <fcntl.h>
#include <future>
#include <system_error>
#include <unistd.h>

namespace kvilt::store {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kCheckedAtOnce = 8ull << 20;    // larger files are checked after opening
constexpr std::int64_t kReturnEveryMs = 5000;

} // namespace

// Everything but what m_mutex guards belongs to the store thread once it runs.
struct SessionStore::Impl {
    SessionStoreOptions options;
    SystemClock systemClock;
    SessionDb::Impl *rows = nullptr;            // of `db`
    std::optional<SessionDb> db;
    std::atomic<Mode> mode = Mode::file;
    bool mayReturn = false;                     // the file is ours, only there is no room
    std::int64_t triedReturnMs = 0;
    bool mending = false;
    FileIdentity identity;                      // of the file that `db` has open
    std::int64_t triedAnewMs = 0;
    int failedAnew = 0;
    std::atomic<bool> lost = false;             // no name leads to the file that `db` has open

    std::mutex mutex;
    std::vector<std::string> notices;
    std::map<std::int64_t, ReplyUpdate> streaming; // newest state, by message
    bool streamingJobWaits = false;
    std::optional<Error> firstError;
    std::unique_ptr<StoreThread> thread;        // last to come, first to go

    fs::path reserve() const { return options.file.string() + ".reserve"; }
    void tell(std::string sentence);
    void note(const Result<void> &result);

    void open();
    Result<void> openFile();
    void use(std::unique_ptr<sql::Database> database);
    void openCopy();
    void recover(const Error &why);
    void makeReserve();
    bool releaseReserve();
    bool rescue(const Error &error);
    bool moveToMemory(const Error &why);
    void tryReturn(bool now);
    void keepFile(bool now);
    Result<std::string> writeAnew();
    void checkWhole();
    void saveStreaming();
    void run(const std::function<void(SessionDb &)> &work);
};

void SessionStore::Impl::tell(std::string sentence)
{
    {
        const std::lock_guard lock(mutex);
        notices.push_back(std::move(sentence));
    }
    if (options.wake)
        options.wake();
}

void SessionStore::Impl::note(const Result<void> &result)
{
    const std::lock_guard lock(mutex);
    if (!result && !firstError)
        firstError = result.error();
}

// --- Opening ---

void SessionStore::Impl::use(std::unique_ptr<sql::Database> database)
{
    rows->db = std::move(database);
    identity = FileIdentity::of(options.file);
}

Result<void> SessionStore::Impl::openFile()
{
    std::error_code problem;
    fs::create_directories(options.file.parent_path(), problem);
    KVILT_TRY(auto file, sql::Database::open(options.file, {.vfs = options.vfs, .ownerOnly = true}));
    KVILT_TRY(const sql::FileState state, sql::inspect(*file, sessionSchema()));
    if (state == sql::FileState::newer)
        return fail(ErrorCode::unsupported, options.file.string() + " was written by a newer Kvilt; update this one.");
    if (state == sql::FileState::foreign || state == sql::FileState::damaged)
        return fail(ErrorCode::corrupt, options.file.string() + " is damaged or was not written by Kvilt.");
    if (state == sql::FileState::current && fs::file_size(options.file, problem) <= kCheckedAtOnce) {
        KVILT_TRY(const bool whole, sql::looksWhole(*file));
        if (!whole)
            return fail(ErrorCode::corrupt, options.file.string() + " is damaged.");
    }
    configureSessionDb(*file);
    if (state != sql::FileState::current)
        KVILT_TRY_VOID(sql::migrate(*file, sessionSchema()));
    if (options.maxBytes)
        KVILT_TRY_VOID(file->exec("PRAGMA max_page_count=" + std::to_string(options.maxBytes / 4096)));
    use(std::move(file));
    return {};
}

// What can be read of the file, in memory. Never fails: an empty one will do.
void SessionStore::Impl::openCopy()
{
    mode = Mode::copyInMemory;
    auto memory = sql::Database::open(":memory:", {});
    for (const auto access : {sql::Access::readOnly, sql::Access::immutable}) {
        auto file = sql::Database::open(options.file, {.access = access, .vfs = options.vfs});
        const auto state = file ? sql::inspect(**file, sessionSchema()) : tl::unexpected(file.error());
        if (!memory || !state || (*state != sql::FileState::current && *state != sql::FileState::older))
            continue;
        if ((*file)->backupTo(**memory))
            break;
        memory = sql::Database::open(":memory:", {});
    }
    if (memory && sql::migrate(**memory, sessionSchema()))
        use(std::move(*memory));
}

void SessionStore::Impl::open()
{
    auto impl = std::make_unique<SessionDb::Impl>();
    impl->clock = options.clock ? options.clock : &systemClock;
    impl->rescue = [this](const Error &error) { return rescue(error); };
    rows = impl.get();
    db.emplace(SessionDb(std::move(impl)));
    if (!options.writable) {
        openCopy();
        return;
    }
    auto opened = openFile();
    if (!opened && opened.error().code == ErrorCode::corrupt)
        recover(opened.error());
    else if (!opened) {
        tell("Chats are not being saved: " + opened.error().message + " What you write is kept only until you close the program.");
        openCopy();
    }
    if (mode == Mode::file)
        makeReserve();
}

void SessionStore::Impl::recover(const Error &why)
{
    mending = true;
    use(nullptr);
    const auto aside = sql::setAside(options.file);
    auto opened = aside ? openFile() : Result<void>(tl::unexpected(aside.error()));
    if (!opened) {
        tell("Chats are not being saved: " + opened.error().message + " What you write is kept only until you close the program.");
        openCopy();
    } else {
        const auto saved = salvageSessions(*aside, *rows->db);
        const Salvaged count = saved.value_or(Salvaged{});
        tell(why.message + " " + std::to_string(count.sessions) + " chats with " + std::to_string(count.messages) +
             " messages were taken over; the damaged file is kept as " + aside->filename().string() + ".");
    }
    mending = false;
}

// --- No room ---

// Room that is ours when the disk is full: enough for the messages until the user has made some.
void SessionStore::Impl::makeReserve()
{
    std::error_code problem;
    const auto space = fs::space(options.file.parent_path(), problem);
    if (problem || fs::exists(reserve(), problem) || space.available < 4 * options.reserveBytes)
        return;
    const int descriptor = ::open(reserve().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return;
    const bool made = ::posix_fallocate(descriptor, 0, off_t(options.reserveBytes)) == 0;
    ::close(descriptor);
    if (!made)
        fs::remove(reserve(), problem);
}

bool SessionStore::Impl::releaseReserve()
{
    std::error_code problem;
    if (!fs::remove(reserve(), problem))
        return false;
    tell("The disk is full. Chats are still stored, from a small reserve; free some space now.");
    return true;
}

bool SessionStore::Impl::moveToMemory(const Error &why)
{
    if (mode != Mode::file || !rows->db)
        return false;
    auto memory = sql::Database::open(":memory:", {});
    if (!memory || !rows->db->backupTo(**memory))
        return false;
    use(std::move(*memory));
    mode = Mode::copyInMemory;
    mayReturn = true;
    triedReturnMs = rows->nowMs();
    tell(why.message + " Until then what you write is kept in memory only.");
    return true;
}

// Tries again what rescue() gave up, so that nothing is lost once there is room.
void SessionStore::Impl::tryReturn(bool now)
{
    if (!mayReturn || (!now && std::abs(rows->nowMs() - triedReturnMs) < kReturnEveryMs))
        return;
    triedReturnMs = rows->nowMs();
    auto file = sql::Database::open(options.file, {.vfs = options.vfs, .ownerOnly = true});
    if (!file || !rows->db->backupTo(**file))
        return;
    configureSessionDb(**file);
    use(std::move(*file));
    mode = Mode::file;
    mayReturn = false;
    makeReserve();
    tell("Chats are stored on the disk again.");
}

// Somebody deleted or replaced the file while it was open: everything is still there behind the open connection.
void SessionStore::Impl::keepFile(bool now)
{
    if (mode != Mode::file || !rows->db || !identity.exists || FileIdentity::of(options.file) == identity)
        return;
    // Each attempt may leave a whole copy behind: a few will do until the end.
    if (!now && triedAnewMs != 0 && (failedAnew >= 3 || std::abs(rows->nowMs() - triedAnewMs) < kReturnEveryMs))
        return;
    triedAnewMs = rows->nowMs();
    const auto aside = writeAnew();
    if (!aside) {
        ++failedAnew;
        if (!lost.exchange(true))
            tell(options.file.string() + " was deleted while Kvilt was running and cannot be written anew (" +
                 aside.error().message + "); export your chats before you close the program.");
        return;
    }
    failedAnew = 0;
    lost = false;
    if (aside->empty())
        tell(options.file.string() + " was deleted while Kvilt was running; it was written anew, with every chat.");
    else
        tell(options.file.string() + " was replaced while Kvilt was running; it was written anew, with every chat. The other " +
             "file is kept as " + *aside + ".");
}

// The name that a file which lay in the way got; empty: there was none. The old connection, the only whole copy, stays
// until the new file has been opened, and after a failure: SQLite leaves a log alone whose database has moved.
Result<std::string> SessionStore::Impl::writeAnew()
{
    std::error_code problem;
    fs::create_directories(options.file.parent_path(), problem);
    const fs::path fresh = options.file.string() + ".new";
    fs::remove(fresh, problem);
    {
        KVILT_TRY(auto copy, sql::Database::open(fresh, {.vfs = options.vfs, .ownerOnly = true}));
        KVILT_TRY_VOID(rows->db->backupTo(*copy));
    }
    // The log beside the name is ours, and empty from here on: no file that comes to lie beside it is changed by it.
    KVILT_TRY_VOID(rows->db->checkpoint(true));
    std::string aside;
    if (FileIdentity::of(options.file).exists) {
        KVILT_TRY(const fs::path kept, sql::setAside(options.file, "replaced"));
        aside = kept.filename().string();
    }
    auto old = std::exchange(rows->db, nullptr);
    const FileIdentity before = identity;
    for (const char *suffix : {"-wal", "-shm"})
        fs::remove(options.file.string() + suffix, problem);
    fs::rename(fresh, options.file, problem);
    const Result<void> opened = problem ? Result<void>(fail(ErrorCode::io, problem.message())) : openFile();
    if (opened)
        return aside;
    rows->db = std::move(old);
    identity = before;
    return tl::unexpected(opened.error());
}

bool SessionStore::Impl::rescue(const Error &error)
{
    switch (error.code) {
    case ErrorCode::full: return mode == Mode::file && (releaseReserve() || moveToMemory(error));
    case ErrorCode::io: return moveToMemory(error);
    case ErrorCode::corrupt:
        if (mode != Mode::file || mending)
            return false;
        recover(error);
        return true;
    default: return false;
    }
}

void SessionStore::Impl::checkWhole()
{
    if (mode != Mode::file || !rows->db)
        return;
    if (const auto whole = sql::looksWhole(*rows->db); whole && !*whole)
        recover({ErrorCode::corrupt, options.file.string() + " is damaged."});
}

// --- Work ---

void SessionStore::Impl::run(const std::function<void(SessionDb &)> &work)
{
    tryReturn(false);
    keepFile(false);
    work(*db);
}

SessionStore::SessionStore(SessionStoreOptions options) : m_impl(std::make_unique<Impl>())
{
    Impl &d = *m_impl;
    d.options = std::move(options);
    d.open();
    d.thread = std::make_unique<StoreThread>();
    std::error_code missing;
    if (d.mode == Mode::file && fs::file_size(d.options.file, missing) > kCheckedAtOnce && !missing)
        d.thread->post([&d] { d.checkWhole(); });
}

SessionStore::~SessionStore()
{
    m_impl->thread.reset(); // finishes what was posted
    m_impl->tryReturn(true);
    m_impl->keepFile(true);
}

SessionStore::Mode SessionStore::mode() const { return m_impl->mode; }
bool SessionStore::kept() const { return m_impl->mode == Mode::file && !m_impl->lost; }

std::vector<std::string> SessionStore::takeNotices()
{
    const std::lock_guard lock(m_impl->mutex);
    return std::exchange(m_impl->notices, {});
}

void SessionStore::post(std::function<void(SessionDb &)> work)
{
    m_impl->thread->post([this, work = std::move(work)] { m_impl->run(work); });
}

void SessionStore::runAndWait(const std::function<void(SessionDb &)> &work)
{
    const auto done = std::make_shared<std::promise<void>>();
    m_impl->thread->post([this, &work, done] {
        m_impl->run(work);
        done->set_value();
    });
    done->get_future().wait();
}

Result<MessageRow> SessionStore::append(MessageRow message)
{
    return call([&](SessionDb &db) { return db.append(std::move(message)); });
}

void SessionStore::updateStreaming(ReplyUpdate reply)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    const std::int64_t id = reply.id.value;
    d.streaming[id] = std::move(reply);
    if (!std::exchange(d.streamingJobWaits, true))
        d.thread->post([&d] { d.saveStreaming(); });
}

void SessionStore::Impl::saveStreaming()
{
    std::vector<ReplyUpdate> replies;
    {
        const std::lock_guard lock(mutex);
        streamingJobWaits = false;
        for (auto &[id, reply] : streaming)
            replies.push_back(std::move(reply));
        streaming.clear();
    }
    run([&](SessionDb &sessions) { note(sessions.update(replies)); });
}

Result<void> SessionStore::commitTurn(ReplyUpdate reply, std::optional<std::uint32_t> sessionTokens)
{
    {
        const std::lock_guard lock(m_impl->mutex);
        m_impl->streaming.erase(reply.id.value); // an older state must not come after this one
    }
    return call([&](SessionDb &db) -> Result<void> {
        KVILT_TRY_VOID(db.update(reply));
        if (!sessionTokens)
            return {};
        KVILT_TRY(const auto row, db.message(reply.id));
        return row ? db.setTokens(row->session, *sessionTokens) : Result<void>();
    });
}

Result<std::vector<api::SessionSummary>> SessionStore::list(std::string_view query)
{
    return call([&](SessionDb &db) { return db.list(query); });
}

Result<StoredConversation> SessionStore::conversation(SessionId session)
{
    return call([&](SessionDb &db) { return db.conversation(session); });
}

Result<void> SessionStore::flush()
{
    m_impl->thread->drain();
    const std::lock_guard lock(m_impl->mutex);
    if (const auto error = std::exchange(m_impl->firstError, std::nullopt))
        return tl::unexpected(*error);
    return {};
}

} // namespace kvilt::store

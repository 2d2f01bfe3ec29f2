// SPDX-License-Identifier: Apache-2.0
#include "engine/store/sqlite.h"

#include "engine/support/check.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kvilt::store::sql {

namespace {

// The sentences for what can go wrong with a file.
Error errorFor(int code, const std::string &file, const char *detail)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return {ErrorCode::full, "There is no room left to write " + file + "; free some disk space."};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return {ErrorCode::full, file + " cannot be written; check the permissions of the file and its folder."};
    case SQLITE_CANTOPEN:
        return {ErrorCode::full, file + " cannot be opened or made; check that its folder exists and may be written."};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
        return {ErrorCode::corrupt, file + " is damaged (" + detail + ")."};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return {ErrorCode::io, file + " is in use by another program; close it and try again."};
    case SQLITE_NOMEM:
        return {ErrorCode::outOfMemory, "There is not enough memory to work on " + file + "; close other programs."};
    case SQLITE_TOOBIG:
        return {ErrorCode::badInput, "A text or blob is too long to be stored in " + file + "."};
    case SQLITE_IOERR:
        return {ErrorCode::io, file + " could not be read or written (" + detail + "); check the disk."};
    default:
        return {ErrorCode::io, "A request to " + file + " failed (" + std::string(detail) + ")."};
    }
}

std::string openName(const std::filesystem::path &file, Access access)
{
    if (access != Access::immutable)
        return file.string();
    std::string uri = "file:";
    for (const char c : std::filesystem::absolute(file).string()) {
        if (c == '%' || c == '?' || c == '#') {
            static constexpr char hex[] = "0123456789ABCDEF";
            uri += {'%', hex[(c >> 4) & 15], hex[c & 15]};
        } else {
            uri += c;
        }
    }
    return uri + "?immutable=1";
}

int openFlags(Access access)
{
    const int common = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    switch (access) {
    case Access::readWrite: return common | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    case Access::readOnly: return common | SQLITE_OPEN_READONLY;
    case Access::immutable: return common | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
    }
    return common;
}

// A new file is made with its mode, so that nobody ever reads it; SQLite gives WAL and journal the mode of the file.
// What cannot be changed (another owner's, a read-only place) stays as it is.
void keepToOwner(const std::filesystem::path &file)
{
    if (const int made = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); made >= 0)
        ::close(made);
    for (const char *suffix : {"", "-wal", "-shm", "-journal"}) {
        const std::string name = file.string() + suffix;
        struct stat found {};
        if (::stat(name.c_str(), &found) == 0 && S_ISREG(found.st_mode) && (found.st_mode & 0077) != 0)
            ::chmod(name.c_str(), found.st_mode & 0700);
    }
}

void harden(sqlite3 *db)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
}

} // namespace

// --- Statement ---

Statement::Statement(Statement &&other) noexcept
    : m_db(other.m_db), m_sql(std::move(other.m_sql)), m_stmt(other.m_stmt), m_bindResult(other.m_bindResult)
{
    other.m_stmt = nullptr;
}

Statement::~Statement()
{
    if (m_stmt)
        m_db->giveBack(m_sql, m_stmt);
}

void Statement::bindOne(int index, std::int64_t value) { m_bindResult |= sqlite3_bind_int64(m_stmt, index, value); }

void Statement::bindOne(int index, std::string_view text)
{
    m_bindResult |= sqlite3_bind_text64(m_stmt, index, text.data() ? text.data() : "", text.size(), SQLITE_STATIC,
                                        SQLITE_UTF8);
}

void Statement::bindOne(int index, std::span<const std::byte> blob)
{
    static constexpr std::byte nothing{};
    m_bindResult |= sqlite3_bind_blob64(m_stmt, index, blob.data() ? blob.data() : &nothing, blob.size(), SQLITE_STATIC);
}

Result<bool> Statement::step()
{
    if (m_bindResult != SQLITE_OK)
        return tl::unexpected(m_db->error(m_bindResult));
    const int code = sqlite3_step(m_stmt);
    if (code == SQLITE_ROW)
        return true;
    if (code == SQLITE_DONE)
        return false;
    return tl::unexpected(m_db->error(code));
}

Result<void> Statement::run()
{
    for (;;) {
        KVILT_TRY(const bool row, step());
        if (!row)
            return {};
    }
}

void Statement::reset()
{
    sqlite3_reset(m_stmt);
    m_bindResult = SQLITE_OK;
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(m_stmt, column); }

std::string Statement::text(int column) const
{
    const auto *data = sqlite3_column_text(m_stmt, column);
    const int bytes = sqlite3_column_bytes(m_stmt, column);
    return data ? std::string(reinterpret_cast<const char *>(data), std::size_t(bytes)) : std::string();
}

std::span<const std::byte> Statement::blob(int column) const
{
    const auto *data = static_cast<const std::byte *>(sqlite3_column_blob(m_stmt, column));
    const int bytes = sqlite3_column_bytes(m_stmt, column);
    return data ? std::span(data, std::size_t(bytes)) : std::span<const std::byte>();
}

bool Statement::isNull(int column) const { return sqlite3_column_type(m_stmt, column) == SQLITE_NULL; }

// --- Database ---

Database::Database(std::filesystem::path file) : m_file(std::move(file)) {}

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path &file, const OpenOptions &options)
{
    std::unique_ptr<Database> db(new Database(file));
    if (options.ownerOnly && options.access == Access::readWrite)
        keepToOwner(file);
    const char *vfs = options.vfs.empty() ? nullptr : options.vfs.c_str();
    const int code = sqlite3_open_v2(openName(file, options.access).c_str(), &db->m_db, openFlags(options.access), vfs);
    if (code != SQLITE_OK)
        return tl::unexpected(db->error(code));
    harden(db->m_db);
    sqlite3_busy_timeout(db->m_db, options.busyTimeoutMs);
    KVILT_TRY_VOID(db->exec("PRAGMA cell_size_check=ON; PRAGMA mmap_size=0"));
    if (options.pageBytes)
        KVILT_TRY_VOID(db->exec("PRAGMA page_size=" + std::to_string(options.pageBytes)));
    return db;
}

Database::~Database()
{
    for (const Cached &cached : m_idle)
        sqlite3_finalize(cached.stmt);
    const int code = sqlite3_close(m_db);
    KVILT_CHECK(code == SQLITE_OK); // a statement outlived its connection
}

Result<Statement> Database::statement(std::string_view sql)
{
    const auto found = std::find_if(m_idle.begin(), m_idle.end(), [&](const Cached &c) { return c.sql == sql; });
    if (found != m_idle.end()) {
        Statement statement(*this, sql, found->stmt);
        *found = std::move(m_idle.back());
        m_idle.pop_back();
        return statement;
    }
    sqlite3_stmt *stmt = nullptr;
    const int code = sqlite3_prepare_v3(m_db, sql.data(), int(sql.size()), SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
    if (code != SQLITE_OK)
        return tl::unexpected(error(code));
    return Statement(*this, sql, stmt);
}

void Database::giveBack(const std::string &sql, sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    m_idle.push_back({sql, stmt});
}

Result<void> Database::exec(const std::string &sql)
{
    const int code = sqlite3_exec(m_db, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK)
        return tl::unexpected(error(code));
    return {};
}

Result<std::int64_t> Database::integer(std::string_view sql)
{
    KVILT_TRY(Statement query, statement(sql));
    KVILT_TRY(const bool row, query.step());
    if (!row)
        return tl::unexpected(error(SQLITE_CORRUPT));
    return query.integer(0);
}

std::int64_t Database::lastRow() const { return sqlite3_last_insert_rowid(m_db); }
int Database::changes() const { return sqlite3_changes(m_db); }
bool Database::inTransaction() const { return sqlite3_get_autocommit(m_db) == 0; }

Result<void> Database::backupTo(Database &target)
{
    sqlite3_backup *backup = sqlite3_backup_init(target.m_db, "main", m_db, "main");
    if (!backup)
        return tl::unexpected(target.error(sqlite3_errcode(target.m_db)));
    const int code = sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    if (code != SQLITE_DONE)
        return tl::unexpected(errorFor(code, target.m_file.string(), sqlite3_errstr(code)));
    return {};
}

Result<void> Database::checkpoint(bool truncate)
{
    const int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    const int code = sqlite3_wal_checkpoint_v2(m_db, "main", mode, nullptr, nullptr);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) // busy: a reader is at work, the next one will do
        return tl::unexpected(error(code));
    return {};
}

Result<void> Database::readBlob(const char *table, const char *column, std::int64_t row, std::span<std::byte> out)
{
    sqlite3_blob *blob = nullptr;
    int code = sqlite3_blob_open(m_db, "main", table, column, row, 0, &blob);
    if (code == SQLITE_OK && std::size_t(sqlite3_blob_bytes(blob)) != out.size())
        code = SQLITE_CORRUPT;
    if (code == SQLITE_OK)
        code = sqlite3_blob_read(blob, out.data(), int(out.size()), 0);
    const Error why = error(code);
    sqlite3_blob_close(blob); // and the read transaction with it: a kept handle would pin an old snapshot
    return code == SQLITE_OK ? Result<void>() : tl::unexpected(why);
}

namespace {

// SQLite calls a disk that is full while it makes a WAL or its index an I/O error.
bool diskIsFull(const std::filesystem::path &file)
{
    std::error_code unknown;
    const auto space = std::filesystem::space(file.has_parent_path() ? file.parent_path() : ".", unknown);
    return !unknown && space.available < (1u << 16);
}

} // namespace

Error Database::error(int code) const
{
    if ((code & 0xff) == SQLITE_IOERR && m_file != ":memory:" && diskIsFull(m_file))
        code = SQLITE_FULL;
    const char *detail = m_db && sqlite3_extended_errcode(m_db) == code ? sqlite3_errmsg(m_db) : sqlite3_errstr(code);
    return errorFor(code, m_file.string(), detail);
}

// --- Transaction ---

Result<Transaction> Transaction::begin(Database &db)
{
    KVILT_TRY_VOID(db.exec("BEGIN IMMEDIATE"));
    return Transaction(db);
}

Transaction::Transaction(Transaction &&other) noexcept : m_db(other.m_db) { other.m_db = nullptr; }

Transaction::~Transaction()
{
    // SQLite has rolled back by itself after some errors (disk full, damage).
    if (m_db && m_db->inTransaction())
        (void)m_db->exec("ROLLBACK");
}

Result<void> Transaction::commit()
{
    KVILT_TRY_VOID(m_db->exec("COMMIT"));
    m_db = nullptr;
    return {};
}

} // namespace kvilt::store::sql

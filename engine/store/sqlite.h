// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

// SQLite behind results and RAII. A connection and what comes from it belong to one thread at a time. Every file is
// opened defensively: no trusted schema, no triggers, views or extensions, cell sizes checked; a result of SQLite
// becomes an Error that says which file and what to do.
namespace kvilt::store::sql {

class Database;

// A statement borrowed from its connection's cache; reset and given back at the end of its life.
class Statement {
public:
    Statement(Statement &&other) noexcept;
    Statement &operator=(Statement &&other) = delete;
    ~Statement();

    // Binds parameters 1..n in order. Text and blobs must live until the last step().
    template <typename... Values>
    Statement &bind(const Values &...values)
    {
        int index = 0;
        (bindOne(++index, values), ...);
        return *this;
    }
    Result<bool> step();     // true: a row is there
    Result<void> run();      // to the end, rows ignored
    void reset();            // to run again with other values

    std::int64_t integer(int column) const;
    std::string text(int column) const;
    std::span<const std::byte> blob(int column) const; // until the next step
    bool isNull(int column) const;

private:
    friend class Database;
    Statement(Database &db, std::string_view sql, sqlite3_stmt *stmt) : m_db(&db), m_sql(sql), m_stmt(stmt) {}
    void bindOne(int index, std::int64_t value);
    void bindOne(int index, std::uint64_t value) { bindOne(index, static_cast<std::int64_t>(value)); }
    void bindOne(int index, int value) { bindOne(index, std::int64_t(value)); }
    void bindOne(int index, std::uint32_t value) { bindOne(index, std::int64_t(value)); }
    void bindOne(int index, bool value) { bindOne(index, std::int64_t(value)); }
    void bindOne(int index, std::string_view text);
    void bindOne(int index, const std::string &text) { bindOne(index, std::string_view(text)); }
    void bindOne(int index, const char *text) { bindOne(index, std::string_view(text)); }
    void bindOne(int index, std::span<const std::byte> blob);

    Database *m_db;
    std::string m_sql;
    sqlite3_stmt *m_stmt;
    int m_bindResult = 0;
};

enum class Access : std::uint8_t {
    readWrite,  // made if missing
    readOnly,
    immutable,  // read-only, without locks or WAL: for folders that cannot be written
};

struct OpenOptions {
    Access access = Access::readWrite;
    std::string vfs;                  // empty: the default
    int busyTimeoutMs = 5000;
    std::uint32_t pageBytes = 0;      // of a new file; 0: SQLite's default
    bool ownerOnly = false;           // mode 0600, also of a file that is there and of its WAL
};

class Database {
public:
    // Opens without looking inside; ":memory:" works. The first statement finds what is damaged.
    static Result<std::unique_ptr<Database>> open(const std::filesystem::path &file, const OpenOptions &options);
    ~Database();
    Database(const Database &) = delete;
    Database &operator=(const Database &) = delete;

    const std::filesystem::path &file() const { return m_file; }
    Result<Statement> statement(std::string_view sql); // prepared once, then cached
    Result<void> exec(const std::string &sql);         // one or more statements without rows
    Result<std::int64_t> integer(std::string_view sql); // first column of the first row; corrupt when there is none
    std::int64_t lastRow() const;
    int changes() const;
    bool inTransaction() const;
    Result<void> backupTo(Database &target);           // the whole content, in one transaction of the target
    Result<void> checkpoint(bool truncate);            // WAL into the file
    // Reads `out.size()` bytes of a blob from its start; the blob must have exactly that size (else corrupt).
    Result<void> readBlob(const char *table, const char *column, std::int64_t row, std::span<std::byte> out);

    Error error(int code) const; // what SQLite says, as a sentence
    sqlite3 *handle() const { return m_db; }

private:
    friend class Statement;
    explicit Database(std::filesystem::path file);
    void giveBack(const std::string &sql, sqlite3_stmt *stmt);

    struct Cached {
        std::string sql;
        sqlite3_stmt *stmt;
    };
    std::filesystem::path m_file;
    sqlite3 *m_db = nullptr;
    std::vector<Cached> m_idle; // few dozen: a linear search costs less than hashing the text
};

// BEGIN IMMEDIATE … COMMIT; rolled back unless committed.
class Transaction {
public:
    static Result<Transaction> begin(Database &db);
    Transaction(Transaction &&other) noexcept;
    Transaction &operator=(Transaction &&) = delete;
    ~Transaction();
    Result<void> commit();

private:
    explicit Transaction(Database &db) : m_db(&db) {}
    Database *m_db;
};

// --- What kind of file is this? ---

struct Schema {
    std::int32_t applicationId = 0;
    // migrations[i] leads from user_version i to i + 1; the first makes the tables of an empty file.
    std::span<const char *const> migrations;
    std::string_view shadowPrefix; // tables that FTS5 made: "…_fts_" names are not compared
};

enum class FileState : std::uint8_t { empty, current, older, newer, foreign, damaged };

// Looks at header, application id, version, and, for the current version, whether the tables are exactly ours.
// Errors that say nothing about the content (locked, no permission) are returned.
Result<FileState> inspect(Database &db, const Schema &schema);
// Brings an empty or older file to the newest version, in one transaction.
Result<void> migrate(Database &db, const Schema &schema);
// PRAGMA quick_check.
Result<bool> looksWhole(Database &db);

// Renames a database with its -wal and -shm to "<name>.<why>-<n>", the first n that is free.
Result<std::filesystem::path> setAside(const std::filesystem::path &file, const char *why = "damaged");

} // namespace kvilt::store::sql

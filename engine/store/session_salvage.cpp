// SPDX-License-Identifier: Apache-2.0
#include "engine/store/session_salvage.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

namespace kvilt::store {

namespace {

constexpr std::int64_t kMostIds = 20'000'000; // a damaged counter must not keep us here for hours
constexpr std::int64_t kIdsWhenUnknown = 200'000;

// The first bytes are the same in each of our files: what differs there is the damage.
void mendHeader(const std::filesystem::path &file)
{
    std::fstream io(file, std::ios::binary | std::ios::in | std::ios::out);
    static constexpr char kMagic[] = "SQLite format 3"; // with its NUL
    static constexpr std::array<char, 8> kShape{0x10, 0, 2, 2, 0, 64, 32, 32}; // pages of 4096, WAL, payload fractions
    io.write(kMagic, sizeof kMagic);
    io.write(kShape.data(), kShape.size());
    static constexpr std::array<char, 4> kFormat{0, 0, 0, 4}, kUtf8{0, 0, 0, 1};
    io.seekp(44);
    io.write(kFormat.data(), kFormat.size());
    io.seekp(56);
    io.write(kUtf8.data(), kUtf8.size());
}

std::int64_t greatestId(sql::Database &from, const char *table)
{
    const auto id = from.integer(std::string("SELECT max(id) FROM ") + table);
    return id ? std::clamp<std::int64_t>(*id, 0, kMostIds) : kIdsWhenUnknown;
}

// Copies row `id` of a table with `columns` columns; false: not there or not readable.
bool copyRow(sql::Statement &read, sql::Statement &write, std::int64_t id, const std::function<void()> &bind)
{
    read.reset();
    write.reset();
    read.bind(id);
    const auto row = read.step();
    if (!row || !*row)
        return false;
    bind();
    return write.run().has_value();
}

Result<std::uint32_t> copySessions(sql::Database &from, sql::Database &to)
{
    constexpr std::string_view kColumns = "SELECT title, folder, tags, settings, salt, tip, created, updated, recency,"
                                          " tokens, deleted, ";
    const bool named = from.statement("SELECT name FROM session").has_value(); // not yet in version 1
    KVILT_TRY(auto read, from.statement(std::string(kColumns) + (named ? "name" : "''") + " FROM session WHERE id=?"));
    KVILT_TRY(auto write, to.statement("INSERT OR IGNORE INTO session VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    std::uint32_t count = 0;
    for (std::int64_t id = 1, last = greatestId(from, "session"); id <= last; ++id) {
        std::array<std::string, 6> texts;
        count += copyRow(read, write, id, [&] {
            for (int i = 0; i < 5; ++i)
                texts[std::size_t(i)] = read.text(i);
            texts[5] = read.text(11);
            write.bind(id, texts[0], texts[1], texts[2], texts[3], texts[4], read.integer(5), read.integer(6),
                       read.integer(7), read.integer(8), read.integer(9), read.integer(10) == 1, texts[5]);
        });
    }
    return count;
}

Result<std::uint32_t> copyMessages(sql::Database &from, sql::Database &to)
{
    KVILT_TRY(auto read, from.statement("SELECT session, parent, role, state, text, ids, tokenizer, json, receipt,"
                                        " created, pinned, shown, deleted FROM message WHERE id=?"));
    KVILT_TRY(auto write, to.statement("INSERT OR IGNORE INTO message VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    std::uint32_t count = 0;
    for (std::int64_t id = 1, last = greatestId(from, "message"); id <= last; ++id) {
        std::array<std::string, 4> texts;
        std::vector<std::byte> ids;
        count += copyRow(read, write, id, [&] {
            texts = {read.text(4), read.text(6), read.text(7), read.text(8)};
            const auto blob = read.blob(5);
            ids.assign(blob.begin(), blob.end());
            write.bind(id, read.integer(0), read.integer(1), read.integer(2), read.integer(3), texts[0],
                       std::span<const std::byte>(ids), texts[1], texts[2], texts[3], read.integer(9),
                       read.integer(10), read.integer(11), read.integer(12));
        });
    }
    return count;
}

// What points to lost rows points to something again, and the index follows the text.
constexpr const char *kMend =
    "INSERT INTO session SELECT DISTINCT session, 'Recovered chat', '', '[]', '', '', 0, 0, 0, 0, 0, 0, '' FROM message"
    " WHERE session NOT IN (SELECT id FROM session);"
    "UPDATE message SET parent=coalesce((SELECT max(m.id) FROM message m WHERE m.session=message.session AND"
    " m.id<message.id), 0) WHERE parent<>0 AND parent NOT IN (SELECT id FROM message);"
    "UPDATE session SET tip=coalesce((SELECT max(id) FROM message m WHERE m.session=session.id AND m.deleted=0), 0)"
    " WHERE tip NOT IN (SELECT id FROM message);"
    "INSERT INTO title_fts(title_fts) VALUES('rebuild');"
    "INSERT INTO text_fts(text_fts) VALUES('rebuild');"
    "INSERT INTO text_fts(text_fts, rowid, text) SELECT 'delete', id, text FROM message WHERE state=1;";

Result<Salvaged> copyAll(const std::filesystem::path &damaged, sql::Database &target)
{
    KVILT_TRY(const auto from, sql::Database::open(damaged, {}));
    KVILT_TRY(auto transaction, sql::Transaction::begin(target));
    Salvaged result;
    auto sessions = copySessions(*from, target);
    auto messages = copyMessages(*from, target);
    result.sessions = sessions.value_or(0);
    result.messages = messages.value_or(0);
    if (const auto lineage = from->integer("SELECT value FROM meta WHERE key='lineage'"); lineage && *lineage > 0)
        KVILT_TRY_VOID(target.exec("INSERT OR IGNORE INTO meta VALUES('lineage', " + std::to_string(*lineage) + ")"));
    KVILT_TRY_VOID(target.exec(kMend));
    KVILT_TRY_VOID(transaction.commit());
    return result;
}

} // namespace

Result<Salvaged> salvageSessions(const std::filesystem::path &damaged, sql::Database &target)
{
    KVILT_TRY(Salvaged first, copyAll(damaged, target));
    if (first.sessions + first.messages > 0)
        return first;
    const std::filesystem::path mended = damaged.string() + ".mended"; // the damaged file stays as it is
    std::error_code problem;
    std::filesystem::copy_file(damaged, mended, std::filesystem::copy_options::overwrite_existing, problem);
    if (problem)
        return first;
    std::filesystem::copy_file(damaged.string() + "-wal", mended.string() + "-wal", problem); // may be missing
    mendHeader(mended);
    auto second = copyAll(mended, target);
    for (const char *suffix : {"", "-wal", "-shm"})
        std::filesystem::remove(mended.string() + suffix, problem);
    return second ? second : Result<Salvaged>(first);
}

} // namespace kvilt::store

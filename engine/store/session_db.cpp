// SPDX-License-Identifier: Apache-2.0
// Sessions: rows of their own, deletion, what was open last.
#include "engine/store/session_db_impl.h"
#include "engine/text/utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace kvilt::store {

using text::utf8::sanitized;

namespace {

constexpr const char *kCreate =
    "CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE session(id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, folder TEXT NOT NULL,"
    " tags TEXT NOT NULL, settings TEXT NOT NULL, salt TEXT NOT NULL, tip INTEGER NOT NULL, created INTEGER NOT NULL,"
    " updated INTEGER NOT NULL, recency INTEGER NOT NULL, tokens INTEGER NOT NULL, deleted INTEGER NOT NULL);"
    "CREATE TABLE message(id INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, parent INTEGER NOT NULL,"
    " role INTEGER NOT NULL, state INTEGER NOT NULL, text TEXT NOT NULL, ids BLOB NOT NULL, tokenizer TEXT NOT NULL,"
    " json TEXT NOT NULL, receipt TEXT NOT NULL, created INTEGER NOT NULL, pinned INTEGER NOT NULL,"
    " shown INTEGER NOT NULL, deleted INTEGER NOT NULL);"
    "CREATE INDEX message_by_session ON message(session, deleted, parent);"
    "CREATE VIRTUAL TABLE title_fts USING fts5(title, content='session', content_rowid='id',"
    " tokenize='unicode61 remove_diacritics 2', prefix='2 3');"
    "CREATE VIRTUAL TABLE text_fts USING fts5(text, content='message', content_rowid='id',"
    " tokenize='unicode61 remove_diacritics 2', prefix='2 3');";
// 2: the name given on the command line, a tag "id:NAME" until then.
constexpr const char *kNames =
    "ALTER TABLE session ADD COLUMN name TEXT NOT NULL DEFAULT '';"
    "UPDATE session SET name=coalesce((SELECT substr(value, 4) FROM json_each(session.tags)"
    " WHERE substr(value, 1, 3)='id:' LIMIT 1), '') WHERE json_valid(tags);"
    "UPDATE session SET tags=(SELECT json_group_array(value) FROM json_each(session.tags)"
    " WHERE substr(value, 1, 3)<>'id:') WHERE name<>'';";
constexpr const char *kMigrations[] = {kCreate, kNames};

constexpr std::size_t kLongestTitle = 1024; // bytes: what lays out a line of a list has to shape all of it

// One line that a list can show: cut at a whole character.
std::string titleFrom(std::string_view text)
{
    std::size_t end = std::min(text.size(), kLongestTitle);
    while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
        --end;
    return sanitized(text.substr(0, end));
}

constexpr std::string_view kColumns = "id, title, folder, tags, settings, salt, tip, created, updated, tokens, name";

std::string tagsToJson(const std::vector<std::string> &tags)
{
    nlohmann::json array = nlohmann::json::array();
    for (const std::string &tag : tags)
        array.push_back(sanitized(tag));
    return array.dump();
}

std::vector<std::string> tagsFromJson(const std::string &text)
{
    std::vector<std::string> tags;
    const auto array = nlohmann::json::parse(text, nullptr, false);
    for (const auto &tag : array.is_array() ? array : nlohmann::json::array())
        if (tag.is_string())
            tags.push_back(tag.get<std::string>());
    return tags;
}

SessionRow rowFrom(const sql::Statement &query)
{
    SessionRow row;
    row.id = {query.integer(0)};
    row.title = query.text(1);
    row.folder = query.text(2);
    row.tags = tagsFromJson(query.text(3));
    row.settings = query.text(4);
    row.salt = query.text(5);
    row.tip = {query.integer(6)};
    row.createdMs = query.integer(7);
    row.updatedMs = query.integer(8);
    row.tokens = std::uint32_t(std::clamp<std::int64_t>(query.integer(9), 0, UINT32_MAX));
    row.name = query.text(10);
    return row;
}

} // namespace

const sql::Schema &sessionSchema()
{
    static const sql::Schema schema{.applicationId = 0x4b564c53, .migrations = kMigrations, .shadowPrefix = "_fts_"};
    return schema;
}

void configureSessionDb(sql::Database &db)
{
    // A file system without shared memory gives no WAL: the default journal works as well, only slower.
    (void)db.exec("PRAGMA journal_mode=WAL");
    (void)db.exec("PRAGMA synchronous=FULL; PRAGMA journal_size_limit=4194304; PRAGMA wal_autocheckpoint=256");
}

SessionDb::SessionDb(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
SessionDb::~SessionDb() = default;
SessionDb::SessionDb(SessionDb &&) noexcept = default;
SessionDb &SessionDb::operator=(SessionDb &&) noexcept = default;

// A counter, not the time, says which session was used last: clocks go backwards.
Result<void> SessionDb::Impl::touchSession(SessionId id)
{
    return run("UPDATE session SET updated=?, recency=(SELECT max(recency) FROM session)+1 WHERE id=?", nowMs(), id.value);
}

Result<SessionRow> SessionDb::createSession(SessionRow session)
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<SessionRow> {
        SessionRow row = session;
        row.title = titleFrom(row.title);
        row.name = sanitized(row.name);
        row.updatedMs = d.nowMs();
        row.createdMs = row.createdMs ? row.createdMs : row.updatedMs;
        KVILT_TRY_VOID(d.run("INSERT INTO session(title, folder, tags, settings, salt, tip, created, updated, recency,"
                             " tokens, deleted, name) VALUES(?,?,?,?,?,0,?,?,"
                             "(SELECT coalesce(max(recency), 0) FROM session)+1,?,0,?)",
                             row.title, sanitized(row.folder), tagsToJson(row.tags), row.settings, row.salt,
                             row.createdMs, row.updatedMs, row.tokens, row.name));
        row.id = {d.db->lastRow()};
        row.tip = {};
        KVILT_TRY_VOID(d.run("INSERT INTO title_fts(rowid, title) VALUES(?,?)", row.id.value, row.title));
        return row;
    });
}

Result<std::optional<SessionRow>> SessionDb::session(SessionId id) const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<std::optional<SessionRow>> {
        KVILT_TRY(auto query, d.db->statement("SELECT " + std::string(kColumns) +
                                              " FROM session WHERE id=? AND deleted=0"));
        KVILT_TRY(const bool any, query.bind(id.value).step());
        return any ? std::optional(rowFrom(query)) : std::nullopt;
    });
}

Result<std::optional<SessionId>> SessionDb::named(std::string_view name) const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<std::optional<SessionId>> {
        KVILT_TRY(auto query, d.db->statement("SELECT id FROM session WHERE name=? AND deleted=0 ORDER BY id LIMIT 1"));
        KVILT_TRY(const bool any, query.bind(sanitized(name)).step());
        return any && !name.empty() ? std::optional(SessionId{query.integer(0)}) : std::nullopt;
    });
}

Result<void> SessionDb::rename(SessionId id, std::string_view title)
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<void> {
        const std::string clean = titleFrom(title);
        KVILT_TRY_VOID(d.run("INSERT INTO title_fts(title_fts, rowid, title) SELECT 'delete', id, title FROM session"
                             " WHERE id=?", id.value));
        KVILT_TRY_VOID(d.run("UPDATE session SET title=? WHERE id=?", clean, id.value));
        return d.run("INSERT INTO title_fts(rowid, title) SELECT id, title FROM session WHERE id=?", id.value);
    });
}

Result<void> SessionDb::file(SessionId id, std::string_view folder, const std::vector<std::string> &tags)
{
    Impl &d = *m_impl;
    return d.write([&] {
        return d.run("UPDATE session SET folder=?, tags=? WHERE id=?", sanitized(folder), tagsToJson(tags), id.value);
    });
}

Result<void> SessionDb::setSettings(SessionId id, std::string_view json)
{
    Impl &d = *m_impl;
    return d.write([&] { return d.run("UPDATE session SET settings=? WHERE id=?", json, id.value); });
}

Result<void> SessionDb::setTokens(SessionId id, std::uint32_t tokens)
{
    Impl &d = *m_impl;
    return d.write([&] { return d.run("UPDATE session SET tokens=? WHERE id=?", tokens, id.value); });
}

Result<void> SessionDb::deleteSession(SessionId id)
{
    Impl &d = *m_impl;
    return d.write([&] { return d.run("UPDATE session SET deleted=1 WHERE id=?", id.value); });
}

Result<void> SessionDb::undoDelete(SessionId id)
{
    Impl &d = *m_impl;
    return d.write([&] { return d.run("UPDATE session SET deleted=0 WHERE id=?", id.value); });
}

Result<std::vector<SessionId>> SessionDb::purgeDeleted()
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<std::vector<SessionId>> {
        std::vector<SessionId> gone;
        {
            KVILT_TRY(auto query, d.db->statement("SELECT id FROM session WHERE deleted=1"));
            for (;;) {
                KVILT_TRY(const bool any, query.step());
                if (!any)
                    break;
                gone.push_back({query.integer(0)});
            }
        }
        const std::string doomed =
            " FROM message WHERE (deleted<>0 OR session IN (SELECT id FROM session WHERE deleted=1))";
        KVILT_TRY_VOID(d.run("INSERT INTO text_fts(text_fts, rowid, text) SELECT 'delete', id, text" + doomed +
                             " AND state<>1"));
        KVILT_TRY_VOID(d.run("DELETE" + doomed));
        KVILT_TRY_VOID(d.run("INSERT INTO title_fts(title_fts, rowid, title) SELECT 'delete', id, title FROM session"
                             " WHERE deleted=1"));
        KVILT_TRY_VOID(d.run("DELETE FROM session WHERE deleted=1"));
        return gone;
    });
}

Result<std::int64_t> SessionDb::lineage()
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<std::int64_t> {
        KVILT_TRY_VOID(d.run("INSERT OR IGNORE INTO meta VALUES('lineage', abs(random() / 2) + 1)"));
        return d.db->integer("SELECT value FROM meta WHERE key='lineage'");
    });
}

Result<std::optional<SessionId>> SessionDb::lastSession() const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<std::optional<SessionId>> {
        KVILT_TRY(auto query, d.db->statement("SELECT session.id FROM meta JOIN session ON session.id=meta.value"
                                              " WHERE meta.key='last_session' AND session.deleted=0"));
        KVILT_TRY(const bool any, query.step());
        return any ? std::optional(SessionId{query.integer(0)}) : std::nullopt;
    });
}

Result<void> SessionDb::setLastSession(SessionId id)
{
    Impl &d = *m_impl;
    return d.write([&] { return d.run("INSERT OR REPLACE INTO meta VALUES('last_session', ?)", id.value); });
}

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
// What kind of database a file is, and how it becomes one of the newest version.
#include "engine/store/sqlite.h"

#include <algorithm>
#include <system_error>

namespace kvilt::store::sql {

namespace {

// Every statement that made the schema, shadow tables of FTS5 left out: their text depends on SQLite's version.
Result<std::vector<std::string>> schemaText(Database &db, std::string_view shadow)
{
    std::vector<std::string> all;
    KVILT_TRY(Statement query, db.statement("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"));
    for (;;) {
        KVILT_TRY(const bool row, query.step());
        if (!row)
            break;
        if (shadow.empty() || query.text(0).find(shadow) == std::string::npos)
            all.push_back(query.text(1));
    }
    std::sort(all.begin(), all.end());
    return all;
}

Result<bool> hasOurTables(Database &db, const Schema &schema)
{
    KVILT_TRY(const auto fresh, Database::open(":memory:", {}));
    KVILT_TRY_VOID(migrate(*fresh, schema));
    KVILT_TRY(const auto expected, schemaText(*fresh, schema.shadowPrefix));
    KVILT_TRY(const auto found, schemaText(db, schema.shadowPrefix));
    return expected == found;
}

Result<FileState> inspectHeader(Database &db, const Schema &schema)
{
    KVILT_TRY(const std::int64_t tables, db.integer("SELECT count(*) FROM sqlite_master"));
    KVILT_TRY(const std::int64_t id, db.integer("PRAGMA application_id"));
    KVILT_TRY(const std::int64_t version, db.integer("PRAGMA user_version"));
    const auto newest = std::int64_t(schema.migrations.size());
    if (tables == 0 && id == 0 && version == 0)
        return FileState::empty;
    if (id != schema.applicationId || version < 1)
        return FileState::foreign;
    if (version != newest)
        return version > newest ? FileState::newer : FileState::older;
    KVILT_TRY(const bool ours, hasOurTables(db, schema));
    return ours ? FileState::current : FileState::damaged;
}

} // namespace

Result<FileState> inspect(Database &db, const Schema &schema)
{
    auto state = inspectHeader(db, schema);
    if (!state && state.error().code == ErrorCode::corrupt)
        return FileState::damaged;
    return state;
}

Result<void> migrate(Database &db, const Schema &schema)
{
    KVILT_TRY(Transaction transaction, Transaction::begin(db));
    KVILT_TRY(const std::int64_t version, db.integer("PRAGMA user_version"));
    for (auto i = std::size_t(version); i < schema.migrations.size(); ++i)
        KVILT_TRY_VOID(db.exec(schema.migrations[i]));
    KVILT_TRY_VOID(db.exec("PRAGMA application_id=" + std::to_string(schema.applicationId)));
    KVILT_TRY_VOID(db.exec("PRAGMA user_version=" + std::to_string(schema.migrations.size())));
    return transaction.commit();
}

Result<bool> looksWhole(Database &db)
{
    KVILT_TRY(Statement query, db.statement("PRAGMA quick_check(1)"));
    auto row = query.step();
    if (!row && row.error().code == ErrorCode::corrupt)
        return false;
    KVILT_TRY(const bool any, std::move(row));
    return any && query.text(0) == "ok";
}

Result<std::filesystem::path> setAside(const std::filesystem::path &file, const char *why)
{
    std::error_code problem;
    for (int n = 1; n < 1000; ++n) {
        const std::filesystem::path target = file.string() + "." + why + "-" + std::to_string(n);
        if (std::filesystem::exists(target, problem))
            continue;
        std::filesystem::rename(file, target, problem);
        if (problem)
            return fail(ErrorCode::full, file.string() + " cannot be renamed (" + problem.message() +
                                             "); check the permissions of its folder.");
        for (const char *suffix : {"-wal", "-shm"})
            std::filesystem::rename(file.string() + suffix, target.string() + suffix, problem); // may be missing
        return target;
    }
    return fail(ErrorCode::full, "Too many copies of " + file.string() + " that were set aside lie beside it; delete them.");
}

} // namespace kvilt::store::sql

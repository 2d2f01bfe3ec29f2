// SPDX-License-Identifier: Apache-2.0
#include "engine/store/kv_db.h"

#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> // the same bits by AVX2 or AVX-512: a restore runs at 3.1 instead of 2.2 GB/s
#else
#include <xxhash.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>

namespace kvilt::store {

static_assert(std::endian::native == std::endian::little, "token ids are stored as they lie in memory");

namespace {

// Bytes lie apart from what is asked for first: a scan of `payload` at start must not touch them.
constexpr const char *kCreate =
    "CREATE TABLE payload(id INTEGER PRIMARY KEY, name BLOB NOT NULL, parent BLOB NOT NULL, grp INTEGER NOT NULL,"
    " numerics TEXT NOT NULL, first_token INTEGER NOT NULL, tokens BLOB NOT NULL, bytes INTEGER NOT NULL,"
    " checksum BLOB NOT NULL, used INTEGER NOT NULL, dead INTEGER NOT NULL,"
    " session INTEGER NOT NULL);"
    "CREATE TABLE data(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);"
    "CREATE TABLE tip(session INTEGER NOT NULL, branch INTEGER NOT NULL, node BLOB NOT NULL,"
    " PRIMARY KEY(session, branch)) WITHOUT ROWID;"
    "CREATE TABLE root(name BLOB PRIMARY KEY NOT NULL, fingerprint BLOB NOT NULL, tokenizer BLOB NOT NULL,"
    " rope BLOB NOT NULL, kv_types BLOB NOT NULL, block_size INTEGER NOT NULL, salt BLOB NOT NULL) WITHOUT ROWID;";
// 2: which sessions.db the session ids belong to.
constexpr const char *kLineage = "CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;";
constexpr const char *kMigrations[] = {kCreate, kLineage};

template <typename T>
std::span<const std::byte> bytesOf(std::span<const T> values)
{
    return std::as_bytes(values);
}

std::span<const std::byte> bytesOf(const kv::BlockName &name) { return std::as_bytes(std::span(name.bytes)); }
std::span<const std::byte> bytesOf(const std::string &text) { return std::as_bytes(std::span(text)); }

bool toName(std::span<const std::byte> blob, kv::BlockName &name)
{
    if (blob.size() != name.bytes.size())
        return false;
    std::memcpy(name.bytes.data(), blob.data(), blob.size());
    return true;
}

std::string toString(std::span<const std::byte> blob)
{
    return std::string(reinterpret_cast<const char *>(blob.data()), blob.size());
}

template <typename T>
void appendRaw(std::vector<std::byte> &out, const T &value)
{
    const auto raw = std::as_bytes(std::span(&value, 1));
    out.insert(out.end(), raw.begin(), raw.end());
}

} // namespace

const sql::Schema &kvSchema()
{
    static const sql::Schema schema{.applicationId = 0x4b564b56, .migrations = kMigrations, .shadowPrefix = {}};
    return schema;
}

Checksum payloadChecksum(const PayloadKey &key, const kv::BlockName &parent, std::int32_t firstToken,
                         std::span<const TokenId> tokens, std::span<const std::byte> bytes)
{
    std::vector<std::byte> head;
    appendRaw(head, key.name.bytes);
    appendRaw(head, parent.bytes);
    appendRaw(head, key.group.value);
    appendRaw(head, firstToken);
    appendRaw(head, std::uint64_t(key.numerics.size()));
    appendRaw(head, std::uint64_t(tokens.size()));
    appendRaw(head, std::uint64_t(bytes.size()));
    const auto numerics = bytesOf(key.numerics);
    head.insert(head.end(), numerics.begin(), numerics.end());
    const auto ids = bytesOf(tokens);
    head.insert(head.end(), ids.begin(), ids.end());
    const XXH128_hash_t seed = XXH3_128bits(head.data(), head.size());
    // The head's hash seeds the bytes' one: two calls, no streaming state, full speed over the long part.
    const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed.low64 ^ seed.high64);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, {hash.low64 ^ seed.high64, hash.high64 ^ seed.low64});
    Checksum sum;
    std::memcpy(sum.data(), canonical.digest, sum.size());
    return sum;
}

Result<std::unique_ptr<sql::Database>> openKvDb(const KvStoreOptions &options, sql::Access access)
{
    KVILT_TRY(auto db, sql::Database::open(options.file, {.access = access, .vfs = options.vfs,
                                                          .pageBytes = options.pageBytes, .ownerOnly = true}));
    KVILT_TRY(const sql::FileState state, sql::inspect(*db, kvSchema()));
    const std::string name = options.file.string();
    switch (state) {
    case sql::FileState::damaged: return fail(ErrorCode::corrupt, name + " was damaged");
    case sql::FileState::foreign: return fail(ErrorCode::badInput, name + " was not written by Kvilt");
    case sql::FileState::newer: return fail(ErrorCode::unsupported, name + " was written by a newer Kvilt");
    case sql::FileState::empty:
    case sql::FileState::older:
        if (access != sql::Access::readWrite)
            return fail(ErrorCode::notFound, name + " holds no KV yet");
        // WAL cannot be combined with changing these later: they come before the first table.
        KVILT_TRY_VOID(db->exec("PRAGMA auto_vacuum=INCREMENTAL"));
        KVILT_TRY_VOID(sql::migrate(*db, kvSchema()));
        break;
    case sql::FileState::current: break;
    }
    // A page cache of 2 MiB stays in the processor's; what is restored passes through it once. Mapping the file
    // instead (mmap_size) was slower, 1.9 GB/s, and would turn a truncated file into a signal.
    KVILT_TRY_VOID(db->exec("PRAGMA cache_size=-2048; PRAGMA secure_delete=OFF"));
    if (access == sql::Access::readWrite)
        KVILT_TRY_VOID(db->exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;"
                                "PRAGMA journal_size_limit=67108864"));
    return db;
}

namespace {

// Nothing of a row is believed that would harm the accounts: a size beyond the file's is no size.
std::optional<KvIndex::Row> toRow(const sql::Statement &query, std::uint64_t fileBytes)
{
    KvIndex::Row row;
    row.id = query.integer(0);
    row.numerics = query.text(4);
    const std::int64_t group = query.integer(3), first = query.integer(5), bytes = query.integer(6);
    if (row.id < 1 || row.id == INT64_MAX || group < 0 || group > UINT16_MAX || first < 0 || first > INT32_MAX ||
        bytes < 0 || std::uint64_t(bytes) > fileBytes || row.numerics.size() > 256 ||
        !toName(query.blob(1), row.name) || !toName(query.blob(2), row.parent))
        return std::nullopt;
    row.group = GroupIndex{std::uint16_t(group)};
    row.firstToken = std::int32_t(first);
    row.bytes = std::uint64_t(bytes);
    // The counter only has to be ordered; a flipped high bit must not end it.
    row.used = std::uint64_t(std::clamp<std::int64_t>(query.integer(7), 0, INT64_MAX / 2));
    row.dead = query.integer(8) != 0;
    row.session = query.integer(9);
    return row;
}

} // namespace

Result<std::vector<std::int64_t>> loadIndex(sql::Database &db, KvIndex &index)
{
    std::vector<std::int64_t> strays;
    KVILT_TRY(const std::int64_t pages, db.integer("PRAGMA page_count"));
    KVILT_TRY(const std::int64_t pageBytes, db.integer("PRAGMA page_size"));
    KVILT_TRY(auto query, db.statement("SELECT id, name, parent, grp, numerics, first_token, bytes, used, dead,"
                                       " session"
                                       " FROM payload"));
    for (;;) {
        KVILT_TRY(const bool any, query.step());
        if (!any)
            break;
        auto row = toRow(query, std::uint64_t(pages) * std::uint64_t(pageBytes));
        if (!row || !index.add(std::move(*row)))
            strays.push_back(query.integer(0));
    }
    KVILT_TRY(auto tips, db.statement("SELECT session, branch, node FROM tip"));
    for (;;) {
        KVILT_TRY(const bool any, tips.step());
        if (!any)
            return strays;
        kv::BlockName node;
        if (toName(tips.blob(2), node))
            index.setTip(tips.integer(0), tips.integer(1), node);
    }
}

Result<void> loadRoots(sql::Database &db, std::unordered_map<kv::BlockName, StoredRoot> &roots)
{
    KVILT_TRY(auto query, db.statement("SELECT name, fingerprint, tokenizer, rope, kv_types, block_size, salt FROM root"));
    for (;;) {
        KVILT_TRY(const bool any, query.step());
        if (!any)
            return {};
        kv::BlockName name;
        if (!toName(query.blob(0), name))
            continue;
        StoredRoot root;
        root.identity = {toString(query.blob(1)), toString(query.blob(2)), toString(query.blob(3)),
                         toString(query.blob(4)), std::uint32_t(std::clamp<std::int64_t>(query.integer(5), 0, 1 << 20))};
        root.salt = toString(query.blob(6));
        if (kv::rootName(root.identity, root.salt) == name) // a changed field would name something else
            roots.emplace(name, std::move(root));
    }
}

Result<void> insertPayload(sql::Database &db, std::int64_t id, std::uint64_t used, const NewPayload &payload)
{
    const Checksum sum = payloadChecksum(payload.key, payload.parent, payload.firstToken, payload.tokens, payload.bytes);
    KVILT_TRY(auto row, db.statement("INSERT INTO payload VALUES(?,?,?,?,?,?,?,?,?,?,0,?)"));
    row.bind(id, bytesOf(payload.key.name), bytesOf(payload.parent), int(payload.key.group.value), payload.key.numerics,
             std::int64_t(payload.firstToken), bytesOf(std::span<const TokenId>(payload.tokens)),
             std::uint64_t(payload.bytes.size()), std::span<const std::byte>(sum), used,
             payload.session.value);
    KVILT_TRY_VOID(row.run());
    KVILT_TRY(auto data, db.statement("INSERT INTO data VALUES(?,?)"));
    data.bind(id, std::span<const std::byte>(payload.bytes));
    return data.run();
}

Result<void> deletePayload(sql::Database &db, std::int64_t id)
{
    KVILT_TRY(auto row, db.statement("DELETE FROM payload WHERE id=?"));
    KVILT_TRY_VOID(row.bind(id).run());
    KVILT_TRY(auto data, db.statement("DELETE FROM data WHERE id=?"));
    return data.bind(id).run();
}

Result<void> saveUse(sql::Database &db, const KvIndex::Row &row)
{
    KVILT_TRY(auto update, db.statement("UPDATE payload SET used=?, dead=? WHERE id=?"));
    return update.bind(row.used, row.dead, row.id).run();
}

Result<void> saveTip(sql::Database &db, std::int64_t session, std::int64_t branch, const kv::BlockName &node)
{
    KVILT_TRY(auto insert, db.statement("INSERT OR REPLACE INTO tip VALUES(?,?,?)"));
    return insert.bind(session, branch, bytesOf(node)).run();
}

Result<void> deleteTip(sql::Database &db, std::int64_t session, std::int64_t branch)
{
    KVILT_TRY(auto remove, db.statement("DELETE FROM tip WHERE session=? AND branch=?"));
    return remove.bind(session, branch).run();
}

Result<void> deleteTips(sql::Database &db, std::int64_t session)
{
    KVILT_TRY(auto remove, db.statement("DELETE FROM tip WHERE session=?"));
    return remove.bind(session).run();
}

Result<std::int64_t> loadLineage(sql::Database &db)
{
    return db.integer("SELECT coalesce((SELECT value FROM meta WHERE key='lineage'), 0)");
}

Result<void> saveLineage(sql::Database &db, std::int64_t lineage, bool disown)
{
    if (disown)
        KVILT_TRY_VOID(db.exec("DELETE FROM tip; UPDATE payload SET session=0"));
    KVILT_TRY(auto insert, db.statement("INSERT OR REPLACE INTO meta VALUES('lineage', ?)"));
    return insert.bind(lineage).run();
}

Result<void> saveRoot(sql::Database &db, const kv::BlockName &name, const StoredRoot &root)
{
    KVILT_TRY(auto insert, db.statement("INSERT OR REPLACE INTO root VALUES(?,?,?,?,?,?,?)"));
    const auto &id = root.identity;
    insert.bind(bytesOf(name), bytesOf(id.modelFingerprint), bytesOf(id.tokenizer), bytesOf(id.rope),
                bytesOf(id.kvTypes), id.blockSize, bytesOf(root.salt));
    return insert.run();
}

Result<void> readPayload(sql::Database &db, std::int64_t id, const PayloadKey &key, std::span<const TokenId> tokens,
                         std::span<std::byte> out)
{
    const auto damaged = [] { return fail(ErrorCode::corrupt, "A stored KV block is damaged."); };
    kv::BlockName name, parent;
    Checksum sum;
    std::int64_t first = 0;
    {
        KVILT_TRY(auto query, db.statement("SELECT name, parent, grp, numerics, first_token, tokens, bytes, checksum"
                                           " FROM payload WHERE id=?"));
        KVILT_TRY(const bool any, query.bind(id).step());
        if (!any)
            return fail(ErrorCode::notFound, "A stored KV block is gone.");
        const auto stored = query.blob(5), checksum = query.blob(7), wanted = bytesOf(tokens);
        first = query.integer(4);
        // The row may have been given to another payload since the caller learned of it (by another process).
        if (!toName(query.blob(0), name) || name != key.name || query.integer(2) != key.group.value ||
            query.text(3) != key.numerics)
            return fail(ErrorCode::notFound, "A stored KV block is gone.");
        const bool same = toName(query.blob(1), parent) && std::ranges::equal(stored, wanted) && query.integer(6) == std::int64_t(out.size()) &&
                          checksum.size() == sum.size() && first >= 0 && first <= INT32_MAX;
        if (!same)
            return damaged();
        std::memcpy(sum.data(), checksum.data(), sum.size());
    }
    KVILT_TRY_VOID(db.readBlob("data", "bytes", id, out));
    return payloadChecksum(key, parent, std::int32_t(first), tokens, out) == sum ? Result<void>() : damaged();
}

Result<std::vector<TokenId>> readTokens(sql::Database &db, std::int64_t id)
{
    KVILT_TRY(auto query, db.statement("SELECT tokens FROM payload WHERE id=?"));
    KVILT_TRY(const bool any, query.bind(id).step());
    if (!any)
        return fail(ErrorCode::notFound, "A stored KV block is gone.");
    const auto blob = query.blob(0);
    if (blob.size() % sizeof(TokenId) != 0)
        return fail(ErrorCode::corrupt, "A stored KV block is damaged.");
    std::vector<TokenId> tokens(blob.size() / sizeof(TokenId));
    if (!tokens.empty())
        std::memcpy(tokens.data(), blob.data(), blob.size());
    return tokens;
}

} // namespace kvilt::store

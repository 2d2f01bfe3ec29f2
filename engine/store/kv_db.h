// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/kv_index.h"
#include "engine/store/sqlite.h"

#include <array>

// The statements over kvcache.db (KVCACHE_DB.md).
namespace kvilt::store {

const sql::Schema &kvSchema();

using Checksum = std::array<std::byte, 16>; // XXH3, 128 bits, canonical

// Everything that a payload says: a row in which any of it changed is no hit.
Checksum payloadChecksum(const PayloadKey &key, const kv::BlockName &parent, std::int32_t firstToken,
                         std::span<const TokenId> tokens, std::span<const std::byte> bytes);

// A connection with the pragmas of kvcache.db. `corrupt`, `badInput` (foreign) and `unsupported` (newer) tell that
// the file has to be set aside.
Result<std::unique_ptr<sql::Database>> openKvDb(const KvStoreOptions &options, sql::Access access);

// Returns rows that no Kvilt wrote, or that say what another row says: to be deleted.
Result<std::vector<std::int64_t>> loadIndex(sql::Database &db, KvIndex &index);
Result<void> loadRoots(sql::Database &db, std::unordered_map<kv::BlockName, StoredRoot> &roots);

Result<void> insertPayload(sql::Database &db, std::int64_t id, std::uint64_t used, const NewPayload &payload);
Result<void> deletePayload(sql::Database &db, std::int64_t id);
Result<void> saveUse(sql::Database &db, const KvIndex::Row &row);
Result<void> saveTip(sql::Database &db, std::int64_t session, std::int64_t branch, const kv::BlockName &node);
Result<void> deleteTip(sql::Database &db, std::int64_t session, std::int64_t branch);
Result<void> deleteTips(sql::Database &db, std::int64_t session);
Result<std::int64_t> loadLineage(sql::Database &db); // 0: never said
Result<void> saveLineage(sql::Database &db, std::int64_t lineage, bool disown); // disown: no session owns anything
Result<void> saveRoot(sql::Database &db, const kv::BlockName &name, const StoredRoot &root);

// Reads and checks one payload. corrupt: as ReadOutcome says; notFound: no such row.
Result<void> readPayload(sql::Database &db, std::int64_t id, const PayloadKey &key, std::span<const TokenId> tokens,
                         std::span<std::byte> out);
Result<std::vector<TokenId>> readTokens(sql::Database &db, std::int64_t id);

} // namespace kvilt::store

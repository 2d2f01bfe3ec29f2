// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/kv_store.h"
#include "engine/store/session_db.h"
#include "engine/support/error.h"

#include <filesystem>
#include <string_view>

// A session as one file that another machine can go on with (KVILT_FORMAT.md): the whole message tree and, if wanted,
// its KV. Every frame is checked before anything of the file is used; a file that breaks off or differs in one byte
// is refused as a whole.
namespace kvilt::store {

struct KviltExport {
    SessionRow session;
    std::vector<MessageRow> messages;   // parents first
    KvStore *kv = nullptr;              // null: without KV
};
// Written to a neighbour and renamed over `file`. KV whose root nobody remembered is left out.
struct KviltExported {
    std::uint64_t bytes = 0;
    std::uint32_t kvPayloads = 0;
};
Result<KviltExported> writeKviltFile(const std::filesystem::path &file, const KviltExport &content);

struct KviltImported {
    SessionId session;                  // a new one
    std::uint32_t messages = 0;
    std::uint32_t kvPayloads = 0;       // put into the store, under the session's own salt
};
// Goes before the tokenizer of imported ids: a stranger's word, which a prompt takes only where they are no control
// tokens.
inline constexpr std::string_view kImportedTokenizer = "imported:";

// badInput: it could not be imported. Reads all of it, writes nothing.
Result<void> checkKviltFile(const std::filesystem::path &file);
// Checks the whole file, then makes the session in `sessions` and puts its KV into `kv` (may be null).
Result<KviltImported> importKviltFile(const std::filesystem::path &file, SessionDb &sessions, KvStore *kv);

} // namespace kvilt::store

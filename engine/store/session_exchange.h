// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/kv_store.h"
#include "engine/store/session_store.h"

#include <filesystem>
#include <optional>

// Sessions as files of the user: Markdown (out only), JSON with OpenAI's messages, .kvilt (with KV, if wanted). The one
// way out and in, for the window and the command line.
namespace kvilt::store {

enum class SessionFormat : std::uint8_t { markdown, json, kvilt };
SessionFormat sessionFormatOf(const std::filesystem::path &file); // by its ending: .md, .json, else .kvilt

struct ExportedSession {
    std::uint32_t messages = 0, kvBlocks = 0;
};
// `kv` may be null: without KV. badInput: `file` cannot be written at all; notFound: no such session.
Result<ExportedSession> exportSession(SessionStore &sessions, KvStore *kv, SessionId session,
                                      const std::filesystem::path &file, SessionFormat format);

struct ImportedSession {
    SessionId session;
    std::uint32_t messages = 0, kvBlocks = 0;
};

// A file that a session can be made from: looked at as a whole before anything is written anywhere.
class SessionFile {
public:
    // JSON or .kvilt, told apart by content. badInput, notFound: one sentence that names the file.
    static Result<SessionFile> open(const std::filesystem::path &file);
    // `kv` may be null.
    Result<ImportedSession> import(SessionStore &sessions, KvStore *kv) const;

private:
    std::filesystem::path m_file;
    std::optional<StoredConversation> m_transcript; // none: a .kvilt file
};

} // namespace kvilt::store

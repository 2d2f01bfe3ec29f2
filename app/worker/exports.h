// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/worker/background.h"
#include "app/worker/session_desk.h"
#include "engine/store/kv_store.h"
#include "engine/trace/event_journal.h"

#include <filesystem>

// Sessions and events as files, and sessions from files. The writing functions return at once; the background thread
// sends update::Exported or a notice. Also used by the command line, without a thread.
namespace kvilt::worker {

Result<void> writeSession(const api::command::ExportSession &command, store::SessionStore &sessions, store::KvStore *kv);
void exportSession(const api::command::ExportSession &command, store::SessionStore &sessions, store::KvStore *kv,
                   Background &background, Outlet out);
void exportEvents(const api::command::ExportEvents &command, const trace::EventJournal &journal, Background &background,
                  Outlet out);

// JSON with OpenAI's messages, or a .kvilt file; told apart by content. badInput: one sentence.
Result<SessionId> importSession(const std::filesystem::path &file, store::SessionStore &sessions, store::KvStore *kv);

} // namespace kvilt::worker

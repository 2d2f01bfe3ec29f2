// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/kv_store.h"
#include "engine/store/session_store.h"

#include <vector>

// What the process that holds a profile's lock does with its stores as a pair: the window and the command line alike.
namespace kvilt::store {

// Before anything else: replies that were streaming when the last process ended are interrupted, and KV that belongs
// to the sessions of a lost file is disowned. `kv` may be null. Does nothing unless `sessions` writes its file.
Result<void> settleProfile(SessionStore &sessions, KvStore *kv);

// What was deleted is gone for good: its text and its KV. Returns the sessions.
Result<std::vector<SessionId>> purgeDeleted(SessionStore &sessions, KvStore *kv);

} // namespace kvilt::store

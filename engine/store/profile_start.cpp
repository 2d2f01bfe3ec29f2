// SPDX-License-Identifier: Apache-2.0
#include "engine/store/profile_start.h"

namespace kvilt::store {

Result<void> settleProfile(SessionStore &sessions, KvStore *kv)
{
    if (sessions.mode() != SessionStore::Mode::file)
        return {};
    KVILT_TRY(const std::int64_t lineage, sessions.call([](SessionDb &db) -> Result<std::int64_t> {
        if (auto mended = db.interruptStreaming(); !mended)
            return tl::unexpected(mended.error());
        return db.lineage();
    }));
    if (kv)
        kv->claim(lineage);
    return {};
}

Result<std::vector<SessionId>> purgeDeleted(SessionStore &sessions, KvStore *kv)
{
    KVILT_TRY(const auto gone, sessions.call([](SessionDb &db) { return db.purgeDeleted(); }));
    for (const SessionId session : gone)
        if (kv)
            kv->dropSession(session);
    return gone;
}

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
#include "app/cli/profile.h"

#include "app/cli/cli.h"
#include "engine/text/utf8.h"

#include <charconv>

namespace kvilt::cli {

Result<std::unique_ptr<Profile>> Profile::open(const std::string &folder, const Wanted &wanted)
{
    auto profile = std::make_unique<Profile>();
    KVILT_TRY(profile->paths, store::profilePaths(folder));
    auto lock = store::ProfileLock::tryAcquire(profile->paths.lock());
    if (!lock)
        note(lock.error().message);
    else
        profile->lock = std::move(*lock);
    profile->writable = profile->lock.has_value();
    if (lock && !profile->writable)
        note("another program uses this profile: stored KV is read, nothing is stored");
    if (wanted.sessions)
        profile->sessions = std::make_unique<store::SessionStore>(
            store::SessionStoreOptions{.file = profile->paths.sessionsDb(), .writable = profile->writable});
    if (wanted.kv) {
        auto kv = store::KvStore::open({.file = profile->paths.kvDb(), .writable = profile->writable,
                                        .quotaBytes = wanted.kvQuota});
        if (kv)
            profile->kv = std::move(*kv);
        else
            note(kv.error().message);
    }
    if (wanted.events) {
        auto events = store::EventStore::open({.file = profile->paths.eventsDb(), .writable = profile->writable});
        if (events)
            profile->eventStore = std::move(*events);
        else
            note(events.error().message);
        profile->journal = std::make_unique<trace::EventJournal>(
            trace::JournalOptions{.store = profile->eventStore.get()});
    }
    profile->sayNotices();
    return profile;
}

void Profile::sayNotices()
{
    auto say = [](const std::vector<std::string> &notices) {
        for (const std::string &notice : notices)
            note(notice);
    };
    if (sessions)
        say(sessions->takeNotices());
    if (kv)
        say(kv->takeNotices());
    if (eventStore)
        say(eventStore->takeNotices());
}

Result<std::optional<SessionId>> findSession(store::SessionStore &sessions, const std::string &id)
{
    return sessions.call([&](store::SessionDb &db) -> Result<std::optional<SessionId>> {
        KVILT_TRY(const auto byName, db.named(id));
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
        if (byName || error != std::errc() || end != id.data() + id.size())
            return byName;
        KVILT_TRY(const auto row, db.session(SessionId{number}));
        return row ? std::optional(row->id) : std::nullopt;
    });
}

Result<SessionId> makeSession(store::SessionStore &sessions, const std::string &name, const std::string &firstMessage)
{
    return sessions.call([&](store::SessionDb &db) -> Result<SessionId> {
        store::SessionRow row;
        row.title = api::titleFrom(firstMessage);
        row.name = name;
        KVILT_TRY(const store::SessionRow made, db.createSession(row));
        return made.id;
    });
}

Result<void> checkSessionName(const std::string &name)
{
    if (name.empty() || name.size() > 200 || !text::utf8::isValid(name))
        return fail(ErrorCode::badInput, "--session takes a name of 1 to 200 bytes of UTF-8");
    return {};
}

nlohmann::json shownId(SessionId id, const std::string &name)
{
    return name.empty() ? nlohmann::json(id.value) : nlohmann::json(name);
}

} // namespace kvilt::cli

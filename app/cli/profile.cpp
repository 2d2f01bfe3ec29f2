// SPDX-License-Identifier: Apache-2.0
#include "app/cli/profile.h"

#include "app/cli/cli.h"

#include <algorithm>
#include <charconv>

namespace kvilt::cli {

namespace {
constexpr std::string_view kNameTag = "id:";
}

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
    KVILT_TRY(const auto all, sessions.list());
    const std::string tag = std::string(kNameTag) + id;
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
    const bool isNumber = error == std::errc() && end == id.data() + id.size();
    std::optional<SessionId> byNumber;
    for (const api::SessionSummary &session : all) {
        if (std::find(session.tags.begin(), session.tags.end(), tag) != session.tags.end())
            return session.id;
        if (isNumber && session.id.value == number)
            byNumber = session.id;
    }
    return byNumber;
}

Result<SessionId> findOrMakeSession(store::SessionStore &sessions, const std::string &id,
                                    const std::string &firstMessage)
{
    if (id.empty() || id.size() > 200)
        return fail(ErrorCode::badInput, "--session takes a name of 1 to 200 bytes");
    KVILT_TRY(const auto found, findSession(sessions, id));
    if (found)
        return *found;
    return sessions.call([&](store::SessionDb &db) -> Result<SessionId> {
        store::SessionRow row;
        row.title = api::titleFrom(firstMessage);
        KVILT_TRY(const store::SessionRow made, db.createSession(row));
        if (std::to_string(made.id.value) != id)
            KVILT_TRY_VOID(db.file(made.id, {}, {std::string(kNameTag) + id}));
        return made.id;
    });
}

Result<void> dropName(store::SessionStore &sessions, SessionId session)
{
    return sessions.call([&](store::SessionDb &db) -> Result<void> {
        KVILT_TRY(auto row, db.session(session));
        if (!row || std::erase_if(row->tags, [](const std::string &tag) { return tag.starts_with(kNameTag); }) == 0)
            return {};
        return db.file(session, row->folder, row->tags);
    });
}

nlohmann::json shownId(SessionId id, const std::vector<std::string> &tags)
{
    for (const std::string &tag : tags)
        if (tag.starts_with(kNameTag))
            return tag.substr(kNameTag.size());
    return id.value;
}

} // namespace kvilt::cli

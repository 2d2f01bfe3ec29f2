// SPDX-License-Identifier: Apache-2.0
#include "app/cli/profile.h"

#include "app/cli/cli.h"
#include "engine/store/profile_start.h"
#include "engine/text/utf8.h"

#include <charconv>
#include <chrono>
#include <filesystem>
#include <thread>

namespace kvilt::cli {

namespace {

// Who lists sessions holds the lock for a moment only: whoever has to store waits that long.
constexpr auto kPatience = std::chrono::milliseconds(1500);

// Takes the lock, or says why nothing can be stored. A folder that is there may at least be read.
Result<void> takeLock(Profile &profile, bool named, bool mustStore)
{
    auto lock = store::ProfileLock::tryAcquire(profile.paths.lock());
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (mustStore && lock && !*lock && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        lock = store::ProfileLock::tryAcquire(profile.paths.lock());
    }
    if (lock && *lock) {
        profile.lock = std::move(*lock);
        return {};
    }
    std::error_code ignored;
    if (!lock && named && !std::filesystem::is_directory(profile.paths.folder, ignored))
        return fail(ErrorCode::badInput, lock.error().message);
    profile.whyNot = lock ? "another program uses the profile " + profile.paths.folder.string() +
                                "; close it first, or choose another folder with --profile"
                          : lock.error().message;
    return {};
}

void openKv(Profile &profile, std::uint64_t quota)
{
    auto kv = store::KvStore::open({.file = profile.paths.kvDb(), .writable = profile.lock.has_value(),
                                    .quotaBytes = quota});
    if (kv)
        profile.kv = std::move(*kv);
    else
        note(kv.error().message);
}

void openEvents(Profile &profile)
{
    auto events = store::EventStore::open({.file = profile.paths.eventsDb(), .writable = profile.lock.has_value()});
    if (events)
        profile.eventStore = std::move(*events);
    else
        note(events.error().message);
    profile.journal = std::make_unique<trace::EventJournal>(trace::JournalOptions{.store = profile.eventStore.get()});
}

} // namespace

Result<std::unique_ptr<Profile>> Profile::open(const std::string &folder, const Wanted &wanted)
{
    auto profile = std::make_unique<Profile>();
    KVILT_TRY(profile->paths, store::profilePaths(folder));
    KVILT_TRY_VOID(takeLock(*profile, !folder.empty(), wanted.mustStore));
    if (!profile->whyNot.empty() && wanted.mustStore)
        return fail(ErrorCode::full, "the session cannot be stored: " + profile->whyNot);
    if (!profile->whyNot.empty() && !wanted.onlyReads)
        note("nothing is stored: " + profile->whyNot);
    if (wanted.sessions) {
        profile->sessions = std::make_unique<store::SessionStore>(store::SessionStoreOptions{
            .file = profile->paths.sessionsDb(), .writable = profile->lock.has_value()});
        if (wanted.mustStore)
            KVILT_TRY_VOID(profile->sessionsStored());
    }
    if (wanted.kv)
        openKv(*profile, wanted.kvQuota);
    if (wanted.events)
        openEvents(*profile);
    if (profile->sessions && profile->lock)
        if (auto settled = store::settleProfile(*profile->sessions, profile->kv.get()); !settled)
            note(settled.error().message);
    profile->sayNotices();
    return profile;
}

Result<void> Profile::sessionsStored()
{
    auto flushed = sessions->flush();
    if (flushed && sessions->mode() == store::SessionStore::Mode::file)
        return {};
    std::string why = flushed ? "" : flushed.error().message;
    for (const std::string &notice : sessions->takeNotices())
        why += (why.empty() ? "" : " ") + notice;
    return fail(ErrorCode::full, "the session is not stored: " + why);
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

std::string shownId(SessionId id, const std::string &name)
{
    return name.empty() ? std::to_string(id.value) : name;
}

} // namespace kvilt::cli

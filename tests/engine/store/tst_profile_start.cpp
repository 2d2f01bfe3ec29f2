// SPDX-License-Identifier: Apache-2.0
// What the stores of a profile owe each other: whose KV it is, what a dead process left, who may read the files.
#include "engine/store/event_store.h"
#include "engine/store/profile_start.h"
#include "tests/engine/store/store_fixture.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <fstream>
#include <sys/stat.h>

using namespace kvilt;
using namespace kvilt::store;
using test::payloadOf;

namespace {

std::unique_ptr<KvStore> openKv(const test::Folder &folder)
{
    auto store = KvStore::open({.file = folder.path("kvcache.db"), .minFreeBytes = 0, .pageBytes = 4096});
    return store ? std::move(*store) : nullptr;
}

SessionRow newSession(SessionStore &sessions)
{
    SessionRow row;
    row.title = "chat";
    return *sessions.call([&](SessionDb &db) { return db.createSession(row); });
}

// Three blocks that the session wrote, and its tip.
void keepKv(KvStore &kv, SessionId session)
{
    for (std::uint32_t i = 0; i < 3; ++i)
        kv.put(payloadOf(1, i, 4000, session));
    kv.setTip(session, {1}, payloadOf(1, 2, 4000, session).key.name);
    QVERIFY(kv.flush());
}

unsigned modeOf(const std::filesystem::path &file)
{
    struct stat found {};
    return ::stat(file.c_str(), &found) == 0 ? found.st_mode & 0777 : 0;
}

} // namespace

class ProfileStartTest : public QObject {
    Q_OBJECT
private slots:
    void aSessionOfANewFileInheritsNothing()
    {
        test::Folder folder;
        {
            SessionStore sessions({.file = folder.path("sessions.db")});
            const auto kv = openKv(folder);
            QVERIFY(settleProfile(sessions, kv.get()));
            const SessionRow row = newSession(sessions);
            QCOMPARE(row.id.value, std::int64_t(1));
            keepKv(*kv, row.id);
            QCOMPARE(kv->usage(row.id).blocks, 3u);
        }
        { // the same file: all of it is still there
            SessionStore sessions({.file = folder.path("sessions.db")});
            const auto kv = openKv(folder);
            QVERIFY(settleProfile(sessions, kv.get()));
            QCOMPARE(kv->usage({1}).blocks, 3u);
        }
        for (const char *name : {"sessions.db", "sessions.db-wal", "sessions.db-shm"})
            std::filesystem::remove(folder.path(name));
        for (int start = 0; start < 2; ++start) { // and a later start does not find it either
            SessionStore sessions({.file = folder.path("sessions.db")});
            const auto kv = openKv(folder);
            QVERIFY(settleProfile(sessions, kv.get()));
            if (start == 0)
                QCOMPARE(newSession(sessions).id.value, std::int64_t(1)); // the lost one's number
            QCOMPARE(kv->usage({1}).blocks, 0u);
            QCOMPARE(kv->usage({1}).bytes, std::uint64_t(0));
            QCOMPARE(kv->stats().payloads, std::uint64_t(3)); // still found by whoever has the same beginning
            QVERIFY(kv->flush());
        }
    }

    void aSalvagedFileKeepsItsKv()
    {
        test::Folder folder;
        std::int64_t lineage = 0;
        {
            SessionStore sessions({.file = folder.path("sessions.db")});
            const auto kv = openKv(folder);
            QVERIFY(settleProfile(sessions, kv.get()));
            keepKv(*kv, newSession(sessions).id);
            lineage = *sessions.call([](SessionDb &db) { return db.lineage(); });
        }
        {
            std::fstream file(folder.path("sessions.db"), std::ios::in | std::ios::out | std::ios::binary);
            file.seekp(20); // payload fractions of the header: SQLite refuses the file, its rows are whole
            file.write("xxxx", 4);
        }
        SessionStore sessions({.file = folder.path("sessions.db")});
        QCOMPARE(sessions.takeNotices().size(), std::size_t(1));
        const auto kv = openKv(folder);
        QVERIFY(settleProfile(sessions, kv.get()));
        QCOMPARE(*sessions.call([](SessionDb &db) { return db.lineage(); }), lineage);
        QCOMPARE(kv->usage({1}).blocks, 3u);
    }

    void aReplyOfADeadProcessIsInterrupted()
    {
        test::Folder folder;
        {
            SessionStore sessions({.file = folder.path("sessions.db")});
            MessageRow reply;
            reply.session = newSession(sessions).id;
            reply.role = api::Role::assistant;
            reply.state = api::MessageState::streaming;
            reply.text = "half of it";
            QVERIFY(sessions.append(reply));
        }
        SessionStore sessions({.file = folder.path("sessions.db")});
        QVERIFY(settleProfile(sessions, nullptr));
        QVERIFY(sessions.conversation({1})->messages[0].state == api::MessageState::interrupted);
        QCOMPARE(sessions.list("half")->size(), std::size_t(1));
    }

    void aReaderChangesNothing()
    {
        test::Folder folder;
        {
            SessionStore sessions({.file = folder.path("sessions.db")});
            MessageRow reply;
            reply.session = newSession(sessions).id;
            reply.state = api::MessageState::streaming;
            QVERIFY(sessions.append(reply));
        }
        SessionStore reader({.file = folder.path("sessions.db"), .writable = false});
        QVERIFY(settleProfile(reader, nullptr)); // the writer may be in the middle of that reply
        QVERIFY(reader.conversation({1})->messages[0].state == api::MessageState::streaming);
    }

    void whatIsPurgedLosesItsKv()
    {
        test::Folder folder;
        SessionStore sessions({.file = folder.path("sessions.db")});
        const auto kv = openKv(folder);
        QVERIFY(settleProfile(sessions, kv.get()));
        const SessionId one = newSession(sessions).id;
        keepKv(*kv, one);
        QVERIFY(sessions.call([&](SessionDb &db) { return db.deleteSession(one); }));
        QCOMPARE(*purgeDeleted(sessions, kv.get()), std::vector<SessionId>{one});
        QVERIFY(kv->flush());
        QCOMPARE(kv->stats().payloads, std::uint64_t(0));
    }

    void theFilesAreTheOwnersAlone()
    {
        test::Folder folder;
        const mode_t before = ::umask(0);
        for (const char *name : {"sessions.db", "kvcache.db"}) { // one from an earlier version
            std::ofstream(folder.path(name)).close();
            QCOMPARE(::chmod(folder.path(name).c_str(), 0644), 0);
        }
        SessionStore sessions({.file = folder.path("sessions.db")});
        const auto kv = openKv(folder);
        const auto events = EventStore::open({.file = folder.path("events.db")});
        QVERIFY(kv && events);
        newSession(sessions);
        keepKv(*kv, {1});
        ::umask(before);
        int files = 0;
        for (const auto &entry : std::filesystem::directory_iterator(folder.path(""))) {
            QVERIFY2(modeOf(entry.path()) == 0600, entry.path().c_str());
            ++files;
        }
        QVERIFY(files >= 6); // three files, and their WALs
    }
};

KVILT_TEST_CLASS(ProfileStartTest)
#include "tst_profile_start.moc"

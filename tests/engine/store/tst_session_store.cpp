// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "engine/store/session_store.h"
#include "engine/store/profile_lock.h"
#include "engine/store/profile_paths.h"
#include "engine/store/sqlite.h"
#include "tests/engine/store/fault_vfs.h"
#include "tests/engine/store/store_fixture.h"
#include "tests/support/child_process.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <unistd.h>

using namespace kvilt;
using namespace kvilt::store;

namespace {

MessageRow said(SessionId session, MessageId parent, api::Role role, std::string text)
{
    MessageRow row;
    row.session = session;
    row.parent = parent;
    row.role = role;
    row.text = std::move(text);
    return row;
}

SessionRow newSession(SessionStore &store, std::string title)
{
    SessionRow row;
    row.title = std::move(title);
    return *store.call([&](SessionDb &db) { return db.createSession(row); });
}

// A session with one question and its answer; returns the answer.
MessageRow ask(SessionStore &store, const SessionRow &session, std::string question, std::string answer)
{
    const auto user = *store.append(said(session.id, {}, api::Role::user, std::move(question)));
    return *store.append(said(session.id, user.id, api::Role::assistant, std::move(answer)));
}

std::string firstNotice(SessionStore &store)
{
    const auto notices = store.takeNotices();
    return notices.empty() ? std::string() : notices.front();
}

void streamsUntilItIsKilled(const std::string &file, void (*ready)())
{
    SessionStore store({.file = file});
    const auto session = newSession(store, "t");
    auto row = said(session.id, store.append(said(session.id, {}, api::Role::user, "question"))->id,
                    api::Role::assistant, "");
    row.state = api::MessageState::streaming;
    const auto reply = *store.append(row);
    store.updateStreaming({reply.id, "half of it", {1, 2}, "tok"});
    (void)store.flush();
    ready();
    for (int i = 0;; ++i) // dies in the middle of this
        store.updateStreaming({reply.id, "half of it and more " + std::to_string(i), {1, 2}, "tok"});
}
KVILT_CHILD_ROLE(streamsUntilItIsKilled)

} // namespace

class SessionStoreTest : public QObject {
    Q_OBJECT
private slots:
    // Version 1 kept a name from the command line as a tag.
    void aFileOfVersion1BecomesOneOfVersion2()
    {
        test::Folder folder;
        SessionId named, plain;
        {
            SessionStore store({.file = folder.path("sessions.db")});
            plain = newSession(store, "Plain").id;
            named = newSession(store, "Named").id;
            QVERIFY(store.call([&](SessionDb &db) { return db.file(named, "f", {"red", "id:jobs \"1\"", "blue"}); }));
            QVERIFY(store.call([&](SessionDb &db) { return db.file(plain, "", {"idea"}); }));
        }
        {
            auto db = *sql::Database::open(folder.path("sessions.db"), {});
            QVERIFY(db->exec("ALTER TABLE session DROP COLUMN name; PRAGMA user_version=1"));
        }
        SessionStore store({.file = folder.path("sessions.db")});
        QVERIFY(store.takeNotices().empty());
        const auto find = [&](const char *name) {
            return *store.call([&](SessionDb &db) { return db.named(name); });
        };
        QVERIFY(find("jobs \"1\"") == named);
        QVERIFY(!find("") && !find("ea"));
        const auto listed = *store.list();
        QCOMPARE(listed.size(), std::size_t(2));
        for (const auto &session : listed) {
            QCOMPARE(session.name, session.id == named ? std::string("jobs \"1\"") : std::string());
            QVERIFY((session.tags == (session.id == named ? std::vector<std::string>{"red", "blue"}
                                                          : std::vector<std::string>{"idea"})));
        }
    }

    void aNameIsFoundUntilItsSessionIsDeleted()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        const auto make = [&] {
            return *store.call([](SessionDb &db) { return db.createSession({.title = "A", .name = "work"}); });
        };
        const SessionRow first = make();
        const auto find = [&] { return *store.call([](SessionDb &db) { return db.named("work"); }); };
        QVERIFY(find() == first.id);
        QCOMPARE(store.conversation(first.id)->session.name, std::string("work"));
        QVERIFY(store.call([&](SessionDb &db) { return db.deleteSession(first.id); }));
        QVERIFY(!find());
        const SessionRow second = make();
        QVERIFY(find() == second.id);
    }

    void everythingComesBackAfterARestart()
    {
        test::Folder folder;
        SessionId id;
        {
            SessionStore store({.file = folder.path("sessions.db")});
            auto session = newSession(store, "Foxes");
            id = session.id;
            auto reply = ask(store, session, "What jumps?", "");
            QVERIFY(store.commitTurn({reply.id, "The fox jumps.", {5, 6, -1, 7}, "tok", api::MessageState::complete,
                                      "{\"a\":1}"}, 42));
            QVERIFY(store.call([&](SessionDb &db) { return db.file(id, "animals", {"red", "quick, \"brown\""}); }));
            QVERIFY(store.call([&](SessionDb &db) { return db.setSettings(id, "{\"s\":2}"); }));
            QVERIFY(store.call([&](SessionDb &db) { return db.setLastSession(id); }));
        }
        SessionStore store({.file = folder.path("sessions.db")});
        QVERIFY(store.takeNotices().empty());
        QVERIFY(store.mode() == SessionStore::Mode::file);
        const auto chat = store.conversation(id);
        QVERIFY(chat);
        QCOMPARE(chat->session.title, std::string("Foxes"));
        QCOMPARE(chat->session.settings, std::string("{\"s\":2}"));
        QCOMPARE(chat->messages.size(), std::size_t(2));
        QCOMPARE(chat->messages[1].text, std::string("The fox jumps."));
        QVERIFY(chat->messages[1].ids == (std::vector<TokenId>{5, 6, -1, 7}));
        QCOMPARE(chat->messages[1].tokenizer, std::string("tok"));
        QCOMPARE(chat->messages[1].receipt, std::string("{\"a\":1}"));
        const auto list = store.list();
        QCOMPARE(list->size(), std::size_t(1));
        QCOMPARE((*list)[0].messages, 2u);
        QCOMPARE((*list)[0].tokens, 42u);
        QCOMPARE((*list)[0].tags[1], std::string("quick, \"brown\""));
        QVERIFY(*store.call([](SessionDb &db) { return db.lastSession(); }) == id);
    }

    void whatIsDoneTogetherStaysOutAsAWhole()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db"), .reserveBytes = 0});
        const auto refused = store.call([&](SessionDb &db) {
            return db.together([&]() -> Result<void> {
                KVILT_TRY(const SessionRow made, db.createSession({.title = "half"}));
                KVILT_TRY(const MessageRow kept, db.append(said(made.id, {}, api::Role::user, "a")));
                KVILT_TRY_VOID(db.append(said({made.id.value + 1}, kept.id, api::Role::user, "b")));
                return {};
            });
        });
        QVERIFY(!refused && refused.error().code == ErrorCode::badInput);
        QCOMPARE(store.list()->size(), std::size_t(0));
        StoredConversation chat{.session = {.title = "whole"}, .messages = {}};
        for (const char *text : {"one", "two", "three"})
            chat.messages.push_back(said({}, {}, api::Role::user, text));
        const auto made = store.call([&](SessionDb &db) { return db.createConversation(chat); });
        QVERIFY(made);
        const auto back = store.conversation(made->id);
        QCOMPARE(back->messages.size(), std::size_t(3));
        QCOMPARE(back->messages[2].text, std::string("three"));
        QCOMPARE(back->session.tip.value, made->tip.value);
    }

    void branchesAreSiblingsAndTheShownOneIsRemembered()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        const auto session = newSession(store, "t");
        const auto user = *store.append(said(session.id, {}, api::Role::user, "q"));
        const auto a = *store.append(said(session.id, user.id, api::Role::assistant, "a"));
        const auto a2 = *store.append(said(session.id, a.id, api::Role::user, "a then"));
        const auto b = *store.append(said(session.id, user.id, api::Role::assistant, "b"));
        QCOMPARE(b.branchIndex, 1);
        QCOMPARE(b.branchCount, 2);
        QCOMPARE(store.conversation(session.id)->messages.back().text, std::string("b"));
        const auto leaf = store.call([&](SessionDb &db) { return db.switchBranch(b.id, 0); });
        QVERIFY(*leaf == a2.id);
        const auto chat = store.conversation(session.id);
        QCOMPARE(chat->messages.size(), std::size_t(3));
        QCOMPARE(chat->messages[1].branchIndex, 0);
        QCOMPARE(chat->messages[1].branchCount, 2);
        QVERIFY(!store.call([&](SessionDb &db) { return db.switchBranch(b.id, 2); }));
    }

    void aDeletedMessageComesBackWithWhatFollowedIt()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        const auto session = newSession(store, "t");
        const auto reply = ask(store, session, "q", "a");
        const auto next = *store.append(said(session.id, reply.id, api::Role::user, "more"));
        QVERIFY(store.call([&](SessionDb &db) { return db.deleteMessage(reply.id); }));
        QCOMPARE(store.conversation(session.id)->messages.size(), std::size_t(1));
        QVERIFY(store.call([&](SessionDb &db) { return db.undoDeleteMessage(reply.id); }));
        QVERIFY(store.conversation(session.id)->messages.back().id == next.id);
    }

    void aDeletedSessionComesBackUntilItIsPurged()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        const auto one = newSession(store, "one"), two = newSession(store, "two");
        ask(store, one, "needle", "");
        QVERIFY(store.call([&](SessionDb &db) { return db.deleteSession(one.id); }));
        QCOMPARE(store.list()->size(), std::size_t(1));
        QCOMPARE(store.list("needle")->size(), std::size_t(0));
        QVERIFY(store.call([&](SessionDb &db) { return db.undoDelete(one.id); }));
        QCOMPARE(store.list()->size(), std::size_t(2));
        QVERIFY(store.call([&](SessionDb &db) { return db.deleteSession(one.id); }));
        const auto gone = store.call([](SessionDb &db) { return db.purgeDeleted(); });
        QCOMPARE(gone->size(), std::size_t(1));
        QVERIFY(store.call([&](SessionDb &db) { return db.undoDelete(one.id); }));
        QCOMPARE(store.list()->size(), std::size_t(1));
        QVERIFY((*store.list())[0].id == two.id);
    }

    void searchFindsTitlesTextAndBeginningsOfWords_data()
    {
        QTest::addColumn<QString>("query");
        QTest::addColumn<int>("hits");
        QTest::newRow("title") << "Kitchen" << 1;
        QTest::newRow("text, other case") << "POTATO" << 1;
        QTest::newRow("beginning of the last word") << "boil pota" << 1;
        QTest::newRow("accents are folded") << "creme" << 1;
        QTest::newRow("every word") << "potato absent" << 0;
        QTest::newRow("an operator is a word") << "potato OR" << 0;
        QTest::newRow("quotes") << "\"potato\"" << 1;
        QTest::newRow("syntax is no syntax") << "text_fts : * ( NEAR" << 0;
        QTest::newRow("inside a word without spaces") << QString::fromUtf8("東京") << 1;
        QTest::newRow("percent is no wildcard") << "100%" << 1;
        QTest::newRow("only signs") << "%%%" << 0;
    }
    void searchFindsTitlesTextAndBeginningsOfWords()
    {
        QFETCH(QString, query);
        QFETCH(int, hits);
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        ask(store, newSession(store, "Kitchen"), "How to <boil> a potato?", "");
        ask(store, newSession(store, "Other"), "crème brûlée, 100%", "私は東京に住んでいます");
        const auto list = store.list(query.toStdString());
        QVERIFY(list);
        QCOMPARE(int(list->size()), hits);
    }

    void snippetsAreEscapedAndMarked()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        ask(store, newSession(store, "t"), "<img src=x> potato & \x02 more", "");
        const auto list = store.list("potato");
        const std::string &snippet = list->front().snippet;
        QVERIFY(snippet.find("<b>potato</b>") != std::string::npos);
        QVERIFY(snippet.find("&lt;img") != std::string::npos);
        QVERIFY(snippet.find("<img") == std::string::npos);
    }

    void streamingTextIsFoundOnceItIsFinished()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        const auto session = newSession(store, "t");
        auto row = said(session.id, {}, api::Role::assistant, "");
        row.state = api::MessageState::streaming;
        const auto reply = *store.append(row);
        for (int i = 0; i < 50; ++i)
            store.updateStreaming({reply.id, std::string(std::size_t(i), 'x') + " zebra", {i}, "tok"});
        QVERIFY(store.flush());
        QCOMPARE(store.conversation(session.id)->messages[0].text.size(), std::size_t(49 + 6));
        QCOMPARE(store.call([](SessionDb &db) { return db.list("zebra"); })->size(), std::size_t(0));
        QVERIFY(store.commitTurn({reply.id, "zebra crossing", {1}, "tok", api::MessageState::complete, {}}));
        QCOMPARE(store.list("zebra")->size(), std::size_t(1));
        QVERIFY(store.commitTurn({reply.id, "a horse", {1}, "tok", api::MessageState::complete, {}}));
        QCOMPARE(store.list("crossing")->size(), std::size_t(0));
        QCOMPARE(store.list("horse")->size(), std::size_t(1));
    }

    void aKilledProcessLeavesAnInterruptedReplyWithItsText()
    {
        test::Folder folder;
        test::ChildProcess child("streamsUntilItIsKilled", folder.path("sessions.db"));
        QVERIFY(child.waitUntilReady());
        usleep(20'000);
        child.kill();
        SessionStore store({.file = folder.path("sessions.db")});
        QVERIFY(store.takeNotices().empty());
        QCOMPARE(*store.call([](SessionDb &db) { return db.interruptStreaming(); }), 1);
        const auto chat = store.conversation((*store.list())[0].id);
        QCOMPARE(chat->messages[0].text, std::string("question"));
        QVERIFY(chat->messages[1].state == api::MessageState::interrupted);
        QVERIFY(chat->messages[1].text.starts_with("half of it"));
        QCOMPARE(store.list("half")->size(), std::size_t(1));
    }

    void aClockThatGoesBackwardsDoesNotReorderSessions()
    {
        test::Folder folder;
        ManualClock clock;
        clock.ns = 2'000'000'000'000'000'000;
        SessionStore store({.file = folder.path("sessions.db"), .clock = &clock});
        const auto one = newSession(store, "one");
        clock.ns = 1'000'000'000'000'000'000;
        const auto two = newSession(store, "two");
        QVERIFY((*store.list())[0].id == two.id);
        ask(store, one, "q", "a");
        QVERIFY((*store.list())[0].id == one.id);
        QCOMPARE((*store.list())[0].updatedMs, std::int64_t(1'000'000'000'000));
    }

    void aSecondProcessSeesTheChatsAndStoresNothing()
    {
        test::Folder folder;
        auto lock = ProfileLock::tryAcquire(folder.path("profile.lock"));
        QVERIFY(lock && *lock);
        QVERIFY(!*ProfileLock::tryAcquire(folder.path("profile.lock")));
        SessionStore first({.file = folder.path("sessions.db")});
        ask(first, newSession(first, "one"), "q", "a");
        {
            SessionStore second({.file = folder.path("sessions.db"), .writable = false});
            QVERIFY(second.mode() == SessionStore::Mode::copyInMemory);
            QVERIFY(second.takeNotices().empty()); // who did not get the lock has said so
            QCOMPARE(second.list()->size(), std::size_t(1));
            ask(second, newSession(second, "two"), "goes on", "in memory");
            QCOMPARE(second.list()->size(), std::size_t(2));
        }
        QCOMPARE(first.list()->size(), std::size_t(1));
        lock->reset();
        QVERIFY(*ProfileLock::tryAcquire(folder.path("profile.lock")));
    }

    void aNewerFileIsLeftAloneAndChatsGoOn()
    {
        test::Folder folder;
        const auto file = folder.path("sessions.db");
        {
            auto db = *sql::Database::open(file, {});
            QVERIFY(db->exec("PRAGMA application_id=1263946835; PRAGMA user_version=9; CREATE TABLE future(x)"));
        }
        const auto before = test::readBytes(file);
        {
            SessionStore store({.file = file});
            QVERIFY(firstNotice(store).find("newer Kvilt") != std::string::npos);
            ask(store, newSession(store, "t"), "q", "a");
            QCOMPARE(store.list()->size(), std::size_t(1));
        }
        QVERIFY(test::readBytes(file) == before);
    }

    void aForeignFileIsSetAside()
    {
        test::Folder folder;
        {
            auto db = *sql::Database::open(folder.path("sessions.db"), {});
            QVERIFY(db->exec("CREATE TABLE precious(x); INSERT INTO precious VALUES(1)"));
        }
        SessionStore store({.file = folder.path("sessions.db")});
        QVERIFY(!firstNotice(store).empty());
        QVERIFY(store.mode() == SessionStore::Mode::file);
        auto aside = *sql::Database::open(folder.path("sessions.db.damaged-1"), {});
        QCOMPARE(*aside->integer("SELECT x FROM precious"), std::int64_t(1));
    }

    // Any byte flipped: the program starts, tells, and what can be read is there.
    void aDamagedFileKeepsWhatCanBeRead()
    {
        test::Folder folder;
        const auto file = folder.path("sessions.db");
        {
            SessionStore store({.file = file, .reserveBytes = 0});
            for (int i = 0; i < 20; ++i)
                ask(store, newSession(store, "chat " + std::to_string(i)), std::string(600, 'q'), std::string(900, 'a'));
        }
        const auto whole = test::readBytes(file);
        int told = 0, kept = 0, runs = 0;
        for (std::size_t at = 0; at < whole.size(); at += at < 100 ? 7 : 1511, ++runs) {
            auto bytes = whole;
            bytes[at] = char(bytes[at] ^ (1 << (at % 8)));
            for (const auto &entry : std::filesystem::directory_iterator(folder.dir.path().toStdString()))
                std::filesystem::remove(entry.path());
            test::writeBytes(file, bytes);
            SessionStore store({.file = file, .reserveBytes = 0});
            const auto list = store.list();
            QVERIFY2(list, qPrintable(QString("byte %1").arg(at)));
            for (const auto &session : *list)
                (void)store.conversation(session.id);
            (void)store.list("chat");
            QVERIFY2(store.call([](SessionDb &db) { return db.createSession({}); }), qPrintable(QString("byte %1").arg(at)));
            told += !store.takeNotices().empty();
            kept += list->size() >= 15;
        }
        QVERIFY(told > 0);
        QVERIFY2(kept > runs * 8 / 10, qPrintable(QString("%1 of %2").arg(kept).arg(runs)));
    }

    void aFullDiskUsesTheReserveThenMemoryAndReturns()
    {
        test::Folder folder;
        const auto file = folder.path("sessions.db");
        test::FullDisk disk(folder.path("sessions.db.reserve"));
        ManualClock clock;
        clock.ns = 1'000'000'000'000;
        SessionId id;
        {
            SessionStore store({.file = file, .clock = &clock, .reserveBytes = 1 << 20, .vfs = disk.name()});
            const auto session = newSession(store, "t");
            id = session.id;
            QVERIFY(std::filesystem::exists(folder.path("sessions.db.reserve")));
            disk.setRoom(1 << 20); // all of it is the reserve's
            MessageId parent;
            int reserveMessages = 0;
            while (store.mode() == SessionStore::Mode::file && reserveMessages < 100) {
                const auto row = store.append(said(id, parent, api::Role::user, std::string(50'000, 'm')));
                QVERIFY2(row, row ? "" : row.error().message.c_str());
                parent = row->id;
                ++reserveMessages;
            }
            QVERIFY(reserveMessages > 3);
            QVERIFY(store.mode() == SessionStore::Mode::copyInMemory);
            QVERIFY(!std::filesystem::exists(folder.path("sessions.db.reserve")));
            const auto notices = store.takeNotices();
            QCOMPARE(notices.size(), std::size_t(2));
            QVERIFY(store.append(said(id, parent, api::Role::user, "in memory")));
            QCOMPARE(int(store.conversation(id)->messages.size()), reserveMessages + 1);
            disk.setRoom(INT64_MAX);
            clock.ns += 6'000'000'000;
            QVERIFY(store.list());
            QVERIFY(store.mode() == SessionStore::Mode::file);
            QVERIFY(firstNotice(store).find("again") != std::string::npos);
        }
        SessionStore store({.file = file});
        QCOMPARE(store.conversation(id)->messages.back().text, std::string("in memory"));
    }

    void aFileWhereTheFolderShouldBeKeepsChatsInMemory()
    {
        test::Folder folder;
        test::writeBytes(folder.path("plain"), {'x'});
        SessionStore store({.file = folder.path("plain") / "sessions.db"});
        QVERIFY(store.mode() == SessionStore::Mode::copyInMemory);
        QVERIFY(!firstNotice(store).empty());
        ask(store, newSession(store, "t"), "q", "a");
        QCOMPARE(store.list()->size(), std::size_t(1));
        const auto lock = ProfileLock::tryAcquire(folder.path("plain") / "profile.lock");
        QVERIFY(!lock && lock.error().code == ErrorCode::full);
    }

    void aFileThatIsDeletedOrReplacedWhileOpenIsWrittenAnew_data()
    {
        QTest::addColumn<bool>("replaced");
        QTest::addColumn<bool>("withLog");
        QTest::newRow("deleted") << false << false;
        QTest::newRow("deleted with its log") << false << true;
        QTest::newRow("replaced") << true << false;
    }
    void aFileThatIsDeletedOrReplacedWhileOpenIsWrittenAnew()
    {
        QFETCH(bool, replaced);
        QFETCH(bool, withLog);
        test::Folder folder;
        const auto file = folder.path("sessions.db");
        {
            SessionStore store({.file = file});
            const auto session = newSession(store, "kept");
            ask(store, session, "before", "yes");
            std::filesystem::remove(file);
            if (withLog)
                for (const char *suffix : {"-wal", "-shm"})
                    std::filesystem::remove(file.string() + suffix);
            if (replaced)
                test::writeBytes(folder.path("sessions.db"), {'o', 't', 'h', 'e', 'r'});
            ask(store, newSession(store, "after"), "and after", "also");
            const auto notice = QString::fromStdString(firstNotice(store));
            QVERIFY2(notice.contains(replaced ? "was replaced" : "was deleted"), qPrintable(notice));
            QVERIFY(store.mode() == SessionStore::Mode::file);
            QVERIFY(std::filesystem::exists(file));
            QCOMPARE(std::filesystem::exists(folder.path("sessions.db.replaced-1")), replaced);
        }
        SessionStore again({.file = file});
        QVERIFY(again.takeNotices().empty());
        const auto listed = *again.list();
        QCOMPARE(listed.size(), std::size_t(2));
        QCOMPARE(listed[1].title, std::string("kept"));
        QCOMPARE(listed[1].messages, 2u);
        QCOMPARE(again.list("after")->size(), std::size_t(1)); // the index came along
    }

    void whatCannotBeWrittenAnewIsToldAndTriedAgain_data()
    {
        QTest::addColumn<QString>("inTheWay");
        QTest::newRow("before the new file is made") << "sessions.db.new";
        QTest::newRow("when the new file is opened") << "sessions.db-wal";
    }
    void whatCannotBeWrittenAnewIsToldAndTriedAgain()
    {
        QFETCH(QString, inTheWay);
        test::Folder folder;
        const auto file = folder.path("sessions.db");
        const auto obstacle = folder.path(qPrintable(inTheWay));
        ManualClock clock;
        clock.ns = 1'000'000'000'000;
        {
            SessionStore store({.file = file, .clock = &clock});
            ask(store, newSession(store, "kept"), "before", "yes");
            QVERIFY(store.kept());
            std::filesystem::remove(file);
            std::filesystem::remove(obstacle);
            std::filesystem::create_directories(obstacle / "not empty");
            ask(store, newSession(store, "meanwhile"), "still", "here");
            QVERIFY(!store.kept());
            QVERIFY(store.mode() == SessionStore::Mode::file);
            const auto notices = store.takeNotices();
            QCOMPARE(notices.size(), std::size_t(1));
            QVERIFY2(notices[0].find("cannot be written anew") != std::string::npos, notices[0].c_str());
            if (inTheWay.endsWith(".new")) { // the other one is set aside with the file
                clock.ns += 6'000'000'000;
                QCOMPARE(store.list()->size(), std::size_t(2)); // tried again, in vain; said once
                QVERIFY(!store.kept() && store.takeNotices().empty());
                std::filesystem::remove_all(obstacle);
            }
            clock.ns += 6'000'000'000;
            QCOMPARE(store.list()->size(), std::size_t(2));
            QVERIFY(store.kept());
        }
        SessionStore again({.file = file});
        QVERIFY(again.takeNotices().empty());
        QCOMPARE(again.list()->size(), std::size_t(2));
        QCOMPARE(again.list("still")->size(), std::size_t(1));
    }

    void aFileThatIsDeletedAfterTheLastWriteIsThereAtTheNextStart()
    {
        test::Folder folder;
        const auto file = folder.path("sessions.db");
        {
            SessionStore store({.file = file});
            ask(store, newSession(store, "kept"), "question", "answer");
            std::filesystem::remove(file);
        }
        SessionStore again({.file = file});
        QCOMPARE(again.list()->size(), std::size_t(1));
    }

    void aTitleIsALineNotABook()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db"), .reserveBytes = 0});
        std::string title = std::string(1023, 'x');
        for (int i = 0; i < 1000; ++i)
            title += "\xc3\xa9"; // one of them lies across the end
        const SessionRow made = newSession(store, title);
        QCOMPARE(made.title, std::string(1023, 'x'));
        QVERIFY(store.call([&](SessionDb &db) { return db.rename(made.id, "y" + title); }));
        QCOMPARE(store.list()->front().title, "y" + std::string(1023, 'x'));
    }

    void textThatIsNoUtf8IsRepaired()
    {
        test::Folder folder;
        SessionStore store({.file = folder.path("sessions.db")});
        const auto session = newSession(store, "bad \xff title");
        ask(store, session, std::string("a\0b \xc3", 5), "ok");
        const auto chat = store.conversation(session.id);
        QVERIFY(chat->messages[0].text.find('\xff') == std::string::npos);
        QCOMPARE(chat->messages[0].text.substr(0, 3), std::string("a\0b", 3));
    }

    void pathsFollowXdgOrTheProfile()
    {
        const auto env = [](std::map<std::string, std::string> values) {
            return [values](const char *name) -> std::optional<std::string> {
                const auto it = values.find(name);
                return it == values.end() ? std::nullopt : std::optional(it->second);
            };
        };
        QCOMPARE(profilePaths("", env({{"HOME", "/h"}}))->sessionsDb(), std::filesystem::path("/h/.local/share/kvilt/sessions.db"));
        QCOMPARE(profilePaths("", env({{"HOME", "/h"}, {"XDG_DATA_HOME", "/d"}}))->kvDb(), std::filesystem::path("/d/kvilt/kvcache.db"));
        QCOMPARE(profilePaths("", env({{"HOME", "/h"}, {"XDG_DATA_HOME", "rel"}}))->folder, std::filesystem::path("/h/.local/share/kvilt"));
        QCOMPARE(profilePaths("p", env({{"HOME", "/h"}}))->settings, std::filesystem::path("p/settings.json"));
        QCOMPARE(profilePaths("p", env({{"HOME", "/h"}}))->models, std::filesystem::path("/h/.local/share/kvilt/models"));
        QVERIFY(!profilePaths("", env({})));
    }
};

KVILT_TEST_CLASS(SessionStoreTest)
#include "tst_session_store.moc"

// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "engine/store/kv_store.h"
#include "engine/store/sqlite.h"
#include "tests/engine/store/store_fixture.h"
#include "tests/support/child_process.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <map>
#include <thread>
#include <unistd.h>

using namespace kvilt;
using namespace kvilt::store;
using test::payloadOf;

namespace {

std::unique_ptr<KvStore> openStore(const std::filesystem::path &file, std::uint64_t quota = 64 << 20,
                                   std::uint32_t pageBytes = 4096)
{
    auto store = KvStore::open({.file = file, .quotaBytes = quota, .minFreeBytes = 0, .pageBytes = pageBytes});
    if (!store)
        qWarning("%s", store.error().message.c_str());
    return store ? std::move(*store) : nullptr;
}

std::int64_t rowOf(const KvStore &store, const PayloadKey &key)
{
    std::int64_t row = 0;
    store.forEach([&](const StoredEntry &entry) {
        if (entry.key == key)
            row = entry.row;
    });
    return row;
}

ReadOutcome readBack(KvStore &store, const NewPayload &wanted)
{
    std::vector<std::byte> out(wanted.bytes.size());
    const auto outcome = store.read(rowOf(store, wanted.key), wanted.key, wanted.tokens, out);
    return outcome == ReadOutcome::ok && out != wanted.bytes ? ReadOutcome(99) : outcome;
}

void putChain(KvStore &store, std::uint32_t chain, std::uint32_t blocks, std::size_t bytes = 4000, SessionId session = {})
{
    for (std::uint32_t i = 0; i < blocks; ++i)
        store.put(payloadOf(chain, i, bytes, session));
}

void putsUntilItIsKilled(const std::string &file, void (*ready)())
{
    auto store = KvStore::open({.file = file, .minFreeBytes = 0});
    for (std::uint32_t i = 0; i < 8; ++i)
        (*store)->put(payloadOf(1, i, 200'000));
    (void)(*store)->flush();
    ready();
    for (std::uint32_t i = 8;; ++i) // dies in the middle of this
        (*store)->put(payloadOf(1, i % 500, 200'000));
}
KVILT_CHILD_ROLE(putsUntilItIsKilled)

} // namespace

class KvStoreTest : public QObject {
    Q_OBJECT
private slots:
    void whatWasPutIsReadInANewProcess()
    {
        test::Folder folder;
        {
            auto store = openStore(folder.path("kvcache.db"));
            QVERIFY(store);
            putChain(*store, 1, 5, 100'000);
            QVERIFY(store->flush());
            const auto done = store->takeCompletions();
            QCOMPARE(done.size(), std::size_t(5));
            QVERIFY(done[4].kind == KvCompletion::Kind::stored);
            QCOMPARE(done[4].bytes, std::uint64_t(100'000));
        }
        auto store = openStore(folder.path("kvcache.db"));
        QCOMPARE(store->stats().payloads, std::uint64_t(5));
        for (std::uint32_t i = 0; i < 5; ++i)
            QCOMPARE(readBack(*store, payloadOf(1, i, 100'000)), ReadOutcome::ok);
        QVERIFY(store->takeNotices().empty());
    }

    void sharedPrefixesAreStoredOnce()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"));
        putChain(*store, 1, 3);
        putChain(*store, 1, 3);
        QVERIFY(store->flush());
        putChain(*store, 1, 3);
        QVERIFY(store->flush());
        QCOMPARE(store->stats().payloads, std::uint64_t(3));
        QCOMPARE(store->stats().stored, std::uint64_t(3));
    }

    void otherArithmeticGroupOrTokensNeverAnswer()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"));
        auto payload = payloadOf(1, 0);
        store->put(payload);
        QVERIFY(store->flush());
        const std::int64_t row = rowOf(*store, payload.key);
        std::vector<std::byte> out(payload.bytes.size());
        auto key = payload.key;
        key.numerics = "cpu:2";
        QCOMPARE(store->read(row, key, payload.tokens, out), ReadOutcome::missing);
        key = payload.key;
        key.group = GroupIndex{1};
        QCOMPARE(store->read(row, key, payload.tokens, out), ReadOutcome::missing);
        QVERIFY(store->contains(payload.key));
        auto tokens = payload.tokens;
        tokens[3] ^= 1;
        QCOMPARE(store->read(row, payload.key, tokens, out), ReadOutcome::corrupt);
    }

    // The length comes from the model, never from the row.
    void anotherLengthIsDropped()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"));
        const auto payload = payloadOf(1, 0);
        store->put(payload);
        QVERIFY(store->flush());
        std::vector<std::byte> out(payload.bytes.size() + 1);
        QCOMPARE(store->read(rowOf(*store, payload.key), payload.key, payload.tokens, out), ReadOutcome::corrupt);
        QVERIFY(store->flush());
        const auto done = store->takeCompletions();
        QVERIFY(done.back().kind == KvCompletion::Kind::removed);
        QVERIFY(done.back().reason == api::EventReason::corruptPayload);
        QVERIFY(!store->contains(payload.key));
    }

    void quotaEvictsTheLongestUnusedTailFirst()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"), 400'000);
        putChain(*store, 1, 20, 8000);
        QVERIFY(store->flush());
        QCOMPARE(store->stats().evicted, std::uint64_t(0));
        store->setTip(SessionId{1}, MessageId{1}, payloadOf(1, 4).key.name); // blocks 0..4 were used together later
        putChain(*store, 2, 40, 8000);
        QVERIFY(store->flush());
        std::vector<std::int32_t> gone;
        for (const auto &done : store->takeCompletions())
            if (done.kind == KvCompletion::Kind::removed) {
                QVERIFY(done.reason == api::EventReason::lru);
                gone.push_back(done.key.name == payloadOf(1, 19).key.name ? 19 : -1);
            }
        QVERIFY(!gone.empty());
        QCOMPARE(gone.front(), 19);
        QVERIFY(store->contains(payloadOf(1, 0).key));
        QVERIFY(store->contains(payloadOf(1, 4).key));
        QVERIFY(store->stats().fileBytes < 2'000'000);
        QVERIFY(std::filesystem::file_size(folder.path("kvcache.db")) <= 400'000 + 16 * 4096);
    }

    void aBatchBeyondTheQuotaKeepsItsHead()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"), 300'000);
        putChain(*store, 1, 100, 8000);
        QVERIFY(store->flush());
        QVERIFY(store->contains(payloadOf(1, 0).key));
        QVERIFY(!store->contains(payloadOf(1, 99).key));
        QVERIFY(store->stats().declined > 0);
        QCOMPARE(store->stats().evicted, std::uint64_t(0));
    }

    void deadBranchesGoFirst()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"), 400'000);
        putChain(*store, 1, 8, 8000, SessionId{1});
        QVERIFY(store->flush());
        putChain(*store, 2, 8, 8000, SessionId{2});
        QVERIFY(store->flush());
        store->setTip(SessionId{1}, MessageId{1}, payloadOf(1, 7).key.name);
        store->setTip(SessionId{2}, MessageId{2}, payloadOf(2, 7).key.name);
        store->endBranch(SessionId{2}, MessageId{2});
        putChain(*store, 3, 28, 8000);
        QVERIFY(store->flush());
        bool any = false;
        for (const auto &done : store->takeCompletions())
            if (done.kind == KvCompletion::Kind::removed && !std::exchange(any, true)) {
                QVERIFY(done.reason == api::EventReason::deadBranchFirst);
                QVERIFY(done.key == payloadOf(2, 7).key); // its tail before its head
            }
        QVERIFY(any);
    }

    void dropsWhatOnlyThisSessionNeeds()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"));
        putChain(*store, 1, 4, 4000, SessionId{1}); // shared by both
        auto fork = payloadOf(2, 4, 4000, SessionId{2});
        fork.parent = payloadOf(1, 3).key.name;
        store->put(fork);
        putChain(*store, 3, 2, 4000, SessionId{2}); // an old branch of session 2 without a tip
        store->setTip(SessionId{1}, MessageId{1}, payloadOf(1, 3).key.name);
        store->setTip(SessionId{2}, MessageId{2}, fork.key.name);
        QVERIFY(store->flush());
        QCOMPARE(store->usage(SessionId{1}).bytes, std::uint64_t(16000));
        QCOMPARE(store->usage(SessionId{2}).bytes, std::uint64_t(28000));
        QCOMPARE(store->usage(SessionId{2}).blocks, 7u);
        store->dropSession(SessionId{2});
        QVERIFY(store->flush());
        QCOMPARE(store->stats().payloads, std::uint64_t(4));
        QCOMPARE(store->usage(SessionId{2}).bytes, std::uint64_t(0));
        QCOMPARE(store->usage(SessionId{1}).bytes, std::uint64_t(16000));
    }

    void tipsAndRootsSurviveARestart()
    {
        test::Folder folder;
        const kv::CacheIdentity identity{"fingerprint", "tokenizer", "rope", "k=f16,v=f16", 16};
        {
            auto store = openStore(folder.path("kvcache.db"));
            store->rememberRoot(identity, "salt");
            putChain(*store, 1, 3);
            store->setTip(SessionId{7}, MessageId{70}, payloadOf(1, 2).key.name);
        }
        auto store = openStore(folder.path("kvcache.db"));
        QCOMPARE(store->usage(SessionId{7}).blocks, 3u);
        const auto root = store->root(kv::rootName(identity, "salt"));
        QVERIFY(root);
        QCOMPARE(root->identity.kvTypes, identity.kvTypes);
        QCOMPARE(root->salt, std::string("salt"));
        const auto nodes = store->sessionNodes(SessionId{7});
        QCOMPARE(nodes.size(), std::size_t(3));
        QVERIFY(nodes[1].parent == nodes[0].name);
        QVERIFY(nodes[2].tokens == payloadOf(1, 2).tokens);
    }

    void declinesWhatDoesNotFitTheQueue()
    {
        test::Folder folder;
        auto store = *KvStore::open({.file = folder.path("kvcache.db"), .pendingBytes = 10'000, .minFreeBytes = 0});
        QVERIFY(!store->put(payloadOf(1, 0, 10'001)));
        QCOMPARE(store->stats().declined, std::uint64_t(1));
        QVERIFY(store->put(payloadOf(1, 0, 9'000)));
        QVERIFY(store->flush());
    }

    void aNearlyFullDiskStopsStoringAndSaysSo()
    {
        test::Folder folder;
        auto store = *KvStore::open({.file = folder.path("kvcache.db"), .minFreeBytes = UINT64_MAX / 2});
        putChain(*store, 1, 3);
        QVERIFY(store->flush());
        QCOMPARE(store->stats().payloads, std::uint64_t(0));
        QCOMPARE(store->stats().declined, std::uint64_t(3));
        const auto notices = store->takeNotices();
        QCOMPARE(notices.size(), std::size_t(1));
        QVERIFY(notices[0].find("nearly full") != std::string::npos);
    }

    void aLaterProcessReadsAndStoresNothing()
    {
        test::Folder folder;
        auto first = openStore(folder.path("kvcache.db"));
        putChain(*first, 1, 3);
        QVERIFY(first->flush());
        auto second = *KvStore::open({.file = folder.path("kvcache.db"), .writable = false});
        QVERIFY(!second->writable());
        QCOMPARE(readBack(*second, payloadOf(1, 1)), ReadOutcome::ok);
        QVERIFY(!second->put(payloadOf(2, 0)));
        second->setTip(SessionId{1}, MessageId{1}, payloadOf(1, 0).key.name);
        second->dropSession(SessionId{1});
        QVERIFY(second->flush());
        QCOMPARE(first->stats().payloads, std::uint64_t(3));
        auto none = KvStore::open({.file = folder.path("nothing.db"), .writable = false});
        QVERIFY(none);
        QVERIFY(!std::filesystem::exists(folder.path("nothing.db")));
    }

    void foreignNewerAndDamagedFilesAreSetAside_data()
    {
        QTest::addColumn<QByteArray>("sql");
        QTest::newRow("foreign") << QByteArray("PRAGMA application_id=77; PRAGMA user_version=1; CREATE TABLE t(x)");
        QTest::newRow("newer") << QByteArray("PRAGMA application_id=1263225686; PRAGMA user_version=99; CREATE TABLE t(x)");
        QTest::newRow("other tables")
            << QByteArray("PRAGMA application_id=1263225686; PRAGMA user_version=1; CREATE TABLE payload(x)");
        QTest::newRow("no database") << QByteArray();
    }
    void foreignNewerAndDamagedFilesAreSetAside()
    {
        QFETCH(QByteArray, sql);
        test::Folder folder;
        const auto file = folder.path("kvcache.db");
        if (sql.isEmpty()) {
            test::writeBytes(file, std::vector<char>(10'000, 'x'));
        } else {
            auto db = *sql::Database::open(file, {});
            QVERIFY(db->exec(sql.toStdString()));
        }
        auto store = openStore(file);
        QVERIFY(store && store->writable());
        QVERIFY(store->takeNotices().size() == 1);
        QVERIFY(std::filesystem::exists(folder.path("kvcache.db.damaged-1")));
        putChain(*store, 1, 2);
        QVERIFY(store->flush());
        QCOMPARE(readBack(*store, payloadOf(1, 1)), ReadOutcome::ok);
    }

    void aFileThatIsDeletedWhileOpenIsMadeAnew()
    {
        test::Folder folder;
        const auto file = folder.path("kvcache.db");
        {
            auto store = openStore(file);
            store->rememberRoot({.modelFingerprint = "m"}, "salt");
            store->claim(77);
            putChain(*store, 1, 3);
            QVERIFY(store->flush());
            store->takeCompletions();
            std::filesystem::remove(file);
            putChain(*store, 2, 4);
            QVERIFY(store->flush());
            const auto notices = store->takeNotices();
            QCOMPARE(notices.size(), std::size_t(1));
            QVERIFY(notices[0].find("was deleted") != std::string::npos);
            const auto done = store->takeCompletions();
            QCOMPARE(std::ranges::count(done, KvCompletion::Kind::removed, &KvCompletion::kind), 3);
            QCOMPARE(std::ranges::count(done, KvCompletion::Kind::stored, &KvCompletion::kind), 4);
            QCOMPARE(readBack(*store, payloadOf(2, 3)), ReadOutcome::ok);
        }
        auto store = openStore(file);
        QCOMPARE(store->stats().payloads, std::uint64_t(4));
        QCOMPARE(readBack(*store, payloadOf(2, 0)), ReadOutcome::ok);
        QVERIFY(store->root(kv::rootName({.modelFingerprint = "m"}, "salt")).has_value());
        QVERIFY(store->takeNotices().empty());
    }

    void anotherPageSizeIsNoFault()
    {
        test::Folder folder;
        {
            auto store = openStore(folder.path("kvcache.db"), 64 << 20, 1024);
            putChain(*store, 1, 3);
        }
        auto store = openStore(folder.path("kvcache.db"), 64 << 20, 65536);
        QVERIFY(store->takeNotices().empty());
        QCOMPARE(readBack(*store, payloadOf(1, 2)), ReadOutcome::ok);
    }

    void aFileWhereTheFolderShouldBeIsAnError()
    {
        test::Folder folder;
        test::writeBytes(folder.path("plain"), {'x'});
        const auto store = KvStore::open({.file = folder.path("plain") / "kvcache.db"});
        QVERIFY(!store);
        QVERIFY(store.error().code == ErrorCode::full);
    }

    // Any byte of a stored file flipped: what is read is right or not there, and the store works on.
    void noFlippedByteGivesAWrongPayload()
    {
        test::Folder folder;
        const auto file = folder.path("kvcache.db");
        {
            auto store = openStore(file, 64 << 20, 512);
            store->rememberRoot({"fp", "tok", "rope", "kv", 16}, "s");
            for (std::uint32_t i = 0; i < 4; ++i)
                store->put(payloadOf(1, i, 700));
            store->setTip(SessionId{1}, MessageId{1}, payloadOf(1, 3).key.name);
        }
        const auto whole = test::readBytes(file);
        QVERIFY(whole.size() > 4000);
        int setAside = 0, dropped = 0;
        for (std::size_t at = 0; at < whole.size(); at += at < 1024 ? 7 : 89) {
            auto bytes = whole;
            bytes[at] = char(bytes[at] ^ (1 << (at % 8)));
            for (const auto &entry : std::filesystem::directory_iterator(folder.dir.path().toStdString()))
                std::filesystem::remove(entry.path());
            test::writeBytes(file, bytes);
            auto store = openStore(file, 64 << 20, 512);
            QVERIFY2(store, qPrintable(QString("byte %1").arg(at)));
            for (std::uint32_t i = 0; i < 4; ++i) {
                const auto outcome = readBack(*store, payloadOf(1, i, 700));
                QVERIFY2(outcome != ReadOutcome(99), qPrintable(QString("byte %1").arg(at)));
                dropped += outcome == ReadOutcome::corrupt;
            }
            (void)store->usage(SessionId{1});
            (void)store->sessionNodes(SessionId{1});
            store->put(payloadOf(2, 0, 700));
            (void)store->flush();
            setAside += int(store->takeNotices().size());
            QCOMPARE(store->contains(payloadOf(2, 0, 700).key) || !store->writable() || !store->takeNotices().empty() ||
                         store->stats().declined > 0, true);
        }
        QVERIFY(setAside > 0); // the flips were felt
        QVERIFY(dropped > 0);
    }

    void aKilledProcessLosesNothingThatWasCommitted()
    {
        test::Folder folder;
        const auto file = folder.path("kvcache.db");
        test::ChildProcess child("putsUntilItIsKilled", file);
        QVERIFY(child.waitUntilReady());
        usleep(20'000);
        child.kill();
        auto store = openStore(file);
        QVERIFY(store->takeNotices().empty());
        for (std::uint32_t i = 0; i < 8; ++i)
            QCOMPARE(readBack(*store, payloadOf(1, i, 200'000)), ReadOutcome::ok);
        bool wrong = false;
        for (std::uint32_t i = 8; i < 500; ++i)
            wrong |= store->contains(payloadOf(1, i).key) && readBack(*store, payloadOf(1, i, 200'000)) != ReadOutcome::ok;
        QVERIFY(!wrong);
    }

    void readsWhileTheWriterWorks()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"), 3'000'000, 65536);
        putChain(*store, 1, 10, 50'000);
        QVERIFY(store->flush());
        std::jthread writer([&] {
            for (std::uint32_t i = 0; i < 200; ++i)
                store->put(payloadOf(2 + i / 100, i % 100, 50'000));
            (void)store->flush();
        });
        int wrong = 0;
        for (int round = 0; round < 20; ++round)
            for (std::uint32_t i = 0; i < 10; ++i)
                wrong += readBack(*store, payloadOf(1, i, 50'000)) == ReadOutcome(99);
        writer.join();
        QCOMPARE(wrong, 0);
        QCOMPARE(store->stats().corrupt, std::uint64_t(0));
        for (const auto &done : store->takeCompletions())
            QCOMPARE(store->contains(done.key) || done.kind == KvCompletion::Kind::removed ||
                         store->stats().evicted > 0, true);
    }

    void aSmallerQuotaEvictsAtOnceAndGivesTheDiskBack()
    {
        test::Folder folder;
        auto store = openStore(folder.path("kvcache.db"), 64 << 20);
        putChain(*store, 1, 100, 20'000);
        QVERIFY(store->flush());
        store->setQuota(500'000);
        QVERIFY(store->flush());
        QVERIFY(store->stats().bytes < 500'000);
        QVERIFY(store->contains(payloadOf(1, 0).key));
        store.reset();
        QVERIFY(std::filesystem::file_size(folder.path("kvcache.db")) < 1'200'000);
    }
};

KVILT_TEST_CLASS(KvStoreTest)
#include "tst_kv_store.moc"

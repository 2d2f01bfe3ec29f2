// SPDX-License-Identifier: Apache-2.0
#include "engine/store/kvilt_file.h"
#include "engine/store/session_store.h"
#include "engine/store/transcript.h"
#include "tests/engine/store/store_fixture.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <set>

using namespace kvilt;
using namespace kvilt::store;

namespace {

const kv::CacheIdentity kIdentity{"fingerprint", "tokenizer", "rope", "k=f16,v=f16", 16};

struct Profile {
    test::Folder folder;
    SessionStore sessions{{.file = folder.path("sessions.db"), .reserveBytes = 0}};
    std::unique_ptr<KvStore> kv = *KvStore::open({.file = folder.path("kvcache.db"), .minFreeBytes = 0});

    auto on(auto work) { return sessions.call(work); }
};

// A session of two branches whose KV is a chain under a real root.
SessionRow fill(Profile &profile, std::uint32_t blocks)
{
    SessionRow session = *profile.on([](SessionDb &db) { return db.createSession({.title = "Foxes", .tags = {"a"}}); });
    const auto add = [&](MessageId parent, api::Role role, std::string text) {
        MessageRow row;
        row.session = session.id;
        row.parent = parent;
        row.role = role;
        row.text = std::move(text);
        row.ids = {1, 2, 3};
        row.tokenizer = "tok";
        return profile.sessions.append(row)->id;
    };
    const MessageId user = add({}, api::Role::user, "q");
    add(user, api::Role::assistant, "first");
    add(user, api::Role::assistant, "second");
    kv::BlockName parent = kv::rootName(kIdentity, "");
    profile.kv->rememberRoot(kIdentity, "");
    for (std::uint32_t i = 0; i < blocks; ++i) {
        auto payload = test::payloadOf(1, i, 300, session.id);
        payload.parent = parent;
        payload.key.name = parent = kv::childName(parent, payload.tokens);
        profile.kv->put(std::move(payload));
    }
    profile.kv->setTip(session.id, user, parent);
    (void)profile.kv->flush();
    return *profile.on([&](SessionDb &db) { return db.session(session.id); }).value();
}

Result<KviltExported> exportTo(Profile &profile, const SessionRow &session, const std::filesystem::path &file, bool kv)
{
    return writeKviltFile(file, {session, *profile.on([&](SessionDb &db) { return db.tree(session.id); }),
                                 kv ? profile.kv.get() : nullptr});
}

} // namespace

class KviltFileTest : public QObject {
    Q_OBJECT
private slots:
    void aSessionMovesWithItsTreeAndKv()
    {
        Profile from, to;
        const SessionRow session = fill(from, 4);
        const auto file = from.folder.path("chat.kvilt");
        const auto written = exportTo(from, session, file, true);
        QVERIFY(written);
        QCOMPARE(written->kvPayloads, 4u);
        const auto imported = to.on([&](SessionDb &db) { return importKviltFile(file, db, to.kv.get()); });
        QVERIFY2(imported, imported ? "" : imported.error().message.c_str());
        QCOMPARE(imported->messages, 3u);
        QCOMPARE(imported->kvPayloads, 4u);
        const auto chat = to.sessions.conversation(imported->session);
        QCOMPARE(chat->session.title, std::string("Foxes"));
        QCOMPARE(chat->messages.back().text, std::string("second"));
        QCOMPARE(chat->messages.back().branchCount, 2);
        QVERIFY(chat->messages.back().ids == (std::vector<TokenId>{1, 2, 3}));
        QVERIFY(to.kv->flush());
        QCOMPARE(to.kv->usage(imported->session).blocks, 4u);
    }

    // Ids are small numbers: those of another profile would name other messages here.
    void idsInsideAMessageAreMadeThisProfilesOwn()
    {
        Profile from, to;
        const SessionRow session = fill(from, 1);
        auto rows = *from.on([&](SessionDb &db) { return db.tree(session.id); });
        const auto first = rows.front().id.value;
        rows[1].receipt = R"({"turn":77,"context_start":)" + std::to_string(first) +
                          R"(,"miss":{"cached_path":[5,6]},"prompt_tokens":9})";
        rows[2].receipt = R"({"context_start":4711})";
        rows[1].json = R"({"role":"assistant","refusal":null})";
        rows[2].json = std::string(100'000, '[');
        const auto file = from.folder.path("chat.kvilt");
        QVERIFY(writeKviltFile(file, {session, rows, nullptr}));
        (void)to.on([](SessionDb &db) { return db.createConversation({.session = {}, .messages = {{}, {}, {}}}); });
        const auto imported = to.on([&](SessionDb &db) { return importKviltFile(file, db, nullptr); });
        QVERIFY(imported);
        const auto tree = *to.on([&](SessionDb &db) { return db.tree(imported->session); });
        QVERIFY(tree[0].id.value != first);
        QCOMPARE(QByteArray::fromStdString(tree[1].receipt),
                 QByteArray(R"({"turn":0,"context_start":)") + QByteArray::number(qlonglong(tree[0].id.value)) +
                     R"(,"miss":{"cached_path":[]},"prompt_tokens":9})");
        QCOMPARE(QByteArray::fromStdString(tree[2].receipt), QByteArray(R"({"context_start":0,"turn":0})"));
        QCOMPARE(tree[1].json, rows[1].json);
        QCOMPARE(tree[2].json, std::string());
        QCOMPARE(tree[1].tokenizer, std::string("imported:tok"));
    }

    // What came from a file answers only the session it came with.
    void importedKvLivesUnderASaltOfItsOwn()
    {
        Profile profile;
        const SessionRow session = fill(profile, 3);
        const auto file = profile.folder.path("chat.kvilt");
        QVERIFY(exportTo(profile, session, file, true));
        std::set<std::string> salts{""};
        for (int i = 0; i < 2; ++i) {
            const auto imported = profile.on([&](SessionDb &db) { return importKviltFile(file, db, profile.kv.get()); });
            QVERIFY(imported);
            const auto row = **profile.on([&](SessionDb &db) { return db.session(imported->session); });
            QVERIFY(salts.insert(row.salt).second);
            const auto nodes = profile.kv->sessionNodes(imported->session);
            QCOMPARE(nodes.size(), std::size_t(3));
            QVERIFY(nodes[0].parent == kv::rootName(kIdentity, row.salt));
            QVERIFY(nodes[1].name == kv::childName(nodes[0].name, nodes[1].tokens));
        }
        QVERIFY(profile.kv->flush());
        QCOMPARE(profile.kv->stats().payloads, std::uint64_t(9));
    }

    void everyFlippedByteIsRefusedAsAWhole()
    {
        Profile from, to;
        const auto file = from.folder.path("chat.kvilt");
        QVERIFY(exportTo(from, fill(from, 2), file, true));
        const auto whole = test::readBytes(file);
        for (std::size_t at = 0; at < whole.size(); ++at) {
            auto bytes = whole;
            bytes[at] = char(bytes[at] ^ (1 << (at % 8)));
            test::writeBytes(file, bytes);
            const auto imported = to.on([&](SessionDb &db) { return importKviltFile(file, db, to.kv.get()); });
            QVERIFY2(!imported, qPrintable(QString("byte %1").arg(at)));
        }
        QCOMPARE(to.sessions.list()->size(), std::size_t(0));
        QCOMPARE(to.kv->stats().payloads, std::uint64_t(0));
    }

    void everyTruncationIsRefused()
    {
        Profile from, to;
        const auto file = from.folder.path("chat.kvilt");
        QVERIFY(exportTo(from, fill(from, 1), file, true));
        auto bytes = test::readBytes(file);
        auto longer = bytes;
        longer.push_back('x');
        while (!bytes.empty()) {
            bytes.pop_back();
            test::writeBytes(file, bytes);
            QVERIFY(!to.on([&](SessionDb &db) { return importKviltFile(file, db, to.kv.get()); }));
        }
        test::writeBytes(file, longer);
        QVERIFY(!to.on([&](SessionDb &db) { return importKviltFile(file, db, to.kv.get()); }));
        QCOMPARE(to.sessions.list()->size(), std::size_t(0));
    }

    // A frame that claims more than the file holds must not be allocated.
    void aHugeLengthIsRefusedAtOnce()
    {
        Profile to;
        std::vector<char> bytes{'\x89', 'K', 'V', 'I', 'L', 'T', '\r', '\n', 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
        for (int i = 0; i < 8; ++i)
            bytes.push_back(i == 7 ? '\x7f' : '\xff');
        bytes.resize(bytes.size() + 64);
        const auto file = to.folder.path("huge.kvilt");
        test::writeBytes(file, bytes);
        const auto imported = to.on([&](SessionDb &db) { return importKviltFile(file, db, nullptr); });
        QVERIFY(!imported && imported.error().code == ErrorCode::badInput);
    }

    void aMissingFileAndAnUnwritableFolderAreSentences()
    {
        Profile profile;
        const auto none = profile.on(
            [&](SessionDb &db) { return importKviltFile(profile.folder.path("none.kvilt"), db, nullptr); });
        QVERIFY(!none && none.error().code == ErrorCode::notFound);
        const auto session = fill(profile, 0);
        const auto bad = exportTo(profile, session, profile.folder.path("no/such/folder.kvilt"), false);
        QVERIFY(!bad && bad.error().code == ErrorCode::badInput); // a wrong argument, not a full disk
    }

    void markdownAndOpenAiJson()
    {
        StoredConversation chat;
        chat.session.title = "A\nB";
        chat.messages.resize(2);
        chat.messages[0].text = "hello";
        chat.messages[1].role = api::Role::assistant;
        chat.messages[1].text = "\"hi\"\n";
        QCOMPARE(toMarkdown(chat), std::string("# A B\n\n## User\n\nhello\n\n## Assistant\n\n\"hi\"\n"));
        const auto back = fromOpenAiJson(toOpenAiJson(chat));
        QVERIFY(back);
        QCOMPARE(back->session.title, chat.session.title);
        QCOMPARE(back->messages.size(), std::size_t(2));
        QCOMPARE(back->messages[1].text, chat.messages[1].text);
        QVERIFY(back->messages[1].role == api::Role::assistant);
        QVERIFY(back->messages[1].json.empty());
    }

    void toolCallsAndPartsAreKept()
    {
        const auto chat = fromOpenAiJson(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}])");
        QVERIFY(chat);
        QCOMPARE(chat->messages[0].text, std::string("ab"));
        const auto again = toOpenAiJson(*chat);
        QVERIFY(again.find("tool_calls") != std::string::npos);
        QVERIFY(fromOpenAiJson(again)->messages[0].text == "ab");
    }

    void badJsonIsOneSentence_data()
    {
        QTest::addColumn<QByteArray>("text");
        QTest::newRow("nothing") << QByteArray();
        QTest::newRow("no JSON") << QByteArray("{");
        QTest::newRow("a number") << QByteArray("7");
        QTest::newRow("no messages") << QByteArray("{}");
        QTest::newRow("an empty list") << QByteArray("[]");
        QTest::newRow("an empty list of messages") << QByteArray(R"({"messages":[]})");
        QTest::newRow("a question without content") << QByteArray(R"([{"role":"user"}])");
        QTest::newRow("no role") << QByteArray(R"([{"content":"x"}])");
        QTest::newRow("unknown role") << QByteArray(R"([{"role":"robot","content":"x"}])");
        QTest::newRow("an image") << QByteArray(R"([{"role":"user","content":[{"type":"image_url"}]}])");
        QTest::newRow("content is a number") << QByteArray(R"([{"role":"user","content":5}])");
        QTest::newRow("a million brackets") << QByteArray(1'000'000, '[');
        QTest::newRow("invalid UTF-8") << QByteArray("[{\"role\":\"user\",\"content\":\"\xff\"}]");
    }
    void badJsonIsOneSentence()
    {
        QFETCH(QByteArray, text);
        const auto chat = fromOpenAiJson(text.toStdString());
        QVERIFY(!chat && chat.error().code == ErrorCode::badInput);
        QVERIFY(chat.error().message.ends_with('.'));
    }

    void aRowsJsonNestedTooDeeplyIsLeftOut()
    {
        MessageRow row;
        row.role = api::Role::user;
        row.text = "hello";
        row.json = R"({"role":"user","a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
        const auto back = fromOpenAiJson(toOpenAiJson({.session = {}, .messages = {row}}));
        QCOMPARE(back->messages.size(), std::size_t(1));
        QCOMPARE(back->messages[0].text, row.text);
        QCOMPARE(back->messages[0].json, std::string());
    }
};

KVILT_TEST_CLASS(KviltFileTest)
#include "tst_kvilt_file.moc"

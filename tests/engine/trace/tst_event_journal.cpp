// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "engine/store/event_store.h"
#include "engine/store/sqlite.h"
#include "engine/trace/event_export.h"
#include "engine/trace/event_journal.h"
#include "engine/trace/event_pack.h"
#include "tests/engine/store/store_fixture.h"
#include "tests/support/test_registry.h"

#include <nlohmann/json.hpp>

#include <QTest>

#include <cstring>
#include <set>

#include <random>
#include <sstream>

#undef emit // Qt's empty keyword; here it is EventSink's method

using namespace kvilt;
using namespace kvilt::trace;

namespace {

api::CacheEvent eventOf(std::uint64_t i, std::uint32_t session = 1, std::int64_t turn = 10)
{
    api::CacheEvent e;
    e.timeNs = 1'700'000'000'000'000'000 + i * 1000;
    e.node = i;
    e.sequence = 3;
    e.turn = turn;
    e.session = session;
    e.block = std::uint32_t(i % 100);
    e.references = std::uint16_t(i % 3);
    e.kind = api::EventKind(i % api::kEventKinds);
    e.reason = api::EventReason(i % api::kEventReasons);
    e.a = std::uint32_t(i * 16);
    return e;
}

std::vector<api::CacheEvent> all(const EventJournal &journal, const EventFilter &filter = {})
{
    std::vector<api::CacheEvent> events;
    const auto result = journal.visit(filter, [&](const api::CacheEvent &e) { events.push_back(e); });
    if (!result)
        qWarning("%s", result.error().message.c_str());
    return events;
}

std::string exported(const EventJournal &journal, const std::filesystem::path &file, ExportFormat format)
{
    const auto done = exportEvents([&](const auto &visit) { return journal.visit({}, visit); }, file, format);
    if (!done)
        return "error: " + done.error().message;
    const auto bytes = test::readBytes(file);
    return {bytes.begin(), bytes.end()};
}

} // namespace

class EventJournalTest : public QObject {
    Q_OBJECT
private slots:
    void packedEventsComeBackAndAreSmall()
    {
        std::vector<api::CacheEvent> events;
        for (std::uint64_t i = 1; i <= 1000; ++i) {
            events.push_back(eventOf(i));
            events.back().sequenceNumber = i;
        }
        events.push_back({.sequenceNumber = UINT64_MAX, .timeNs = UINT64_MAX, .turn = INT64_MIN, .a = UINT32_MAX});
        const auto packed = packEvents(events);
        QVERIFY(packed.size() < events.size() * 24);
        const auto back = unpackEvents(packed, events.size());
        QVERIFY(back);
        QVERIFY(std::memcmp(back->data(), events.data(), events.size() * sizeof(api::CacheEvent)) == 0);
        QVERIFY(!unpackEvents(packed, events.size() + 1));
        QVERIFY(!unpackEvents(packed, events.size() - 1));
        QVERIFY(!unpackEvents(packed, UINT64_MAX));
    }

    void randomBytesAreNoEvents()
    {
        std::mt19937 random(7);
        for (int round = 0; round < 2000; ++round) {
            std::vector<std::byte> bytes(random() % 200);
            for (auto &byte : bytes)
                byte = std::byte(random());
            const auto events = unpackEvents(bytes, random() % 20);
            for (const auto &e : events.value_or(std::vector<api::CacheEvent>()))
                QVERIFY(toString(e.kind) != "unknown" && toString(e.reason) != "unknown");
        }
    }

    void numbersGoOnAfterARestartAndNothingIsLost()
    {
        test::Folder folder;
        for (std::uint64_t run = 0; run < 3; ++run) {
            auto store = *store::EventStore::open({.file = folder.path("events.db")});
            EventRing ring(64);
            EventJournal journal({.store = store.get(), .ring = &ring, .chunkEvents = 100});
            QCOMPARE(journal.nextNumber(), run * 250 + 1);
            for (std::uint64_t i = 0; i < 250; ++i)
                journal.emit(eventOf(i, 1 + std::uint32_t(run), std::int64_t(run)));
            QCOMPARE(ring.dropped(), std::uint64_t(250 - 64));
            journal.endTurn(SessionId{1 + std::int64_t(run)}, TurnId{std::int64_t(run)});
            QCOMPARE(journal.lost(), std::uint64_t(0));
            QCOMPARE(all(journal).size(), std::size_t((run + 1) * 250));
        }
        auto store = *store::EventStore::open({.file = folder.path("events.db"), .writable = false});
        EventJournal journal({.store = store.get()});
        const auto events = all(journal);
        for (std::size_t i = 0; i < events.size(); ++i)
            QCOMPARE(events[i].sequenceNumber, std::uint64_t(i + 1));
        QCOMPARE(all(journal, {.session = SessionId{2}}).size(), std::size_t(250));
        QCOMPARE(all(journal, {.turn = TurnId{2}}).size(), std::size_t(250));
        QCOMPARE(all(journal, {.firstNumber = 740, .endNumber = 745}).size(), std::size_t(5));
    }

    void withoutAStoreTheNewestStay()
    {
        EventJournal journal({.chunkEvents = 10, .memoryEvents = 50});
        for (std::uint64_t i = 0; i < 200; ++i)
            journal.emit(eventOf(i));
        const auto events = all(journal);
        QVERIFY(events.size() >= 40 && events.size() <= 60);
        QCOMPARE(events.back().sequenceNumber, std::uint64_t(200));
        QCOMPARE(journal.lost() + events.size(), std::uint64_t(200));
    }

    void theQuotaForgetsTheOldest()
    {
        test::Folder folder;
        auto store = *store::EventStore::open({.file = folder.path("events.db"), .quotaBytes = 200'000});
        EventJournal journal({.store = store.get(), .chunkEvents = 500});
        for (std::uint64_t i = 0; i < 50'000; ++i)
            journal.emit(eventOf(i));
        journal.flush();
        QVERIFY(store->flush());
        const auto events = all(journal);
        QVERIFY(events.size() > 2000 && events.size() < 20'000);
        QCOMPARE(events.back().sequenceNumber, std::uint64_t(50'000));
        QVERIFY(std::filesystem::file_size(folder.path("events.db")) < 300'000);
    }

    void noFlippedByteStopsTheProgram()
    {
        test::Folder folder;
        const auto file = folder.path("events.db");
        {
            auto store = *store::EventStore::open({.file = file});
            EventJournal journal({.store = store.get(), .chunkEvents = 50});
            for (std::uint64_t i = 0; i < 300; ++i)
                journal.emit(eventOf(i));
            journal.endTurn(SessionId{1}, TurnId{10});
        }
        const auto whole = test::readBytes(file);
        int fewer = 0;
        for (std::size_t at = 0; at < whole.size(); at += at < 100 ? 5 : 397) {
            auto bytes = whole;
            bytes[at] = char(bytes[at] ^ (1 << (at % 8)));
            for (const auto &entry : std::filesystem::directory_iterator(folder.dir.path().toStdString()))
                std::filesystem::remove(entry.path());
            test::writeBytes(file, bytes);
            auto store = store::EventStore::open({.file = file});
            QVERIFY2(store, qPrintable(QString("byte %1").arg(at)));
            std::size_t count = 0;
            bool wrong = false;
            (void)(*store)->visit({}, [&](const api::CacheEvent &e) {
                ++count;
                wrong |= e.node != e.sequenceNumber - 1 || e.turn != 10;
            });
            QVERIFY2(!wrong, qPrintable(QString("byte %1").arg(at)));
            fewer += count != 300;
        }
        QVERIFY(fewer > 0);
    }

    void exportsJsonAsOneDocumentOrLines()
    {
        test::Folder folder;
        EventJournal journal({});
        QCOMPARE(exported(journal, folder.path("none.json"), ExportFormat::json), std::string("[]\n"));
        for (std::uint64_t i = 0; i < 3; ++i)
            journal.emit(eventOf(i));
        journal.emit({.kind = api::EventKind::miss, .reason = api::EventReason::neverStored});
        const auto document = nlohmann::json::parse(exported(journal, folder.path("a.json"), ExportFormat::json));
        QCOMPARE(document.size(), std::size_t(4));
        QCOMPARE(document[0]["sequence_number"].get<int>(), 1);
        QCOMPARE(document[3]["kind"].get<std::string>(), std::string("miss"));
        QCOMPARE(document[3]["reason"].get<std::string>(), std::string("never-stored"));
        QVERIFY(document[3]["block"].is_null());
        std::istringstream lines(exported(journal, folder.path("a.jsonl"), ExportFormat::jsonLines));
        int count = 0;
        for (std::string line; std::getline(lines, line); ++count)
            QVERIFY(nlohmann::json::parse(line).contains("time_ns"));
        QCOMPARE(count, 4);
    }

    void exportsPerfettoAndSqlite()
    {
        test::Folder folder;
        EventJournal journal({});
        for (std::uint64_t i = 0; i < 30; ++i)
            journal.emit(eventOf(i));
        const auto trace = nlohmann::json::parse(exported(journal, folder.path("t.json"), ExportFormat::perfetto));
        QVERIFY(trace["traceEvents"].size() >= 30);
        std::set<std::string> phases;
        for (const auto &slice : trace["traceEvents"])
            phases.insert(slice["ph"]);
        QCOMPARE(phases, (std::set<std::string>{"C", "X", "i"}));
        QVERIFY(!exported(journal, folder.path("t.db"), ExportFormat::sqlite).starts_with("error"));
        auto db = *store::sql::Database::open(folder.path("t.db"), {});
        QCOMPARE(*db->integer("SELECT count(*) FROM event WHERE kind='seal'"), std::int64_t(2));
        const auto bad = exportEvents([&](const auto &visit) { return journal.visit({}, visit); },
                                      folder.path("no/folder.json"), ExportFormat::json);
        QVERIFY(!bad);
    }
};

KVILT_TEST_CLASS(EventJournalTest)
#include "tst_event_journal.moc"

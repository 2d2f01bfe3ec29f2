// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "tests/ui/support/sample_cache.h"
#include "ui/models/event_log.h"
#include "ui/models/event_rows.h"
#include "ui/models/event_words.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;
using namespace kvilt::test;
using api::EventKind;
using api::EventReason;

namespace {

EventContext context()
{
    return {.titleOf = [](SessionId id) {
                return id.value == 3 ? QStringLiteral("Heap sort") : id.value == 2 ? QStringLiteral("Mars") : QStringLiteral("Sky");
            },
            .groupName = {},
            .blockSize = 16};
}

QString line(const EventLog &log, const EventRows &rows, std::size_t row)
{
    const auto &event = log.at(rows[row].first);
    return kindWord(event.kind) + QStringLiteral(" | ") + eventObject(rows[row], event, context()) + QStringLiteral(" | ")
           + eventDetail(rows[row], event, context());
}

} // namespace

class EventRowsTest : public QObject {
    Q_OBJECT
private slots:
    void groupsWhatOneStepDid();
    void saysReasonsInWords();
    void keepsAMillionAndDropsTheOldest();
    void filtersByKindSessionAndBlock();
    void searchesWordsTitlesAndNumbers();
    void interleavedEventsStillGroup();
    void rowsGoWithTheirEvents();
    void everyKindAndReasonHasWords();
};

void EventRowsTest::groupsWhatOneStepDid()
{
    EventLog log;
    log.append(sampleEvents(), 0);
    EventRows rows(log);
    rows.update();
    QCOMPARE(rows.size(), std::size_t(6));
    QCOMPARE(rows[0].count, 24u);
    QCOMPARE(rows[0].sumA, 24u * 368640u);
    QCOMPARE(rows[1].count, 6u);
}

void EventRowsTest::saysReasonsInWords()
{
    EventLog log;
    log.append(sampleEvents(), 0);
    EventRows rows(log);
    rows.update();
    QCOMPARE(line(log, rows, 0), QStringLiteral("restore | 24 blocks | Mars, from disk, 8.4 MiB, 9 ms"));
    QCOMPARE(line(log, rows, 1), QStringLiteral("dead | 6 blocks | reply regenerated, Sky"));
    QCOMPARE(line(log, rows, 2), QStringLiteral("miss | 17 tokens | new words, never stored, Sky, from token 1,088"));
    QCOMPARE(line(log, rows, 3), QStringLiteral("hit | 68 blocks | Sky, 1,088 of 1,105 tokens, memory"));
    QCOMPARE(line(log, rows, 4), QStringLiteral("evict | block 118 | lru, idle 84 s, used 3×: Heap sort"));
    QCOMPARE(line(log, rows, 5), QStringLiteral("alloc | block 107 | Sky, its 76th block"));
}

void EventRowsTest::keepsAMillionAndDropsTheOldest()
{
    EventLog log;
    std::vector<api::CacheEvent> batch(100'000);
    std::uint64_t n = 0;
    for (int round = 0; round < 11; ++round) {
        for (auto &event : batch)
            event.sequenceNumber = n++;
        log.append(batch, 0);
    }
    QVERIFY(log.size() >= 1'000'000);
    QVERIFY(log.begin() > 0);
    QCOMPARE(log.at(log.begin()).sequenceNumber, log.begin());
    QCOMPARE(log.at(log.end() - 1).sequenceNumber, n - 1);
    QCOMPARE(log.end(), n);
}

void EventRowsTest::filtersByKindSessionAndBlock()
{
    EventLog log;
    log.append(sampleEvents(), 0);
    EventRows rows(log);
    EventFilter filter;
    QVERIFY(filter.everything());
    filter.kinds = 1u << unsigned(EventKind::evict);
    rows.setFilter(filter);
    QCOMPARE(rows.size(), std::size_t(1));
    filter = {};
    filter.session = SessionId{2};
    rows.setFilter(filter);
    QCOMPARE(rows.size(), std::size_t(1));
    QCOMPARE(rows[0].count, 24u);
    filter = {};
    filter.block = 112;
    rows.setFilter(filter);
    QCOMPARE(rows[0].count, 1u);
    filter.blockGroup = 1;
    rows.setFilter(filter);
    QCOMPARE(rows.size(), std::size_t(0));
}

void EventRowsTest::searchesWordsTitlesAndNumbers()
{
    EventLog log;
    log.append(sampleEvents(), 0);
    EventRows rows(log);
    const std::vector<std::pair<SessionId, QString>> titles{{SessionId{2}, QStringLiteral("Mars")},
                                                            {SessionId{3}, QStringLiteral("Heap sort")}};
    const auto found = [&](const QString &text) {
        EventFilter filter;
        compileSearch(filter, text, titles);
        rows.setFilter(filter);
        return rows.size();
    };
    QCOMPARE(found(QStringLiteral("heap")), std::size_t(1));
    QCOMPARE(found(QStringLiteral("never stored")), std::size_t(1));
    QCOMPARE(found(QStringLiteral("block 118")), std::size_t(1));
    QCOMPARE(found(QStringLiteral("118")), std::size_t(1));
    QCOMPARE(found(QStringLiteral("mars")), std::size_t(1));
    QCOMPARE(found(QStringLiteral("no such thing")), std::size_t(0));
    QCOMPARE(found(QStringLiteral("  ")), std::size_t(6));
}

void EventRowsTest::interleavedEventsStillGroup()
{
    EventLog log;
    std::vector<api::CacheEvent> events;
    for (std::uint32_t i = 0; i < 10; ++i) {
        events.push_back(sampleEvent(2 * i, EventKind::evict, i, 1, EventReason::lru, 1000, 1));
        events.push_back(sampleEvent(2 * i + 1, EventKind::allocate, i, 1, EventReason::none, i, 16));
    }
    events.push_back(sampleEvent(20, EventKind::allocate, 11, 2, EventReason::none, 0, 16)); // another chat
    log.append(events, 0);
    EventRows rows(log);
    rows.update();
    QCOMPARE(rows.size(), std::size_t(3));
    QCOMPARE(rows[0].count, 10u);
    QCOMPARE(rows[1].count, 10u);
}

void EventRowsTest::rowsGoWithTheirEvents()
{
    EventLog log(nullptr, EventLog::kChunk);
    EventRows rows(log);
    std::vector<api::CacheEvent> hits;
    for (std::size_t i = 0; i < EventLog::kChunk; ++i)
        hits.push_back(sampleEvent(i, EventKind::hit, kNoBlock.value, 1, EventReason::none, 16, 32));
    std::size_t dropped = 0;
    for (int round = 0; round < 3; ++round) {
        log.append(hits, 0);
        dropped += rows.update().dropped;
    }
    QCOMPARE(dropped, EventLog::kChunk);
    QCOMPARE(rows.size(), log.size());
    QCOMPARE(rows[0].first, log.begin());
}

void EventRowsTest::everyKindAndReasonHasWords()
{
    for (int k = 0; k < api::kEventKinds; ++k) {
        QVERIFY(!kindWord(EventKind(k)).isEmpty());
        QVERIFY(!kindsWord(EventKind(k)).isEmpty());
        const auto event = sampleEvent(1, EventKind(k), 5, 1, EventReason::none, 160, 16);
        QVERIFY(!eventObject({0, 0, 1, 160, 16}, event, context()).isEmpty());
    }
    for (int r = 1; r < api::kEventReasons; ++r)
        QVERIFY(!reasonWord(EventReason(r)).isEmpty());
    QVERIFY(reasonWord(EventReason::none).isEmpty());
}

KVILT_TEST_CLASS(EventRowsTest)
#include "tst_event_rows.moc"

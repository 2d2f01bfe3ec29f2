// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/models/live_branch.h"
#include "ui/models/plot_history.h"
#include "ui/models/time_series.h"
#include "ui/plots/time_view.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;

class TimeSeriesTest : public QObject {
    Q_OBJECT
private slots:
    void columnsKeepLowestAndHighest();
    void aValueHoldsUntilTheNext();
    void levelsAreKeptByTheirEnds();
    void capacityDropsTheOldest();
    void hitRateIsThatOfTheLastMinute();
    void hitRateStartsAgainWithAnotherModel();
    void viewFollowsUntilMoved();
    void zoomKeepsThePlaceUnderThePointer();
    void ticksAreRoundAndFew();
    void newBranchCutsTheOldOne();
};

void TimeSeriesTest::columnsKeepLowestAndHighest()
{
    TimeSeries series;
    for (int i = 0; i < 1000; ++i)
        series.add(i, i == 500 ? 99 : 1 + i % 2);
    const auto columns = series.columns(0, 1000, 10);
    QCOMPARE(columns.size(), std::size_t(10));
    QCOMPARE(columns[5].high, 99.0); // the spike shows
    QCOMPARE(columns[5].low, 1.0);
    QCOMPARE(columns[4].high, 2.0);
}

void TimeSeriesTest::aValueHoldsUntilTheNext()
{
    TimeSeries series;
    series.add(10, 5);
    series.add(20, 7);
    QCOMPARE(series.at(9, -1), -1.0);
    QCOMPARE(series.at(15, -1), 5.0);
    QCOMPARE(series.at(25, -1), 7.0);
    const auto columns = series.columns(0, 40, 4);
    QVERIFY(!columns[0].set);
    QCOMPARE(columns[1].high, 5.0);
    QCOMPARE(columns[2].low, 5.0);
    QCOMPARE(columns[2].high, 7.0);
    QCOMPARE(columns[3].low, 7.0);
    QVERIFY(series.columns(5, 5, 3)[0].set == false);
    QVERIFY(series.columns(0, 1, 0).empty());
}

void TimeSeriesTest::levelsAreKeptByTheirEnds()
{
    TimeSeries series;
    for (int i = 0; i < 1000; ++i)
        series.add(i, 3);
    QCOMPARE(series.size(), std::size_t(2));
    QCOMPARE(series.back().time, 999.0);
    series.add(1000, 4);
    QCOMPARE(series.at(999.5, 0), 3.0);
}

void TimeSeriesTest::capacityDropsTheOldest()
{
    TimeSeries series(16);
    for (int i = 0; i < 100; ++i)
        series.add(i, i);
    QCOMPARE(series.size(), std::size_t(16));
    QCOMPARE(series.front().value, 84.0);
}

void TimeSeriesTest::hitRateIsThatOfTheLastMinute()
{
    PlotHistory history;
    const auto counts = [&](double time, std::uint64_t asked, std::uint64_t hit) {
        api::PoolCounts c;
        c.timeNs = std::uint64_t(time * 1e9);
        c.capacity = 10;
        c.inUse = 3;
        c.partlyFilled = 1;
        c.cachedIdle = 2;
        c.free = 4;
        c.lookupTokens = asked;
        c.hitTokensMemory = hit;
        history.addCounts(c);
    };
    counts(1000, 0, 0);
    QVERIFY(history.hitRate().empty());
    counts(1010, 100, 0);
    QCOMPARE(history.hitRate().back().value, 0.0);
    counts(1020, 200, 100);
    QCOMPARE(history.hitRate().back().value, 0.5);
    counts(1100, 300, 200); // the first two lookups are older than a minute
    QCOMPARE(history.hitRate().back().value, 1.0);
    counts(1300, 300, 200); // nothing looked up since: it holds
    QCOMPARE(history.hitRate().back().value, 1.0);
    QCOMPARE(history.inUse().back().value, 4.0);
    QCOMPARE(history.occupied().back().value, 6.0);
}

void TimeSeriesTest::hitRateStartsAgainWithAnotherModel()
{
    PlotHistory history;
    api::PoolCounts c;
    c.timeNs = 1'000'000'000;
    c.lookupTokens = 1000;
    c.hitTokensMemory = 1000;
    history.addCounts(c);
    c.timeNs = 2'000'000'000;
    c.lookupTokens = 50;
    c.hitTokensMemory = 10;
    history.addCounts(c);
    c.timeNs = 3'000'000'000;
    c.lookupTokens = 100;
    c.hitTokensMemory = 35;
    history.addCounts(c);
    QCOMPARE(history.hitRate().back().value, 0.5);
    history.addRestore(1000, 10);
    QCOMPARE(history.restoreBytesPerSecond(), 1e8);
}

void TimeSeriesTest::viewFollowsUntilMoved()
{
    TimeView view;
    view.setPresent(1000, 900);
    QCOMPARE(view.to(), 1000.0);
    QCOMPARE(view.from(), 900.0);
    view.setPresent(2000, 900);
    QCOMPARE(view.span(), TimeView::kUsual);
    view.pan(-50);
    QVERIFY(!view.following());
    view.setPresent(2100, 900);
    QCOMPARE(view.to(), 1950.0);
    view.pan(1000);
    QVERIFY(view.following());
    QCOMPARE(view.to(), 2100.0);
}

void TimeSeriesTest::zoomKeepsThePlaceUnderThePointer()
{
    TimeView view;
    view.setPresent(2000, 100);
    view.pan(-500);
    const double at = view.from() + view.span() * 0.25;
    view.zoom(0.5, at);
    QCOMPARE(view.span(), TimeView::kUsual / 2);
    QVERIFY(qAbs((at - view.from()) / view.span() - 0.25) < 1e-9);
    for (int i = 0; i < 100; ++i)
        view.zoom(0.5, at);
    QCOMPARE(view.span(), TimeView::kShortest);
    view.follow();
    QCOMPARE(view.to(), 2000.0);
}

void TimeSeriesTest::ticksAreRoundAndFew()
{
    const auto ticks = TimeView::ticks(1000, 1180, 5);
    QCOMPARE(ticks, (std::vector<double>{1020, 1080, 1140}));
    for (const double span : {1.0, 7.0, 100.0, 5000.0, 86400.0, 600000.0})
        QVERIFY(TimeView::ticks(12345, 12345 + span, 5).size() <= 6);
}

void TimeSeriesTest::newBranchCutsTheOldOne()
{
    const auto message = [](std::int64_t id, std::int64_t parent, api::Role role) {
        api::Message m;
        m.id = MessageId{id};
        m.parent = MessageId{parent};
        m.role = role;
        m.text = "words";
        m.hasReceipt = role == api::Role::assistant;
        return m;
    };
    LiveBranch branch;
    branch.open({message(1, 0, api::Role::user), message(2, 1, api::Role::assistant), message(3, 2, api::Role::user),
                 message(4, 3, api::Role::assistant)});
    QCOMPARE(branch.turns(), (std::vector<TurnId>{TurnId{2}, TurnId{4}}));
    QVERIFY(branch.messages()[0].text.empty());
    branch.note(message(5, 2, api::Role::user)); // an edit of 3
    branch.note(message(6, 5, api::Role::assistant));
    branch.note(message(6, 5, api::Role::assistant));
    QCOMPARE(branch.turns(), (std::vector<TurnId>{TurnId{2}, TurnId{6}}));
    QCOMPARE(branch.messages().size(), std::size_t(4));
}

KVILT_TEST_CLASS(TimeSeriesTest)
#include "tst_time_series.moc"

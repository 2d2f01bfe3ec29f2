// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "tests/ui/support/scripted_port.h"
#include "ui/models/workbench.h"
#include "ui/widgets/theme.h"

#include <QSignalSpy>
#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;

class WorkbenchTest : public QObject {
    Q_OBJECT
private slots:
    void pullsOnAWakeupWithoutWaiting()
    {
        test::ScriptedPort port;
        Theme theme;
        Workbench workbench(port, theme);
        QSignalSpy opened(&workbench, &Workbench::currentSessionChanged);
        port.say(test::opened(7, {}));
        QCOMPARE(opened.size(), 0); // the wakeup only queues
        QCoreApplication::processEvents();
        QCOMPARE(opened.size(), 1);
        QCOMPARE(workbench.session(), SessionId{7});
        QCOMPARE(port.asked<api::command::RequestRibbon>().size(), 1u);
    }

    void isBusyFromSendUntilTheTurnEnds()
    {
        test::ScriptedPort port;
        Theme theme;
        Workbench workbench(port, theme);
        port.say(test::opened(7, {}));
        workbench.pull();
        workbench.post(api::command::Send{SessionId{7}, "hello"});
        QVERIFY(workbench.busy(SessionId{7}));
        QVERIFY(!workbench.busy(SessionId{8}));
        port.say(api::update::TurnFinished{SessionId{7}, test::message(2, 1, api::Role::assistant, "hi")});
        workbench.pull();
        QVERIFY(!workbench.busy(SessionId{7}));
    }

    void asksForASnapshotWhenEventsWereLost()
    {
        test::ScriptedPort port;
        Theme theme;
        Workbench workbench(port, theme);
        quint64 lost = 0;
        std::size_t got = 0;
        connect(&workbench, &Workbench::eventsArrived, this, [&](const std::vector<api::CacheEvent> &events, quint64 gap) {
            got += events.size();
            lost += gap;
        });
        port.sayEvents(std::vector<api::CacheEvent>(3), 5);
        workbench.pull();
        QCOMPARE(got, 3u);
        QCOMPARE(lost, 5u);
        QCOMPARE(port.asked<api::command::RequestSnapshot>().size(), 1u);
    }

    void takesABurstInPortions()
    {
        test::ScriptedPort port;
        Theme theme;
        Workbench workbench(port, theme);
        std::vector<std::size_t> portions;
        connect(&workbench, &Workbench::eventsArrived, this,
                [&](const std::vector<api::CacheEvent> &events, quint64) { portions.push_back(events.size()); });
        port.sayEvents(std::vector<api::CacheEvent>(10'000));
        workbench.pull();
        QCOMPARE(portions.size(), 1u);
        QTRY_COMPARE(portions.size(), 3u);
        QCOMPARE(portions[0] + portions[1] + portions[2], 10'000u);
    }

    void pausedEventsWaitAndASnapshotFollows()
    {
        test::ScriptedPort port;
        Theme theme;
        Workbench workbench(port, theme);
        std::size_t got = 0;
        connect(&workbench, &Workbench::eventsArrived, this,
                [&](const std::vector<api::CacheEvent> &events, quint64) { got += events.size(); });
        workbench.setPaused(true);
        port.sayEvents(std::vector<api::CacheEvent>(4));
        workbench.pull();
        QCOMPARE(got, 0u);
        workbench.setPaused(false);
        QCOMPARE(got, 4u);
        QCOMPARE(port.asked<api::command::RequestSnapshot>().size(), 1u);
    }

    void keepsTheRibbonOfTheCurrentSessionOnly()
    {
        test::ScriptedPort port;
        Theme theme;
        Workbench workbench(port, theme);
        port.say(test::opened(7, {}));
        api::Ribbon other;
        other.session = SessionId{8};
        other.usedTokens = 99;
        port.say(api::update::RibbonChanged{other});
        workbench.pull();
        QCOMPARE(workbench.ribbon().usedTokens, 0u);
        other.session = SessionId{7};
        port.say(api::update::RibbonChanged{other});
        workbench.pull();
        QCOMPARE(workbench.ribbon().usedTokens, 99u);
    }
};

KVILT_TEST_CLASS(WorkbenchTest)
#include "tst_workbench.moc"

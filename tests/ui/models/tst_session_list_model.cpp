// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/models/session_list_model.h"

#include <QDateTime>
#include <QSignalSpy>
#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;

namespace {

const QDate kToday(2026, 11, 21);

api::SessionSummary summary(std::int64_t id, const QDate &day, const std::string &title, const std::string &folder = {})
{
    api::SessionSummary s;
    s.id = SessionId{id};
    s.title = title;
    s.folder = folder;
    s.updatedMs = QDateTime(day, QTime(12, 0)).toMSecsSinceEpoch();
    s.messages = 2;
    return s;
}

QStringList rows(const SessionListModel &model)
{
    QStringList out;
    for (int i = 0; i < model.rowCount(); ++i)
        out << model.data(model.index(i), Qt::DisplayRole).toString();
    return out;
}

} // namespace

class SessionListModelTest : public QObject {
    Q_OBJECT
private slots:
    void groupsByWhenTheyWereUsed()
    {
        SessionListModel model;
        model.setSessions({summary(1, {2026, 10, 2}, "old"), summary(2, kToday, "new"), summary(3, {2026, 11, 16}, "week"),
                           summary(4, {2025, 3, 1}, "ancient")},
                          false, kToday);
        QCOMPARE(rows(model), QStringList({"Today", "new", "Last week", "week", "October", "old", "March 2025", "ancient"}));
        QVERIFY(!(model.flags(model.index(0)) & Qt::ItemIsSelectable));
        QVERIFY(model.flags(model.index(1)) & Qt::ItemIsSelectable);
    }

    void foldersStandForThemselves()
    {
        SessionListModel model;
        model.setSessions({summary(1, kToday, "a", "Work"), summary(2, kToday, "b"), summary(3, {2026, 1, 1}, "c", "Work")},
                          false, kToday);
        QCOMPARE(rows(model), QStringList({"Today", "b", "Work", "a", "c"}));
        QCOMPARE(model.folders(), QStringList({"Work"}));
    }

    void aSearchKeepsTheOrderOfItsHits()
    {
        SessionListModel model;
        model.setSessions({summary(1, {2025, 1, 1}, "best"), summary(2, kToday, "second")}, true, kToday);
        QCOMPARE(rows(model), QStringList({"best", "second"}));
    }

    void saysWhereTheKvLies()
    {
        api::SessionSummary s = summary(1, kToday, "x");
        QCOMPARE(SessionListModel::subtitleOf(s), "text only");
        s.blocksOnDisk = 41;
        QCOMPARE(SessionListModel::subtitleOf(s), "41 blocks on disk");
        s.blocksInMemory = 14;
        QCOMPARE(SessionListModel::subtitleOf(s), "14 in memory, 41 on disk");
        s.blocksOnDisk = 0;
        s.tags = {"physics"};
        QCOMPARE(SessionListModel::subtitleOf(s), "14 blocks in memory · physics");
    }

    void sizesKvThatIsOnlyInMemory()
    {
        SessionListModel model;
        model.setBytesPerBlock(16 * 23040);
        api::SessionSummary s = summary(1, kToday, "x");
        s.blocksInMemory = 76;
        model.setSessions({s, summary(2, kToday, "y")}, false, kToday);
        QCOMPARE(model.data(model.index(1), SessionListModel::SizeRole).toString(), "26.7 MiB");
        QCOMPARE(model.data(model.index(2), SessionListModel::SizeRole).toString(), "–");
    }

    void renamesOnlyToSomethingElse()
    {
        SessionListModel model;
        model.setSessions({summary(1, kToday, "x")}, false, kToday);
        QSignalSpy renamed(&model, &SessionListModel::renamed);
        QVERIFY(!model.setData(model.index(1), "  ", Qt::EditRole));
        QVERIFY(!model.setData(model.index(1), "x", Qt::EditRole));
        QVERIFY(!model.setData(model.index(0), "y", Qt::EditRole));
        QVERIFY(model.setData(model.index(1), " y  z ", Qt::EditRole));
        QCOMPARE(model.data(model.index(1), Qt::DisplayRole).toString(), "y z");
        QCOMPARE(renamed.size(), 1);
    }
};

KVILT_TEST_CLASS(SessionListModelTest)
#include "tst_session_list_model.moc"

// SPDX-License-Identifier: Apache-2.0
#include "engine/store/sqlite.h"
#include "tests/engine/store/store_fixture.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::store;

namespace {

constexpr const char *kSteps[] = {"CREATE TABLE a(x INTEGER)", "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 7",
                                  "CREATE TABLE b(z TEXT)"};

sql::Schema schemaOf(std::size_t versions)
{
    return {.applicationId = 99, .migrations = std::span(kSteps).first(versions), .shadowPrefix = {}};
}

} // namespace

class SqliteTest : public QObject {
    Q_OBJECT
private slots:
    void anOlderFileBecomesTheNewestAndKeepsItsRows()
    {
        test::Folder folder;
        auto db = *sql::Database::open(folder.path("a.db"), {});
        QVERIFY(*sql::inspect(*db, schemaOf(1)) == sql::FileState::empty);
        QVERIFY(sql::migrate(*db, schemaOf(1)));
        QVERIFY(db->exec("INSERT INTO a VALUES(5)"));
        QVERIFY(*sql::inspect(*db, schemaOf(1)) == sql::FileState::current);
        QVERIFY(*sql::inspect(*db, schemaOf(3)) == sql::FileState::older);
        QVERIFY(sql::migrate(*db, schemaOf(3)));
        QVERIFY(*sql::inspect(*db, schemaOf(3)) == sql::FileState::current);
        QCOMPARE(*db->integer("SELECT x*10+y FROM a"), std::int64_t(57));
        QVERIFY(*sql::inspect(*db, schemaOf(2)) == sql::FileState::newer);
    }

    void aFailedMigrationChangesNothing()
    {
        test::Folder folder;
        auto db = *sql::Database::open(folder.path("a.db"), {});
        QVERIFY(sql::migrate(*db, schemaOf(1)));
        static constexpr const char *kBroken[] = {kSteps[0], "CREATE TABLE c(x)", "CREATE TABLE c(x)"};
        QVERIFY(!sql::migrate(*db, {.applicationId = 99, .migrations = kBroken, .shadowPrefix = {}}));
        QVERIFY(*sql::inspect(*db, schemaOf(1)) == sql::FileState::current);
    }

    void tablesThatAreNotOursAreNoticed()
    {
        test::Folder folder;
        auto db = *sql::Database::open(folder.path("a.db"), {});
        QVERIFY(sql::migrate(*db, schemaOf(1)));
        QVERIFY(db->exec("CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END"));
        QVERIFY(*sql::inspect(*db, schemaOf(1)) == sql::FileState::damaged);
        QVERIFY(db->exec("INSERT INTO a VALUES(1)"));
        QCOMPARE(*db->integer("SELECT count(*) FROM a"), std::int64_t(1)); // triggers of a file never run
        QVERIFY(*sql::inspect(*db, {.applicationId = 98, .migrations = kSteps, .shadowPrefix = {}}) ==
                sql::FileState::foreign);
    }

    void nothingOfAnUncommittedTransactionStays()
    {
        test::Folder folder;
        auto db = *sql::Database::open(folder.path("a.db"), {});
        QVERIFY(db->exec("CREATE TABLE a(x)"));
        {
            auto transaction = *sql::Transaction::begin(*db);
            QVERIFY(db->exec("INSERT INTO a VALUES(1)"));
        }
        QCOMPARE(*db->integer("SELECT count(*) FROM a"), std::int64_t(0));
    }

    void valuesComeBackAsTheyWere()
    {
        auto db = *sql::Database::open(":memory:", {});
        QVERIFY(db->exec("CREATE TABLE a(i, t, b)"));
        const std::vector<std::byte> blob{std::byte(0), std::byte(255)};
        const std::string text("a\0b", 3);
        {
            auto insert = *db->statement("INSERT INTO a VALUES(?,?,?)");
            QVERIFY(insert.bind(INT64_MIN, text, std::span<const std::byte>(blob)).run());
            insert.reset();
            QVERIFY(insert.bind(-1, "", std::span<const std::byte>()).run());
        }
        auto query = *db->statement("SELECT i, t, b FROM a");
        QVERIFY(*query.step());
        QCOMPARE(query.integer(0), std::int64_t(INT64_MIN));
        QCOMPARE(query.text(1), text);
        QVERIFY(std::ranges::equal(query.blob(2), blob));
        QVERIFY(*query.step());
        QVERIFY(!query.isNull(2) && query.blob(2).empty());
        QVERIFY(!*query.step());
    }

    void errorsAreSentencesWithTheirKind()
    {
        test::Folder folder;
        const auto none = sql::Database::open(folder.path("no/such/folder/a.db"), {});
        QVERIFY(!none && none.error().code == ErrorCode::full);
        QVERIFY(none.error().message.find("a.db") != std::string::npos && none.error().message.ends_with('.'));
        auto db = *sql::Database::open(folder.path("a.db"), {});
        QVERIFY(db->exec("CREATE TABLE a(x); PRAGMA max_page_count=8"));
        const auto full = db->exec("INSERT INTO a VALUES(zeroblob(100000))");
        QVERIFY(!full && full.error().code == ErrorCode::full);
        auto readOnly = *sql::Database::open(folder.path("a.db"), {.access = sql::Access::readOnly});
        const auto refused = readOnly->exec("INSERT INTO a VALUES(1)");
        QVERIFY(!refused && refused.error().code == ErrorCode::full);
        test::writeBytes(folder.path("b.db"), std::vector<char>(4096, 'x'));
        auto damaged = sql::Database::open(folder.path("b.db"), {});
        const auto read = damaged ? (*damaged)->integer("SELECT count(*) FROM sqlite_master")
                                  : Result<std::int64_t>(tl::unexpected(damaged.error()));
        QVERIFY(!read && read.error().code == ErrorCode::corrupt);
    }

    void damagedFilesAreNumberedNotOverwritten()
    {
        test::Folder folder;
        for (const char content : {'1', '2'}) {
            test::writeBytes(folder.path("a.db"), {content});
            QVERIFY(sql::setAside(folder.path("a.db")));
        }
        QCOMPARE(test::readBytes(folder.path("a.db.damaged-1")), std::vector<char>{'1'});
        QCOMPARE(test::readBytes(folder.path("a.db.damaged-2")), std::vector<char>{'2'});
    }
};

KVILT_TEST_CLASS(SqliteTest)
#include "tst_sqlite.moc"

// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/blockmap/map_geometry.h"
#include "ui/blockmap/ribbon_layout.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;
using api::RibbonState;

class MapGeometryTest : public QObject {
    Q_OBJECT
private slots:
    void laysOutThePictureOfThePlan();
    void everyPixelOfACellFindsIt();
    void cellsNeverOverlapNorLeaveTheViewport();
    void besideAndBelowThereIsNothing();
    void fitsAsLargeAsPossible();
    void visibleRowsCoverTheViewport();
    void ribbonIsOneCellABlockWhileThereIsRoom();
    void ribbonGroupsEvenlyAndHidesNothing();
    void ribbonTellsTheHostFromTheDisk();
    void ribbonWithoutRoomOrCells();
};

void MapGeometryTest::laysOutThePictureOfThePlan()
{
    const MapGeometry g(512, 12, 432);
    QCOMPARE(g.columns(), 32);
    QCOMPARE(g.rows(), 16);
    QCOMPARE(g.left(0), 0);
    QCOMPARE(g.left(1), 14); // 13.5 to the nearest
    QCOMPARE(g.left(2), 27);
    QCOMPARE(g.height(), g.top(15) + 12);
    QCOMPARE(g.positionAt(28, 15), 34);
}

void MapGeometryTest::everyPixelOfACellFindsIt()
{
    for (const int cell : kCellSizes) {
        for (const double ratio : {1.0, 1.25, 2.0}) {
            const MapGeometry g(203, cell, 317, ratio);
            for (std::uint32_t p = 0; p < g.count(); ++p) {
                const int x = g.left(g.columnOf(p)), y = g.top(g.rowOf(p));
                QCOMPARE(g.positionAt(x, y), std::int64_t(p));
                QCOMPARE(g.positionAt(x + g.size() - 1, y + g.size() - 1), std::int64_t(p));
            }
        }
    }
}

void MapGeometryTest::cellsNeverOverlapNorLeaveTheViewport()
{
    for (const int cell : kCellSizes) {
        for (const int width : {100, 317, 432, 1000}) {
            const MapGeometry g(5000, cell, width, 1.5);
            for (int c = 1; c < g.columns(); ++c)
                QVERIFY(g.left(c) >= g.left(c - 1) + g.size());
            QVERIFY(g.columns() == 1 || g.width() <= width);
        }
    }
}

void MapGeometryTest::besideAndBelowThereIsNothing()
{
    const MapGeometry g(40, 12, 432);
    QCOMPARE(g.positionAt(-1, 0), std::int64_t(-1));
    QCOMPARE(g.positionAt(440, 0), std::int64_t(-1));
    QCOMPARE(g.positionAt(8 * 14, 14), std::int64_t(-1)); // 40 cells: the second row has 8
    QCOMPARE(g.positionAt(0, 27), std::int64_t(-1));
    QCOMPARE(MapGeometry(0, 12, 432).positionAt(0, 0), std::int64_t(-1));
    QCOMPARE(MapGeometry(0, 12, 432).height(), 0);
}

void MapGeometryTest::fitsAsLargeAsPossible()
{
    QCOMPARE(MapGeometry::fitting(512, 432, 216), 12);
    QCOMPARE(MapGeometry::fitting(512, 432, 214), 10);
    QCOMPARE(MapGeometry::fitting(8, 432, 1000), 12); // never larger than at rest
    const int cell = MapGeometry::fitting(100'000, 432, 300);
    QCOMPARE(cell, 1);
    QVERIFY(MapGeometry(100'000, cell, 432).height() <= 300);
    QCOMPARE(MapGeometry::fitting(10'000'000, 432, 300), 1); // scrolls
}

void MapGeometryTest::visibleRowsCoverTheViewport()
{
    const MapGeometry g(4096, 12, 432);
    QCOMPARE(g.firstRow(0), 0);
    QCOMPARE(g.firstRow(13), 0);
    QCOMPARE(g.firstRow(14), 1);
    QCOMPARE(g.lastRow(0, 15), 1);
    QCOMPARE(g.lastRow(0, 100'000), g.rows() - 1);
}

namespace {

api::Ribbon ribbon(std::uint32_t used, std::uint32_t contextBlocks)
{
    api::Ribbon r{.contextTokens = contextBlocks * 16, .usedTokens = used * 16, .blockSize = 16};
    for (std::uint32_t i = 0; i < used; ++i)
        r.cells.push_back({.state = RibbonState::memory, .firstToken = std::int32_t(i * 16), .tokens = 16});
    return r;
}

} // namespace

void MapGeometryTest::ribbonIsOneCellABlockWhileThereIsRoom()
{
    const RibbonLayout layout = layOutRibbon(ribbon(76, 512), 490);
    QCOMPARE(layout.columns.size(), std::size_t(76));
    QCOMPARE(layout.unused, 98 - 76);
    QCOMPARE(layout.columns[75].begin, 75u);
    QCOMPARE(layout.columns[75].end, 76u);
    QCOMPARE(layout.columns[0].parts.size(), std::size_t(1));
    QCOMPARE(layout.columns[0].parts[0].pixels, kRibbonHeight);
    QCOMPARE(layout.columnAt(9), 1);
    QCOMPARE(layout.columnAt(490), -1);
    QVERIFY(layout.width() <= 490);
    QCOMPARE(layOutRibbon(ribbon(10, 12), 490).unused, 2); // never more room than the context has
}

void MapGeometryTest::ribbonGroupsEvenlyAndHidesNothing()
{
    api::Ribbon r = ribbon(1000, 1024);
    r.cells[501].state = RibbonState::evicted;
    r.cells[502].state = RibbonState::disk;
    const RibbonLayout layout = layOutRibbon(r, 490);
    QCOMPARE(int(layout.columns.size()) + layout.unused, 98);
    QCOMPARE(layout.unused, 6);
    std::uint32_t next = 0;
    int evicted = 0;
    for (const RibbonColumn &column : layout.columns) {
        QCOMPARE(column.begin, next);
        QVERIFY(column.end - column.begin >= 10 && column.end - column.begin <= 11);
        next = column.end;
        int pixels = 0;
        for (const auto &part : column.parts) {
            pixels += part.pixels;
            evicted += part.state == RibbonState::evicted ? part.pixels : 0;
        }
        QCOMPARE(pixels, kRibbonHeight);
    }
    QCOMPARE(next, 1000u);
    QCOMPARE(evicted, 2); // one of ten still shows
}

// What the host's memory has is not told as something to be read from disk.
void MapGeometryTest::ribbonTellsTheHostFromTheDisk()
{
    api::Ribbon r = ribbon(3, 16);
    r.cells[1].state = r.cells[2].state = RibbonState::disk;
    r.cells[1].tier = api::Tier::host;
    r.cells[2].tier = api::Tier::disk;
    const RibbonLayout apart = layOutRibbon(r, 490);
    QVERIFY(!apart.columns[0].parts[0].inHost);
    QVERIFY(apart.columns[1].parts[0].inHost);
    QVERIFY(!apart.columns[2].parts[0].inHost);
    const RibbonLayout together = layOutRibbon(r, 5); // one column for all three
    QCOMPARE(together.columns.size(), std::size_t(1));
    QCOMPARE(together.columns[0].parts.size(), std::size_t(3));
}

void MapGeometryTest::ribbonWithoutRoomOrCells()
{
    QCOMPARE(layOutRibbon(ribbon(0, 0), 490).width(), 0);
    QCOMPARE(layOutRibbon(ribbon(5, 10), 0).columns.size(), std::size_t(0));
    QCOMPARE(layOutRibbon(ribbon(5, 10), -20).columns.size(), std::size_t(0));
    QCOMPARE(layOutRibbon(ribbon(5, 10), 8).columns.size(), std::size_t(1));
    api::Ribbon trailing = ribbon(3, 8);
    trailing.cells.push_back({.state = RibbonState::unused});
    QCOMPARE(layOutRibbon(trailing, 490).columns.size(), std::size_t(3));
    QCOMPARE(layOutRibbon(trailing, 490).unused, 5);
}

KVILT_TEST_CLASS(MapGeometryTest)
#include "tst_map_geometry.moc"

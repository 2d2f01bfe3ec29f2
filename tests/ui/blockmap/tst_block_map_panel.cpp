// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "tests/ui/support/sample_cache.h"
#include "ui/blockmap/block_card.h"
#include "ui/blockmap/block_map_panel.h"
#include "ui/blockmap/block_map_view.h"
#include "ui/blockmap/card_text.h"
#include "ui/blockmap/ribbon_widget.h"
#include "ui/blockmap/state_legend.h"
#include "ui/blockmap/words.h"
#include "ui/inspector/inspector_panel.h"
#include "ui/plots/event_list_panel.h"
#include "ui/plots/plots_panel.h"
#include "ui/widgets/status_strip.h"
#include "ui/widgets/theme.h"

#include <QAction>
#include <QApplication>
#include <QDateTime>
#include <QLabel>
#include <QMenu>
#include <QMouseEvent>
#include <QTableView>
#include <QTest>
#include <QToolButton>

#include <utility>

using namespace kvilt;
using namespace kvilt::ui;
using namespace kvilt::test;
using api::BlockState;

namespace {

// Says what a test puts into it, remembers what it was asked.
class MapPort : public api::EnginePort {
public:
    void post(api::Command command) override { posted.push_back(std::move(command)); }
    std::vector<api::Update> takeUpdates() override { return std::exchange(updates, {}); }
    std::size_t takeEvents(std::vector<api::CacheEvent> &out, std::size_t limit, std::uint64_t &lost) override
    {
        const std::size_t n = std::min(limit, events.size());
        out.insert(out.end(), events.begin(), events.begin() + std::ptrdiff_t(n));
        events.erase(events.begin(), events.begin() + std::ptrdiff_t(n));
        lost = std::exchange(lostEvents, 0);
        return n;
    }
    void setWakeup(std::function<void()>) override {}

    template <typename T>
    int asked() const
    {
        return int(std::count_if(posted.begin(), posted.end(), [](const api::Command &c) { return std::holds_alternative<T>(c); }));
    }

    std::vector<api::Command> posted;
    std::vector<api::Update> updates;
    std::vector<api::CacheEvent> events;
    std::uint64_t lostEvents = 0;
};

struct Room {
    explicit Room(bool dark = false)
    {
        theme.setChoice(dark ? ThemeChoice::dark : ThemeChoice::light);
        theme.apply(*qApp);
        workbench.emplace(port, theme);
    }
    void ready(api::PoolSnapshot pool = samplePool())
    {
        port.updates.push_back(api::update::ModelState{.phase = api::update::ModelPhase::ready});
        port.updates.push_back(sampleSessions());
        api::update::SessionOpened opened;
        opened.conversation.id = SessionId{1};
        port.updates.push_back(opened);
        port.updates.push_back(api::update::Snapshot{std::move(pool)});
        port.updates.push_back(api::update::RibbonChanged{sampleRibbon()});
        for (int i = 0; i <= 90; ++i)
            port.updates.push_back(api::update::Counts{sampleCounts(i / 90.0)});
        workbench->pull();
    }
    MapPort port;
    Theme theme;
    std::optional<Workbench> workbench;
};

// For whoever wants to look: pictures go where KVILT_SHOTS says.
void shoot(QWidget &widget, const char *name)
{
    const QByteArray folder = qgetenv("KVILT_SHOTS");
    if (!folder.isEmpty())
        QVERIFY(widget.grab().save(QString::fromLocal8Bit(folder) + QLatin1Char('/') + QLatin1String(name) + QStringLiteral(".png")));
}

// The offscreen platform has no pointer to move.
void pointAt(QWidget *widget, QPoint at)
{
    QMouseEvent move(QEvent::MouseMove, at, widget->mapToGlobal(at), Qt::NoButton, Qt::NoButton, Qt::NoModifier);
    QApplication::sendEvent(widget, &move);
}

void settle(int ms = 250)
{
    QTest::qWait(ms);
}

QColor cellColour(const BlockMapView &view, std::uint32_t block)
{
    const QRect rect = view.blockRect(block);
    const QPoint nearEdge = rect.topLeft() + QPoint(2, rect.height() - 3);
    return view.viewport()->grab().toImage().pixelColor(nearEdge);
}

} // namespace

class BlockMapPanelTest : public QObject {
    Q_OBJECT
private slots:
    void eachColouringHasItsLegend()
    {
        Room room;
        BlockMapPanel panel(*room.workbench);
        panel.resize(464, 812);
        panel.show();
        room.ready();
        settle();
        auto *states = panel.findChild<StateLegend *>();
        auto *scale = panel.findChild<ScaleLegend *>();
        QVERIFY(states->isVisible() && !scale->isVisible());
        const auto colourBy = [&](const QString &word) {
            for (QToolButton *button : panel.findChildren<QToolButton *>())
                for (QAction *action : button->menu() ? button->menu()->actions() : QList<QAction *>())
                    if (action->text() == word)
                        action->trigger();
        };
        colourBy(colourByWord(ColourBy::eviction));
        QVERIFY(!states->isVisible() && scale->isVisible());
        QCOMPARE(scale->words(), (QStringList{"stays", "goes next"}));
        colourBy(colourByWord(ColourBy::owner));
        QCOMPARE(scale->words().first(), room.workbench->titleOf(SessionId{1})); // it owns most
        shoot(panel, "map-owners");
        colourBy(colourByWord(ColourBy::state));
        QVERIFY(states->isVisible() && !scale->isVisible());
    }

    // The card tells of the block that the arrows are on, wherever the pointer rests.
    void theCardFollowsTheKeyboard()
    {
        Room room;
        BlockMapPanel panel(*room.workbench);
        panel.resize(464, 812);
        panel.show();
        room.ready();
        settle();
        auto *view = panel.findChild<BlockMapView *>();
        pointAt(view->viewport(), view->blockRect(4).center());
        settle();
        QCOMPARE(view->hovered(), std::optional<std::uint32_t>(4));
        view->setFocus();
        view->select(38);
        QTest::keyClick(view, Qt::Key_Right);
        settle();
        QCOMPARE(view->selected(), std::optional<std::uint32_t>(39));
        QVERIFY(!view->hovered());
        auto *card = panel.findChild<BlockCard *>();
        QVERIFY(card && card->isVisible());
        QCOMPARE(card->text().title, QStringLiteral("Block 39"));
    }

    // What ran a minute ago is no speed of now.
    void aSpeedThatNoLongerHoldsIsADash()
    {
        Room room;
        PlotsPanel plots(*room.workbench);
        plots.resize(464, 812);
        plots.show();
        const auto said = [&] {
            QStringList words;
            for (const QLabel *label : plots.findChildren<QLabel *>())
                words << label->text();
            return words;
        };
        const double now = double(QDateTime::currentMSecsSinceEpoch()) * 1e-3;
        room.workbench->history().addSpeed(now - 60, 31.4);
        settle();
        QVERIFY2(!said().contains("31.4 tok/s"), qPrintable(said().join('|')));
        room.workbench->history().addSpeed(now, 31.4);
        QTRY_VERIFY2(said().contains("31.4 tok/s"), qPrintable(said().join('|')));
        QVERIFY(said().contains("50.0 tok/s")); // the scale: what the upper edge stands for
    }

    // What lies outside of the pool is told below the legend, and the status bar says whose memory it is.
    void tiersAndTheDeviceAreTold()
    {
        Room room;
        BlockMapPanel panel(*room.workbench);
        panel.resize(464, 812);
        panel.show();
        room.ready();
        settle();
        auto *tiers = panel.findChild<TierLegend *>();
        QVERIFY(tiers->isHidden());
        api::PoolCounts counts = sampleCounts(1);
        counts.device = {.name = "NVIDIA H200", .gpu = true, .totalBytes = 140ull << 30, .freeBytes = 100ull << 30, .poolBytes = 4ull << 30};
        counts.host = {.blocks = 1200, .bytes = 300ull << 20, .inPool = 1000};
        counts.disk = {.blocks = 40, .bytes = 10ull << 20, .inPool = 40};
        StatusStrip strip(*room.workbench);
        room.port.updates.push_back(api::update::Counts{counts});
        room.workbench->pull();
        QVERIFY(tiers->isVisible());
        QCOMPARE(tiers->words(), (QStringList{"In host memory 1,200, 200 only there", "On disk 40"}));
        QVERIFY2(strip.accessibleName().contains("GPU memory 40.0 GiB of 140 GiB, KV 4.0 GiB of it"), qPrintable(strip.accessibleName()));
        QVERIFY2(strip.accessibleName().contains("in host memory 300 MiB"), qPrintable(strip.accessibleName()));
        shoot(panel, "map-tiers");
    }

    void paintsStatesWhereTheBlocksAre();
    void legendCountsAddUpAndFilter();
    void eventsChangeCells();
    void lostEventsAskForASnapshot();
    void keysMoveTheCursorAndZoom();
    void hoverLightsTheRibbonAndBack();
    void aRibbonThatNarrowsUnderAClickBringsTheRightText();
    void cardSaysWhoseAndWhen();
    void spacePauses();
    void emptyPanelSaysWhatWillCome();
    void groupsCanBeSwitched();
    void inspectorFollowsTheTurn();
    void eventListFiltersAndSelects();
};

void BlockMapPanelTest::paintsStatesWhereTheBlocksAre()
{
    for (const bool dark : {false, true}) {
        Room room(dark);
        BlockMapPanel panel(*room.workbench);
        panel.resize(464, 812);
        panel.setAutoFillBackground(true);
        panel.show();
        room.ready();
        settle(500);
        auto *view = panel.findChild<BlockMapView *>();
        QVERIFY(view);
        QTRY_COMPARE(view->cellSize(), 12);
        QTRY_COMPARE(cellColour(*view, 10), stateColour(BlockState::inUse));
        QTRY_COMPARE(cellColour(*view, 52), stateColour(BlockState::cached));
        QTRY_COMPARE(cellColour(*view, 4), stateColour(BlockState::shared));
        QTRY_COMPARE(cellColour(*view, 400), room.theme.palette().window);
        room.port.events = sampleEvents();
        room.workbench->pull();
        settle(2300);
        pointAt(view->viewport(), view->blockRect(52).center());
        view->select(52);
        settle(300);
        shoot(panel, dark ? "map-dark" : "map-light");
    }
}

void BlockMapPanelTest::legendCountsAddUpAndFilter()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    panel.resize(464, 812);
    panel.show();
    room.ready();
    settle();
    auto *legend = panel.findChild<StateLegend *>();
    std::uint32_t sum = 0;
    for (int s = 0; s < api::kBlockStates; ++s)
        sum += legend->chip(BlockState(s))->count();
    QCOMPARE(sum, 512u);
    QCOMPARE(legend->chip(BlockState::inUse)->count(), 73u);
    QCOMPARE(legend->chip(BlockState::free)->count(), 388u);
    QCOMPARE(legend->chip(BlockState::pinned)->accessibleName(), QStringLiteral("Pinned, 4 blocks"));
    auto *view = panel.findChild<BlockMapView *>();
    QTest::mouseClick(legend->chip(BlockState::cached), Qt::LeftButton);
    settle(60);
    QTRY_VERIFY(cellColour(*view, 10) != stateColour(BlockState::inUse));
    QTRY_COMPARE(cellColour(*view, 52), stateColour(BlockState::cached));
    QTest::mouseClick(legend->chip(BlockState::cached), Qt::LeftButton);
    settle(60);
    QTRY_COMPARE(cellColour(*view, 10), stateColour(BlockState::inUse));
}

void BlockMapPanelTest::eventsChangeCells()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    panel.resize(464, 812);
    panel.show();
    room.ready();
    settle();
    auto *view = panel.findChild<BlockMapView *>();
    auto *legend = panel.findChild<StateLegend *>();
    auto allocate = sampleEvent(101, api::EventKind::allocate, 300, 1, api::EventReason::none, 0, 16);
    allocate.references = 1;
    room.port.events = {allocate};
    room.workbench->pull();
    settle(60);
    QTRY_COMPARE(cellColour(*view, 300), stateColour(BlockState::writing));
    QCOMPARE(legend->chip(BlockState::writing)->count(), 2u);
    QCOMPARE(legend->chip(BlockState::free)->count(), 387u);
}

void BlockMapPanelTest::lostEventsAskForASnapshot()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    room.ready();
    const int before = room.port.asked<api::command::RequestSnapshot>();
    room.port.events = {sampleEvent(150, api::EventKind::allocate, 300, 1, api::EventReason::none, 0, 16)};
    room.workbench->pull(); // a gap in the numbers alone
    QCOMPARE(room.port.asked<api::command::RequestSnapshot>(), before + 1);
}

void BlockMapPanelTest::keysMoveTheCursorAndZoom()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    panel.resize(464, 812);
    panel.show();
    room.ready();
    settle();
    auto *view = panel.findChild<BlockMapView *>();
    QTest::keyClick(view, Qt::Key_Home);
    QCOMPARE(view->selected(), std::optional<std::uint32_t>(0));
    QTest::keyClick(view, Qt::Key_Right);
    QTest::keyClick(view, Qt::Key_Down);
    QCOMPARE(view->selected(), std::optional<std::uint32_t>(33));
    QVERIFY(view->accessibleDescription().startsWith(QStringLiteral("Block 33, in use")));
    QTest::keyClick(view, Qt::Key_Plus);
    QCOMPARE(view->cellSize(), 16);
    QTest::keyClick(view, Qt::Key_Plus);
    QTest::keyClick(view, Qt::Key_Plus);
    QTest::keyClick(view, Qt::Key_Plus);
    QCOMPARE(view->cellSize(), 32);
    settle(60);
    QVERIFY(room.port.asked<api::command::DescribeBlock>() > 0); // token text is wanted now
    shoot(panel, "map-zoomed");
    QTest::keyClick(view, Qt::Key_0);
    settle(60);
    QTRY_COMPARE(view->cellSize(), 12);
    QTest::keyClick(view, Qt::Key_Escape);
    QVERIFY(!view->selected());
}

void BlockMapPanelTest::hoverLightsTheRibbonAndBack()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    RibbonWidget ribbon(*room.workbench);
    ribbon.resize(608, 24);
    panel.resize(464, 812);
    panel.show();
    ribbon.show();
    room.ready();
    settle();
    pointAt(&ribbon, QPoint(5 * 10 + 2, 12));
    QCOMPARE(room.workbench->hover().target().node, NodeId{1014});
    QCOMPARE(room.workbench->hover().target().firstToken, 160);
    settle(60);
    auto *view = panel.findChild<BlockMapView *>();
    const QRect cell = view->blockRect(14);
    QCOMPARE(view->viewport()->grab().toImage().pixelColor(cell.topLeft() + QPoint(5, 0)), room.theme.palette().text);
    QVERIFY(ribbon.accessibleDescription().contains(QStringLiteral("1,204 of 8,192 tokens")));
    shoot(ribbon, "ribbon-light");
    pointAt(view->viewport(), view->blockRect(20).center());
    QCOMPARE(room.workbench->hover().target().node, NodeId{1020});
}

void BlockMapPanelTest::aRibbonThatNarrowsUnderAClickBringsTheRightText()
{
    Room room;
    RibbonWidget ribbon(*room.workbench);
    ribbon.resize(608, 24);
    ribbon.show();
    room.ready();
    settle();
    connect(&*room.workbench, &Workbench::mapWanted, &ribbon, [&ribbon] { ribbon.resize(60, 24); }); // a dock opened beside it
    int brought = -1;
    connect(&ribbon, &RibbonWidget::activated, this, [&brought](int token) { brought = token; });
    QTest::mouseClick(&ribbon, Qt::LeftButton, {}, QPoint(5 * 10 + 2, 12));
    QCOMPARE(brought, 160);
}

void BlockMapPanelTest::cardSaysWhoseAndWhen()
{
    BlockMapModel model;
    model.apply(samplePool(), 0);
    const CardText card = cardText({.model = model, .group = 0, .block = 52,
                                    .titleOf = [](SessionId) { return QStringLiteral("A dust storm on Mars"); },
                                    .sessionTokens = 412,
                                    .nowMs = std::int64_t(kSampleTimeNs / 1'000'000) + 19'000});
    QCOMPARE(card.title, QStringLiteral("Block 52"));
    QCOMPARE(card.state, QStringLiteral("cached, idle"));
    QCOMPARE(card.rows[0], std::pair(QStringLiteral("Owner"), QStringLiteral("A dust storm on Mars")));
    QCOMPARE(card.rows[1], std::pair(QStringLiteral("Tokens"), QStringLiteral("64–79 of 412")));
    QCOMPARE(card.rows[2], std::pair(QStringLiteral("Used"), QStringLiteral("3×, last 71 s ago")));
    QCOMPARE(card.rows[3], std::pair(QStringLiteral("Next to go"), QStringLiteral("53rd, lru")));
    const CardText empty = cardText({.model = model, .group = 0, .block = 400});
    QCOMPARE(empty.state, QStringLiteral("free"));
    QCOMPARE(empty.rows.size(), std::size_t(1));
}

void BlockMapPanelTest::spacePauses()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    panel.resize(464, 812);
    panel.show();
    room.ready();
    QTest::keyClick(panel.findChild<BlockMapView *>(), Qt::Key_Space);
    QVERIFY(room.workbench->paused());
    QTest::keyClick(panel.findChild<BlockMapView *>(), Qt::Key_Space);
    QVERIFY(!room.workbench->paused());
}

void BlockMapPanelTest::emptyPanelSaysWhatWillCome()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    panel.resize(464, 812);
    panel.setAutoFillBackground(true);
    panel.show();
    settle(60);
    QVERIFY(!panel.findChild<EventListPanel *>()->isVisible());
    QVERIFY(!panel.findChild<StateLegend *>()->isVisible());
    shoot(panel, "map-empty");
    QTest::keyClick(panel.findChild<BlockMapView *>(), Qt::Key_Right); // nothing to move over
    room.ready();
    settle(60);
    QVERIFY(panel.findChild<EventListPanel *>()->isVisible());
    room.port.updates.push_back(api::update::ModelState{});
    room.workbench->pull();
    settle(60);
    QVERIFY(!panel.findChild<StateLegend *>()->isVisible());
}

void BlockMapPanelTest::groupsCanBeSwitched()
{
    Room room;
    BlockMapPanel panel(*room.workbench);
    panel.resize(464, 812);
    panel.setAutoFillBackground(true);
    panel.show();
    api::PoolSnapshot pool = samplePool();
    pool.groups.push_back(pool.groups[0]);
    pool.groups[1].group = GroupIndex{1};
    pool.groups[1].name = "window 512";
    for (std::uint32_t b = 48; b < 72; ++b)
        pool.groups[1].blocks[b] = {};
    room.ready(std::move(pool));
    settle(100);
    shoot(panel, "map-groups");
    auto *view = panel.findChild<BlockMapView *>();
    QToolButton *window = nullptr;
    for (QToolButton *button : panel.findChildren<QToolButton *>())
        if (button->text() == QStringLiteral("window 512"))
            window = button;
    QVERIFY(window);
    QTest::mouseClick(window, Qt::LeftButton);
    settle(60);
    QCOMPARE(view->group(), std::size_t(1));
    QTRY_COMPARE(cellColour(*view, 52), room.theme.palette().window);
    QCOMPARE(panel.findChild<StateLegend *>()->chip(BlockState::cached)->count(), 14u);
}

void BlockMapPanelTest::inspectorFollowsTheTurn()
{
    for (const bool dark : {false, true}) {
        Room room(dark);
        InspectorPanel inspector(*room.workbench);
        inspector.resize(464, 812);
        inspector.setAutoFillBackground(true);
        inspector.show();
        room.ready();
        room.port.updates.push_back(sampleMiss());
        room.workbench->pull();
        settle(60);
        QStringList words;
        for (const QLabel *label : inspector.findChildren<QLabel *>())
            words << label->text();
        QVERIFY(words.contains(QStringLiteral("Why was so little reused?")));
        QVERIFY(words.contains(QStringLiteral("First difference, token 19")));
        QVERIFY(words.contains(QStringLiteral("What happened to the 26 blocks")));
        shoot(inspector, dark ? "inspector-dark" : "inspector-light");
    }
}

void BlockMapPanelTest::eventListFiltersAndSelects()
{
    Room room;
    EventListPanel events(*room.workbench);
    PlotsPanel plots(*room.workbench);
    events.resize(464, 400);
    plots.resize(464, 812);
    events.setAutoFillBackground(true);
    plots.setAutoFillBackground(true);
    events.show();
    plots.show();
    room.ready();
    room.port.events = sampleEvents();
    room.workbench->pull();
    settle();
    auto *table = events.findChild<QTableView *>();
    QCOMPARE(table->model()->rowCount(), 6);
    QCOMPARE(table->model()->index(0, 1).data().toString(), QStringLiteral("alloc")); // newest first
    QCOMPARE(table->model()->index(1, 2).data().toString(), QStringLiteral("block 118"));
    QCOMPARE(table->rowHeight(0), metrics::kEventRow);
    GroupIndex group{9};
    BlockId block{9};
    connect(&events, &EventListPanel::blockActivated, this, [&](GroupIndex g, BlockId b) { group = g; block = b; });
    QTest::mouseClick(table->viewport(), Qt::LeftButton, {}, table->visualRect(table->model()->index(1, 2)).center());
    QCOMPARE(group, GroupIndex{0});
    QCOMPARE(block, BlockId{118});
    shoot(events, "events-light");
    shoot(plots, "plots-light");
    events.filterBlock(GroupIndex{0}, BlockId{112});
    QCOMPARE(table->model()->rowCount(), 1);
}

KVILT_TEST_CLASS(BlockMapPanelTest)
#include "tst_block_map_panel.moc"

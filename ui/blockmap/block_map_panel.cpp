// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/block_map_panel.h"

#include "ui/blockmap/block_card.h"
#include "ui/blockmap/block_map_view.h"
#include "ui/blockmap/block_text_cache.h"
#include "ui/blockmap/card_text.h"
#include "ui/blockmap/map_feed.h"
#include "ui/blockmap/state_legend.h"
#include "ui/blockmap/words.h"
#include "ui/plots/event_list_panel.h"
#include "ui/plots/plots_panel.h"
#include "ui/widgets/format.h"

#include <QActionGroup>
#include <QContextMenuEvent>
#include <QDateTime>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QMenu>
#include <QScrollBar>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>

namespace kvilt::ui {

namespace {

constexpr int kCardDelayMs = 120;
constexpr std::uint32_t kRestCells = 512; // seen at rest at least

QToolButton *menuButton(const QString &name, QWidget *parent)
{
    auto *button = new QToolButton(parent);
    button->setPopupMode(QToolButton::InstantPopup);
    button->setAccessibleName(name);
    button->setMenu(new QMenu(button));
    button->setStyleSheet(QStringLiteral("QToolButton { padding: 2px 3px; }"));
    button->setFocusPolicy(Qt::TabFocus);
    return button;
}

} // namespace

struct BlockMapPanel::Impl : QObject {
    Impl(Workbench &w, BlockMapPanel &p) : workbench(w), panel(p), feed(w), texts(w) {}

    Workbench &workbench;
    BlockMapPanel &panel;
    MapFeed feed;
    BlockTextCache texts;
    BlockMapView *view = nullptr;
    StateLegend *legend = nullptr;
    QString headingWords;
    ScaleLegend *scale = nullptr;
    TierLegend *tiers = nullptr;
    QLabel *heading = nullptr, *explanation = nullptr, *dot = nullptr;
    QToolButton *colourBy = nullptr, *arrangeBy = nullptr;
    QWidget *groups = nullptr;
    PlotsPanel *plots = nullptr; // null until the event loop has turned once, as is:
    EventListPanel *events = nullptr;
    BlockCard *card = nullptr;
    QTimer cardDelay;
    std::uint32_t shown = 0;       // cells that the map's size was made for
    bool fittedWithEvents = false; // the list below takes its room with the first event
    std::optional<api::update::BlockDescribed> described;

    BlockMapModel &model() { return feed.model(); }

    void build();
    void buildPlots();
    void buildEvents();
    QVBoxLayout *panelLayout() const { return static_cast<QVBoxLayout *>(panel.layout()); }
    QLayout *buildHeader();
    void buildMenus();
    void buildGroups();
    void showLegend();
    void showTiers(const api::PoolCounts &counts);
    void connectAll();
    void reshape();
    void fitHeading();
    void refresh();
    std::uint32_t shownCells();
    void fitMap();
    void fitSoon();
    void setGroup(std::size_t group);
    void hover(qint64 block);
    void link(const HoverTarget &target, QObject *origin);
    std::vector<std::uint32_t> blocksOf(const HoverTarget &target);
    void showCard();
    void showNodes(const std::vector<NodeId> &nodes);
    void showBlock(GroupIndex group, BlockId block);
    void wantTexts();
    void contextMenu(QPoint at);
};

void BlockMapPanel::Impl::build()
{
    auto *layout = new QVBoxLayout(&panel);
    layout->setContentsMargins(0, metrics::kGrid, 0, 0);
    layout->setSpacing(0);
    auto *inner = new QVBoxLayout;
    inner->setContentsMargins(metrics::kPanelMargin, 0, metrics::kPanelMargin, 0);
    inner->setSpacing(0);
    layout->addLayout(inner);
    inner->addLayout(buildHeader());
    groups = new QWidget(&panel);
    groups->setLayout(new QHBoxLayout);
    groups->layout()->setContentsMargins(0, 0, 0, 4);
    groups->hide();
    inner->addWidget(groups);
    view = new BlockMapView(model(), workbench.theme(), &panel);
    view->setTextOf([this](std::uint32_t block) { return texts.textOf(model().cell(view->group(), block).node); });
    inner->addWidget(view);
    inner->addSpacing(metrics::kGrid + 4);
    legend = new StateLegend(model(), workbench.theme(), &panel);
    inner->addWidget(legend);
    scale = new ScaleLegend(model(), workbench.theme(), [this](SessionId id) { return workbench.titleOf(id); }, &panel);
    inner->addWidget(scale);
    tiers = new TierLegend(workbench.theme(), &panel);
    inner->addSpacing(metrics::kGrid - 2);
    inner->addWidget(tiers);
    explanation = new QLabel(tr("Each cell will be a block of 16 tokens. Load a model and send a message: you will see "
                                "which blocks are read from the cache, which are written, and which have to go."),
                             &panel);
    explanation->setWordWrap(true);
    explanation->setProperty("tone", "secondary");
    inner->addWidget(explanation);
    inner->addSpacing(metrics::kGroupGap - 4);
    layout->addStretch(1);
    cardDelay.setSingleShot(true);
    cardDelay.setInterval(kCardDelayMs);
    connectAll();
    reshape();
    QTimer::singleShot(0, this, [this] { buildPlots(); });
}

// The short forms of plots and events come one turn of the event loop later each: together with the map they would keep
// the window from its first input for as long as three frames.
void BlockMapPanel::Impl::buildPlots()
{
    plots = new PlotsPanel(workbench, &panel);
    plots->setCompact(true);
    plots->setVisible(!model().empty());
    panelLayout()->insertWidget(1, plots);
    fitSoon();
    QTimer::singleShot(0, this, [this] { buildEvents(); });
}

void BlockMapPanel::Impl::buildEvents()
{
    events = new EventListPanel(workbench, &panel);
    events->setCompact(true);
    events->setVisible(!model().empty());
    panelLayout()->addWidget(events);
    connect(events, &EventListPanel::blockActivated, this,
            [this](GroupIndex group, BlockId block) { showBlock(group, block); });
    fitSoon();
}

QLayout *BlockMapPanel::Impl::buildHeader()
{
    auto *row = new QHBoxLayout;
    row->setSpacing(2);
    row->setContentsMargins(0, 0, 0, 4);
    heading = new QLabel(&panel);
    heading->setProperty("tone", "secondary");
    heading->setFont(workbench.theme().font(TextSize::secondary));
    heading->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred); // in a narrow panel the menus keep their room
    row->addWidget(heading, 1);
    colourBy = menuButton(tr("Colour by"), &panel);
    arrangeBy = menuButton(tr("Arrange by"), &panel);
    for (QToolButton *button : {colourBy, arrangeBy})
        button->setFont(workbench.theme().font(TextSize::secondary));
    dot = new QLabel(QStringLiteral("·"), &panel);
    dot->setProperty("tone", "tertiary");
    row->addWidget(colourBy);
    row->addWidget(dot);
    row->addWidget(arrangeBy);
    buildMenus();
    return row;
}

void BlockMapPanel::Impl::buildMenus()
{
    auto *colours = new QActionGroup(this);
    for (int i = 0; i < kColourBys; ++i) {
        QAction *action = colours->addAction(colourByWord(ColourBy(i)));
        action->setCheckable(true);
        action->setChecked(i == 0);
        connect(action, &QAction::triggered, this, [this, i] {
            feed.setColourBy(ColourBy(i));
            colourBy->setText(tr("Colour by %1").arg(colourByWord(ColourBy(i))));
            view->reset();
            showLegend();
        });
        colourBy->menu()->addAction(action);
    }
    colourBy->setText(tr("Colour by %1").arg(colourByWord(ColourBy::state)));
    auto *orders = new QActionGroup(this);
    for (int i = 0; i < kArrangeBys; ++i) {
        QAction *action = orders->addAction(arrangeByWord(ArrangeBy(i)));
        action->setCheckable(true);
        action->setChecked(i == 0);
        connect(action, &QAction::triggered, this, [this, i] {
            view->setArrangeBy(ArrangeBy(i));
            arrangeBy->setText(tr("Arrange by %1").arg(arrangeByWord(ArrangeBy(i))));
        });
        arrangeBy->menu()->addAction(action);
    }
    arrangeBy->setText(tr("Arrange by %1").arg(arrangeByWord(ArrangeBy::block)));
}

void BlockMapPanel::Impl::connectAll()
{
    connect(&feed, &MapFeed::changed, this, [this] { refresh(); });
    connect(&feed, &MapFeed::reshaped, this, [this] { reshape(); });
    connect(&texts, &BlockTextCache::arrived, this, [this] {
        view->viewport()->update();
        wantTexts();
    });
    connect(view, &BlockMapView::hoverChanged, this, [this](qint64 block) { hover(block); });
    connect(view, &BlockMapView::selectionChanged, this, [this](qint64 block) {
        hover(block);
        if (block >= 0)
            workbench.post(api::command::DescribeBlock{GroupIndex{std::uint16_t(view->group())},
                                                       BlockId{std::uint32_t(block)}});
    });
    connect(view, &BlockMapView::viewChanged, this, [this] {
        wantTexts();
        fitSoon();
    });
    connect(&workbench.eventLog(), &EventLog::appended, this, [this] {
        if (workbench.eventLog().begin() == 0 && view->isVisible() && !fittedWithEvents)
            fitSoon();
        fittedWithEvents = true;
    });
    view->setContextMenuPolicy(Qt::CustomContextMenu);
    connect(view, &QWidget::customContextMenuRequested, this, [this](QPoint at) { contextMenu(at); });
    connect(&workbench, &Workbench::countsChanged, this, [this](const api::PoolCounts &counts) { showTiers(counts); });
    connect(legend, &StateLegend::filterChanged, this, [this] { view->reset(); });
    connect(&cardDelay, &QTimer::timeout, this, [this] { showCard(); });
    connect(&workbench.hover(), &HoverLink::targetChanged, this,
            [this](const HoverTarget &target, QObject *origin) { link(target, origin); });
    connect(&workbench, &Workbench::mapWanted, this, [this](const auto &nodes) { showNodes(nodes); });
    connect(&workbench, &Workbench::blockDescribed, this, [this](const api::update::BlockDescribed &d) {
        described = d;
        if (card && card->isVisible())
            showCard();
    });
    connect(&workbench.theme(), &Theme::changed, this, [this] { buildGroups(); });
}

void BlockMapPanel::Impl::fitHeading()
{
    heading->setText(heading->fontMetrics().elidedText(headingWords, Qt::ElideRight, std::max(heading->width(), 40)));
    heading->setToolTip(heading->text() == headingWords ? QString() : headingWords);
}

// Groups, capacity or emptiness changed.
void BlockMapPanel::Impl::reshape()
{
    const bool empty = model().empty();
    headingWords = empty ? tr("No blocks yet")
                         : tr("%1 of %2 tokens")
                               .arg(count(model().capacity(0), tr("block"), tr("blocks")))
                               .arg(model().blockSize());
    fitHeading();
    for (QWidget *widget : {static_cast<QWidget *>(colourBy), static_cast<QWidget *>(arrangeBy),
                            static_cast<QWidget *>(dot), static_cast<QWidget *>(legend), static_cast<QWidget *>(plots),
                            static_cast<QWidget *>(events)})
        if (widget)
            widget->setVisible(!empty);
    explanation->setVisible(empty);
    showLegend();
    texts.clear();
    legend->forget();
    buildGroups();
    view->setGroup(std::min(view->group(), empty ? 0 : model().groupCount() - 1));
    refresh();
    fitSoon();
}

// The states explain the colours only where the colours are the states.
void BlockMapPanel::Impl::showLegend()
{
    legend->setVisible(!model().empty() && model().colourBy() == ColourBy::state);
    scale->refresh(view->group());
    fitSoon();
}

void BlockMapPanel::Impl::showTiers(const api::PoolCounts &counts)
{
    const bool shownBefore = !tiers->isHidden();
    tiers->setCounts(model().empty() ? api::TierCounts{} : counts.host, model().empty() ? api::TierCounts{} : counts.disk);
    model().setTiersShown(counts.device.gpu);
    if (shownBefore == tiers->isHidden())
        fitSoon();
}

void BlockMapPanel::Impl::buildGroups()
{
    for (QToolButton *button : groups->findChildren<QToolButton *>()) { // one of their menus may have led here
        button->hide();
        button->deleteLater();
    }
    groups->setVisible(model().groupCount() > 1);
    if (model().groupCount() < 2)
        return;
    auto *row = static_cast<QHBoxLayout *>(groups->layout());
    while (QLayoutItem *item = row->takeAt(0))
        delete item;
    auto *exclusive = new QActionGroup(groups);
    for (std::size_t g = 0; g < model().groupCount(); ++g) {
        auto *button = new QToolButton(groups);
        auto *action = exclusive->addAction(QString::fromStdString(model().groupName(g)));
        action->setCheckable(true);
        action->setChecked(g == view->group());
        connect(action, &QAction::triggered, this, [this, g] { setGroup(g); });
        button->setDefaultAction(action);
        button->setAccessibleDescription(tr("Shows the blocks of these layers"));
        button->setStyleSheet(QStringLiteral("QToolButton { padding: 2px 8px; } QToolButton:checked { background: %1; }")
                                  .arg(workbench.theme().palette().selection.name()));
        button->setFont(workbench.theme().font(TextSize::secondary));
        row->addWidget(button);
    }
    row->addStretch(1);
}

void BlockMapPanel::Impl::setGroup(std::size_t group)
{
    view->setGroup(group);
    legend->forget();
    refresh();
    fitSoon();
}

// A pool of which little is used would show as a haze of free cells: at rest the used part and some room are seen at a
// size that can be read; the cells get smaller as the pool fills.
std::uint32_t BlockMapPanel::Impl::shownCells()
{
    if (model().empty())
        return kRestCells;
    const auto states = model().states(view->group());
    const auto last = std::find_if(states.rbegin(), states.rend(), [](std::uint8_t s) { return s != 0; });
    const auto used = std::uint32_t(states.rend() - last);
    std::uint32_t cells = kRestCells;
    while (cells < used)
        cells *= 2;
    return std::min(cells, model().capacity(view->group()));
}

void BlockMapPanel::Impl::refresh()
{
    if (const std::uint32_t now = shownCells(); now != shown) {
        shown = now;
        view->setFitted(now);
        fitSoon();
    }
    view->refresh();
    if (model().colourBy() == ColourBy::state)
        legend->refresh(view->group());
    else
        scale->refresh(view->group());
}

// The map is as high as its cells at rest want, and at most what the rest of the panel leaves.
void BlockMapPanel::Impl::fitMap()
{
    const std::uint32_t blocks = shownCells();
    const bool scrolls = !model().empty() && model().capacity(view->group()) > blocks;
    const int width = panel.width() - 2 * metrics::kPanelMargin - (scrolls ? view->verticalScrollBar()->sizeHint().width() : 0);
    if (width < 16)
        return;
    panel.layout()->activate();
    const int fixed = view->maximumHeight() < QWIDGETSIZE_MAX ? view->maximumHeight() : view->sizeHint().height();
    const int others = panel.layout()->sizeHint().height() - fixed;
    const int room = std::max(120, panel.height() - others);
    const int cell = view->cellSize() > kRestCell ? view->cellSize() : MapGeometry::fitting(blocks, width, room);
    view->setFixedHeight(std::min(room, MapGeometry(blocks, cell, width).height()));
}

// What was shown or hidden just now counts only after the layouts have heard of it.
void BlockMapPanel::Impl::fitSoon()
{
    QTimer::singleShot(0, this, [this] { fitMap(); });
}

// --- Hovering ---

void BlockMapPanel::Impl::hover(qint64 block)
{
    HoverTarget target;
    if (block >= 0 && !model().empty() && std::uint32_t(block) < model().capacity(view->group())) {
        const Cell &cell = model().cell(view->group(), std::uint32_t(block));
        target.group = GroupIndex{std::uint16_t(view->group())};
        target.block = BlockId{std::uint32_t(block)};
        if (model().state(view->group(), std::uint32_t(block)) != api::BlockState::free) {
            target.session = cell.owner;
            target.node = cell.node;
            target.firstToken = cell.firstToken;
            target.endToken = cell.firstToken + std::max<std::int32_t>(cell.tokens, 1);
        }
    }
    workbench.hover().setTarget(target, this);
    view->setLinked({});
    if (target.empty()) {
        cardDelay.stop();
        if (card)
            card->hide();
        return;
    }
    if (card && card->isVisible())
        showCard();
    else
        cardDelay.start();
}

std::vector<std::uint32_t> BlockMapPanel::Impl::blocksOf(const HoverTarget &target)
{
    std::vector<std::uint32_t> blocks;
    if (model().empty() || target.empty())
        return blocks;
    const std::size_t group = view->group();
    if (const auto block = model().blockOf(group, target.node))
        return {*block};
    if (target.block != kNoBlock && target.group.value == group && target.block.value < model().capacity(group))
        return {target.block.value};
    const api::Ribbon &ribbon = workbench.ribbon();
    if (target.session != ribbon.session)
        return blocks;
    for (const api::RibbonCell &cell : ribbon.cells) {
        if (cell.firstToken >= target.endToken || cell.firstToken + std::int32_t(cell.tokens) <= target.firstToken)
            continue;
        if (const auto block = model().blockOf(group, cell.node))
            blocks.push_back(*block);
        else if (group == 0 && cell.block != kNoBlock && cell.block.value < model().capacity(group))
            blocks.push_back(cell.block.value);
    }
    return blocks;
}

void BlockMapPanel::Impl::link(const HoverTarget &target, QObject *origin)
{
    if (origin != this)
        view->setLinked(blocksOf(target));
}

void BlockMapPanel::Impl::showCard()
{
    const auto block = view->hovered() ? view->hovered() : view->selected();
    if (!block || model().empty() || !panel.isVisible()) {
        if (card)
            card->hide();
        return;
    }
    if (!card || card->parentWidget() != panel.window())
        card = new BlockCard(workbench.theme(), panel.window());
    const Cell &cell = model().cell(view->group(), *block);
    const bool known = described && described->block.value == *block && described->group.value == view->group()
                       && described->info.node == cell.node;
    if (!known && cell.node.value)
        texts.want({{cell.node, GroupIndex{std::uint16_t(view->group())}, BlockId{*block}}});
    const api::SessionSummary *owner = workbench.summaryOf(cell.owner);
    card->setText(cardText({.model = model(), .group = view->group(), .block = *block,
                            .titleOf = [this](SessionId id) { return workbench.titleOf(id); },
                            .sessionTokens = owner ? owner->tokens : 0,
                            .nowMs = QDateTime::currentMSecsSinceEpoch(),
                            .described = known ? &*described : nullptr}));
    QRect anchor = view->blockRect(*block);
    anchor.moveTopLeft(view->viewport()->mapTo(panel.window(), anchor.topLeft()));
    const QRect bounds(panel.mapTo(panel.window(), QPoint(0, 0)), panel.size());
    card->showBeside(anchor, bounds);
}

// --- From elsewhere ---

void BlockMapPanel::Impl::showNodes(const std::vector<NodeId> &nodes)
{
    std::vector<std::uint32_t> blocks;
    if (!model().empty())
        for (const NodeId node : nodes)
            if (const auto block = model().blockOf(view->group(), node))
                blocks.push_back(*block);
    if (!blocks.empty())
        view->ensureVisible(blocks.front());
    view->setMarked(std::move(blocks));
}

void BlockMapPanel::Impl::showBlock(GroupIndex group, BlockId block)
{
    if (model().empty() || group.value >= model().groupCount() || block.value >= model().capacity(group.value))
        return;
    if (group.value != view->group())
        setGroup(group.value);
    view->select(block.value);
    view->ensureVisible(block.value);
}

void BlockMapPanel::Impl::wantTexts()
{
    std::vector<BlockTextCache::Wanted> wanted;
    for (const std::uint32_t block : view->visibleTextBlocks())
        wanted.push_back({model().cell(view->group(), block).node, GroupIndex{std::uint16_t(view->group())},
                          BlockId{block}});
    texts.want(wanted);
}

void BlockMapPanel::Impl::contextMenu(QPoint at)
{
    const bool byKeyboard = view->selected() && !view->hovered();
    const auto block = byKeyboard ? view->selected() : view->blockAt(view->viewport()->mapFrom(view, at));
    if (!block)
        return;
    if (byKeyboard)
        at = view->viewport()->mapTo(view, view->blockRect(*block).bottomLeft());
    const Cell cell = model().cell(view->group(), *block);
    QMenu menu(&panel);
    menu.addAction(tr("Events of block %1").arg(grouped(*block)), this, [this, block] {
        if (events)
            events->filterBlock(GroupIndex{std::uint16_t(view->group())}, BlockId{*block});
    });
    if (cell.node.value) {
        menu.addAction(cell.pinned ? tr("Unpin") : tr("Pin"), this, [this, cell] {
            workbench.post(api::command::PinBlocks{{cell.node}, !cell.pinned});
        });
    }
    if (cell.owner.value && cell.owner != workbench.session())
        menu.addAction(tr("Open its chat"), this,
                       [this, cell] { workbench.post(api::command::OpenSession{cell.owner}); });
    menu.exec(view->mapToGlobal(at));
}

// --- The panel ---

BlockMapPanel::BlockMapPanel(Workbench &workbench, QWidget *parent)
    : QWidget(parent), m_impl(std::make_unique<Impl>(workbench, *this))
{
    setAccessibleName(tr("Map"));
    m_impl->build();
}

BlockMapPanel::~BlockMapPanel() = default;

void BlockMapPanel::resizeEvent(QResizeEvent *)
{
    m_impl->fitMap();
    QTimer::singleShot(0, m_impl.get(), [this] { m_impl->fitHeading(); }); // the heading has its own width by then
}

void BlockMapPanel::hideEvent(QHideEvent *)
{
    if (m_impl->card)
        m_impl->card->hide();
}

void BlockMapPanel::keyPressEvent(QKeyEvent *event)
{
    if (event->key() == Qt::Key_Space)
        m_impl->workbench.setPaused(!m_impl->workbench.paused());
    else
        QWidget::keyPressEvent(event);
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/event_list_panel.h"

#include "ui/plots/event_table_model.h"
#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QApplication>
#include <QClipboard>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPainter>
#include <QScrollBar>
#include <QStyledItemDelegate>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

namespace kvilt::ui {

namespace {

using api::EventKind;

constexpr int kCompactRows = 6;
constexpr std::uint32_t kAllKinds = (1u << api::kEventKinds) - 1;

constexpr std::uint32_t bit(EventKind kind)
{
    return 1u << unsigned(kind);
}

struct Preset {
    const char *name;
    std::uint32_t kinds;
};
// What people come to ask, before the single kinds.
constexpr std::array kPresets{
    Preset{QT_TRANSLATE_NOOP("EventListPanel", "All kinds"), kAllKinds},
    Preset{QT_TRANSLATE_NOOP("EventListPanel", "Hits and misses"), bit(EventKind::hit) | bit(EventKind::miss)},
    Preset{QT_TRANSLATE_NOOP("EventListPanel", "Evicted, wanted again"),
           bit(EventKind::evict) | bit(EventKind::regret)},
    Preset{QT_TRANSLATE_NOOP("EventListPanel", "Disk"),
           bit(EventKind::store) | bit(EventKind::restore) | bit(EventKind::demote) | bit(EventKind::promote)},
    Preset{QT_TRANSLATE_NOOP("EventListPanel", "Dead and freed"), bit(EventKind::deadBranch) | bit(EventKind::free)},
};

// A line of 22 pixels: time in the fixed face, a square of the block's colour, the kind, what, why.
class EventDelegate : public QStyledItemDelegate {
public:
    EventDelegate(Theme &theme, EventTableModel &model, QObject *parent)
        : QStyledItemDelegate(parent), m_theme(theme), m_model(model)
    {
    }

    QSize sizeHint(const QStyleOptionViewItem &, const QModelIndex &) const override
    {
        return {60, metrics::kEventRow};
    }

    void paint(QPainter *painter, const QStyleOptionViewItem &option, const QModelIndex &index) const override
    {
        const Palette &p = m_theme.palette();
        if (option.state & QStyle::State_Selected)
            painter->fillRect(option.rect, p.selection);
        const QString text = index.data().toString();
        QRect rect = option.rect;
        QColor ink = p.text;
        QFont font = m_theme.font(TextSize::secondary);
        if (index.column() == EventTableModel::time) {
            font = m_theme.monoFont(TextSize::caption);
            ink = p.tertiary;
        } else if (index.column() == EventTableModel::kind) {
            painter->fillRect(QRect(rect.left(), rect.center().y() - 3, 8, 8),
                              kindColour(m_model.event(index.row()), p.freeCell));
            rect.setLeft(rect.left() + 16);
            font = m_theme.font(TextSize::secondary, QFont::DemiBold);
        } else if (index.column() == EventTableModel::detail) {
            ink = p.secondary;
        }
        painter->setFont(font);
        painter->setPen(ink);
        painter->drawText(rect, Qt::AlignLeft | Qt::AlignVCenter,
                          QFontMetrics(font).elidedText(text, Qt::ElideRight, rect.width() - 4));
    }

private:
    Theme &m_theme;
    EventTableModel &m_model;
};

} // namespace

struct EventListPanel::Impl : QObject {
    Impl(Workbench &w, EventListPanel &p)
        : workbench(w), panel(p), model(w.eventLog(), context())
    {
    }

    Workbench &workbench;
    EventListPanel &panel;
    std::vector<QString> groupNames;
    std::uint16_t blockSize = 16;
    EventTableModel model; // its context reads the two above
    QString kindsName = EventListPanel::tr("All kinds");
    QString searchText;
    bool compact = false;
    bool follow = true;
    QVBoxLayout *layout = nullptr;
    QWidget *rule = nullptr;
    QLabel *heading = nullptr, *status = nullptr, *empty = nullptr;
    QLineEdit *search = nullptr;
    QToolButton *kinds = nullptr, *chats = nullptr, *followButton = nullptr, *blockChip = nullptr;
    QTableView *table = nullptr;

    EventContext context();
    void build();
    QWidget *buildHeader();
    void buildTable();
    void buildKinds();
    void buildChats();
    void applyCompact();
    void filter(const std::function<void(EventFilter &)> &change);
    void setFollow(bool on);
    void activate(const QModelIndex &index, bool raise);
    void contextMenu(QPoint at);
    void refreshStatus();
    void keepPlace(int insertedRows);
};

EventContext EventListPanel::Impl::context()
{
    return {.titleOf = [this](SessionId id) { return workbench.titleOf(id); },
            .groupName = [this](std::uint16_t g) {
                return groupNames.size() > 1 && g < groupNames.size() ? groupNames[g] : QString();
            },
            .blockSize = blockSize};
}

void EventListPanel::Impl::build()
{
    layout = new QVBoxLayout(&panel);
    layout->setSpacing(0);
    rule = new QFrame(&panel);
    rule->setProperty("role", "rule");
    rule->setFixedHeight(1);
    layout->addWidget(rule);
    layout->addWidget(buildHeader());
    buildTable();
    empty = new QLabel(EventListPanel::tr("What happens to each block will be listed here, with its reason. Send a message to see it."), &panel);
    empty->setWordWrap(true);
    empty->setProperty("tone", "secondary");
    empty->setContentsMargins(metrics::kPanelMargin, 0, metrics::kPanelMargin, 0);
    layout->addWidget(empty);
    layout->addWidget(table, 1);
    connect(&model, &QAbstractItemModel::rowsInserted, this, [this](const QModelIndex &, int first, int last) {
        keepPlace(last - first + 1);
        refreshStatus();
    });
    connect(&model, &QAbstractItemModel::modelReset, this, [this] { refreshStatus(); });
    connect(&workbench, &Workbench::pausedChanged, this, [this](bool paused) { model.setHeld(paused); });
    connect(&workbench, &Workbench::sessionsListed, this, [this] { model.setContext(context()); });
    connect(&workbench, &Workbench::snapshotArrived, this, [this](const api::PoolSnapshot &snapshot) {
        groupNames.clear();
        for (const api::GroupView &group : snapshot.groups)
            groupNames.push_back(QString::fromStdString(group.name));
        blockSize = snapshot.blockSize;
        model.setContext(context());
    });
    connect(&workbench.theme(), &Theme::changed, this, [this] { table->viewport()->update(); });
    applyCompact();
    refreshStatus();
}

QWidget *EventListPanel::Impl::buildHeader()
{
    auto *header = new QWidget(&panel);
    auto *rows = new QVBoxLayout(header);
    rows->setContentsMargins(metrics::kPanelMargin, metrics::kGrid, metrics::kPanelMargin, 4);
    rows->setSpacing(metrics::kGrid);
    search = new QLineEdit(header);
    search->setPlaceholderText(EventListPanel::tr("Search kinds, reasons, chats, block numbers"));
    search->setAccessibleName(EventListPanel::tr("Search events"));
    search->setClearButtonEnabled(true);
    rows->addWidget(search);
    auto *row = new QHBoxLayout;
    row->setSpacing(2);
    heading = new QLabel(EventListPanel::tr("Events"), header);
    heading->setFont(workbench.theme().font(TextSize::secondary, QFont::DemiBold));
    status = new QLabel(header);
    status->setProperty("tone", "tertiary");
    status->setFont(workbench.theme().font(TextSize::caption));
    row->addWidget(heading);
    row->addWidget(status);
    row->addStretch(1);
    const auto button = [&](const QString &name) {
        auto *b = new QToolButton(header);
        b->setFont(workbench.theme().font(TextSize::secondary));
        b->setAccessibleName(name);
        b->setPopupMode(QToolButton::InstantPopup);
        b->setFocusPolicy(Qt::TabFocus);
        b->setStyleSheet(QStringLiteral("QToolButton { padding: 2px 3px; }"));
        row->addWidget(b);
        return b;
    };
    blockChip = button(EventListPanel::tr("Show events of every block again"));
    blockChip->hide();
    connect(blockChip, &QToolButton::clicked, this, [this] { filter([](EventFilter &f) { f.block.reset(); }); });
    kinds = button(EventListPanel::tr("Kinds of events"));
    chats = button(EventListPanel::tr("Chats"));
    auto *dot = new QLabel(QStringLiteral("·"), header);
    dot->setProperty("tone", "tertiary");
    row->addWidget(dot);
    followButton = button(EventListPanel::tr("Follow new events"));
    followButton->setText(EventListPanel::tr("Follow"));
    followButton->setCheckable(true);
    followButton->setChecked(true);
    rows->addLayout(row);
    connect(followButton, &QToolButton::clicked, this, [this](bool on) { setFollow(on); });
    connect(search, &QLineEdit::textChanged, this, [this](const QString &text) {
        searchText = text;
        filter([](EventFilter &) {});
    });
    buildKinds();
    buildChats();
    return header;
}

void EventListPanel::Impl::buildKinds()
{
    auto *menu = new QMenu(kinds);
    const auto add = [&](const QString &name, std::uint32_t mask) {
        menu->addAction(name, this, [this, name, mask] {
            kindsName = name;
            filter([mask](EventFilter &f) { f.kinds = mask; });
        });
    };
    for (const Preset &preset : kPresets)
        add(EventListPanel::tr(preset.name), preset.kinds);
    menu->addSeparator();
    for (int k = 0; k < api::kEventKinds; ++k)
        add(kindsWord(EventKind(k)), 1u << k);
    kinds->setMenu(menu);
    kinds->setText(kindsName);
}

void EventListPanel::Impl::buildChats()
{
    auto *menu = new QMenu(chats);
    menu->addAction(EventListPanel::tr("All chats"), this, [this] { filter([](EventFilter &f) { f.session.reset(); }); });
    menu->addAction(EventListPanel::tr("This chat"), this, [this] {
        filter([this](EventFilter &f) { f.session = workbench.session(); });
    });
    chats->setMenu(menu);
    chats->setText(EventListPanel::tr("All chats"));
}

void EventListPanel::Impl::buildTable()
{
    table = new QTableView(&panel);
    table->setModel(&model);
    table->setItemDelegate(new EventDelegate(workbench.theme(), model, table));
    table->setAccessibleName(EventListPanel::tr("Events, newest first"));
    table->setSelectionBehavior(QAbstractItemView::SelectRows);
    table->setSelectionMode(QAbstractItemView::SingleSelection);
    table->setShowGrid(false);
    table->setWordWrap(false);
    table->setTabKeyNavigation(false);
    table->setFrameShape(QFrame::NoFrame);
    table->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
    table->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    table->horizontalHeader()->hide();
    table->verticalHeader()->hide();
    table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    table->verticalHeader()->setMinimumSectionSize(metrics::kEventRow);
    table->verticalHeader()->setDefaultSectionSize(metrics::kEventRow);
    const QFontMetrics mono(workbench.theme().monoFont(TextSize::caption));
    table->setColumnWidth(EventTableModel::time, mono.horizontalAdvance(QStringLiteral("00:00:00.000")) + 10);
    table->setColumnWidth(EventTableModel::kind, 70);
    table->setColumnWidth(EventTableModel::object, 86);
    table->horizontalHeader()->setMinimumSectionSize(40); // in a narrow panel the words are elided, not cut
    table->horizontalHeader()->setStretchLastSection(true);
    table->setContextMenuPolicy(Qt::CustomContextMenu);
    connect(table, &QTableView::clicked, this, [this](const QModelIndex &i) { activate(i, false); });
    connect(table, &QTableView::activated, this, [this](const QModelIndex &i) { activate(i, true); });
    connect(table, &QWidget::customContextMenuRequested, this, [this](QPoint at) { contextMenu(at); });
    connect(table->verticalScrollBar(), &QScrollBar::actionTriggered, this, [this] {
        setFollow(table->verticalScrollBar()->sliderPosition() == 0);
    });
}

void EventListPanel::Impl::applyCompact()
{
    search->setVisible(!compact);
    chats->setVisible(!compact);
    status->setVisible(!compact);
    heading->setVisible(compact);
    rule->setVisible(compact);
    layout->setContentsMargins(0, 0, 0, metrics::kGrid);
    table->setContentsMargins(0, 0, 0, 0);
    table->setStyleSheet(QStringLiteral("QTableView { padding-left: %1px; padding-right: %1px; }").arg(metrics::kPanelMargin));
    if (compact)
        table->setFixedHeight(kCompactRows * metrics::kEventRow);
    table->setVerticalScrollBarPolicy(compact ? Qt::ScrollBarAlwaysOff : Qt::ScrollBarAsNeeded);
    panel.setSizePolicy(QSizePolicy::Preferred, compact ? QSizePolicy::Fixed : QSizePolicy::Expanding);
}

void EventListPanel::Impl::filter(const std::function<void(EventFilter &)> &change)
{
    EventFilter f = model.filter();
    change(f);
    compileSearch(f, searchText, workbench.titles());
    model.setFilter(f);
    kinds->setText(f.kinds == kAllKinds ? EventListPanel::tr("All kinds") : kindsName);
    chats->setText(!f.session ? EventListPanel::tr("All chats")
                   : f.session == workbench.session() ? EventListPanel::tr("This chat")
                                                      : workbench.titleOf(*f.session));
    blockChip->setVisible(f.block.has_value());
    if (f.block)
        blockChip->setText(EventListPanel::tr("block %1 ×").arg(grouped(*f.block)));
}

void EventListPanel::Impl::setFollow(bool on)
{
    follow = on;
    followButton->setChecked(on);
    if (on)
        table->scrollToTop();
}

// New rows come in above: without following, what is read stays where it is.
void EventListPanel::Impl::keepPlace(int insertedRows)
{
    if (follow)
        table->scrollToTop();
    else
        table->verticalScrollBar()->setValue(table->verticalScrollBar()->value() + insertedRows * metrics::kEventRow);
}

void EventListPanel::Impl::refreshStatus()
{
    const EventLog &log = workbench.eventLog();
    QString text = model.filter().everything()
                       ? count(log.size(), EventListPanel::tr("event"), EventListPanel::tr("events"))
                       : EventListPanel::tr("%1 of %2 events").arg(grouped(std::uint64_t(model.rowCount())), grouped(log.size()));
    if (log.lost())
        text += EventListPanel::tr(", %1 not seen (in the journal)").arg(grouped(log.lost()));
    status->setText(text);
    empty->setVisible(log.size() == 0);
    table->setVisible(log.size() > 0 || !compact);
}

void EventListPanel::Impl::activate(const QModelIndex &index, bool raise)
{
    if (!index.isValid())
        return;
    const api::CacheEvent &event = model.event(index.row());
    workbench.hover().setTarget({.session = SessionId{event.session}, .node = NodeId{event.node},
                                 .group = GroupIndex{event.group}, .block = BlockId{event.block}}, this);
    if (event.block != kNoBlock.value)
        emit panel.blockActivated(GroupIndex{event.group}, BlockId{event.block});
    if (raise && event.node)
        workbench.showBlocks({NodeId{event.node}});
    else if (raise && (event.kind == EventKind::hit || event.kind == EventKind::miss) && event.turn)
        workbench.inspect(TurnId{event.turn});
}

void EventListPanel::Impl::contextMenu(QPoint at)
{
    const QModelIndex index = table->indexAt(at);
    if (!index.isValid())
        return;
    const api::CacheEvent event = model.event(index.row());
    const QString sentence = model.sentence(index.row());
    QMenu menu(&panel);
    menu.addAction(EventListPanel::tr("Only %1").arg(kindsWord(event.kind).toLower()), this, [this, event] {
        kindsName = kindsWord(event.kind);
        filter([event](EventFilter &f) { f.kinds = bit(event.kind); });
    });
    if (event.session)
        menu.addAction(EventListPanel::tr("Only this chat"), this, [this, event] {
            filter([event](EventFilter &f) { f.session = SessionId{event.session}; });
        });
    if (event.block != kNoBlock.value)
        menu.addAction(EventListPanel::tr("Only block %1").arg(grouped(event.block)), this,
                       [this, event] { panel.filterBlock(GroupIndex{event.group}, BlockId{event.block}); });
    if (event.turn)
        menu.addAction(EventListPanel::tr("Inspect its turn"), this, [this, event] { workbench.inspect(TurnId{event.turn}); });
    menu.addSeparator();
    menu.addAction(EventListPanel::tr("Copy"), this, [sentence] { QApplication::clipboard()->setText(sentence); });
    menu.exec(table->viewport()->mapToGlobal(at));
}

EventListPanel::EventListPanel(Workbench &workbench, QWidget *parent)
    : QWidget(parent), m_impl(std::make_unique<Impl>(workbench, *this))
{
    setAccessibleName(tr("Events"));
    m_impl->build();
}

EventListPanel::~EventListPanel() = default;

void EventListPanel::setCompact(bool compact)
{
    m_impl->compact = compact;
    m_impl->applyCompact();
}

void EventListPanel::filterBlock(GroupIndex group, BlockId block)
{
    m_impl->filter([&](EventFilter &f) {
        f.block = block.value;
        f.blockGroup = group.value;
    });
}

void EventListPanel::keyPressEvent(QKeyEvent *event)
{
    if (event->key() == Qt::Key_Space)
        m_impl->workbench.setPaused(!m_impl->workbench.paused());
    else
        QWidget::keyPressEvent(event);
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/inspector/inspector_panel.h"

#include "ui/inspector/inspector_parts.h"
#include "ui/widgets/format.h"

#include <QFrame>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QScrollArea>
#include <QScrollBar>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>

namespace kvilt::ui {

struct InspectorPanel::Impl : QObject {
    Impl(Workbench &w, InspectorPanel &p) : workbench(w), panel(p) {}

    Workbench &workbench;
    InspectorPanel &panel;
    QScrollArea *scroll = nullptr;
    QVBoxLayout *layout = nullptr; // of what is shown now
    std::optional<api::update::TurnInspected> shown;
    std::optional<api::update::PromptPreview> preview;
    std::uint16_t blockSize = 16;
    std::uint64_t bytesPerBlock = 0;
    bool latest = true; // follows the newest turn until another one is asked for
    QTimer soon;
    std::vector<InspectorText::Row> chat; // the rows shown now

    void connectAll();
    void inspectLatest();
    void step(int turns);
    std::optional<std::size_t> placeAfter(int by) const;
    std::vector<TurnId> turns() const { return workbench.liveBranch().turns(); }
    void rebuild();
    void rebuildSoon();
    void buildTurn();
    void buildEmpty();
    void buildHead(const InspectorText &text);
    void buildNumbers(const InspectorText &text);
    void buildDifference(const InspectorText &text);
    void buildRemedies(const InspectorText &text);
    void buildRows(const QString &title, const std::vector<InspectorText::Row> &rows);
    void buildChat();
    std::vector<InspectorText::Row> rowsOfChat() const;
    QLabel *label(const QString &text, TextSize size, const char *tone = nullptr, QFont::Weight weight = QFont::Normal);
    void rule();
    void heading(const QString &text, const QString &right = {});
};

void InspectorPanel::Impl::connectAll()
{
    connect(&workbench, &Workbench::sessionOpened, this, [this] {
        shown.reset();
        preview.reset();
        latest = true;
        inspectLatest();
        rebuildSoon();
    });
    connect(&workbench, &Workbench::turnFinished, this, [this](const api::update::TurnFinished &finished) {
        if (finished.session == workbench.session() && latest)
            inspectLatest();
    });
    connect(&workbench, &Workbench::inspectorWanted, this, [this](TurnId) { latest = false; });
    connect(&workbench, &Workbench::turnInspected, this, [this](const api::update::TurnInspected &turn) {
        if (turn.session != workbench.session())
            return;
        shown = turn;
        rebuildSoon();
    });
    connect(&workbench, &Workbench::sessionsListed, this, [this] { // after every turn; seldom is another number in it
        if (panel.isVisible() && workbench.session().value && rowsOfChat() != chat)
            rebuildSoon();
    });
    connect(&workbench, &Workbench::promptPreviewed, this, [this](const api::update::PromptPreview &p) {
        if (p.session != workbench.session())
            return;
        preview = p;
        if (panel.isVisible() && rowsOfChat() != chat)
            rebuildSoon();
    });
    connect(&workbench, &Workbench::snapshotArrived, this, [this](const api::PoolSnapshot &snapshot) {
        blockSize = snapshot.blockSize;
        bytesPerBlock = 0;
        for (const api::GroupView &group : snapshot.groups)
            bytesPerBlock += group.bytesPerBlock;
    });
    connect(&workbench.theme(), &Theme::changed, this, [this] { rebuildSoon(); });
    soon.setSingleShot(true);
    connect(&soon, &QTimer::timeout, this, [this] { rebuild(); });
}

// Several things change with one turn; the page, some fifty labels, is made anew once.
void InspectorPanel::Impl::rebuildSoon()
{
    soon.start(0);
}

void InspectorPanel::Impl::inspectLatest()
{
    const std::vector<TurnId> all = turns();
    if (!all.empty() && workbench.session().value)
        workbench.post(api::command::InspectTurn{workbench.session(), all.back()});
}

void InspectorPanel::Impl::step(int by)
{
    const auto to = placeAfter(by);
    if (!to)
        return;
    const std::vector<TurnId> all = turns();
    latest = *to + 1 == all.size();
    workbench.post(api::command::InspectTurn{workbench.session(), all[*to]});
}

// Among the turns that have a record, of the one that many after the one shown; none: there is none.
std::optional<std::size_t> InspectorPanel::Impl::placeAfter(int by) const
{
    const std::vector<TurnId> all = turns();
    if (all.empty() || !shown)
        return {};
    const auto at = std::find(all.begin(), all.end(), shown->receipt.turn);
    const std::ptrdiff_t to = (at == all.end() ? std::ptrdiff_t(all.size()) - 1 : at - all.begin()) + by;
    return to >= 0 && to < std::ptrdiff_t(all.size()) ? std::optional(std::size_t(to)) : std::nullopt;
}

// --- Building ---

QLabel *InspectorPanel::Impl::label(const QString &text, TextSize size, const char *tone, QFont::Weight weight)
{
    auto *l = new QLabel(text);
    l->setFont(workbench.theme().font(size, weight));
    l->setTextFormat(Qt::PlainText);
    l->setTextInteractionFlags(Qt::TextSelectableByMouse);
    if (tone)
        l->setProperty("tone", tone);
    return l;
}

void InspectorPanel::Impl::rule()
{
    auto *line = new QFrame;
    line->setProperty("role", "rule");
    line->setFixedHeight(1);
    layout->addSpacing(metrics::kGrid + 4);
    layout->addWidget(line);
    layout->addSpacing(metrics::kGrid + 2);
}

void InspectorPanel::Impl::heading(const QString &text, const QString &right)
{
    auto *row = new QHBoxLayout;
    row->addWidget(label(text, TextSize::secondary, nullptr, QFont::DemiBold));
    row->addStretch(1);
    if (!right.isEmpty())
        row->addWidget(label(right, TextSize::secondary, "secondary"));
    layout->addLayout(row);
    layout->addSpacing(metrics::kGrid);
}

void InspectorPanel::Impl::rebuild()
{
    auto *content = new QWidget;
    layout = new QVBoxLayout(content);
    layout->setContentsMargins(metrics::kPanelMargin, metrics::kPanelMargin - 2, metrics::kPanelMargin, metrics::kPanelMargin);
    layout->setSpacing(0);
    if (shown)
        buildTurn();
    else
        buildEmpty();
    if (workbench.session().value)
        buildChat();
    layout->addStretch(1);
    const int at = scroll->verticalScrollBar()->value();
    scroll->setWidget(content); // deletes what was shown before
    scroll->verticalScrollBar()->setValue(at);
}

void InspectorPanel::Impl::buildEmpty()
{
    layout->addWidget(label(InspectorPanel::tr("No turn yet"), TextSize::title, nullptr, QFont::DemiBold));
    layout->addSpacing(metrics::kGrid);
    auto *words = label(InspectorPanel::tr("Each reply is explained here: how much of its prompt came from the cache, where "
                                           "it parted from what was cached, why, and what that cost. Send a message, or "
                                           "click the line under a reply."),
                        TextSize::body, "secondary");
    words->setWordWrap(true);
    layout->addWidget(words);
}

void InspectorPanel::Impl::buildTurn()
{
    const InspectorText text = inspectorText(*shown, {.blockSize = blockSize,
                                                      .bytesPerBlock = bytesPerBlock,
                                                      .restoreBytesPerSecond = workbench.history().restoreBytesPerSecond(),
                                                      .messages = &workbench.liveBranch().messages()});
    buildHead(text);
    buildNumbers(text);
    rule();
    heading(InspectorPanel::tr("The prompt, block by block"), text.blocks);
    auto *strips = new PromptStrips(workbench.theme(), workbench.hover());
    strips->setTurn(*shown);
    layout->addWidget(strips);
    layout->addSpacing(4);
    auto *caption = label(text.stripCaption, TextSize::caption, "tertiary");
    caption->setWordWrap(true);
    layout->addWidget(caption);
    buildDifference(text);
    if (!text.fates.empty())
        buildRows(text.fatesTitle, text.fates);
    buildRemedies(text);
}

void InspectorPanel::Impl::buildHead(const InspectorText &text)
{
    auto *row = new QHBoxLayout;
    row->setSpacing(2);
    auto *title = label(text.title, TextSize::title, nullptr, QFont::DemiBold);
    title->setWordWrap(true);
    row->addWidget(title, 1);
    const auto arrow = [&](const QString &glyph, const QString &name, int by) {
        auto *button = new QToolButton;
        button->setText(glyph);
        button->setAccessibleName(name);
        button->setToolTip(name);
        button->setEnabled(placeAfter(by).has_value());
        connect(button, &QToolButton::clicked, this, [this, by] { step(by); });
        row->addWidget(button);
    };
    arrow(QStringLiteral("‹"), InspectorPanel::tr("The turn before"), -1);
    row->addWidget(label(text.turn, TextSize::secondary, "tertiary"));
    arrow(QStringLiteral("›"), InspectorPanel::tr("The next turn"), 1);
    layout->addLayout(row);
    layout->addSpacing(6);
    auto *paragraph = label(text.paragraph, TextSize::body, "secondary");
    paragraph->setWordWrap(true);
    layout->addWidget(paragraph);
    layout->addSpacing(metrics::kGroupGap - 6);
}

void InspectorPanel::Impl::buildNumbers(const InspectorText &text)
{
    auto *grid = new QGridLayout;
    grid->setHorizontalSpacing(metrics::kGrid);
    grid->setVerticalSpacing(2);
    for (int i = 0; i < int(text.numbers.size()); ++i) {
        const InspectorText::Number &number = text.numbers[std::size_t(i)];
        using Tone = InspectorText::Number::Tone;
        const char *tone = number.tone == Tone::saved ? "saved" : number.tone == Tone::lost ? "lost" : nullptr;
        grid->addWidget(label(number.value, TextSize::headline, tone), 0, i);
        grid->addWidget(label(number.label, TextSize::secondary, "secondary"), 1, i);
        grid->setColumnStretch(i, 1);
    }
    layout->addLayout(grid);
    layout->addSpacing(metrics::kGrid);
    auto *tiers = label(text.tiers, TextSize::caption, "tertiary");
    tiers->setWordWrap(true);
    layout->addWidget(tiers);
}

void InspectorPanel::Impl::buildDifference(const InspectorText &text)
{
    if (text.differenceTitle.isEmpty())
        return;
    rule();
    heading(text.differenceTitle);
    Theme &theme = workbench.theme();
    layout->addWidget(new ExcerptLine(InspectorPanel::tr("Cached"), text.cached, stateColour(api::BlockState::deadBranch), theme));
    layout->addSpacing(metrics::kGrid);
    layout->addWidget(new ExcerptLine(InspectorPanel::tr("Asked"), text.asked, stateColour(api::BlockState::inUse), theme));
}

void InspectorPanel::Impl::buildRows(const QString &title, const std::vector<InspectorText::Row> &rows)
{
    rule();
    heading(title);
    auto *grid = new QGridLayout;
    grid->setHorizontalSpacing(metrics::kGrid + 4);
    grid->setVerticalSpacing(metrics::kGrid);
    for (int i = 0; i < int(rows.size()); ++i) {
        grid->addWidget(label(rows[std::size_t(i)].name, TextSize::secondary, "secondary"), i, 0);
        grid->addWidget(label(rows[std::size_t(i)].value, TextSize::secondary), i, 1);
        auto *note = label(rows[std::size_t(i)].note, TextSize::secondary, "secondary");
        note->setAlignment(Qt::AlignRight);
        note->setWordWrap(true);
        grid->addWidget(note, i, 2);
    }
    grid->setColumnMinimumWidth(0, 96);
    grid->setColumnStretch(2, 1);
    layout->addLayout(grid);
}

void InspectorPanel::Impl::buildRemedies(const InspectorText &text)
{
    const std::vector<NodeId> nodes = shown->receipt.miss.cachedPath;
    if (text.remedies.empty() && nodes.empty())
        return;
    rule();
    heading(InspectorPanel::tr("What to do"));
    for (const api::update::Remedy &remedy : text.remedies) {
        auto *button = new RemedyButton(QString::fromStdString(remedy.title), QString::fromStdString(remedy.effect), workbench.theme());
        button->setEnabled(!remedy.commands.empty());
        if (remedy.commands.empty())
            button->unsetCursor();
        connect(button, &QAbstractButton::clicked, this, [this, commands = remedy.commands] {
            for (api::Command command : commands) {
                // Only the system prompt goes back: what else was set since the turn stays.
                if (auto *edit = std::get_if<api::command::SetSessionSettings>(&command)) {
                    const std::string before = edit->settings.systemPrompt;
                    edit->settings = workbench.sessionSettings();
                    edit->settings.systemPrompt = before;
                }
                workbench.post(std::move(command));
            }
        });
        layout->addWidget(button);
        layout->addSpacing(metrics::kGrid);
    }
    if (nodes.empty())
        return;
    auto *map = new RemedyButton(InspectorPanel::tr("Show these blocks in the map"), {}, workbench.theme());
    connect(map, &QAbstractButton::clicked, this, [this, nodes] { workbench.showBlocks(nodes); });
    layout->addWidget(map);
}

std::vector<InspectorText::Row> InspectorPanel::Impl::rowsOfChat() const
{
    ChatFacts facts;
    if (const api::SessionSummary *summary = workbench.summaryOf(workbench.session())) {
        facts.kvBytes = summary->kvBytes;
        facts.blocksOnDisk = summary->blocksOnDisk;
        facts.blocksInMemory = summary->blocksInMemory;
        facts.tokens = summary->tokens;
    }
    facts.restoreBytesPerSecond = workbench.history().restoreBytesPerSecond();
    if (shown) {
        facts.prefillTokensPerSecond = shown->receipt.prefillTokensPerSecond;
        facts.recomputed = shown->receipt.recomputed;
        facts.dropped = shown->receipt.contextStart.value != 0;
    }
    facts.previewKnown = preview.has_value();
    if (preview)
        facts.preview = *preview;
    return chatRows(facts);
}

void InspectorPanel::Impl::buildChat()
{
    chat = rowsOfChat();
    buildRows(InspectorPanel::tr("This chat"), chat);
}

InspectorPanel::InspectorPanel(Workbench &workbench, QWidget *parent)
    : QWidget(parent), m_impl(std::make_unique<Impl>(workbench, *this))
{
    setAccessibleName(tr("Inspector"));
    auto *outer = new QVBoxLayout(this);
    outer->setContentsMargins({});
    m_impl->scroll = new QScrollArea(this);
    m_impl->scroll->setWidgetResizable(true);
    m_impl->scroll->setFrameShape(QFrame::NoFrame);
    m_impl->scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_impl->scroll->setAccessibleName(tr("Turn, explained"));
    outer->addWidget(m_impl->scroll);
    m_impl->connectAll();
    m_impl->latest = workbench.wantedTurn().value == 0; // else its answer is under way
    if (m_impl->latest)
        m_impl->inspectLatest();
    m_impl->rebuildSoon();
}

InspectorPanel::~InspectorPanel() = default;

void InspectorPanel::showEvent(QShowEvent *)
{
    if (!m_impl->preview && m_impl->workbench.session().value)
        m_impl->workbench.post(api::command::PreviewPrompt{m_impl->workbench.session(), {}});
    m_impl->rebuildSoon();
}

void InspectorPanel::keyPressEvent(QKeyEvent *event)
{
    if (event->key() == Qt::Key_Left)
        m_impl->step(-1);
    else if (event->key() == Qt::Key_Right)
        m_impl->step(1);
    else
        QWidget::keyPressEvent(event);
}

} // namespace kvilt::ui

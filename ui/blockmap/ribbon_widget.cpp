// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/ribbon_widget.h"

#include "ui/blockmap/cell_sprites.h"
#include "ui/blockmap/ribbon_layout.h"
#include "ui/blockmap/words.h"
#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QHelpEvent>
#include <QKeyEvent>
#include <QPainter>
#include <QToolTip>

#include <algorithm>

namespace kvilt::ui {

using api::RibbonState;

namespace {
QString partWord(const RibbonColumn::Part &part)
{
    return part.inHost ? RibbonWidget::tr("in the host's memory") : ribbonWord(part.state);
}
} // namespace

struct RibbonWidget::Impl {
    Impl(Workbench &w, RibbonWidget &widget) : workbench(w), self(widget) {}

    Workbench &workbench;
    RibbonWidget &self;
    RibbonLayout layout;
    int hovered = -1;          // column under the pointer or the keyboard
    int litBegin = -1, litEnd = -1; // columns lit by the other views
    std::uint32_t draftTokens = 0, draftContext = 0; // the prompt with what is being written; 0: nothing is

    const api::Ribbon &ribbon() const { return workbench.ribbon(); }
    QString label() const;
    int stripWidth() const;
    void relayout();
    void point(int column);
    void light(const HoverTarget &target);
    QString describe(int column) const;
    void paintColumn(QPainter &painter, int index, int top) const;
    void paintPart(QPainter &painter, const QRect &rect, RibbonState state, bool inHost) const;
    std::vector<NodeId> nodesOf(int column) const;
    void activate(int column);
};

void RibbonWidget::Impl::activate(int column)
{
    // Showing the map may open a dock and give the ribbon another width, and so other columns.
    const int firstToken = ribbon().cells[layout.columns[std::size_t(column)].begin].firstToken;
    workbench.showBlocks(nodesOf(column));
    emit self.activated(firstToken);
}

QString RibbonWidget::Impl::label() const
{
    const std::uint32_t context = draftTokens > 0 ? draftContext : ribbon().contextTokens;
    if (context == 0)
        return {};
    return RibbonWidget::tr("%1 of %2 tokens").arg(grouped(draftTokens > 0 ? draftTokens : ribbon().usedTokens), grouped(context));
}

int RibbonWidget::Impl::stripWidth() const
{
    const QString text = label();
    const int words = text.isEmpty() ? 0 : QFontMetrics(workbench.theme().font(TextSize::secondary)).horizontalAdvance(text) + 16;
    return self.width() - words;
}

void RibbonWidget::Impl::relayout()
{
    layout = layOutRibbon(ribbon(), stripWidth());
    hovered = std::min(hovered, int(layout.columns.size()) - 1);
    std::array<int, 8> counts{};
    for (const api::RibbonCell &cell : ribbon().cells)
        ++counts[std::size_t(cell.state)];
    QStringList parts;
    for (int s = 0; s < int(RibbonState::unused); ++s)
        if (counts[std::size_t(s)])
            parts << count(std::uint64_t(counts[std::size_t(s)]), tr("block"), tr("blocks")) + QLatin1Char(' ') + ribbonWord(RibbonState(s));
    self.setAccessibleDescription(parts.isEmpty() ? label() : label() + QStringLiteral(": ") + parts.join(QStringLiteral(", ")));
    light(workbench.hover().target());
    self.update();
}

void RibbonWidget::Impl::light(const HoverTarget &target)
{
    litBegin = litEnd = -1;
    for (int c = 0; c < int(layout.columns.size()) && !target.empty(); ++c) {
        for (std::uint32_t i = layout.columns[std::size_t(c)].begin; i < layout.columns[std::size_t(c)].end; ++i) {
            const api::RibbonCell &cell = ribbon().cells[i];
            const bool sameNode = target.node.value && cell.node == target.node;
            const bool overlaps = target.session == ribbon().session && target.firstToken >= 0 && cell.firstToken < target.endToken
                                  && cell.firstToken + std::max<std::int32_t>(cell.tokens, 1) > target.firstToken;
            const bool sameBlock = cell.block != kNoBlock && cell.block == target.block && target.group.value == 0;
            if (sameNode || overlaps || sameBlock) {
                litBegin = litBegin < 0 ? c : litBegin;
                litEnd = c + 1;
            }
        }
    }
}

std::vector<NodeId> RibbonWidget::Impl::nodesOf(int column) const
{
    std::vector<NodeId> nodes;
    for (std::uint32_t i = layout.columns[std::size_t(column)].begin; i < layout.columns[std::size_t(column)].end; ++i)
        if (ribbon().cells[i].node.value)
            nodes.push_back(ribbon().cells[i].node);
    return nodes;
}

void RibbonWidget::Impl::point(int column)
{
    if (column >= int(layout.columns.size()))
        column = -1;
    if (column == hovered)
        return;
    hovered = column;
    HoverTarget target;
    if (column >= 0) {
        const RibbonColumn &c = layout.columns[std::size_t(column)];
        const api::RibbonCell &first = ribbon().cells[c.begin];
        const api::RibbonCell &last = ribbon().cells[c.end - 1];
        target = {.session = ribbon().session, .firstToken = first.firstToken,
                  .endToken = last.firstToken + std::max<std::int32_t>(last.tokens, 1)};
        if (c.end - c.begin == 1) {
            target.node = first.node;
            target.block = first.block;
        }
    }
    workbench.hover().setTarget(target, &self);
    self.update();
}

QString RibbonWidget::Impl::describe(int column) const
{
    if (column < 0)
        return {};
    if (column >= int(layout.columns.size()))
        return tr("Room for %1 more").arg(count(ribbon().contextTokens - std::min(ribbon().usedTokens, ribbon().contextTokens),
                                                tr("token"), tr("tokens")));
    const RibbonColumn &c = layout.columns[std::size_t(column)];
    const api::RibbonCell &first = ribbon().cells[c.begin];
    const api::RibbonCell &last = ribbon().cells[c.end - 1];
    const QString tokens = tr("tokens %1–%2").arg(grouped(std::uint64_t(first.firstToken)),
        grouped(std::uint64_t(std::max(last.firstToken, last.firstToken + std::int32_t(last.tokens) - 1))));
    if (c.end - c.begin == 1)
        return tr("%1 block, %2: %3").arg(ordinal(c.begin + 1), tokens, partWord(c.parts.front()));
    QStringList states;
    for (const RibbonColumn::Part &part : c.parts)
        states << partWord(part);
    return tr("%1 to %2 block, %3: %4").arg(ordinal(c.begin + 1), ordinal(c.end), tokens, states.join(QStringLiteral("; ")));
}

void RibbonWidget::Impl::paintPart(QPainter &painter, const QRect &rect, RibbonState state, bool inHost) const
{
    const Palette &p = workbench.theme().palette();
    // As in the map: a block that no running reply holds is only cached.
    const bool idle = state == RibbonState::memory && !workbench.busy(ribbon().session);
    const QColor colour = idle ? stateColour(api::BlockState::cached) : ribbonColour(state);
    switch (state) {
    case RibbonState::disk: // hatched; dotted: in the host's memory
        painter.fillRect(rect, mix(p.surface, colour, 0.28));
        if (inHost) {
            for (int y = rect.top() + 1; y < rect.bottom(); y += 3)
                painter.fillRect(QRect(rect.left() + 1 + (y / 3) % 2, y, 1, 1), colour);
            break;
        }
        painter.save();
        painter.setClipRect(rect);
        painter.setPen(QPen(colour, 1));
        for (int y = rect.top(); y <= rect.bottom() + rect.width(); y += 3)
            painter.drawLine(rect.left(), y, rect.right() + 1, y - rect.width());
        painter.restore();
        break;
    case RibbonState::evicted: // hollow, red edge
        painter.setPen(colour);
        painter.setBrush(Qt::NoBrush);
        painter.drawRect(rect.adjusted(0, 0, -1, -1));
        break;
    case RibbonState::droppedByWindow: painter.fillRect(rect, mix(p.surface, colour, 0.25)); break;
    case RibbonState::unused: break;
    default: painter.fillRect(rect, colour); break;
    }
    if (state == RibbonState::pinned && rect.height() >= 6)
        painter.fillRect(QRect(rect.right() - 1, rect.top(), 2, 2), QColor(0x1f, 0x23, 0x28));
    if (state == RibbonState::shared && rect.height() >= 8)
        painter.fillRect(QRect(rect.left() + 1, rect.top() + 3, 1, rect.height() - 6), QColor(255, 255, 255, 200));
    if (state == RibbonState::writing && rect.height() >= 8)
        painter.fillRect(QRect(rect.left() + 2, rect.top(), 2, rect.height()), QColor(0, 0, 0, 50));
}

void RibbonWidget::Impl::paintColumn(QPainter &painter, int index, int top) const
{
    QRect rect(index * kRibbonPitch, top, kRibbonCell, 0);
    for (const RibbonColumn::Part &part : layout.columns[std::size_t(index)].parts) {
        rect.setHeight(part.pixels);
        paintPart(painter, rect, part.state, part.inHost);
        rect.moveTop(rect.top() + part.pixels);
    }
}

RibbonWidget::RibbonWidget(Workbench &workbench, QWidget *parent)
    : QWidget(parent), m_impl(std::make_unique<Impl>(workbench, *this))
{
    setMouseTracking(true);
    setFocusPolicy(Qt::TabFocus);
    setAccessibleName(tr("Blocks of this chat"));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    connect(&workbench, &Workbench::ribbonChanged, this, [this] { m_impl->relayout(); });
    connect(&workbench, &Workbench::busyChanged, this, qOverload<>(&QWidget::update));
    connect(&workbench.theme(), &Theme::changed, this, [this] { m_impl->relayout(); });
    connect(&workbench.hover(), &HoverLink::targetChanged, this, [this](const HoverTarget &target, QObject *origin) {
        if (origin == this)
            return;
        m_impl->light(target);
        update();
    });
    m_impl->relayout();
}

RibbonWidget::~RibbonWidget() = default;

QSize RibbonWidget::sizeHint() const
{
    return {400, 24};
}

QSize RibbonWidget::minimumSizeHint() const
{
    return {120, 24};
}

void RibbonWidget::paintEvent(QPaintEvent *)
{
    const Palette &p = m_impl->workbench.theme().palette();
    QPainter painter(this);
    const int top = (height() - kRibbonHeight) / 2;
    const int used = int(m_impl->layout.columns.size());
    for (int c = 0; c < used; ++c)
        m_impl->paintColumn(painter, c, top);
    for (int c = used; c < used + m_impl->layout.unused; ++c)
        painter.fillRect(QRect(c * kRibbonPitch, top + 4, kRibbonCell, 4), p.freeCell);
    const auto frame = [&](int begin, int end, const QColor &ink) {
        painter.setPen(QPen(ink, 1));
        painter.setBrush(Qt::NoBrush);
        painter.drawRect(QRect(begin * kRibbonPitch - 1, top - 2, (end - begin) * kRibbonPitch, kRibbonHeight + 3));
    };
    if (m_impl->litBegin >= 0)
        frame(m_impl->litBegin, m_impl->litEnd, p.text);
    if (m_impl->hovered >= 0)
        frame(m_impl->hovered, m_impl->hovered + 1, hasFocus() ? p.accent : p.text);
    else if (hasFocus())
        frame(0, used + m_impl->layout.unused, p.accent);
    painter.setFont(m_impl->workbench.theme().font(TextSize::secondary));
    painter.setPen(m_impl->draftTokens > m_impl->draftContext ? p.lost : p.secondary);
    painter.drawText(rect(), Qt::AlignRight | Qt::AlignVCenter, m_impl->label());
}

void RibbonWidget::setDraft(std::uint32_t tokens, std::uint32_t context)
{
    if (m_impl->draftTokens == tokens && m_impl->draftContext == context)
        return;
    m_impl->draftTokens = tokens;
    m_impl->draftContext = context;
    m_impl->relayout();
}

void RibbonWidget::resizeEvent(QResizeEvent *)
{
    m_impl->relayout();
}

void RibbonWidget::mouseMoveEvent(QMouseEvent *event)
{
    m_impl->point(m_impl->layout.columnAt(event->position().toPoint().x()));
}

void RibbonWidget::leaveEvent(QEvent *)
{
    m_impl->point(-1);
}

void RibbonWidget::mousePressEvent(QMouseEvent *event)
{
    const int column = m_impl->layout.columnAt(event->position().toPoint().x());
    if (column >= 0 && column < int(m_impl->layout.columns.size()))
        m_impl->activate(column);
}

void RibbonWidget::keyPressEvent(QKeyEvent *event)
{
    const int last = int(m_impl->layout.columns.size()) - 1;
    const int at = m_impl->hovered;
    switch (event->key()) {
    case Qt::Key_Left: m_impl->point(at < 0 ? last : std::max(0, at - 1)); break;
    case Qt::Key_Right: m_impl->point(std::min(last, at + 1)); break;
    case Qt::Key_Home: m_impl->point(0); break;
    case Qt::Key_End: m_impl->point(last); break;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (at >= 0)
            m_impl->activate(at);
        break;
    case Qt::Key_Escape:
        if (at < 0)
            return event->ignore();
        m_impl->point(-1);
        break;
    default: event->ignore(); return;
    }
    if (m_impl->hovered >= 0)
        setAccessibleDescription(m_impl->describe(m_impl->hovered));
}

bool RibbonWidget::event(QEvent *event)
{
    if (event->type() == QEvent::ToolTip) {
        const auto *help = static_cast<QHelpEvent *>(event);
        const QString text = m_impl->describe(m_impl->layout.columnAt(help->pos().x()));
        if (text.isEmpty())
            QToolTip::hideText();
        else
            QToolTip::showText(help->globalPos(), text, this);
        return true;
    }
    return QWidget::event(event);
}

} // namespace kvilt::ui

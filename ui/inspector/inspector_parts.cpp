// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/inspector/inspector_parts.h"

#include "ui/blockmap/cell_sprites.h"

#include <QMouseEvent>
#include <QPainter>

#include <algorithm>

namespace kvilt::ui {

using api::BlockState;
using api::RibbonState;

namespace {

constexpr double kCell = 13, kMostPitch = 16;
constexpr int kLine = 18;

BlockState stateFor(RibbonState state, bool dead)
{
    switch (state) {
    case RibbonState::shared: return BlockState::shared;
    case RibbonState::pinned: return BlockState::pinned;
    case RibbonState::writing: return BlockState::writing;
    case RibbonState::unused:
    case RibbonState::evicted: return BlockState::free;
    case RibbonState::memory:
    case RibbonState::disk:
    case RibbonState::droppedByWindow: break;
    }
    return dead ? BlockState::deadBranch : BlockState::inUse;
}

} // namespace

PromptStrips::PromptStrips(Theme &theme, HoverLink &hover, QWidget *parent)
    : QWidget(parent), m_theme(theme), m_hover(hover)
{
    setMouseTracking(true);
    setFixedHeight(2 * kLine - 2);
    setAccessibleName(tr("The prompt, block by block"));
}

void PromptStrips::setTurn(const api::update::TurnInspected &turn)
{
    m_turn = turn;
    const auto &asked = turn.asked;
    const auto &cached = turn.cached;
    m_parting = 0;
    while (m_parting < asked.size() && m_parting < cached.size() && cached[m_parting].node.value
           && asked[m_parting].node == cached[m_parting].node)
        ++m_parting;
    setAccessibleDescription(tr("%1 blocks asked, %2 cached, the first %3 are the same")
                                 .arg(asked.size()).arg(cached.size()).arg(m_parting));
    update();
}

double PromptStrips::pitch() const
{
    const std::size_t most = std::max<std::size_t>({1, m_turn.asked.size(), m_turn.cached.size()});
    return std::min(kMostPitch, double(width()) / double(most));
}

QRectF PromptStrips::cellRect(std::size_t index, int line) const
{
    const double p = pitch();
    const double size = std::min(kCell, p > 4 ? p - std::min(3.0, p * 0.2) : p);
    return {double(index) * p, double(line * kLine), size, kCell};
}

void PromptStrips::paintLine(QPainter &painter, const std::vector<api::RibbonCell> &cells, int line)
{
    const Palette &p = m_theme.palette();
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const QRectF rect = cellRect(i, line);
        const bool dead = line == 1 && i >= m_parting;
        const bool disk = cells[i].state == RibbonState::disk;
        paintCell(painter, rect, p, stateFor(cells[i].state, dead), disk ? api::Tier::disk : api::Tier::device);
        if (cells[i].state == RibbonState::evicted) {
            painter.setPen(QPen(QColor::fromRgb(kEvictedEdge), 1.2));
            painter.setBrush(Qt::NoBrush);
            painter.drawRect(rect.adjusted(0.6, 0.6, -0.6, -0.6));
        }
    }
}

void PromptStrips::paintEvent(QPaintEvent *)
{
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    paintLine(painter, m_turn.asked, 0);
    paintLine(painter, m_turn.cached, 1);
}

void PromptStrips::mouseMoveEvent(QMouseEvent *event)
{
    const QPointF at = event->position();
    const int line = at.y() < kLine ? 0 : 1;
    const auto &cells = line == 0 ? m_turn.asked : m_turn.cached;
    const auto index = std::size_t(std::max(0.0, at.x() / pitch()));
    if (index >= cells.size())
        return m_hover.clear(this);
    const api::RibbonCell &cell = cells[index];
    HoverTarget target{.node = cell.node, .block = cell.block};
    if (line == 0 || index < m_parting) { // the other branch's tokens are not in this chat's text
        target.session = m_turn.session;
        target.firstToken = cell.firstToken;
        target.endToken = cell.firstToken + std::max<std::int32_t>(cell.tokens, 1);
    }
    m_hover.setTarget(target, this);
}

void PromptStrips::leaveEvent(QEvent *)
{
    m_hover.clear(this);
}

ExcerptLine::ExcerptLine(const QString &name, const InspectorText::Excerpt &excerpt, const QColor &mark, Theme &theme,
                         QWidget *parent)
    : QWidget(parent), m_name(name), m_excerpt(excerpt), m_mark(mark), m_theme(theme)
{
    setFixedHeight(34);
    setAccessibleName(name);
    setAccessibleDescription(excerpt.before + QStringLiteral(" [") + excerpt.token + QStringLiteral("] ") + excerpt.after);
    setToolTip(excerpt.before + excerpt.token + excerpt.after);
}

void ExcerptLine::paintEvent(QPaintEvent *)
{
    constexpr int kNameWidth = 56;
    const Palette &p = m_theme.palette();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(p.border);
    painter.setBrush(p.window);
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), metrics::kFieldRadius, metrics::kFieldRadius);
    painter.setPen(p.secondary);
    painter.setFont(m_theme.font(TextSize::caption));
    painter.drawText(rect().adjusted(12, 0, 0, 0), Qt::AlignVCenter | Qt::AlignLeft, m_name);
    const QFont mono = m_theme.monoFont(TextSize::secondary);
    const QFontMetricsF fm(mono);
    const double advance = std::max(1.0, fm.horizontalAdvance(QLatin1Char('0')));
    const auto fitted = fitExcerpt(m_excerpt, int((width() - kNameWidth - 28) / advance));
    painter.setFont(mono);
    double x = kNameWidth + 10;
    const auto draw = [&](const QString &text, const QColor &ink) {
        painter.setPen(ink);
        painter.drawText(QRectF(x, 0, width(), height()), Qt::AlignVCenter | Qt::AlignLeft, text);
        x += fm.horizontalAdvance(text);
    };
    draw(fitted.before, p.secondary);
    if (!fitted.token.isEmpty()) {
        const QString shown = fitted.token;
        painter.setPen(Qt::NoPen);
        painter.setBrush(mix(p.surface, m_mark, 0.28));
        painter.drawRoundedRect(QRectF(x - 2, height() / 2.0 - 9, fm.horizontalAdvance(shown) + 4, 18), 3, 3);
        draw(shown, p.text);
    }
    draw(fitted.after, p.secondary);
}

RemedyButton::RemedyButton(const QString &title, const QString &effect, Theme &theme, QWidget *parent)
    : QAbstractButton(parent), m_effect(effect), m_theme(theme)
{
    setText(title);
    setAccessibleName(title);
    setAccessibleDescription(effect);
    setCursor(Qt::PointingHandCursor);
    setFixedHeight(sizeHint().height());
}

void RemedyButton::paintEvent(QPaintEvent *)
{
    const Palette &p = m_theme.palette();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    if (isEnabled()) { // advice that no press can follow has no edge: it is no button
        painter.setPen(hasFocus() ? p.accent : p.border);
        painter.setBrush(underMouse() ? p.tint : p.surface);
        painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), metrics::kFieldRadius, metrics::kFieldRadius);
    }
    QRect inner = rect().adjusted(12, 0, -12, 0);
    painter.setFont(m_theme.font(TextSize::body, QFont::Medium));
    painter.setPen(isEnabled() ? p.accent : p.text);
    if (!isEnabled())
        inner.setLeft(0);
    if (m_effect.isEmpty()) {
        painter.drawText(inner, Qt::AlignVCenter | Qt::AlignLeft, text());
        return;
    }
    painter.drawText(inner.adjusted(0, 5, 0, -22), Qt::AlignVCenter | Qt::AlignLeft, text());
    painter.setFont(m_theme.font(TextSize::caption));
    painter.setPen(p.secondary);
    painter.drawText(inner.adjusted(0, 22, 0, -4), Qt::AlignVCenter | Qt::AlignLeft, m_effect);
}

} // namespace kvilt::ui

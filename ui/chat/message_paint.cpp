// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/cell_sprites.h"
#include "ui/chat/message_item.h"
#include "ui/chat/message_metrics.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QPainter>

#include <algorithm>

namespace kvilt::ui {

namespace {

QColor toneColour(Tone tone, const Palette &p)
{
    switch (tone) {
    case Tone::strong: return p.text;
    case Tone::saved: return p.saved;
    case Tone::lost: return p.lost;
    case Tone::normal: break;
    }
    return p.secondary;
}

qreal widthOf(const std::vector<ReceiptPart> &parts, const Theme &theme)
{
    const QFontMetricsF strong(theme.font(TextSize::secondary, QFont::DemiBold)), normal(theme.font(TextSize::secondary));
    qreal sum = 20.0 * qreal(parts.size() - 1);
    for (std::size_t i = 0; i < parts.size(); ++i)
        sum += (i == 0 ? strong : normal).horizontalAdvance(parts[i].text);
    return sum;
}

void paintBox(QPainter &painter, const QRectF &rect, const QColor &fill, int radius)
{
    painter.setRenderHint(QPainter::Antialiasing, true);
    painter.setPen(Qt::NoPen);
    painter.setBrush(fill);
    painter.drawRoundedRect(rect, radius, radius);
    painter.setRenderHint(QPainter::Antialiasing, false);
}

// A small square in a block's colour with the mark of its state, as in the map.
void paintSwatch(QPainter &painter, QRectF rect, api::BlockState state)
{
    const QColor colour = stateColour(state);
    painter.fillRect(rect, colour);
    if (state == api::BlockState::shared)
        painter.fillRect(QRectF(rect.center().x() - 0.5, rect.top() + 2, 1, rect.height() - 4), QColor(255, 255, 255, 200));
    if (state == api::BlockState::writing)
        painter.fillRect(QRectF(rect.center().x(), rect.top(), rect.width() / 2, rect.height()), colour.darker(135));
}

} // namespace

void MessageItem::paint(QPainter &painter, QPointF origin, const Theme &theme, qreal width, const PaintState &state)
{
    const Palette &p = theme.palette();
    const QRectF box = textBox(theme, width);
    if (state.current)
        painter.fillRect(QRectF(origin.x() - 14, origin.y(), 2, height(theme, width)), p.accent);
    if (fromUser() && !box.isEmpty())
        paintBox(painter, box.translated(origin), p.tint, metrics::kMessageRadius);
    qreal y = fromUser() ? measure::kBoxPadY : 0;
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        const Entry &entry = m_entries[i];
        if (hidden(entry))
            continue;
        y += gapBefore(i);
        if (!entry.layout) {
            if (m_sections[std::size_t(entry.section)].file())
                paintFile(painter, fileRect(entry.section, y, theme, width).translated(origin), theme, entry.section);
            else
                paintFold(painter, origin + QPointF(0, y), theme, entry.section);
            y += foldHeight(entry);
            continue;
        }
        const qreal left = leftOf(entry, box, width);
        if (fromUser() && entry.muted && !m_entries[i - 1].layout) {
            const qreal content = sectionHeight(entry.section, theme, width);
            paintBox(painter, QRectF(left - measure::kBoxPadX, y - measure::kBoxPadY, width - left + measure::kBoxPadX,
                                     content + 2 * measure::kBoxPadY).translated(origin), p.tint, metrics::kMessageRadius);
        }
        const qreal h = entry.layout->height(theme, bodyWidth(width));
        if (entry.layout->laidOut() && y + h >= state.visibleTop && y <= state.visibleBottom) {
            BlockLayout::PaintState inner;
            inner.muted = entry.muted;
            inner.copyHovered = state.copyHovered == int(i);
            if (state.linkedBytes)
                inner.linked = entry.layout->piecesOf(state.linkedBytes->first, state.linkedBytes->second);
            for (int piece = 0; state.selection && piece < entry.layout->pieceCount(); ++piece) {
                const TextPlace begin{int(i), piece, 0}, end{int(i), piece, entry.layout->pieceLength(piece)};
                const TextPlace from = std::max(begin, state.selection->first), to = std::min(end, state.selection->second);
                if (from < to)
                    inner.selected.push_back({piece, from.position, to.position});
            }
            entry.layout->paint(painter, origin + QPointF(left, y), theme, inner);
        }
        y += h;
    }
    paintTail(painter, origin, theme, width, state);
}

void MessageItem::paintTail(QPainter &painter, QPointF origin, const Theme &theme, qreal width, const PaintState &state)
{
    qreal y = origin.y() + height(theme, width) - tailHeight();
    if (showsPrefill()) {
        paintPrefill(painter, {origin.x(), y}, theme, width);
        return;
    }
    if (const QString line = stateLine(); !line.isEmpty()) {
        const bool bad = m_message.state == api::MessageState::failed;
        painter.setFont(theme.font(TextSize::secondary));
        painter.setPen(bad ? theme.palette().lost : theme.palette().tertiary);
        painter.drawText(QRectF(origin.x(), y, width, measure::kStateHeight), Qt::AlignVCenter, line);
        y += measure::kStateHeight;
    }
    if (showsReceipt())
        paintReceipt(painter, {origin.x(), y + measure::kReceiptGap}, theme, width, state);
    if (const QRectF branch = branchRect(theme, width); !branch.isEmpty())
        paintBranch(painter, branch.translated(origin), theme);
    if (const QRectF pin = pinRect(theme, width); !pin.isEmpty())
        paintPin(painter, pin.translated(origin), theme);
}

void MessageItem::paintFold(QPainter &painter, QPointF origin, const Theme &theme, int section) const
{
    const Palette &p = theme.palette();
    const qreal ratio = painter.device()->devicePixelRatioF();
    const QString arrow = folded(section) ? QStringLiteral("chevron-right") : QStringLiteral("chevron-down");
    painter.drawPixmap(origin + QPointF(-1, (measure::kFoldHeight - 14) / 2), iconPixmap(arrow, p.tertiary, 14, ratio));
    painter.setFont(theme.font(TextSize::secondary));
    painter.setPen(p.secondary);
    painter.drawText(QRectF(origin.x() + 20, origin.y(), 400, measure::kFoldHeight), Qt::AlignVCenter, foldText(section));
}

void MessageItem::paintFile(QPainter &painter, const QRectF &rect, const Theme &theme, int section) const
{
    const Palette &p = theme.palette();
    const qreal ratio = painter.device()->devicePixelRatioF();
    paintBox(painter, rect, p.tint, metrics::kMessageRadius);
    painter.drawPixmap(QPointF(rect.left() + 16, rect.center().y() - 8),
                       iconPixmap(QStringLiteral("file"), p.secondary, metrics::kIcon, ratio));
    const QString size = fileSize(section);
    painter.setFont(theme.font(TextSize::secondary));
    painter.setPen(p.secondary);
    painter.drawText(rect.adjusted(0, 0, -16, 0), Qt::AlignRight | Qt::AlignVCenter, size);
    const qreal room = rect.width() - 42 - 16 - 24 - QFontMetricsF(painter.font()).horizontalAdvance(size);
    painter.setFont(theme.font(TextSize::body));
    painter.setPen(p.text);
    painter.drawText(rect.adjusted(42, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter,
                     QFontMetricsF(painter.font()).elidedText(fileName(section), Qt::ElideMiddle, room));
}

void MessageItem::paintReceipt(QPainter &painter, QPointF origin, const Theme &theme, qreal width,
                               const PaintState &state)
{
    const Palette &p = theme.palette();
    const QRectF row(origin.x() - 12, origin.y(), width + 24, measure::kReceiptHeight);
    if (state.inspected || state.receiptHovered) {
        painter.setRenderHint(QPainter::Antialiasing, true);
        painter.setPen(Qt::NoPen);
        painter.setBrush(state.inspected ? p.selection : p.tint);
        painter.drawRoundedRect(row, metrics::kFieldRadius, metrics::kFieldRadius);
        painter.setRenderHint(QPainter::Antialiasing, false);
    }
    // A reply that is continued has the receipt of its first part still.
    auto parts = m_progress ? writingParts(*m_progress) : receiptParts(m_message.receipt, m_firstReply);
    const qreal room = width - 22;
    while (parts.size() > 2 && widthOf(parts, theme) > room)
        parts.erase(parts.end() - 2); // the first and the last say most
    painter.drawPixmap(QPointF(origin.x(), origin.y() + (measure::kReceiptHeight - 15) / 2),
                       iconPixmap(QStringLiteral("receipt"), p.tertiary, 15, painter.device()->devicePixelRatioF()));
    qreal x = origin.x() + 22;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool strong = i == 0;
        painter.setFont(theme.font(TextSize::secondary, strong ? QFont::DemiBold : QFont::Normal));
        const QFontMetricsF metrics(painter.font());
        if (i > 0) {
            painter.setPen(p.tertiary);
            painter.drawText(QRectF(x, origin.y(), 20, measure::kReceiptHeight), Qt::AlignCenter, QStringLiteral("·"));
            x += 20;
        }
        const qreal w = metrics.horizontalAdvance(parts[i].text);
        painter.setPen(toneColour(parts[i].tone, p));
        painter.drawText(QRectF(x, origin.y(), w + 4, measure::kReceiptHeight), Qt::AlignVCenter, parts[i].text);
        x += w;
    }
}

void MessageItem::paintPrefill(QPainter &painter, QPointF origin, const Theme &theme, qreal width)
{
    const Palette &p = theme.palette();
    const PrefillWords words = prefillWords(m_progress.value_or(api::update::TurnProgress{}));
    painter.setFont(theme.font(TextSize::body, QFont::DemiBold));
    painter.setPen(p.text);
    painter.drawText(QRectF(origin.x(), origin.y(), width, 20), Qt::AlignVCenter, words.title);
    painter.setFont(theme.font(TextSize::secondary));
    painter.setPen(p.secondary);
    painter.drawText(QRectF(origin.x(), origin.y(), width, 20), Qt::AlignRight | Qt::AlignVCenter, words.left);

    const QRectF bar(origin.x(), origin.y() + 27, width, 8);
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing, true);
    painter.setPen(Qt::NoPen);
    painter.setBrush(p.tint);
    painter.drawRoundedRect(bar, 4, 4);
    const qreal cached = std::clamp(words.cachedShare, 0.0, 1.0) * width;
    const qreal computed = std::clamp(words.computedShare, 0.0, 1.0) * width;
    painter.setClipRect(QRectF(bar.left(), bar.top(), cached + computed, bar.height()));
    painter.setBrush(stateColour(api::BlockState::writing));
    painter.drawRoundedRect(bar, 4, 4);
    painter.setClipRect(QRectF(bar.left(), bar.top(), cached, bar.height()));
    painter.setBrush(stateColour(api::BlockState::shared));
    painter.drawRoundedRect(bar, 4, 4);
    painter.restore();

    const qreal y = origin.y() + 43;
    qreal x = origin.x();
    const auto word = [&](const QString &text, QFont::Weight weight, const QColor &colour) {
        painter.setFont(theme.font(TextSize::secondary, weight));
        const qreal w = QFontMetricsF(painter.font()).horizontalAdvance(text);
        painter.setPen(colour);
        painter.drawText(QRectF(x, y, w + 4, 18), Qt::AlignVCenter, text);
        x += w + 16;
    };
    if (words.total.isEmpty())
        return;
    word(words.total, QFont::DemiBold, p.text);
    paintSwatch(painter, {x, y + 4, 10, 10}, api::BlockState::shared);
    x += 17;
    word(words.cached, QFont::Normal, p.secondary);
    paintSwatch(painter, {x, y + 4, 10, 10}, api::BlockState::writing);
    x += 17;
    word(words.computed, QFont::Normal, p.secondary);
}

// As in the map: the colour of a pinned block with its corner tick, and the word.
void MessageItem::paintPin(QPainter &painter, const QRectF &rect, const Theme &theme) const
{
    const QRectF cell(rect.left() + 4, rect.center().y() - 5, 11, 11);
    paintCell(painter, cell, theme.palette(), api::BlockState::pinned);
    painter.setFont(theme.font(TextSize::secondary));
    painter.setPen(theme.palette().secondary);
    painter.drawText(rect.adjusted(21, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter, QStringLiteral("Pinned"));
}

void MessageItem::paintBranch(QPainter &painter, const QRectF &rect, const Theme &theme) const
{
    const Palette &p = theme.palette();
    const qreal ratio = painter.device()->devicePixelRatioF();
    const qreal y = rect.center().y() - 7;
    const auto arrow = [&](const char *name, qreal x, bool leads) { // as the buttons that come with the pointer
        painter.setOpacity(leads ? 1 : 0.4);
        painter.drawPixmap(QPointF(x, y), iconPixmap(QLatin1String(name), p.secondary, 14, ratio));
    };
    arrow("chevron-left", rect.left() + 3, m_message.branchIndex > 0);
    arrow("chevron-right", rect.right() - 17, m_message.branchIndex + 1 < m_message.branchCount);
    painter.setOpacity(1);
    painter.setFont(theme.font(TextSize::secondary));
    painter.setPen(p.secondary);
    painter.drawText(rect, Qt::AlignCenter,
                     QStringLiteral("%1/%2").arg(m_message.branchIndex + 1).arg(m_message.branchCount));
}

} // namespace kvilt::ui

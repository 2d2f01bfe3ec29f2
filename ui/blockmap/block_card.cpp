// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/block_card.h"

#include <QPainter>

#include <algorithm>

namespace kvilt::ui {

namespace {
constexpr int kPadding = 12;
constexpr int kRow = 21;
constexpr int kMinWidth = 226;
constexpr int kMaxWidth = 340;
} // namespace

BlockCard::BlockCard(Theme &theme, QWidget *window) : QWidget(window), m_theme(theme)
{
    setAttribute(Qt::WA_TransparentForMouseEvents);
    setFocusPolicy(Qt::NoFocus);
    hide();
}

void BlockCard::setText(const CardText &text)
{
    if (text == m_text)
        return;
    m_text = text;
    resize(wantedSize());
    update();
}

QSize BlockCard::wantedSize() const
{
    const QFontMetrics body(m_theme.font(TextSize::body, QFont::DemiBold));
    const QFontMetrics small(m_theme.font(TextSize::secondary));
    int width = body.horizontalAdvance(m_text.title) + 24 + small.horizontalAdvance(m_text.state);
    for (const auto &[name, value] : m_text.rows)
        width = std::max(width, small.horizontalAdvance(name) + 24 + small.horizontalAdvance(value));
    width = std::clamp(width + 2 * kPadding, kMinWidth, kMaxWidth);
    const int height = 2 * (kPadding - 4) + kRow * int(1 + m_text.rows.size()) + (m_text.tokens.isEmpty() ? 0 : 40);
    return {width, height};
}

void BlockCard::showBeside(const QRect &anchor, const QRect &bounds)
{
    resize(wantedSize());
    const QRect window = parentWidget()->rect().intersected(bounds).adjusted(8, 8, -8, -8);
    int x = anchor.center().x() - width() / 3;
    int y = anchor.bottom() + 12;
    if (y + height() > window.bottom())
        y = anchor.top() - 12 - height();
    x = std::clamp(x, window.left(), std::max(window.left(), window.right() - width()));
    move(x, std::max(window.top(), y));
    raise();
    show();
}

void BlockCard::paintEvent(QPaintEvent *)
{
    const Palette &p = m_theme.palette();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(p.border);
    painter.setBrush(p.surface);
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), metrics::kCardRadius, metrics::kCardRadius);
    QRect row(kPadding, kPadding - 4, width() - 2 * kPadding, kRow);
    const QFont small = m_theme.font(TextSize::secondary);
    painter.setPen(p.text);
    painter.setFont(m_theme.font(TextSize::secondary, QFont::DemiBold));
    painter.drawText(row, Qt::AlignLeft | Qt::AlignVCenter, m_text.title);
    painter.setFont(small);
    painter.setPen(p.secondary);
    painter.drawText(row, Qt::AlignRight | Qt::AlignVCenter, m_text.state);
    const QFontMetrics fm(small);
    for (const auto &[name, value] : m_text.rows) {
        row.translate(0, kRow);
        painter.setPen(p.secondary);
        painter.drawText(row, Qt::AlignLeft | Qt::AlignVCenter, name);
        painter.setPen(p.text);
        const int room = row.width() - fm.horizontalAdvance(name) - 16;
        painter.drawText(row, Qt::AlignRight | Qt::AlignVCenter, fm.elidedText(value, Qt::ElideMiddle, room));
    }
    if (m_text.tokens.isEmpty())
        return;
    const QRect text(kPadding, row.bottom() + 5, row.width(), 34);
    painter.setPen(p.border);
    painter.drawLine(text.left(), text.top(), text.right(), text.top());
    painter.setPen(p.secondary);
    const QFont mono = m_theme.monoFont(TextSize::caption);
    const QFontMetrics monoMetrics(mono);
    const int column = std::max(1, text.width() / std::max(1, monoMetrics.horizontalAdvance(QLatin1Char('0'))));
    QString second = m_text.tokens.mid(column);
    if (second.size() > column)
        second = second.left(column - 1) + QStringLiteral("…");
    painter.setFont(mono);
    painter.drawText(text.left(), text.top() + 5 + monoMetrics.ascent(), m_text.tokens.left(column));
    painter.drawText(text.left(), text.top() + 5 + monoMetrics.ascent() + monoMetrics.height(), second);
}

} // namespace kvilt::ui

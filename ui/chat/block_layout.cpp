// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/block_layout.h"

#include "ui/chat/code_colours.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QPainter>
#include <QPainterPath>

#include <algorithm>
#include <cmath>

namespace kvilt::ui {

namespace {

constexpr qreal kIndent = 22;
constexpr qreal kQuoteIndent = 16;
constexpr qreal kCodeHeader = 34;
constexpr qreal kCodePadX = 16;
constexpr qreal kCodePadY = 14;
constexpr qreal kCodeLine = 20;
constexpr qreal kCellPadX = 10;
constexpr qreal kCellPadY = 7;

qreal leftOf(const RichBlock &block)
{
    return block.indent * kIndent + block.quote * kQuoteIndent;
}

QFont blockFont(const RichBlock &block, const Theme &theme)
{
    if (block.kind == BlockKind::code) {
        QFont font = theme.monoFont(TextSize::body);
        return font;
    }
    if (block.kind != BlockKind::heading)
        return theme.font(TextSize::chat);
    QFont font = theme.font(TextSize::chat, QFont::DemiBold);
    font.setPixelSize(block.level == 1 ? 18 : block.level == 2 ? 16 : block.level == 3 ? 15 : 14);
    return font;
}

qreal lineHeightOf(const RichBlock &block)
{
    return block.kind == BlockKind::heading && block.level <= 2 ? 26 : 22;
}

QTextCharFormat formatOf(const StyleRun &run, const Theme &theme)
{
    const Palette &p = theme.palette();
    QTextCharFormat format;
    if (run.style & kBold)
        format.setFontWeight(QFont::DemiBold);
    if (run.style & kItalic)
        format.setFontItalic(true);
    if (run.style & kStrike)
        format.setFontStrikeOut(true);
    if (run.style & kCode) {
        const QFont mono = theme.monoFont(TextSize::body);
        format.setFontFamilies({mono.family()});
        format.setProperty(QTextFormat::FontPixelSize, 13);
        format.setBackground(p.tint);
    }
    if (run.style & kMath)
        format.setFontItalic(true);
    if (run.style & kEscape) {
        format.setForeground(p.lost);
        format.setProperty(QTextFormat::FontPixelSize, 12);
    }
    if (run.link >= 0) {
        format.setForeground(p.accent);
        format.setFontUnderline(true);
    }
    return format;
}

QTextLayout::FormatRange highlight(const PieceRange &range, const QColor &colour)
{
    QTextCharFormat format;
    format.setBackground(colour);
    return {range.from, range.to - range.from, format};
}

} // namespace

void BlockLayout::replace(RichBlock block)
{
    if (block == m_block)
        return;
    const bool code = block.kind == BlockKind::code && m_block.kind == BlockKind::code && m_width > 0 &&
                      block.language == m_block.language;
    // Lines of code that stay keep their layout; the last one may have grown.
    std::size_t keep = 0;
    if (code && !m_pieces.empty()) {
        const QString &was = m_block.content.text, &is = block.content.text;
        const auto common = std::mismatch(was.begin(), was.end(), is.begin(), is.end()).first - was.begin();
        while (keep + 1 < m_pieces.size() && m_pieces[keep + 1].start <= common)
            ++keep;
    }
    m_pieces.resize(keep);
    m_block = std::move(block);
    for (Piece &piece : m_pieces)
        piece.source = &m_block.content;
    m_done = false;
    m_height = -1;
}

void BlockLayout::release()
{
    m_pieces.clear();
    m_done = false;
}

qreal BlockLayout::height(const Theme &theme, qreal width) const
{
    if (m_height >= 0 && std::abs(m_width - width) < 0.5)
        return m_height;
    if (m_block.kind == BlockKind::rule)
        return 17;
    if (m_block.kind == BlockKind::table)
        return qreal(m_block.rows.size()) * (22 + 2 * kCellPadY);
    const QString &text = m_block.content.text;
    const auto newlines = qreal(text.count(QLatin1Char('\n')) + 1);
    if (m_block.kind == BlockKind::code)
        return kCodeHeader + 2 * kCodePadY + newlines * kCodeLine;
    const qreal perLine = std::max(8.0, (width - leftOf(m_block)) / 7.0);
    Q_UNUSED(theme)
    return std::max(newlines, std::ceil(qreal(text.size()) / perLine)) * lineHeightOf(m_block);
}

bool BlockLayout::layOut(const Theme &theme, qreal width)
{
    if (m_done && std::abs(m_width - width) < 0.5)
        return false;
    const qreal before = height(theme, width);
    if (std::abs(m_width - width) >= 0.5)
        m_pieces.clear();
    m_width = width;
    m_rowLines.clear();
    m_copyRect = {};
    switch (m_block.kind) {
    case BlockKind::code: layOutCode(theme, width); break;
    case BlockKind::table: m_pieces.clear(); layOutTable(theme, width); break;
    case BlockKind::rule: m_height = 17; break;
    default: m_pieces.clear(); layOutText(theme, width); break;
    }
    m_done = true;
    return std::abs(m_height - before) > 0.5;
}

void BlockLayout::addPiece(const RichText &source, int start, int length, const QFont &font, const Theme &theme)
{
    QString text = source.text.mid(start, length);
    text.replace(QLatin1Char('\n'), QChar::LineSeparator);
    Piece piece;
    piece.layout = std::make_unique<QTextLayout>(text, font);
    piece.layout->setCacheEnabled(true);
    piece.source = &source;
    piece.start = start;
    QVector<QTextLayout::FormatRange> formats;
    if (m_block.kind == BlockKind::code)
        formats = codeColours(text, m_block.language, theme.palette());
    for (const StyleRun &run : source.styles) {
        const int from = std::max(run.start - start, 0), to = std::min(run.start + run.length - start, length);
        if (from < to)
            formats.push_back({from, to - from, formatOf(run, theme)});
    }
    piece.layout->setFormats(formats);
    m_pieces.push_back(std::move(piece));
}

// Breaks a piece into lines of a fixed pitch; a line that needs more (another script, an emoji) gets more.
qreal BlockLayout::flow(Piece &piece, qreal width, qreal lineHeight, bool anywhere, Qt::Alignment align)
{
    QTextOption option(align);
    option.setWrapMode(anywhere ? QTextOption::WrapAnywhere : QTextOption::WrapAtWordBoundaryOrAnywhere);
    option.setTabStopDistance(QFontMetricsF(piece.layout->font()).horizontalAdvance(QLatin1Char(' ')) * 4);
    piece.layout->setTextOption(option);
    piece.layout->beginLayout();
    qreal y = 0;
    for (QTextLine line = piece.layout->createLine(); line.isValid(); line = piece.layout->createLine()) {
        line.setLineWidth(std::max(width, 8.0));
        const qreal pitch = std::max(lineHeight, std::ceil(line.height()));
        line.setPosition({0, y + std::floor((pitch - line.height()) / 2)});
        y += pitch;
    }
    piece.layout->endLayout();
    return y;
}

void BlockLayout::layOutText(const Theme &theme, qreal width)
{
    addPiece(m_block.content, 0, int(m_block.content.text.size()), blockFont(m_block, theme), theme);
    m_pieces[0].at = {leftOf(m_block), 0};
    m_height = flow(m_pieces[0], width - leftOf(m_block), lineHeightOf(m_block), false);
}

void BlockLayout::layOutCode(const Theme &theme, qreal width)
{
    const QString &text = m_block.content.text;
    const QFont font = blockFont(m_block, theme);
    const qreal left = leftOf(m_block);
    qreal y = kCodeHeader + kCodePadY;
    int start = 0;
    std::size_t index = 0;
    while (start <= text.size()) {
        const auto newline = text.indexOf(QLatin1Char('\n'), start);
        const int end = int(newline < 0 ? text.size() : newline);
        if (index < m_pieces.size()) { // kept from before the last line grew
            m_pieces[index].at.setY(y);
            y += m_pieces[index].layout->lineCount() * kCodeLine;
        } else {
            addPiece(m_block.content, start, end - start, font, theme);
            m_pieces.back().at = {left + kCodePadX, y};
            y += flow(m_pieces.back(), width - left - 2 * kCodePadX, kCodeLine, true);
        }
        ++index;
        if (newline < 0)
            break;
        start = end + 1;
    }
    m_height = y + kCodePadY;
    m_copyRect = QRectF(width - 84, 4, 76, kCodeHeader - 8);
}

void BlockLayout::layOutTable(const Theme &theme, qreal width)
{
    const std::size_t columns = m_block.columns.size();
    if (columns == 0) {
        m_height = 0;
        return;
    }
    const qreal left = leftOf(m_block);
    std::vector<qreal> natural(columns, 24);
    std::vector<std::size_t> columnOf;
    for (std::size_t row = 0; row < m_block.rows.size(); ++row) {
        for (std::size_t c = 0; c < m_block.rows[row].size() && c < columns; ++c) {
            const RichText &cell = m_block.rows[row][c];
            addPiece(cell, 0, int(cell.text.size()),
                     theme.font(TextSize::body, row == 0 ? QFont::DemiBold : QFont::Normal), theme);
            flow(m_pieces.back(), 1e6, 22, false);
            natural[c] = std::max(natural[c], m_pieces.back().layout->maximumWidth() + 2 * kCellPadX + 2);
            columnOf.push_back(c);
        }
    }
    qreal total = 0;
    for (const qreal w : natural)
        total += w;
    // Too wide: columns share the room by what they need, but none below a word.
    if (total > width - left)
        for (qreal &w : natural)
            w = std::max(48.0, w * (width - left) / total);
    qreal y = 0;
    std::size_t index = 0;
    for (const auto &row : m_block.rows) {
        qreal x = left, rowHeight = 22;
        for (std::size_t c = 0; c < row.size() && c < columns; ++c, ++index) {
            Piece &piece = m_pieces[index];
            piece.at = {x + kCellPadX, y + kCellPadY};
            const qreal h = flow(piece, natural[c] - 2 * kCellPadX, 22, false, m_block.columns[c]);
            rowHeight = std::max(rowHeight, h);
            x += natural[c];
        }
        y += rowHeight + 2 * kCellPadY;
        m_rowLines.push_back(y);
    }
    m_height = y;
}

int BlockLayout::pieceLength(int piece) const
{
    return int(m_pieces[std::size_t(piece)].layout->text().size());
}

QString BlockLayout::pieceText(int piece, int from, int to) const
{
    const Piece &p = m_pieces[std::size_t(piece)];
    return p.source->text.mid(p.start + from, to - from);
}

std::int64_t BlockLayout::byteAt(int piece, int position) const
{
    const Piece &p = m_pieces[std::size_t(piece)];
    return p.source->byteAt(p.start + position);
}

std::vector<PieceRange> BlockLayout::piecesOf(std::uint32_t begin, std::uint32_t end) const
{
    std::vector<PieceRange> found;
    for (int i = 0; i < pieceCount(); ++i) {
        const Piece &p = m_pieces[std::size_t(i)];
        const auto [from, to] = p.source->charsOf(begin, end);
        const int a = std::max(from - p.start, 0), b = std::min(to - p.start, pieceLength(i));
        if (from >= 0 && a < b)
            found.push_back({i, a, b});
    }
    return found;
}

BlockLayout::Hit BlockLayout::hitTest(QPointF point) const
{
    Hit hit;
    hit.onCopy = m_copyRect.contains(point);
    qreal best = 1e9;
    for (int i = 0; i < pieceCount(); ++i) {
        const Piece &piece = m_pieces[std::size_t(i)];
        const QRectF box = piece.layout->boundingRect().translated(piece.at);
        const qreal dy = std::max({box.top() - point.y(), point.y() - box.bottom(), 0.0});
        const qreal dx = std::max({box.left() - point.x(), point.x() - box.right(), 0.0});
        const qreal distance = dy * 1000 + dx;
        if (distance >= best)
            continue;
        best = distance;
        hit.piece = i;
        const QPointF local = point - piece.at;
        for (int l = 0; l < piece.layout->lineCount(); ++l) {
            const QTextLine line = piece.layout->lineAt(l);
            const bool last = l + 1 == piece.layout->lineCount();
            if (local.y() > line.y() + line.height() + 2 && !last)
                continue;
            hit.position = line.xToCursor(local.x(), QTextLine::CursorBetweenCharacters);
            hit.onText = dy == 0 && local.x() >= line.naturalTextRect().left() && local.x() <= line.naturalTextRect().right();
            break;
        }
        const int on = piece.start + hit.position;
        hit.link.clear();
        for (const StyleRun &run : piece.source->styles)
            if (hit.onText && run.link >= 0 && on >= run.start && on < run.start + run.length)
                hit.link = piece.source->links[std::size_t(run.link)];
    }
    return hit;
}

QPointF BlockLayout::pointOf(const QString &word) const
{
    for (const Piece &piece : m_pieces) {
        const auto at = piece.layout->text().indexOf(word);
        if (at < 0)
            continue;
        const int middle = int(at + word.size() / 2);
        const QTextLine line = piece.layout->lineForTextPosition(middle);
        if (line.isValid())
            return piece.at + QPointF(line.cursorToX(middle) + 1, line.y() + line.height() / 2);
    }
    return {};
}

std::optional<PieceRange> BlockLayout::rangeOf(const QString &word) const
{
    for (int i = 0; i < pieceCount(); ++i)
        if (const auto at = m_pieces[std::size_t(i)].layout->text().indexOf(word, 0, Qt::CaseInsensitive); at >= 0)
            return PieceRange{i, int(at), int(at + word.size())};
    return {};
}

void BlockLayout::paintMarker(QPainter &painter, QPointF origin, const Theme &theme) const
{
    const Palette &p = theme.palette();
    for (int q = 0; q < m_block.quote; ++q)
        painter.fillRect(QRectF(origin.x() + q * kQuoteIndent, origin.y(), 2, m_height), p.border);
    if (m_block.marker.isEmpty())
        return;
    painter.setFont(theme.font(TextSize::chat));
    painter.setPen(p.secondary);
    const QRectF box(origin.x() + leftOf(m_block) - 60, origin.y(), 52, 22);
    painter.drawText(box, Qt::AlignRight | Qt::AlignVCenter, m_block.marker);
}

void BlockLayout::paintCodeFrame(QPainter &painter, QPointF origin, const Theme &theme, const PaintState &state) const
{
    const Palette &p = theme.palette();
    const qreal left = leftOf(m_block);
    const QRectF frame(origin.x() + left + 0.5, origin.y() + 0.5, m_width - left - 1, m_height - 1);
    painter.setRenderHint(QPainter::Antialiasing, true);
    painter.setPen(QPen(p.border, 1));
    painter.setBrush(p.window);
    painter.drawRoundedRect(frame, 8, 8);
    painter.setRenderHint(QPainter::Antialiasing, false);
    painter.fillRect(QRectF(frame.left() + 0.5, origin.y() + kCodeHeader, frame.width() - 1, 1), p.border);
    painter.setFont(theme.monoFont(TextSize::secondary));
    painter.setPen(p.secondary);
    painter.drawText(QRectF(frame.left() + kCodePadX, frame.top(), 240, kCodeHeader), Qt::AlignVCenter,
                     m_block.language.isEmpty() ? QStringLiteral("text") : m_block.language);
    const QRectF copy = m_copyRect.translated(origin);
    const QColor tone = state.copyHovered ? p.text : p.secondary;
    painter.setFont(theme.font(TextSize::secondary));
    painter.setPen(tone);
    painter.drawText(copy.adjusted(0, 0, -32, 0), Qt::AlignRight | Qt::AlignVCenter, QStringLiteral("Copy"));
    painter.drawPixmap(QPointF(copy.right() - 24, copy.center().y() - 8),
                       iconPixmap(QStringLiteral("copy"), tone, metrics::kIcon, painter.device()->devicePixelRatioF()));
}

void BlockLayout::paintTableLines(QPainter &painter, QPointF origin, const Theme &theme) const
{
    for (const qreal y : m_rowLines)
        painter.fillRect(QRectF(origin.x() + leftOf(m_block), origin.y() + y - 1, m_width - leftOf(m_block), 1),
                         theme.palette().border);
}

void BlockLayout::paint(QPainter &painter, QPointF origin, const Theme &theme, const PaintState &state) const
{
    const Palette &p = theme.palette();
    if (m_block.kind == BlockKind::rule) {
        painter.fillRect(QRectF(origin.x(), origin.y() + 8, m_width, 1), p.border);
        return;
    }
    if (m_block.kind == BlockKind::code)
        paintCodeFrame(painter, origin, theme, state);
    if (m_block.kind == BlockKind::table)
        paintTableLines(painter, origin, theme);
    paintMarker(painter, origin, theme);
    painter.setPen(state.muted || m_block.quote > 0 ? p.secondary : p.text);
    const QRectF clip = painter.clipBoundingRect();
    for (int i = 0; i < pieceCount(); ++i) {
        const Piece &piece = m_pieces[std::size_t(i)];
        const QRectF box = piece.layout->boundingRect().translated(piece.at + origin);
        if (!clip.isEmpty() && (box.bottom() < clip.top() || box.top() > clip.bottom()))
            continue;
        QVector<QTextLayout::FormatRange> marks;
        for (const PieceRange &range : state.linked)
            if (range.piece == i)
                marks.push_back(highlight(range, mix(p.surface, stateColour(api::BlockState::cached), 0.35)));
        for (const PieceRange &range : state.selected)
            if (range.piece == i)
                marks.push_back(highlight(range, mix(p.accent, p.surface, p.dark ? 0.6 : 0.7)));
        piece.layout->draw(&painter, origin + piece.at, marks);
    }
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/message_item.h"

#include "ui/chat/attachments.h"
#include "ui/chat/message_metrics.h"
#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QFontMetricsF>

#include <algorithm>
#include <cmath>

namespace kvilt::ui {

MessageItem::MessageItem(api::Message message) : m_message(std::move(message)) {}

void MessageItem::update(api::Message message)
{
    const bool grows = message.text.starts_with(m_message.text);
    const bool same = message.text == m_message.text;
    // A chat that is opened again while it is being answered may be told with less than has been shown already.
    if (message.state == api::MessageState::streaming && m_message.text.starts_with(message.text))
        message.text = m_message.text;
    m_message = std::move(message);
    m_estimateWidth = -1;
    if (m_message.state != api::MessageState::streaming)
        m_progress.reset();
    if (same || !m_parsed)
        return;
    m_naturalWidth = -1;
    if (grows)
        parseTail(m_sections.empty() ? 0 : m_sections.size() - 1);
    else
        parse();
}

void MessageItem::append(std::string_view text)
{
    m_message.text += text;
    m_estimateWidth = -1;
    m_naturalWidth = -1;
    if (m_parsed)
        parseTail(m_sections.empty() ? 0 : m_sections.size() - 1);
}

void MessageItem::parse()
{
    m_entries.clear();
    m_sections.clear();
    m_parsed = true;
    parseTail(0);
}

// Sections before the last one cannot change when text is appended; of the last one only blocks that differ are
// made anew.
void MessageItem::parseTail(std::size_t fromSection)
{
    std::vector<Section> sections;
    if (fromUser() || fromSection == 0) {
        sections = fromUser() ? userSections(m_message.text) : sectionsOf(m_message.text);
    } else {
        // A long reply is not read from its beginning for every token. The one before the last is, as a line that began
        // a section may turn out to belong to the list above it ("-", then "- item").
        const std::size_t kept = fromSection - 1;
        sections.assign(m_sections.begin(), m_sections.begin() + std::ptrdiff_t(kept));
        const auto tail = sectionsFrom(m_message.text, scanStart(m_sections[kept]));
        sections.insert(sections.end(), tail.begin(), tail.end());
    }
    while (fromSection > 0 && (fromSection > sections.size() || sections[fromSection - 1] != m_sections[fromSection - 1]))
        --fromSection;
    std::vector<Entry> old;
    auto firstStale = std::find_if(m_entries.begin(), m_entries.end(),
                                   [&](const Entry &entry) { return entry.section >= int(fromSection); });
    std::move(firstStale, m_entries.end(), std::back_inserter(old));
    m_entries.erase(firstStale, m_entries.end());
    const std::size_t begin = m_entries.size();
    m_sections = std::move(sections);
    for (std::size_t s = fromSection; s < m_sections.size(); ++s)
        appendSection(s);
    for (std::size_t i = 0; i < old.size() && begin + i < m_entries.size(); ++i) {
        Entry &now = m_entries[begin + i];
        if (!old[i].layout || !now.layout || old[i].layout->block().kind != now.layout->block().kind)
            continue;
        old[i].layout->replace(now.layout->block());
        now.layout = std::move(old[i].layout);
    }
}

void MessageItem::appendSection(std::size_t section)
{
    const Section &s = m_sections[section];
    const std::string_view text = std::string_view(m_message.text).substr(s.begin, s.end - s.begin);
    if (s.folds())
        m_entries.push_back({nullptr, int(section), true});
    std::vector<RichBlock> blocks = fromUser() ? plainBlocks(text, s.begin) : parseMarkdown(text, s.begin);
    for (RichBlock &block : blocks)
        m_entries.push_back({std::make_unique<BlockLayout>(std::move(block)), int(section), s.folds()});
}

bool MessageItem::hidden(const Entry &entry) const
{
    return entry.layout && entry.muted && folded(entry.section);
}

qreal MessageItem::gapBefore(std::size_t index) const
{
    if (index == 0)
        return 0;
    const Entry &entry = m_entries[index];
    if (fromUser()) // files stand below the box of the words, and their content below them in a box of its own
        return entry.layout ? (m_entries[index - 1].layout ? 0 : measure::kBoxPadY + 4)
                            : measure::kFileGap + (m_entries[index - 1].layout ? measure::kBoxPadY : 0);
    if (!entry.layout)
        return 8;
    const RichBlock &block = entry.layout->block();
    if (!m_entries[index - 1].layout)
        return 4;
    if (block.tight)
        return 2;
    if (block.kind == BlockKind::heading)
        return 18;
    const bool bothItems = block.indent > 0 && m_entries[index - 1].layout->block().indent > 0;
    return bothItems ? 6 : 12;
}

qreal MessageItem::foldHeight(const Entry &entry) const
{
    return m_sections[std::size_t(entry.section)].file() ? measure::kFileHeight : measure::kFoldHeight;
}

qreal MessageItem::bodyWidth(qreal width) const
{
    return fromUser() ? std::floor(width * 0.82) - 2 * measure::kBoxPadX : width;
}

// Before it was ever parsed: from the length of its text alone.
qreal MessageItem::estimate(qreal width) const
{
    if (std::abs(m_estimateWidth - width) < 0.5)
        return m_estimate;
    const std::string &text = m_message.text;
    const qreal perLine = std::max(8.0, bodyWidth(width) / 7.0);
    qreal lines = 0;
    std::size_t at = 0;
    while (at <= text.size()) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        lines += std::max(1.0, std::ceil(qreal(end - at) / perLine));
        at = end + 1;
    }
    m_estimateWidth = width;
    m_estimate = lines * metrics::kChatLine;
    return m_estimate;
}

qreal MessageItem::bodyHeight(const Theme &theme, qreal width) const
{
    if (m_message.text.empty())
        return 0;
    if (!m_parsed)
        return estimate(width);
    qreal y = 0;
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        if (hidden(m_entries[i]))
            continue;
        y += gapBefore(i) + (m_entries[i].layout ? m_entries[i].layout->height(theme, bodyWidth(width)) : foldHeight(m_entries[i]));
    }
    return y;
}

bool MessageItem::showsPrefill() const
{
    return !fromUser() && m_message.text.empty() && m_message.state == api::MessageState::streaming;
}

bool MessageItem::showsReceipt() const
{
    return !fromUser() && !showsPrefill() && (m_message.hasReceipt || m_progress.has_value());
}

QString MessageItem::stateLine() const
{
    if (m_progress) // it goes on
        return {};
    switch (m_message.state) {
    case api::MessageState::interrupted:
        return QStringLiteral("The program ended while this was written. Continue goes on from here.");
    case api::MessageState::stopped: return QStringLiteral("Stopped.");
    case api::MessageState::failed:
        return QStringLiteral("This reply could not be finished. Regenerate tries again.");
    default: break;
    }
    if (m_last && m_message.hasReceipt && m_message.receipt.finish == api::FinishReason::length)
        return QStringLiteral("Reached the limit of %1. Continue goes on from here.")
            .arg(count(m_message.receipt.completionTokens, QStringLiteral("token"), QStringLiteral("tokens")));
    return {};
}

qreal MessageItem::tailHeight() const
{
    qreal y = 0;
    if (showsPrefill())
        y += measure::kPrefillHeight;
    if (!stateLine().isEmpty())
        y += measure::kStateHeight;
    if (showsReceipt())
        y += measure::kReceiptGap + measure::kReceiptHeight;
    return y;
}

qreal MessageItem::height(const Theme &theme, qreal width) const
{
    // Below words the box needs its margin; a folded file is a box already.
    const bool endsWithFile = m_parsed && !m_entries.empty() && fromUser() && m_sections.back().file() &&
                              folded(int(m_sections.size()) - 1);
    const qreal box = fromUser() ? (endsWithFile ? 1 : 2) * measure::kBoxPadY : 0;
    return bodyHeight(theme, width) + box + tailHeight();
}

qreal MessageItem::sectionHeight(int section, const Theme &theme, qreal width) const
{
    qreal sum = 0;
    for (const Entry &entry : m_entries)
        if (entry.section == section && entry.layout)
            sum += entry.layout->height(theme, bodyWidth(width));
    return sum;
}

qreal MessageItem::wordsHeight(const Theme &theme, qreal width) const
{
    if (!m_parsed)
        return bodyHeight(theme, width);
    qreal y = 0;
    for (std::size_t i = 0; i < m_entries.size() && m_entries[i].layout; ++i)
        y += gapBefore(i) + m_entries[i].layout->height(theme, bodyWidth(width));
    return y;
}

bool MessageItem::layOut(const Theme &theme, qreal width, qreal top, qreal bottom)
{
    const qreal before = height(theme, width);
    if (!m_parsed)
        parse();
    const qreal inner = bodyWidth(width);
    qreal y = fromUser() ? measure::kBoxPadY : 0;
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        Entry &entry = m_entries[i];
        if (hidden(entry))
            continue;
        y += gapBefore(i);
        const qreal h = entry.layout ? entry.layout->height(theme, inner) : foldHeight(entry);
        if (entry.layout && y + h >= top && y <= bottom)
            entry.layout->layOut(theme, inner);
        else if (entry.layout && (y + h < top - 4000 || y > bottom + 4000))
            entry.layout->release();
        y += entry.layout ? entry.layout->height(theme, inner) : foldHeight(entry);
    }
    return std::abs(height(theme, width) - before) > 0.5;
}

qreal MessageItem::settledHeight(const Theme &theme, qreal width) const
{
    qreal y = 0;
    for (std::size_t i = 0; m_parsed && !fromUser() && i < m_entries.size(); ++i) {
        const Entry &entry = m_entries[i];
        if (entry.section + 2 >= int(m_sections.size()))
            return y;
        if (!hidden(entry))
            y += gapBefore(i) + (entry.layout ? entry.layout->height(theme, bodyWidth(width)) : foldHeight(entry));
    }
    return 0;
}

void MessageItem::release()
{
    for (Entry &entry : m_entries)
        if (entry.layout)
            entry.layout->release();
}

void MessageItem::forget()
{
    release();
    m_naturalWidth = -1;
    m_estimateWidth = -1;
    for (Entry &entry : m_entries)
        if (entry.layout)
            entry.layout->forgetHeight();
}

void MessageItem::toggleFold(int section)
{
    if (!m_unfolded.erase(section))
        m_unfolded.insert(section);
}

QString MessageItem::foldText(int section) const
{
    const Section &s = m_sections[std::size_t(section)];
    const std::string_view text = std::string_view(m_message.text).substr(s.begin, s.end - s.begin);
    std::uint64_t words = 0;
    bool inside = false;
    for (const char c : text) {
        const bool space = c == ' ' || c == '\n' || c == '\t';
        words += !space && !inside ? 1u : 0u;
        inside = !space;
    }
    const bool running = s.open && m_message.state == api::MessageState::streaming;
    return (running ? QStringLiteral("Thinking, ") : QStringLiteral("Thought, ")) +
           count(words, QStringLiteral("word"), QStringLiteral("words"));
}

QString MessageItem::fileName(int section) const
{
    const Section &s = m_sections[std::size_t(section)];
    return QString::fromStdString(m_message.text.substr(s.nameBegin, s.nameEnd - s.nameBegin));
}

QString MessageItem::fileSize(int section) const
{
    const Section &s = m_sections[std::size_t(section)];
    return bytes(s.end - s.begin);
}

QRectF MessageItem::fileRect(int section, qreal y, const Theme &theme, qreal width) const
{
    constexpr qreal kIconAndPads = 16 + 16 + 10 + 36 + 16; // icon, name, at least 36 px, size
    const QFontMetricsF name(theme.font(TextSize::body)), size(theme.font(TextSize::secondary));
    const qreal wanted = kIconAndPads + name.horizontalAdvance(fileName(section)) + size.horizontalAdvance(fileSize(section));
    const qreal w = std::min(std::ceil(wanted), std::floor(width * 0.82));
    return {width - w, y, w, measure::kFileHeight};
}

// The box hugs short messages: as wide as the longest line, at most the body's width. Files have boxes of their own.
QRectF MessageItem::textBox(const Theme &theme, qreal width) const
{
    if (!fromUser())
        return {0, 0, width, bodyHeight(theme, width)};
    if (m_naturalWidth < 0) {
        const QFontMetricsF metrics(theme.font(TextSize::chat));
        qreal widest = 8;
        for (const Entry &entry : m_entries) {
            if (!entry.layout || entry.muted)
                continue;
            const QString &text = entry.layout->block().content.text;
            widest = std::max(widest, text.size() > 400 ? 1e6 : metrics.horizontalAdvance(text) + 2);
        }
        m_naturalWidth = m_parsed ? widest : -1;
    }
    const qreal inner = m_naturalWidth < 0 ? bodyWidth(width) : std::min(bodyWidth(width), std::ceil(m_naturalWidth));
    const qreal boxWidth = inner + 2 * measure::kBoxPadX;
    const qreal words = wordsHeight(theme, width);
    return {width - boxWidth, 0, boxWidth, words > 0 ? words + 2 * measure::kBoxPadY : 0};
}

QRectF MessageItem::actionRow(const Theme &theme, qreal width) const
{
    return {fromUser() ? 0.0 : -5.0, height(theme, width) + 1, fromUser() ? width : width + 5, measure::kActionsHeight};
}

QRectF MessageItem::branchRect(const Theme &theme, qreal width) const
{
    if (m_message.branchCount < 2)
        return {};
    const QRectF row = actionRow(theme, width);
    return {fromUser() ? row.right() - measure::kBranchWidth : row.left(), row.top(), measure::kBranchWidth, row.height()};
}

// Beside the arrows; the buttons that come with the pointer stand over it, theirs is pressed then.
QRectF MessageItem::pinRect(const Theme &theme, qreal width) const
{
    if (!m_message.pinned)
        return {};
    const QRectF row = actionRow(theme, width);
    const qreal arrows = m_message.branchCount > 1 ? measure::kBranchWidth : 0;
    const qreal left = fromUser() ? row.right() - arrows - measure::kPinWidth : row.left() + arrows + 5;
    return {left, row.top(), measure::kPinWidth, row.height()};
}

// Words stand in the box, the content of a file across the body.
qreal MessageItem::leftOf(const Entry &entry, const QRectF &box, qreal width) const
{
    if (!fromUser())
        return 0;
    return entry.muted ? width - bodyWidth(width) - measure::kBoxPadX : box.left() + measure::kBoxPadX;
}

MessageItem::Hit MessageItem::hitTest(QPointF point, const Theme &theme, qreal width) const
{
    Hit hit;
    const QRectF box = textBox(theme, width);
    qreal y = fromUser() ? measure::kBoxPadY : 0;
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        const Entry &entry = m_entries[i];
        if (hidden(entry))
            continue;
        y += gapBefore(i);
        const qreal bodyLeft = leftOf(entry, box, width);
        const qreal h = entry.layout ? entry.layout->height(theme, bodyWidth(width)) : foldHeight(entry);
        const bool inside = point.y() >= y && point.y() < y + h;
        if (!entry.layout) {
            const bool file = m_sections[std::size_t(entry.section)].file();
            if (inside && (file ? fileRect(entry.section, y, theme, width).contains(point) : point.x() < 260))
                hit.fold = entry.section;
        } else if (entry.layout->laidOut() && (point.y() >= y || !hit.place)) {
            const BlockLayout::Hit inner = entry.layout->hitTest(point - QPointF(bodyLeft, y));
            if (inner.piece >= 0)
                hit.place = TextPlace{int(i), inner.piece, inner.position};
            hit.onText = inside && inner.onText;
            hit.link = inside ? inner.link : QString();
            hit.copyBlock = inside && inner.onCopy ? int(i) : -1;
        }
        y += h;
    }
    hit.pin = pinRect(theme, width).contains(point);
    const QRectF branch = branchRect(theme, width);
    if (branch.contains(point)) {
        hit.branchBack = point.x() < branch.center().x();
        hit.branchForward = !hit.branchBack;
    } else if (showsReceipt()) {
        const qreal h = height(theme, width);
        hit.receipt = point.y() >= h - measure::kReceiptHeight && point.y() < h && point.x() >= -12 && point.x() < width + 12;
    }
    return hit;
}

QString MessageItem::codeOf(int block) const
{
    const auto index = std::size_t(block);
    return index < m_entries.size() && m_entries[index].layout ? m_entries[index].layout->block().content.text : QString();
}

QPointF MessageItem::pointOf(const QString &word, const Theme &theme, qreal width) const
{
    const QRectF box = textBox(theme, width);
    qreal y = fromUser() ? measure::kBoxPadY : 0;
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        const Entry &entry = m_entries[i];
        if (hidden(entry))
            continue;
        y += gapBefore(i);
        if (const QPointF at = entry.layout ? entry.layout->pointOf(word) : QPointF(); !at.isNull())
            return at + QPointF(leftOf(entry, box, width), y);
        y += entry.layout ? entry.layout->height(theme, bodyWidth(width)) : foldHeight(entry);
    }
    return {};
}

std::optional<std::pair<TextPlace, TextPlace>> MessageItem::rangeOf(const QString &word) const
{
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        const Entry &entry = m_entries[i];
        if (!entry.layout || hidden(entry))
            continue;
        if (const auto found = entry.layout->rangeOf(word))
            return std::pair{TextPlace{int(i), found->piece, found->from}, TextPlace{int(i), found->piece, found->to}};
    }
    return {};
}

TextPlace MessageItem::endPlace() const
{
    return {int(m_entries.size()), 0, 0};
}

QString MessageItem::textBetween(const TextPlace &from, const TextPlace &to) const
{
    QStringList blocks;
    for (int b = from.block; b <= to.block && b < int(m_entries.size()); ++b) {
        const Entry &entry = m_entries[std::size_t(b)];
        if (!entry.layout || hidden(entry))
            continue;
        const RichBlock &block = entry.layout->block();
        const bool whole = b > from.block && b < to.block;
        if (!entry.layout->laidOut() || whole) {
            blocks << (block.marker.isEmpty() ? QString() : block.marker + QLatin1Char(' ')) + block.content.text;
            continue;
        }
        QStringList pieces;
        for (int p = 0; p < entry.layout->pieceCount(); ++p) {
            const TextPlace start{b, p, 0}, end{b, p, entry.layout->pieceLength(p)};
            if (end < from || to < start)
                continue;
            pieces << entry.layout->pieceText(p, std::max(start, from).position, std::min(end, to).position);
        }
        blocks << pieces.join(block.kind == BlockKind::table ? QLatin1Char('\t') : QLatin1Char('\n'));
    }
    return blocks.join(fromUser() ? QStringLiteral("\n") : QStringLiteral("\n\n"));
}

std::int64_t MessageItem::byteAt(const TextPlace &place) const
{
    const auto index = std::size_t(place.block);
    if (index >= m_entries.size() || !m_entries[index].layout || !m_entries[index].layout->laidOut())
        return -1;
    return m_entries[index].layout->byteAt(place.piece, place.position);
}

QString MessageItem::spoken() const
{
    QString text = (fromUser() ? QStringLiteral("You: ") : QStringLiteral("Reply: ")) +
                   QString::fromStdString(m_message.text);
    if (const QString line = stateLine(); !line.isEmpty())
        text += QLatin1Char(' ') + line;
    if (m_message.pinned)
        text += QStringLiteral(". Pinned");
    if (m_message.hasReceipt)
        text += QStringLiteral(". ") + plainReceipt(receiptParts(m_message.receipt, true));
    return text;
}

} // namespace kvilt::ui

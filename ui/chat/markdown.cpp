// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/markdown.h"

#include <md4c.h>

#include <algorithm>
#include <string>

namespace kvilt::ui {

namespace {

constexpr int kDeepest = 12; // indent and quote levels that are drawn; deeper ones share the last

// \(x\) and \[x\] become dollar forms of the same length, so that offsets stay: ${x}$ and $$x$$.
std::string withDollarMath(std::string_view source)
{
    std::string text(source);
    const auto replace = [&](std::string_view open, std::string_view close, std::string_view newOpen,
                             std::string_view newClose) {
        std::size_t at = 0;
        std::size_t tick = 0; // the next backtick, looked for once: a search for each formula takes the square of the time
        while ((at = text.find(open, at)) != std::string::npos) {
            const std::size_t end = text.find(close, at + 2);
            if (end == std::string::npos)
                return;
            if (tick < at)
                tick = std::min(text.find('`', at), text.size());
            const bool crossesCode = tick < end;
            if (!crossesCode) {
                text.replace(at, 2, newOpen);
                text.replace(end, 2, newClose);
            }
            at = end + 2;
        }
    };
    if (text.find('\\') == std::string::npos || text.find("```") != std::string::npos)
        return text;
    replace("\\(", "\\)", "${", "}$");
    replace("\\[", "\\]", "$$", "$$");
    return text;
}

std::string attributeText(const MD_ATTRIBUTE &attribute)
{
    return attribute.text ? std::string(attribute.text, attribute.size) : std::string();
}

// Builds blocks from md4c's callbacks, which come strictly nested.
class Builder {
public:
    Builder(std::string_view text, std::uint32_t offset) : m_text(text), m_offset(offset) {}
    std::vector<RichBlock> take() { return std::move(m_blocks); }

    void enterBlock(MD_BLOCKTYPE type, void *detail);
    void leaveBlock(MD_BLOCKTYPE type);
    void enterSpan(MD_SPANTYPE type, void *detail);
    void leaveSpan(MD_SPANTYPE type);
    void text(MD_TEXTTYPE type, const char *chars, unsigned size);

private:
    struct List {
        bool ordered = false;
        bool tight = true;
        unsigned next = 1;
        char delimiter = '.';
    };

    RichBlock &begin(BlockKind kind);
    void enterItem(const MD_BLOCK_LI_DETAIL &detail);
    void endBlock();
    RichText &target();
    std::uint8_t style() const;
    void append(const char *chars, unsigned size, std::uint8_t extra = kPlain);
    void finishMath();
    std::int64_t offsetOf(const char *chars) const;

    std::string_view m_text;
    std::uint32_t m_offset;
    std::vector<RichBlock> m_blocks;
    std::vector<List> m_lists;
    QString m_marker; // waits for the item's first block
    int m_quote = 0;
    bool m_open = false; // the last block takes text
    bool m_inCell = false;
    int m_bold = 0, m_italic = 0, m_strike = 0, m_codeSpan = 0;
    std::vector<int> m_links;
    std::vector<std::string> m_images;
    int m_math = 0;
    std::string m_mathText;
    std::int64_t m_mathBegin = -1, m_mathEnd = -1;
};

RichBlock &Builder::begin(BlockKind kind)
{
    RichBlock block;
    block.kind = kind;
    block.indent = std::min(int(m_lists.size()), kDeepest);
    block.quote = std::min(m_quote, kDeepest);
    block.marker = std::exchange(m_marker, {});
    block.firstInItem = !block.marker.isEmpty();
    block.tight = !m_lists.empty() && m_lists.back().tight && !m_blocks.empty() && m_blocks.back().indent > 0;
    m_blocks.push_back(std::move(block));
    m_open = true;
    return m_blocks.back();
}

void Builder::enterItem(const MD_BLOCK_LI_DETAIL &detail)
{
    List &list = m_lists.back();
    if (detail.is_task)
        m_marker = detail.task_mark == ' ' ? QStringLiteral("☐") : QStringLiteral("☑");
    else if (list.ordered)
        m_marker = QString::number(list.next) + QLatin1Char(list.delimiter);
    else
        m_marker = m_lists.size() % 2 == 1 ? QStringLiteral("•") : QStringLiteral("◦");
    ++list.next;
    m_open = false; // tight items have no paragraph: their first text begins one
}

void Builder::enterBlock(MD_BLOCKTYPE type, void *detail)
{
    switch (type) {
    case MD_BLOCK_QUOTE: ++m_quote; break;
    case MD_BLOCK_UL: m_lists.push_back({false, static_cast<MD_BLOCK_UL_DETAIL *>(detail)->is_tight != 0}); break;
    case MD_BLOCK_OL: {
        const auto *ol = static_cast<MD_BLOCK_OL_DETAIL *>(detail);
        m_lists.push_back({true, ol->is_tight != 0, ol->start, ol->mark_delimiter});
        break;
    }
    case MD_BLOCK_LI: enterItem(*static_cast<MD_BLOCK_LI_DETAIL *>(detail)); break;
    case MD_BLOCK_HR: begin(BlockKind::rule); m_open = false; break;
    case MD_BLOCK_H: begin(BlockKind::heading).level = int(static_cast<MD_BLOCK_H_DETAIL *>(detail)->level); break;
    case MD_BLOCK_CODE:
        begin(BlockKind::code).language =
            QString::fromStdString(attributeText(static_cast<MD_BLOCK_CODE_DETAIL *>(detail)->lang)).left(24);
        break;
    case MD_BLOCK_P:
    case MD_BLOCK_HTML: begin(BlockKind::paragraph); break;
    case MD_BLOCK_TABLE: begin(BlockKind::table); break;
    case MD_BLOCK_TR: m_blocks.back().rows.emplace_back(); break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD: {
        RichBlock &table = m_blocks.back();
        table.rows.back().emplace_back();
        m_inCell = true;
        if (type == MD_BLOCK_TH) {
            const MD_ALIGN align = static_cast<MD_BLOCK_TD_DETAIL *>(detail)->align;
            table.columns.push_back(align == MD_ALIGN_RIGHT    ? Qt::AlignRight
                                    : align == MD_ALIGN_CENTER ? Qt::AlignHCenter
                                                               : Qt::AlignLeft);
        }
        break;
    }
    default: break;
    }
}

void Builder::endBlock()
{
    m_open = false;
    if (m_blocks.empty() || m_blocks.back().kind != BlockKind::code)
        return;
    QString &code = m_blocks.back().content.text;
    while (code.endsWith(QLatin1Char('\n')))
        code.chop(1);
}

void Builder::leaveBlock(MD_BLOCKTYPE type)
{
    switch (type) {
    case MD_BLOCK_QUOTE: --m_quote; break;
    case MD_BLOCK_UL:
    case MD_BLOCK_OL: m_lists.pop_back(); m_open = false; break;
    case MD_BLOCK_LI:
        if (!m_marker.isEmpty())
            begin(BlockKind::paragraph); // an empty item still shows its mark
        m_open = false;
        break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD: m_inCell = false; break;
    case MD_BLOCK_H:
    case MD_BLOCK_CODE:
    case MD_BLOCK_P:
    case MD_BLOCK_HTML:
    case MD_BLOCK_TABLE: endBlock(); break;
    default: break;
    }
}

RichText &Builder::target()
{
    if (m_inCell)
        return m_blocks.back().rows.back().back();
    if (!m_open)
        begin(BlockKind::paragraph);
    return m_blocks.back().content;
}

std::uint8_t Builder::style() const
{
    return std::uint8_t((m_bold > 0 ? kBold : 0) | (m_italic > 0 ? kItalic : 0) | (m_strike > 0 ? kStrike : 0) |
                        (m_codeSpan > 0 ? kCode : 0));
}

std::int64_t Builder::offsetOf(const char *chars) const
{
    const bool inside = chars >= m_text.data() && chars < m_text.data() + m_text.size();
    return inside ? std::int64_t(m_offset) + (chars - m_text.data()) : -1;
}

void Builder::append(const char *chars, unsigned size, std::uint8_t extra)
{
    RichText &out = target();
    out.append({chars, size}, style() | extra, m_links.empty() ? -1 : m_links.back(), offsetOf(chars));
}

void Builder::enterSpan(MD_SPANTYPE type, void *detail)
{
    switch (type) {
    case MD_SPAN_EM: ++m_italic; break;
    case MD_SPAN_STRONG: ++m_bold; break;
    case MD_SPAN_DEL: ++m_strike; break;
    case MD_SPAN_CODE: ++m_codeSpan; break;
    case MD_SPAN_A: {
        RichText &out = target();
        out.links.push_back(QString::fromStdString(attributeText(static_cast<MD_SPAN_A_DETAIL *>(detail)->href)));
        m_links.push_back(int(out.links.size()) - 1);
        break;
    }
    case MD_SPAN_IMG:
        m_images.push_back(attributeText(static_cast<MD_SPAN_IMG_DETAIL *>(detail)->src));
        target().append("[image: ", kPlain, -1, -1);
        break;
    case MD_SPAN_LATEXMATH:
    case MD_SPAN_LATEXMATH_DISPLAY:
        ++m_math;
        m_mathText.clear();
        m_mathBegin = m_mathEnd = -1;
        break;
    default: break;
    }
}

void Builder::finishMath()
{
    const QString shown = readableMath(QString::fromStdString(m_mathText));
    if (m_mathBegin >= 0)
        target().appendAs(shown, style() | kMath, std::uint32_t(m_mathBegin), std::uint32_t(m_mathEnd - m_mathBegin));
    else
        target().append(shown.toStdString(), style() | kMath, -1, -1);
}

void Builder::leaveSpan(MD_SPANTYPE type)
{
    switch (type) {
    case MD_SPAN_EM: --m_italic; break;
    case MD_SPAN_STRONG: --m_bold; break;
    case MD_SPAN_DEL: --m_strike; break;
    case MD_SPAN_CODE: --m_codeSpan; break;
    case MD_SPAN_A: m_links.pop_back(); break;
    case MD_SPAN_IMG:
        target().append("](" + m_images.back() + ")", kPlain, -1, -1);
        m_images.pop_back();
        break;
    case MD_SPAN_LATEXMATH:
    case MD_SPAN_LATEXMATH_DISPLAY:
        --m_math;
        finishMath();
        break;
    default: break;
    }
}

// The few entities that models write; others stay as they were written.
QString entity(std::string_view name)
{
    static const std::pair<std::string_view, const char16_t *> known[] = {
        {"&amp;", u"&"}, {"&lt;", u"<"}, {"&gt;", u">"}, {"&quot;", u"\""}, {"&#39;", u"'"}, {"&apos;", u"'"},
        {"&nbsp;", u"\u00a0"}, {"&ndash;", u"–"}, {"&mdash;", u"—"}, {"&hellip;", u"…"}, {"&times;", u"×"},
        {"&deg;", u"°"}, {"&micro;", u"µ"}, {"&copy;", u"©"}, {"&euro;", u"€"}};
    for (const auto &[text, shown] : known)
        if (text == name)
            return QString::fromUtf16(shown);
    return QString::fromUtf8(name.data(), qsizetype(name.size()));
}

void Builder::text(MD_TEXTTYPE type, const char *chars, unsigned size)
{
    switch (type) {
    case MD_TEXT_LATEXMATH:
        m_mathText.append(chars, size);
        if (const std::int64_t at = offsetOf(chars); at >= 0) {
            m_mathBegin = m_mathBegin < 0 ? at : m_mathBegin;
            m_mathEnd = at + size;
        }
        break;
    case MD_TEXT_NULLCHAR: target().append("\xef\xbf\xbd", style(), -1, -1); break;
    case MD_TEXT_BR: target().append("\n", kPlain, -1, -1); break;
    // Models break lines on purpose more often than for width: kept as they are.
    case MD_TEXT_SOFTBR:
        if (m_math > 0)
            m_mathText += ' ';
        else
            target().append(m_blocks.back().kind == BlockKind::heading ? " " : "\n", kPlain, -1, -1);
        break;
    case MD_TEXT_ENTITY: {
        const std::int64_t at = offsetOf(chars);
        if (at >= 0)
            target().appendAs(entity({chars, size}), style(), std::uint32_t(at), size);
        break;
    }
    default: append(chars, size); break;
    }
}

// Prices are not formulas: in "$5 or $6" the second dollar sign follows a blank, which no formula ends with.
bool dollarsAreMath(std::string_view text)
{
    for (std::size_t at = text.find('$'); at != std::string_view::npos; at = text.find('$', at + 1)) {
        const bool begins = at + 1 < text.size() && text[at + 1] >= '0' && text[at + 1] <= '9';
        const std::size_t end = text.find('$', at + 1);
        if (end == std::string_view::npos)
            return true;
        if (begins && (text[end - 1] == ' ' || text[end - 1] == '(' || text[end - 1] == '\n'))
            return false;
        at = end;
    }
    return true;
}

// A piece of text that would take too long to lay out as one is cut at a character.
void cutLong(std::vector<RichBlock> &blocks, std::string_view utf8, std::uint32_t offset)
{
    const bool tooLong = std::any_of(blocks.begin(), blocks.end(), [](const RichBlock &block) {
        return block.kind != BlockKind::code && block.content.text.size() > kLongestPiece;
    });
    if (tooLong)
        blocks = plainBlocks(utf8, offset);
}

} // namespace

std::vector<RichBlock> parseMarkdown(std::string_view utf8, std::uint32_t offset)
{
    // md4c counts in unsigned; far below that a message is no longer prose.
    constexpr std::size_t kMostMarkdown = 1 << 17;
    constexpr std::size_t kMostAutolinks = 1 << 14; // md4c's time for addresses without <> grows with their square
    if (utf8.size() > kMostMarkdown)
        return plainBlocks(utf8, offset);
    const std::string text = withDollarMath(utf8);
    Builder builder(text, offset);
    static constexpr auto cast = [](void *data) { return static_cast<Builder *>(data); };
    MD_PARSER parser{};
    parser.flags = MD_FLAG_NOHTML | MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS |
                   (utf8.size() <= kMostAutolinks ? MD_FLAG_PERMISSIVEURLAUTOLINKS : 0u) | MD_FLAG_NOINDENTEDCODEBLOCKS |
                   (dollarsAreMath(text) ? MD_FLAG_LATEXMATHSPANS : 0u);
    parser.enter_block = [](MD_BLOCKTYPE t, void *d, void *u) { return cast(u)->enterBlock(t, d), 0; };
    parser.leave_block = [](MD_BLOCKTYPE t, void *, void *u) { return cast(u)->leaveBlock(t), 0; };
    parser.enter_span = [](MD_SPANTYPE t, void *d, void *u) { return cast(u)->enterSpan(t, d), 0; };
    parser.leave_span = [](MD_SPANTYPE t, void *, void *u) { return cast(u)->leaveSpan(t), 0; };
    parser.text = [](MD_TEXTTYPE t, const MD_CHAR *c, MD_SIZE n, void *u) { return cast(u)->text(t, c, n), 0; };
    if (md_parse(text.data(), MD_SIZE(text.size()), &parser, &builder) != 0)
        return plainBlocks(utf8, offset);
    std::vector<RichBlock> blocks = builder.take();
    cutLong(blocks, utf8, offset);
    return blocks;
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/rich_text.h"

#include <algorithm>

namespace kvilt::ui {

namespace {

// How many UTF-16 units the first `bytes` bytes of `utf8` take.
int unitsOf(std::string_view utf8)
{
    int units = 0;
    for (const char c : utf8) {
        const auto b = std::uint8_t(c);
        if ((b & 0xc0) != 0x80)
            units += b >= 0xf0 ? 2 : 1;
    }
    return units;
}

} // namespace

bool mustBeShown(char16_t c)
{
    const bool bidi = (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f ||
                      c == 0x061c;
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
    const bool invisible = c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0x200b || c == 0x2060 || c == 0x00ad;
    return bidi || control || invisible;
}

void RichText::appendAs(const QString &shown, std::uint8_t style, std::uint32_t begin, std::uint32_t bytes)
{
    const int start = int(text.size());
    text += shown;
    if (style != kPlain)
        styles.push_back({start, int(shown.size()), style, -1});
    sources.push_back({start, int(shown.size()), begin, bytes});
}

void RichText::append(std::string_view utf8, std::uint8_t style, int link, std::int64_t begin)
{
    const QString decoded = QString::fromUtf8(utf8.data(), qsizetype(utf8.size()));
    const bool plainMap = unitsOf(utf8) == decoded.size();
    qsizetype from = 0;
    std::size_t fromByte = 0;
    const auto flush = [&](qsizetype to, std::size_t toByte) {
        if (to == from)
            return;
        const int start = int(text.size());
        text += QStringView(decoded).mid(from, to - from);
        if (style != kPlain || link >= 0)
            styles.push_back({start, int(to - from), style, link});
        if (begin >= 0)
            sources.push_back({start, int(to - from), std::uint32_t(begin) + std::uint32_t(fromByte),
                               std::uint32_t(toByte - fromByte)});
    };
    std::size_t byte = 0;
    for (qsizetype i = 0; i < decoded.size(); ++i) {
        const char16_t c = decoded[i].unicode();
        const std::size_t width = !plainMap ? 0 : c < 0x80 ? 1 : c < 0x800 ? 2 : QChar::isSurrogate(c) ? 2 : 3;
        if (mustBeShown(c)) {
            flush(i, byte);
            const auto at = begin >= 0 ? std::uint32_t(begin) + std::uint32_t(byte) : 0u;
            appendAs(QStringLiteral("⟨U+%1⟩").arg(uint(c), 4, 16, QLatin1Char('0')).toUpper(), style | kEscape, at,
                     std::uint32_t(width));
            from = i + 1;
            fromByte = byte + width;
        }
        byte += width;
    }
    flush(decoded.size(), utf8.size());
}

std::int64_t RichText::byteAt(int position) const
{
    for (const SourceRun &run : sources) {
        if (position < run.start || position >= run.start + run.length)
            continue;
        if (std::uint32_t(run.length) == run.bytes)
            return run.begin + std::uint32_t(position - run.start);
        const QStringView shown = QStringView(text).mid(run.start, position - run.start);
        return run.begin + std::min<std::int64_t>(shown.toUtf8().size(), std::int64_t(run.bytes) - 1);
    }
    return -1;
}

std::pair<int, int> RichText::charsOf(std::uint32_t begin, std::uint32_t end) const
{
    int first = -1, last = -1;
    for (const SourceRun &run : sources) {
        const std::uint32_t runEnd = run.begin + run.bytes;
        if (runEnd <= begin || run.begin >= end)
            continue;
        const auto charAt = [&](std::uint32_t byte) {
            if (byte <= run.begin)
                return run.start;
            if (byte >= runEnd)
                return run.start + run.length;
            if (std::uint32_t(run.length) == run.bytes)
                return run.start + int(byte - run.begin);
            const QByteArray all = QStringView(text).mid(run.start, run.length).toUtf8();
            return run.start + std::min(run.length, unitsOf({all.data(), std::min<std::size_t>(byte - run.begin,
                                                                                          std::size_t(all.size()))}));
        };
        const int from = charAt(begin), to = charAt(end);
        first = first < 0 ? from : std::min(first, from);
        last = std::max(last, to);
    }
    return {first, last};
}

std::vector<RichBlock> plainBlocks(std::string_view utf8, std::uint32_t offset)
{
    std::vector<RichBlock> blocks;
    std::size_t at = 0;
    while (at <= utf8.size()) {
        std::size_t end = std::min(utf8.find('\n', at), utf8.size());
        const bool longLine = end - at > std::size_t(kLongestPiece);
        if (longLine) {
            end = at + std::size_t(kLongestPiece);
            while (end > at + 1 && (std::uint8_t(utf8[end]) & 0xc0) == 0x80)
                --end;
        }
        RichBlock block;
        block.tight = !blocks.empty();
        block.content.append(utf8.substr(at, end - at), kPlain, -1, std::int64_t(offset + at));
        blocks.push_back(std::move(block));
        if (end >= utf8.size())
            break;
        at = longLine ? end : end + 1;
    }
    return blocks;
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>

#include <cstdint>
#include <string_view>
#include <vector>

// A message as the chat view draws it: blocks of styled text, each character knowing which bytes of the message it
// came from, so that tokens (which are byte ranges) and text on the screen find each other. Plain values; no widget.
namespace kvilt::ui {

enum Style : std::uint8_t {
    kPlain = 0,
    kBold = 1,
    kItalic = 2,
    kCode = 4,
    kStrike = 8,
    kMath = 16,
    kEscape = 32, // a control character written out
};

struct StyleRun {
    int start = 0;
    int length = 0;
    std::uint8_t style = kPlain;
    int link = -1; // index into RichText::links
    bool operator==(const StyleRun &) const = default;
};

// Characters [start, start + length) were made from bytes [begin, begin + bytes) of the message.
struct SourceRun {
    int start = 0;
    int length = 0;
    std::uint32_t begin = 0;
    std::uint32_t bytes = 0;
    bool operator==(const SourceRun &) const = default;
};

struct RichText {
    QString text;
    std::vector<StyleRun> styles; // in order, no overlap
    std::vector<SourceRun> sources;
    std::vector<QString> links;
    bool operator==(const RichText &) const = default;

    // Appends UTF-8 text. Invalid bytes become U+FFFD; bidirectional and other control characters are written out
    // as ⟨U+202E⟩, so that text never looks like what it is not. `begin` < 0: it has no place in the message.
    void append(std::string_view utf8, std::uint8_t style, int link, std::int64_t begin);
    // Appends what stands for `bytes` bytes of the message but reads differently.
    void appendAs(const QString &shown, std::uint8_t style, std::uint32_t begin, std::uint32_t bytes);

    // The byte of the message that character `position` came from; -1: none.
    std::int64_t byteAt(int position) const;
    // The characters that bytes [begin, end) became; empty: {-1, -1}.
    std::pair<int, int> charsOf(std::uint32_t begin, std::uint32_t end) const;
};

enum class BlockKind : std::uint8_t { paragraph, heading, code, table, rule };

struct RichBlock {
    BlockKind kind = BlockKind::paragraph;
    int level = 0;      // heading 1..6
    int indent = 0;     // list depth
    int quote = 0;      // quote depth
    bool tight = false; // follows its list neighbour without a gap
    bool firstInItem = false;
    QString marker;     // "•", "3."
    QString language;   // of code
    RichText content;   // code: lines separated by \n
    std::vector<std::vector<RichText>> rows; // of a table; the first is its head
    std::vector<Qt::Alignment> columns;
    bool operator==(const RichBlock &) const = default;
};

// Text as it is: one paragraph per line, long lines cut into pieces that lay out quickly.
std::vector<RichBlock> plainBlocks(std::string_view utf8, std::uint32_t offset);

// Longest run of characters that is laid out as one: a 10 MB line becomes many pieces instead of a frozen window.
inline constexpr int kLongestPiece = 8000;

// True for characters that change what other characters look like or are invisible themselves.
bool mustBeShown(char16_t c);

} // namespace kvilt::ui

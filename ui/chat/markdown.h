// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/chat/rich_text.h"

#include <string>
#include <string_view>
#include <vector>

namespace kvilt::ui {

// Markdown of one piece of a message that stands for itself. HTML stays text, images become their description and
// address, links keep their target for a click; nothing is ever fetched. `offset` is where the piece begins in the
// message.
std::vector<RichBlock> parseMarkdown(std::string_view utf8, std::uint32_t offset);

// A stretch of a message that can be parsed alone: ordinary Markdown between blank lines, or a thinking block.
struct Section {
    std::uint32_t begin = 0;
    std::uint32_t end = 0; // without the thinking tags
    bool thinking = false;
    bool open = false;     // a thinking block whose end has not come yet
    std::uint32_t nameBegin = 0, nameEnd = 0; // of an attached file in a user's message; else empty
    bool file() const { return nameEnd > nameBegin; }
    bool folds() const { return thinking || file(); }
    bool operator==(const Section &) const = default;
};

// Cuts a message so that text appended later changes the last section only (or adds new ones): at blank lines
// outside of fences that no list or quote reaches over. That is what lets a streamed reply grow without parsing and
// laying out everything anew.
std::vector<Section> sectionsOf(std::string_view utf8);
// The same for what follows byte `from`, which is where a section begins (its tag included) or 0.
std::vector<Section> sectionsFrom(std::string_view utf8, std::size_t from);
// Where sectionsFrom() begins to see this section and all after it.
std::size_t scanStart(const Section &section);

// TeX as readable text: \frac{a}{b} → a/b, x^2 → x², \alpha → α. What it does not know stays as it is.
QString readableMath(QStringView tex);

} // namespace kvilt::ui

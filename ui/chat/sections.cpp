// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/markdown.h"

namespace kvilt::ui {

namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";

bool blank(std::string_view line)
{
    return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

// A line that may belong to the list or quote above it.
bool continuesContainer(std::string_view line)
{
    if (line.empty() || line[0] == ' ' || line[0] == '\t' || line[0] == '>')
        return true;
    if ((line[0] == '-' || line[0] == '*' || line[0] == '+') && line.size() > 1 && (line[1] == ' ' || line[1] == '\t'))
        return true;
    const std::size_t digits = line.find_first_not_of("0123456789");
    return digits != 0 && digits != std::string_view::npos && digits < 10 && (line[digits] == '.' || line[digits] == ')');
}

// The fence that `line` opens: its character, or 0.
char fenceOf(std::string_view line)
{
    const std::size_t at = line.find_first_not_of(' ');
    if (at == std::string_view::npos || at > 3)
        return 0;
    const std::string_view rest = line.substr(at);
    return rest.starts_with("```") ? '`' : rest.starts_with("~~~") ? '~' : 0;
}

// Sections of ordinary text in [begin, end).
void cutText(std::string_view all, std::uint32_t begin, std::uint32_t end, std::vector<Section> &out)
{
    const auto empty = [all](std::uint32_t from, std::uint32_t to) {
        return all.substr(from, to - from).find_first_not_of(" \t\r\n") == std::string_view::npos;
    };
    std::uint32_t start = begin, at = begin;
    char fence = 0;
    bool afterBlank = false;
    while (at < end) {
        const std::size_t newline = all.find('\n', at);
        const auto lineEnd = std::uint32_t(newline == std::string_view::npos || newline >= end ? end : newline + 1);
        std::string_view line = all.substr(at, lineEnd - at);
        if (line.ends_with('\n'))
            line.remove_suffix(1);
        if (fence == 0 && afterBlank && !blank(line) && !continuesContainer(line) && at > start) {
            if (!empty(start, at))
                out.push_back({start, at});
            start = at;
        }
        if (const char f = fenceOf(line); f != 0 && (fence == 0 || fence == f))
            fence = fence == 0 ? f : char(0);
        afterBlank = blank(line);
        at = lineEnd;
    }
    if (!empty(start, end))
        out.push_back({start, end});
}

} // namespace

std::size_t scanStart(const Section &section)
{
    return section.thinking ? section.begin - kOpen.size() : section.begin;
}

std::vector<Section> sectionsOf(std::string_view utf8)
{
    return sectionsFrom(utf8, 0);
}

std::vector<Section> sectionsFrom(std::string_view utf8, std::size_t from)
{
    std::vector<Section> sections;
    std::size_t at = from;
    while (at < utf8.size()) {
        const std::size_t open = utf8.find(kOpen, at);
        const std::size_t textEnd = std::min(open, utf8.size());
        cutText(utf8, std::uint32_t(at), std::uint32_t(textEnd), sections);
        if (open == std::string_view::npos)
            break;
        const std::size_t inside = open + kOpen.size();
        const std::size_t close = utf8.find(kClose, inside);
        const std::size_t end = std::min(close, utf8.size());
        sections.push_back({std::uint32_t(inside), std::uint32_t(end), true, close == std::string_view::npos});
        at = close == std::string_view::npos ? utf8.size() : close + kClose.size();
    }
    return sections;
}

} // namespace kvilt::ui

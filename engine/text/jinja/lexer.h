// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvilt::text::jinja {

enum class TokenKind : std::uint8_t {
    data, // text outside of tags, white space already controlled
    variableBegin,
    variableEnd,
    blockBegin,
    blockEnd,
    name,
    string,
    integer,
    real,
    op, // the operator's spelling is in `text`
    end,
};

struct Token {
    TokenKind kind = TokenKind::end;
    std::string text;
    std::uint32_t line = 1;
};

// Cuts a template as Jinja does with trim_blocks and lstrip_blocks on: the line end after a block tag goes, and so does
// white space between the line's start and a block tag; "-" strips all white space on its side, "+" keeps it. Line ends
// read as \n, and one at the very end is dropped. Throws TemplateError.
std::vector<Token> tokenize(std::string_view source);

} // namespace kvilt::text::jinja

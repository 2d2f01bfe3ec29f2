// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// UTF-8 by the Unicode standard's table 3-7: no surrogates, no overlong forms, nothing above U+10FFFF.
namespace kvilt::text::utf8 {

struct Decoded {
    char32_t codePoint = 0xFFFD;
    std::uint8_t bytes = 1; // of a valid character; 1 for an invalid byte
    bool valid = false;
};

// The character at `at` (< text.size()).
Decoded decode(std::string_view text, std::size_t at);

void append(std::string &out, char32_t codePoint); // U+FFFD for what is no scalar value
bool isValid(std::string_view text);
std::size_t length(std::string_view text); // characters; an invalid byte counts as one

// Bytes at the end of `text` (0 to 3) that begin a character which more bytes could still complete.
std::size_t incompleteTail(std::string_view text);

// Every invalid byte replaced: by U+FFFD for people, or by one ASCII byte so that offsets stay.
std::string sanitized(std::string_view text);
std::string sanitizedSameLength(std::string_view text, char replacement);

} // namespace kvilt::text::utf8

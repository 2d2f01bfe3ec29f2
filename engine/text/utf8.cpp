// SPDX-License-Identifier: Apache-2.0
#include "engine/text/utf8.h"

namespace kvilt::text::utf8 {

namespace {

std::uint8_t byteAt(std::string_view text, std::size_t at)
{
    return static_cast<std::uint8_t>(text[at]);
}

// What may follow a lead byte: how many bytes, and the range of the second one (the others are 80..BF).
struct Lead {
    std::uint8_t bytes = 0; // 0: cannot begin a character
    std::uint8_t low = 0x80, high = 0xBF;
};

Lead leadOf(std::uint8_t byte)
{
    if (byte < 0x80)
        return {1};
    if (byte < 0xC2 || byte > 0xF4)
        return {0};
    if (byte < 0xE0)
        return {2};
    if (byte < 0xF0)
        return {3, static_cast<std::uint8_t>(byte == 0xE0 ? 0xA0 : 0x80),
                static_cast<std::uint8_t>(byte == 0xED ? 0x9F : 0xBF)};
    return {4, static_cast<std::uint8_t>(byte == 0xF0 ? 0x90 : 0x80),
            static_cast<std::uint8_t>(byte == 0xF4 ? 0x8F : 0xBF)};
}

// Bytes from `at` on that agree with the lead byte, itself included; equal to lead.bytes for a whole character.
std::size_t agreeing(std::string_view text, std::size_t at, const Lead &lead)
{
    std::size_t n = 1;
    while (n < lead.bytes && at + n < text.size()) {
        const std::uint8_t byte = byteAt(text, at + n);
        if (byte < (n == 1 ? lead.low : 0x80) || byte > (n == 1 ? lead.high : 0xBF))
            break;
        ++n;
    }
    return n;
}

template <typename Replace>
std::string replaceInvalid(std::string_view text, Replace replace)
{
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const Decoded c = decode(text, at);
        if (c.valid)
            out.append(text, at, c.bytes);
        else
            replace(out);
        at += c.bytes;
    }
    return out;
}

} // namespace

Decoded decode(std::string_view text, std::size_t at)
{
    const std::uint8_t first = byteAt(text, at);
    const Lead lead = leadOf(first);
    if (lead.bytes == 1)
        return {first, 1, true};
    if (lead.bytes == 0 || agreeing(text, at, lead) < lead.bytes)
        return {};
    char32_t code = first & (0x7Fu >> lead.bytes);
    for (std::size_t i = 1; i < lead.bytes; ++i)
        code = (code << 6) | (byteAt(text, at + i) & 0x3Fu);
    return {code, lead.bytes, true};
}

void append(std::string &out, char32_t code)
{
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        code = 0xFFFD;
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xC0 | (code >> 6));
        tail(0);
    } else if (code < 0x10000) {
        out += static_cast<char>(0xE0 | (code >> 12));
        tail(6);
        tail(0);
    } else {
        out += static_cast<char>(0xF0 | (code >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
}

bool isValid(std::string_view text)
{
    for (std::size_t at = 0; at < text.size();) {
        if (byteAt(text, at) < 0x80) {
            ++at;
            continue;
        }
        const Decoded c = decode(text, at);
        if (!c.valid)
            return false;
        at += c.bytes;
    }
    return true;
}

std::size_t length(std::string_view text)
{
    std::size_t n = 0;
    for (std::size_t at = 0; at < text.size(); at += decode(text, at).bytes)
        ++n;
    return n;
}

std::size_t incompleteTail(std::string_view text)
{
    for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
        const std::size_t at = text.size() - back;
        const Lead lead = leadOf(byteAt(text, at));
        if (lead.bytes > back && agreeing(text, at, lead) == back)
            return back;
        if (lead.bytes != 0)
            return 0;
    }
    return 0;
}

std::string sanitized(std::string_view text)
{
    return replaceInvalid(text, [](std::string &out) { append(out, 0xFFFD); });
}

std::string sanitizedSameLength(std::string_view text, char replacement)
{
    return replaceInvalid(text, [replacement](std::string &out) { out += replacement; });
}

} // namespace kvilt::text::utf8

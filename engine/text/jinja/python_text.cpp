// SPDX-License-Identifier: Apache-2.0
// Python's ideas of text: str(), repr(), case, white space, "%" formatting.
#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <clocale>
#include <cwctype>
#include <locale.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace kvilt::text::jinja {

namespace {

using Kind = Value::Kind;

// The system's Unicode case tables, whatever locale the program runs in; the plain one knows ASCII only.
locale_t unicodeLocale()
{
    static const locale_t locale = [] {
        const locale_t utf8Locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
        return utf8Locale ? utf8Locale : newlocale(LC_CTYPE_MASK, "C", nullptr);
    }();
    return locale;
}

// repr() of a string: the quote that needs no escape if there is one. Escaped characters keep their mark.
void appendQuoted(TextBuilder &out, const MarkedText &text)
{
    const std::string &bytes = text.bytes();
    const bool useDouble = bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos;
    const char quote = useDouble ? '"' : '\'';
    out.literal({&quote, 1});
    for (std::size_t at = 0; at < bytes.size();) {
        const utf8::Decoded c = utf8::decode(bytes, at);
        static constexpr std::string_view kHex = "0123456789abcdef";
        if (c.codePoint == static_cast<unsigned char>(quote) || c.codePoint == '\\')
            out.like(std::string("\\") + bytes[at], text, at);
        else if (c.codePoint == '\n' || c.codePoint == '\r' || c.codePoint == '\t')
            out.like(c.codePoint == '\n' ? "\\n" : c.codePoint == '\r' ? "\\r" : "\\t", text, at);
        else if (c.codePoint < 0x20 || (c.codePoint >= 0x7F && c.codePoint <= 0xA0) || c.codePoint == 0xAD)
            out.like(std::string("\\x") + kHex[c.codePoint >> 4] + kHex[c.codePoint & 15], text, at);
        else
            out.append(text, at, at + c.bytes);
        at += c.bytes;
    }
    out.literal({&quote, 1});
}

void appendRepr(Interpreter &run, TextBuilder &out, const Value &value, unsigned depth);

void appendItems(Interpreter &run, TextBuilder &out, const std::vector<Value> &items, unsigned depth)
{
    for (std::size_t i = 0; i < items.size(); ++i) {
        out.literal(i > 0 ? ", " : "");
        appendRepr(run, out, items[i], depth + 1);
    }
}

void appendRepr(Interpreter &run, TextBuilder &out, const Value &value, unsigned depth)
{
    run.budget().step();
    if (value.is(Kind::text)) {
        appendQuoted(out, value.text());
    } else if (value.is(Kind::list)) {
        out.literal(value.isTuple() ? "(" : "[");
        appendItems(run, out, value.items(), depth);
        out.literal(!value.isTuple() ? "]" : value.items().size() == 1 ? ",)" : ")");
    } else if (value.is(Kind::dict)) {
        out.literal("{");
        for (std::size_t i = 0; i < value.entries().size(); ++i) {
            out.literal(i > 0 ? ", " : "");
            appendRepr(run, out, value.entries()[i].first, depth + 1);
            out.literal(": ");
            appendRepr(run, out, value.entries()[i].second, depth + 1);
        }
        out.literal("}");
    } else {
        out.append(run.toText(value));
    }
}

} // namespace

MarkedText Interpreter::toText(const Value &value)
{
    switch (value.kind()) {
    case Kind::undefined: return {};
    case Kind::none: return MarkedText::literal("None");
    case Kind::boolean: return MarkedText::literal(isTrue(value) ? "True" : "False");
    case Kind::integer: return MarkedText::literal(std::to_string(value.asInteger()));
    case Kind::real: return MarkedText::literal(realToText(value.asReal()));
    case Kind::text: return value.text();
    case Kind::list:
    case Kind::dict: {
        TextBuilder out(m_budget);
        appendRepr(*this, out, value, 0);
        return out.take();
    }
    case Kind::name_space: return MarkedText::literal("<Namespace>");
    case Kind::callable: return MarkedText::literal("<function " + value.callable().name + ">");
    case Kind::loop: return MarkedText::literal("<LoopContext>");
    }
    return {};
}

// The shortest digits that read back equal, written plainly from 1e-4 to 1e16.
std::string realToText(double value)
{
    if (std::isnan(value))
        return "nan";
    if (std::isinf(value))
        return value < 0 ? "-inf" : "inf";
    char buffer[64];
    const double size = std::fabs(value);
    const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                   plain ? std::chars_format::fixed : std::chars_format::scientific)
                         .ptr;
    std::string text(buffer, end);
    if (plain && text.find('.') == std::string::npos)
        text += ".0";
    return text;
}

bool isSpace(char32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

char32_t toUpper(char32_t c)
{
    return static_cast<char32_t>(towupper_l(static_cast<wint_t>(c), unicodeLocale()));
}

char32_t toLower(char32_t c)
{
    return static_cast<char32_t>(towlower_l(static_cast<wint_t>(c), unicodeLocale()));
}

std::int64_t toInteger(const Value &value, std::string_view what)
{
    if (!value.isInteger())
        throw TemplateError{std::string(what) + " needs an integer, not " + std::string(typeName(value))};
    return value.asInteger();
}

namespace {

// Applies `change(code point, is it the first of a word, is it the first of all)` to each character.
template <typename Change>
Value mapCharacters(Interpreter &run, const MarkedText &text, Change change)
{
    TextBuilder out(run.budget());
    const std::string &bytes = text.bytes();
    for (std::size_t at = 0; at < bytes.size();) {
        const utf8::Decoded c = utf8::decode(bytes, at);
        const char32_t changed = c.valid ? change(c.codePoint, at) : c.codePoint;
        std::string spelled;
        if (c.codePoint == 0xDF && changed != 0xDF)
            spelled = "SS"; // the one everyday letter whose capital is two
        else if (c.valid && changed != c.codePoint)
            utf8::append(spelled, changed);
        if (spelled.empty())
            out.append(text, at, at + c.bytes);
        else
            out.like(spelled, text, at);
        at += c.bytes;
    }
    return out.value();
}

char32_t upperOf(char32_t c)
{
    return c == 0xDF ? 'S' : toUpper(c);
}

bool isCased(char32_t c)
{
    return toUpper(c) != c || toLower(c) != c;
}

} // namespace

Value recased(Interpreter &run, const MarkedText &text, bool upper)
{
    return mapCharacters(run, text, [upper](char32_t c, std::size_t) { return upper ? upperOf(c) : toLower(c); });
}

Value capitalized(Interpreter &run, const MarkedText &text)
{
    return mapCharacters(run, text, [](char32_t c, std::size_t at) { return at == 0 ? upperOf(c) : toLower(c); });
}

Value titled(Interpreter &run, const MarkedText &text, bool asFilter)
{
    bool inWord = false;
    return mapCharacters(run, text, [&inWord, asFilter](char32_t c, std::size_t) {
        const char32_t changed = inWord ? toLower(c) : upperOf(c);
        // Jinja's filter begins words after white space and brackets, Python's method after every other character.
        const bool separates = isSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
        inWord = asFilter ? !separates : isCased(c);
        return changed;
    });
}

Value stripped(Interpreter &run, const MarkedText &text, const Value *characters, bool left, bool right)
{
    const bool given = characters && !characters->is(Kind::none) && !characters->is(Kind::undefined);
    const std::string &bytes = text.bytes();
    run.budget().touch(bytes.size());
    const auto drops = [&](std::size_t at, std::size_t size) {
        if (!given)
            return isSpace(utf8::decode(bytes, at).codePoint);
        return characters->bytes().find(bytes.substr(at, size)) != std::string::npos;
    };
    std::size_t begin = 0, end = bytes.size();
    while (left && begin < end) {
        const std::size_t size = utf8::decode(bytes, begin).bytes;
        if (!drops(begin, size))
            break;
        begin += size;
    }
    while (right && end > begin) {
        std::size_t last = end - 1;
        while (last > begin && end - last < 4 && (static_cast<unsigned char>(bytes[last]) & 0xC0) == 0x80)
            --last;
        if (last + utf8::decode(bytes, last).bytes != end)
            last = end - 1;
        if (!drops(last, end - last))
            break;
        end = last;
    }
    return run.text(text.part(begin, end));
}

Value replaced(Interpreter &run, const MarkedText &text, const std::string &from, const MarkedText &to,
               std::int64_t count)
{
    TextBuilder out(run.budget());
    const std::string &bytes = text.bytes();
    std::size_t done = 0;
    if (from.empty()) { // Python: between all characters, and at both ends
        for (std::size_t at = 0; at <= bytes.size() && count != 0; --count) {
            out.append(to);
            if (at == bytes.size())
                break;
            const std::size_t next = at + utf8::decode(bytes, at).bytes;
            out.append(text, at, next);
            done = at = next;
        }
        out.append(text, done, bytes.size());
        return out.value();
    }
    for (std::size_t at = bytes.find(from); at != std::string::npos && count != 0;
         at = bytes.find(from, done), --count) {
        out.append(text, done, at);
        out.append(to);
        done = at + from.size();
    }
    out.append(text, done, bytes.size());
    return out.value();
}

namespace {

struct PercentSpec {
    std::string flags;
    int width = 0;
    int precision = -1;
    char conversion = 0;
};

PercentSpec parsePercent(const std::string &s, std::size_t &at)
{
    PercentSpec spec;
    while (at < s.size() && std::string_view("-+ 0#").find(s[at]) != std::string_view::npos)
        spec.flags += s[at++];
    const auto number = [&](int &out) {
        for (out = 0; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at)
            out = std::min(out * 10 + (s[at] - '0'), 10'001);
        if (out > 10'000)
            throw TemplateError{"a format of the template is wider than 10,000 places"};
    };
    number(spec.width);
    if (at < s.size() && s[at] == '.') {
        ++at;
        number(spec.precision);
    }
    if (at >= s.size())
        throw TemplateError{"a format of the template ends within '%'"};
    spec.conversion = s[at++];
    return spec;
}

std::int64_t wholeNumber(const Value &value)
{
    if (value.isInteger())
        return value.asInteger();
    if (!std::isfinite(value.asReal()) || std::fabs(value.asReal()) >= 0x1p63)
        throw TemplateError{"a format of the template needs a whole number that fits 64 bits"};
    return static_cast<std::int64_t>(value.asReal());
}

std::string formatNumber(const PercentSpec &spec, const Value &value)
{
    if (!value.isNumber())
        throw TemplateError{"a format of the template needs a number, not " + std::string(typeName(value))};
    const char c = spec.conversion;
    bool negative = false;
    std::string text;
    if (c == 'd' || c == 'i' || c == 'u') {
        const std::int64_t whole = wholeNumber(value);
        negative = whole < 0;
        text = wholeDigits(negative ? 0 - static_cast<std::uint64_t>(whole) : static_cast<std::uint64_t>(whole), 10, false);
    } else if (c == 'x' || c == 'X' || c == 'o') {
        if (!value.isInteger())
            throw TemplateError{"a format of the template needs a whole number, not " + std::string(typeName(value))};
        const std::int64_t whole = value.asInteger();
        negative = whole < 0;
        text = wholeDigits(negative ? 0 - static_cast<std::uint64_t>(whole) : static_cast<std::uint64_t>(whole),
                           c == 'o' ? 8 : 16, c == 'X');
    } else if (std::string_view("fFeEgG").find(c) != std::string_view::npos) {
        negative = std::signbit(value.asReal());
        text = realDigits(c, std::fabs(value.asReal()), spec.precision);
    } else {
        throw TemplateError{"a format of the template has the unknown conversion '%" +
                            utf8::sanitized({&c, 1}) + "'"};
    }
    const auto has = [&](char flag) { return spec.flags.find(flag) != std::string::npos; };
    const std::string sign = negative ? "-" : has('+') ? "+" : has(' ') ? " " : "";
    if (has('0') && !has('-'))
        while (static_cast<int>(sign.size() + text.size()) < spec.width)
            text.insert(0, "0");
    return sign + text;
}

MarkedText formatOne(Interpreter &run, const PercentSpec &spec, const Value &value)
{
    if (spec.conversion == 's' || spec.conversion == 'r') {
        MarkedText text = spec.conversion == 's' ? run.toText(value) : MarkedText();
        if (spec.conversion == 'r') {
            TextBuilder quoted(run.budget());
            appendRepr(run, quoted, value, 0);
            text = quoted.take();
        }
        std::size_t end = 0;
        for (int n = 0; n != spec.precision && end < text.size(); ++n)
            end += utf8::decode(text.bytes(), end).bytes;
        return text.part(0, end);
    }
    return MarkedText::literal(formatNumber(spec, value));
}

} // namespace

MarkedText reprOf(Interpreter &run, const Value &value)
{
    TextBuilder quoted(run.budget());
    appendRepr(run, quoted, value, 0);
    return quoted.take();
}

Value formatPercent(Interpreter &run, const MarkedText &pattern, const Value &arguments)
{
    const std::vector<Value> values = arguments.isTuple() ? arguments.items() : std::vector<Value>{arguments};
    const std::string &s = pattern.bytes();
    TextBuilder out(run.budget());
    std::size_t used = 0, done = 0;
    for (std::size_t at = s.find('%'); at != std::string::npos; at = s.find('%', done)) {
        out.append(pattern, done, at++);
        const Value *value = nullptr;
        if (at < s.size() && s[at] == '(') {
            const std::size_t close = std::min(s.find(')', at), s.size());
            value = arguments.find(std::string_view(s).substr(at + 1, close - at - 1));
            if (!value)
                throw TemplateError{"a format of the template names a value that is not given"};
            at = std::min(close + 1, s.size());
        }
        const PercentSpec spec = parsePercent(s, at);
        done = at;
        if (spec.conversion == '%') {
            out.literal("%");
            continue;
        }
        if (!value && used >= values.size())
            throw TemplateError{"a format of the template has more places than values"};
        const MarkedText text = formatOne(run, spec, value ? *value : values[used++]);
        const std::size_t length = utf8::length(text.bytes());
        const std::string padding(
            length < static_cast<std::size_t>(spec.width) ? static_cast<std::size_t>(spec.width) - length : 0, ' ');
        const bool left = spec.flags.find('-') != std::string::npos;
        out.literal(left ? "" : padding);
        out.append(text);
        out.literal(left ? padding : "");
    }
    out.append(pattern, done, s.size());
    return out.value();
}

} // namespace kvilt::text::jinja

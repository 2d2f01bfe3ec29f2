// SPDX-License-Identifier: Apache-2.0
// What stands after ':' in a field of str.format, and numbers as both ways of formatting write them.
#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace kvilt::text::jinja {
namespace {

using Kind = Value::Kind;

constexpr int kMostPlaces = 10'000; // of a width; a template that wants more is wrong or hostile
constexpr int kMostDigits = 60;     // after the point

// [[fill]align][sign][#][0][width][grouping][.precision][type], as Python's mini-language has it.
struct FormatSpec {
    std::string fill = " ";
    char align = 0; // < > ^ =
    char sign = '-';
    bool alternate = false, zero = false;
    int width = 0, precision = -1;
    char grouping = 0; // , or _
    char type = 0;
};

bool isAlign(char c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

class SpecReader {
public:
    explicit SpecReader(std::string_view spec) : m_s(spec) {}

    FormatSpec read()
    {
        FormatSpec out;
        readAlignment(out);
        if (peek() == '+' || peek() == '-' || peek() == ' ')
            out.sign = m_s[m_at++];
        out.alternate = take('#');
        out.zero = take('0');
        out.width = number();
        if (peek() == ',' || peek() == '_')
            out.grouping = m_s[m_at++];
        if (take('.')) {
            if (peek() < '0' || peek() > '9')
                throw TemplateError{"a format has a '.' without a precision"};
            out.precision = number();
        }
        if (m_at < m_s.size())
            out.type = m_s[m_at++];
        if (m_at != m_s.size())
            throw TemplateError{"the format '" + utf8::sanitized(m_s.substr(0, 40)) + "' cannot be read"};
        return out;
    }

private:
    char peek() const { return m_at < m_s.size() ? m_s[m_at] : '\0'; }
    bool take(char c)
    {
        const bool there = peek() == c;
        m_at += there ? 1 : 0;
        return there;
    }
    int number()
    {
        int value = 0;
        for (; peek() >= '0' && peek() <= '9'; ++m_at)
            value = std::min(value * 10 + (peek() - '0'), kMostPlaces + 1);
        if (value > kMostPlaces)
            throw TemplateError{"a format of the template is wider than 10,000 places"};
        return value;
    }
    void readAlignment(FormatSpec &out)
    {
        if (m_s.empty())
            return;
        const std::size_t fill = utf8::decode(m_s, 0).bytes;
        if (fill < m_s.size() && isAlign(m_s[fill])) {
            out.fill = m_s.substr(0, fill);
            out.align = m_s[fill];
            m_at = fill + 1;
        } else if (isAlign(m_s[0])) {
            out.align = m_s[m_at++];
        }
    }

    std::string_view m_s;
    std::size_t m_at = 0;
};

void group(std::string &digits, char separator, std::size_t every)
{
    std::size_t whole = 0;
    while (whole < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[whole])))
        ++whole;
    for (std::size_t at = whole; at > every; at -= every)
        digits.insert(at - every, 1, separator);
}

std::string digitsOf(const FormatSpec &spec, const Value &value, double size, bool &isNegative)
{
    char type = spec.type;
    if (value.isInteger() && (type == 0 || std::string_view("bcdnoxX").find(type) != std::string_view::npos)) {
        if (spec.precision >= 0)
            throw TemplateError{"the format of a whole number has a precision"};
        const std::int64_t whole = value.asInteger();
        isNegative = whole < 0;
        const int base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
        return wholeDigits(isNegative ? 0 - static_cast<std::uint64_t>(whole) : static_cast<std::uint64_t>(whole), base,
                           type == 'X');
    }
    if (type != 0 && std::string_view("eEfFgGn%").find(type) == std::string_view::npos)
        throw TemplateError{"the format type '" + utf8::sanitized({&type, 1}) + "' does not fit " +
                            std::string(typeName(value))};
    if (type == 0 && spec.precision < 0)
        return realToText(size);
    if (type == '%')
        return realDigits('f', size * 100, spec.precision) + "%";
    std::string text = realDigits(type == 0 || type == 'n' ? 'g' : type, size, spec.precision);
    if (type == 0 && text.find_first_of(".en") == std::string::npos) // a float shows that it is one
        text += ".0";
    return text;
}

std::string formattedNumber(const FormatSpec &spec, const Value &value)
{
    bool isNegative = !value.isInteger() && std::signbit(value.asReal());
    std::string digits = digitsOf(spec, value, std::fabs(value.asReal()), isNegative);
    if (spec.grouping)
        group(digits, spec.grouping, spec.type == 'b' || spec.type == 'o' || spec.type == 'x' || spec.type == 'X' ? 4 : 3);
    std::string head = isNegative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
    if (spec.alternate && std::string_view("boxX").find(spec.type) != std::string_view::npos && spec.type)
        head += std::string("0") + spec.type;
    const char align = spec.align ? spec.align : spec.zero ? '=' : '>';
    if (align != '=')
        return head + digits;
    const std::string fill = spec.align ? spec.fill : "0";
    while (static_cast<int>(utf8::length(head) + digits.size()) < spec.width)
        head += fill;
    return head + digits;
}

MarkedText shortened(const MarkedText &text, int precision)
{
    std::size_t end = 0;
    for (int n = 0; n != precision && end < text.size(); ++n)
        end += utf8::decode(text.bytes(), end).bytes;
    return text.part(0, end);
}

} // namespace

std::string wholeDigits(std::uint64_t value, int base, bool capitals)
{
    char buffer[72];
    std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, base).ptr);
    if (capitals)
        std::transform(text.begin(), text.end(), text.begin(),
                       [](char c) { return c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c; });
    return text;
}

std::string realDigits(char type, double size, int precision)
{
    const bool capitals = type >= 'A' && type <= 'Z';
    const char kind = capitals ? static_cast<char>(type + 32) : type;
    std::string text;
    if (!std::isfinite(size)) {
        text = std::isnan(size) ? "nan" : "inf";
    } else {
        char buffer[512]; // 309 places before the point
        const auto format = kind == 'f'   ? std::chars_format::fixed
                            : kind == 'e' ? std::chars_format::scientific
                                          : std::chars_format::general;
        const int digits = precision < 0 ? 6 : std::min(precision, kMostDigits);
        text.assign(buffer, std::to_chars(buffer, buffer + sizeof buffer, size, format, kind == 'g' ? std::max(digits, 1) : digits).ptr);
    }
    if (capitals)
        std::transform(text.begin(), text.end(), text.begin(),
                       [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    return text;
}

MarkedText formatField(Interpreter &run, std::string_view text, const Value &value)
{
    if (text.empty())
        return run.toText(value);
    const FormatSpec spec = SpecReader(text).read();
    MarkedText content;
    if (value.is(Kind::boolean) && spec.type == 0) {
        content = run.toText(Value::integer(value.asInteger()));
    } else if (value.isNumber()) {
        content = MarkedText::literal(formattedNumber(spec, value));
    } else if (value.is(Kind::text)) {
        if ((spec.type != 0 && spec.type != 's') || spec.align == '=' || spec.grouping || spec.sign != '-')
            throw TemplateError{"the format '" + utf8::sanitized(text.substr(0, 40)) + "' does not fit a string"};
        content = shortened(value.text(), spec.precision);
    } else {
        throw TemplateError{"the format '" + utf8::sanitized(text.substr(0, 40)) + "' does not fit " +
                            std::string(typeName(value))};
    }
    const std::size_t length = utf8::length(content.bytes());
    const std::size_t missing = static_cast<std::size_t>(spec.width) > length ? static_cast<std::size_t>(spec.width) - length : 0;
    const char align = spec.align ? spec.align : value.isNumber() ? '>' : '<';
    const std::size_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
    TextBuilder out(run.budget());
    for (std::size_t i = 0; i < before; ++i)
        out.literal(spec.fill);
    out.append(content);
    for (std::size_t i = before; i < missing; ++i)
        out.literal(spec.fill);
    return out.take();
}

} // namespace kvilt::text::jinja

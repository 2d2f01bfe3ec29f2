// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/lexer.h"

#include "engine/text/jinja/budget.h"
#include "engine/text/utf8.h"

#include <algorithm>

namespace kvilt::text::jinja {

namespace {

constexpr std::string_view kSpaces = " \t\n\r\v\f";

bool isDigit(char c)
{
    return c >= '0' && c <= '9';
}

bool isNameStart(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

std::string normalizedLineEnds(std::string_view source)
{
    std::string out;
    out.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n')
            continue;
        out += source[i] == '\r' ? '\n' : source[i];
    }
    if (!out.empty() && out.back() == '\n')
        out.pop_back();
    return out;
}

class Lexer {
public:
    explicit Lexer(std::string_view source) : m_source(normalizedLineEnds(source)) {}

    std::vector<Token> run()
    {
        while (m_at < m_source.size())
            text();
        add(TokenKind::end, {});
        return std::move(m_tokens);
    }

private:
    [[noreturn]] void refuse(const std::string &what) const
    {
        throw TemplateError{what + " (line " + std::to_string(m_line) + ")"};
    }

    void add(TokenKind kind, std::string text) { m_tokens.push_back({kind, std::move(text), m_line}); }

    bool at(std::string_view what) const { return std::string_view(m_source).substr(m_at, what.size()) == what; }

    void advance(std::size_t bytes)
    {
        const auto begin = m_source.begin() + static_cast<std::ptrdiff_t>(m_at);
        m_line += static_cast<std::uint32_t>(std::count(begin, begin + static_cast<std::ptrdiff_t>(bytes), '\n'));
        m_at += bytes;
        m_lineStart = m_at > 0 && m_source[m_at - 1] == '\n';
    }

    void skipSpaces()
    {
        const std::size_t next = std::min(m_source.find_first_not_of(kSpaces, m_at), m_source.size());
        advance(next - m_at);
    }

    std::size_t findTag() const
    {
        std::size_t tag = m_source.find('{', m_at);
        while (tag != std::string::npos && (tag + 1 >= m_source.size() ||
                                            std::string_view("{%#").find(m_source[tag + 1]) == std::string_view::npos))
            tag = m_source.find('{', tag + 1);
        return std::min(tag, m_source.size());
    }

    // The text up to the next tag, then the tag itself.
    void text()
    {
        const std::size_t tagBegin = findTag();
        std::string_view data = std::string_view(m_source).substr(m_at, tagBegin - m_at);
        if (tagBegin == m_source.size()) {
            emitData(data);
            advance(data.size());
            return;
        }
        const char kind = m_source[tagBegin + 1];
        const char sign = tagBegin + 2 < m_source.size() ? m_source[tagBegin + 2] : ' ';
        const std::size_t whole = data.size();
        if (sign == '-')
            data = data.substr(0, data.find_last_not_of(kSpaces) + 1);
        else if (sign != '+' && kind != '{')
            data = withoutIndent(data);
        emitData(data);
        advance(whole);
        advance(2 + (sign == '-' || sign == '+' ? 1 : 0));
        if (kind == '#')
            comment();
        else if (kind == '%' && isRaw())
            raw();
        else
            tag(kind == '{');
    }

    std::string_view withoutIndent(std::string_view data) const
    {
        const std::size_t lineBegin = data.rfind('\n') + 1; // npos + 1 is 0
        const bool atLineStart = lineBegin > 0 || m_lineStart;
        const bool blank = data.find_first_not_of(kSpaces, lineBegin) == std::string_view::npos;
        return atLineStart && blank ? data.substr(0, lineBegin) : data;
    }

    void emitData(std::string_view data)
    {
        if (!data.empty())
            add(TokenKind::data, std::string(data));
    }

    // After "#}" or "%}": trim_blocks takes one line end.
    void afterBlock(char sign)
    {
        if (sign == '-')
            skipSpaces();
        else if (sign != '+' && at("\n"))
            advance(1);
    }

    void comment()
    {
        const std::size_t end = m_source.find("#}", m_at);
        if (end == std::string::npos)
            refuse("a comment of the template has no end");
        const char sign = end > m_at ? m_source[end - 1] : ' ';
        advance(end + 2 - m_at);
        afterBlock(sign);
    }

    // "raw %}" after "{%".
    std::size_t rawTagEnd(std::size_t from, std::string_view word) const
    {
        std::size_t i = std::min(m_source.find_first_not_of(kSpaces, from), m_source.size());
        if (std::string_view(m_source).substr(i, word.size()) != word)
            return std::string::npos;
        i = std::min(m_source.find_first_not_of(kSpaces, i + word.size()), m_source.size());
        if (i < m_source.size() && (m_source[i] == '-' || m_source[i] == '+'))
            ++i;
        return std::string_view(m_source).substr(i, 2) == "%}" ? i + 2 : std::string::npos;
    }

    bool isRaw() const { return rawTagEnd(m_at, "raw") != std::string::npos; }

    void raw()
    {
        const std::size_t bodyBegin = rawTagEnd(m_at, "raw");
        const char sign = m_source[bodyBegin - 3];
        advance(bodyBegin - m_at);
        afterBlock(sign);
        for (std::size_t open = m_source.find("{%", m_at); open != std::string::npos;
             open = m_source.find("{%", open + 2)) {
            const char openSign = open + 2 < m_source.size() ? m_source[open + 2] : ' ';
            const bool signedOpen = openSign == '-' || openSign == '+';
            const std::size_t end = rawTagEnd(open + (signedOpen ? 3 : 2), "endraw");
            if (end == std::string::npos)
                continue;
            std::string_view body = std::string_view(m_source).substr(m_at, open - m_at);
            if (openSign == '-')
                body = body.substr(0, body.find_last_not_of(kSpaces) + 1);
            else if (openSign != '+')
                body = withoutIndent(body);
            emitData(body);
            advance(end - m_at);
            afterBlock(m_source[end - 3]);
            return;
        }
        refuse("a raw block of the template has no end");
    }

    void tag(bool variable)
    {
        add(variable ? TokenKind::variableBegin : TokenKind::blockBegin, {});
        const std::string_view close = variable ? "}}" : "%}";
        std::string open; // brackets not yet closed: within them "}}" is two braces
        for (;;) {
            skipSpaces();
            if (m_at >= m_source.size())
                refuse("a tag of the template has no end");
            if (open.empty()) {
                const char sign = m_source[m_at];
                const bool isSign = sign == '-' || (sign == '+' && !variable);
                if (at(close) || (isSign && std::string_view(m_source).substr(m_at + 1, 2) == close)) {
                    add(variable ? TokenKind::variableEnd : TokenKind::blockEnd, {});
                    advance(isSign ? 3 : 2);
                    if (!variable)
                        afterBlock(isSign ? sign : ' ');
                    else if (isSign)
                        skipSpaces();
                    return;
                }
            }
            expressionToken(open);
        }
    }

    void expressionToken(std::string &open)
    {
        const char c = m_source[m_at];
        if (isNameStart(c)) {
            std::size_t end = m_at;
            while (end < m_source.size() && (isNameStart(m_source[end]) || isDigit(m_source[end])))
                ++end;
            take(TokenKind::name, end);
        } else if (isDigit(c)) {
            number();
        } else if (c == '"' || c == '\'') {
            string(c);
        } else {
            op(open);
        }
    }

    void take(TokenKind kind, std::size_t end)
    {
        add(kind, m_source.substr(m_at, end - m_at));
        advance(end - m_at);
    }

    void number()
    {
        std::size_t end = m_at;
        const auto digits = [&] {
            while (end < m_source.size() && (isDigit(m_source[end]) || m_source[end] == '_'))
                ++end;
        };
        digits();
        TokenKind kind = TokenKind::integer;
        const bool afterDot = m_at > 0 && m_source[m_at - 1] == '.';
        if (!afterDot && end + 1 < m_source.size() && m_source[end] == '.' && isDigit(m_source[end + 1])) {
            kind = TokenKind::real;
            ++end;
            digits();
        }
        if (!afterDot && end < m_source.size() && (m_source[end] == 'e' || m_source[end] == 'E')) {
            std::size_t exponent = end + 1;
            if (exponent < m_source.size() && (m_source[exponent] == '+' || m_source[exponent] == '-'))
                ++exponent;
            if (exponent < m_source.size() && isDigit(m_source[exponent])) {
                kind = TokenKind::real;
                end = exponent;
                digits();
            }
        }
        add(kind, m_source.substr(m_at, end - m_at));
        std::erase(m_tokens.back().text, '_');
        advance(end - m_at);
    }

    void string(char quote)
    {
        std::size_t end = m_at + 1;
        while (end < m_source.size() && m_source[end] != quote)
            end += m_source[end] == '\\' ? 2 : 1;
        if (end >= m_source.size())
            refuse("a string of the template has no end");
        add(TokenKind::string, unescaped(std::string_view(m_source).substr(m_at + 1, end - m_at - 1)));
        advance(end + 1 - m_at);
    }

    // Python's escapes; an unknown one keeps its backslash.
    std::string unescaped(std::string_view s) const
    {
        std::string out;
        for (std::size_t i = 0; i < s.size(); ++i) {
            if (s[i] != '\\' || i + 1 >= s.size()) {
                out += s[i];
                continue;
            }
            const char c = s[++i];
            static constexpr std::string_view kFrom = "abfnrtv\\'\"";
            static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
            if (const std::size_t simple = kFrom.find(c); simple != std::string_view::npos)
                out += kTo[simple];
            else if (c == 'x' || c == 'u' || c == 'U')
                utf8::append(out, hexadecimal(s, i, c == 'x' ? 2 : c == 'u' ? 4 : 8));
            else if (c >= '0' && c <= '7')
                utf8::append(out, octal(s, i));
            else if (c != '\n')
                (out += '\\') += c;
        }
        return out;
    }

    char32_t hexadecimal(std::string_view s, std::size_t &i, int digits) const
    {
        char32_t code = 0;
        for (int n = 0; n < digits; ++n) {
            const char c = ++i < s.size() ? s[i] : ' ';
            const int digit = isDigit(c)             ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0)
                refuse("an escape in a string of the template is cut short");
            code = code * 16 + static_cast<char32_t>(digit);
        }
        return code;
    }

    static char32_t octal(std::string_view s, std::size_t &i)
    {
        char32_t code = static_cast<char32_t>(s[i] - '0');
        for (int n = 0; n < 2 && i + 1 < s.size() && s[i + 1] >= '0' && s[i + 1] <= '7'; ++n)
            code = code * 8 + static_cast<char32_t>(s[++i] - '0');
        return code;
    }

    void op(std::string &open)
    {
        for (std::string_view two : {"**", "//", "==", "!=", ">=", "<="}) {
            if (at(two))
                return take(TokenKind::op, m_at + 2);
        }
        const char c = m_source[m_at];
        if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
            refuse("a tag of the template has the unexpected character '" + utf8::sanitized({&c, 1}) + "'");
        if (c == '(' || c == '[' || c == '{') {
            open += c;
        } else if (c == ')' || c == ']' || c == '}') {
            if (open.empty() || open.back() != (c == ')' ? '(' : c == ']' ? '[' : '{'))
                refuse("a bracket of the template is closed that was not opened");
            open.pop_back();
        }
        take(TokenKind::op, m_at + 1);
    }

    std::string m_source;
    std::size_t m_at = 0;
    std::uint32_t m_line = 1;
    bool m_lineStart = true; // the byte before m_at ends a line, or nothing is before it
    std::vector<Token> m_tokens;
};

} // namespace

std::vector<Token> tokenize(std::string_view source)
{
    return Lexer(source).run();
}

} // namespace kvilt::text::jinja

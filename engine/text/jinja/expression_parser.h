// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/jinja/lexer.h"
#include "engine/text/jinja/parser.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvilt::text::jinja {

// The tokens of a template and the place in them. Every refusal names the line.
class TokenReader {
protected:
    explicit TokenReader(std::string_view source) : m_tokens(tokenize(source)) {}

    struct Nesting {
        explicit Nesting(TokenReader &p) : parser(p)
        {
            if (++parser.m_nesting > kMaxNesting)
                parser.refuse("the template nests more than 200 deep");
        }
        ~Nesting() { --parser.m_nesting; }
        Nesting(const Nesting &) = delete;
        Nesting &operator=(const Nesting &) = delete;
        TokenReader &parser;
    };

    [[noreturn]] void refuse(const std::string &what) const
    {
        throw TemplateError{what + " (line " + std::to_string(current().line) + ")"};
    }
    const Token &current() const { return m_tokens[m_at]; }
    const Token &following() const { return m_tokens[std::min(m_at + 1, m_tokens.size() - 1)]; }
    bool isOp(std::string_view op) const { return current().kind == TokenKind::op && current().text == op; }
    bool isName(std::string_view name) const { return current().kind == TokenKind::name && current().text == name; }
    bool skipOp(std::string_view op) { return isOp(op) && (++m_at, true); }
    bool skipName(std::string_view name) { return isName(name) && (++m_at, true); }
    std::string expectName(std::string_view what)
    {
        if (current().kind != TokenKind::name)
            refuse("the template needs " + std::string(what) + " here");
        return m_tokens[m_at++].text;
    }
    void expectOp(std::string_view op)
    {
        if (!skipOp(op))
            refuse("the template needs '" + std::string(op) + "' here");
    }
    void expect(TokenKind kind, std::string_view what)
    {
        if (current().kind != kind)
            refuse("the template needs " + std::string(what) + " here");
        ++m_at;
    }

    std::vector<Token> m_tokens;
    std::size_t m_at = 0;
    unsigned m_nesting = 0;
};

// Expressions by recursive descent, one function a level of binding, loosest first.
class ExpressionParser : protected TokenReader {
protected:
    using TokenReader::TokenReader;

    // One expression, or several with commas. `conditional` off: an "if" that follows belongs to the loop.
    ExpressionPtr tuple(bool conditional = true);
    ExpressionPtr expression();
    ExpressionPtr oneFilter(ExpressionPtr subject);
    // Filters, tests and calls after a value. The innermost operand of a chain without a subject is null.
    ExpressionPtr filters(ExpressionPtr e);

private:
    std::unique_ptr<Expression> node(ExpressionKind kind) const;
    void adopt(Expression &parent, ExpressionPtr child) const;
    void deepen(Expression &parent, const Expression &child) const;
    bool tupleEnds() const;
    ExpressionPtr logicalOr();
    ExpressionPtr logicalAnd();
    ExpressionPtr logicalNot();
    std::string comparisonOperator();
    ExpressionPtr comparison();
    ExpressionPtr sum();
    ExpressionPtr concatenation();
    ExpressionPtr product();
    ExpressionPtr power();
    ExpressionPtr unary(bool withFilters);
    ExpressionPtr constant(Value value);
    ExpressionPtr primary();
    ExpressionPtr nameOrConstant(const std::string &word);
    ExpressionPtr strings();
    std::int64_t integer(const std::string &digits) const;
    double real(const std::string &digits) const;
    ExpressionPtr parenthesized();
    ExpressionPtr list();
    ExpressionPtr dict();
    ExpressionPtr postfix(ExpressionPtr e);
    ExpressionPtr afterDot(ExpressionPtr e);
    ExpressionPtr subscript(ExpressionPtr e);
    void arguments(Expression &owner);
    ExpressionPtr call(ExpressionPtr callee);
    std::string dottedName();
    bool testTakesArgument() const;
    ExpressionPtr test(ExpressionPtr subject);

    template <typename... Children>
    ExpressionPtr join(ExpressionKind kind, std::string name, Children... children) const
    {
        auto e = node(kind);
        e->name = std::move(name);
        (adopt(*e, std::move(children)), ...);
        return e;
    }
};

} // namespace kvilt::text::jinja

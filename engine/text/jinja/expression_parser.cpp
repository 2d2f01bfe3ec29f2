// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/expression_parser.h"

#include <charconv>

namespace kvilt::text::jinja {

std::unique_ptr<Expression> ExpressionParser::node(ExpressionKind kind) const
{
    auto e = std::make_unique<Expression>();
    e->kind = kind;
    e->line = current().line;
    return e;
}

void ExpressionParser::adopt(Expression &parent, ExpressionPtr child) const
{
    if (child)
        deepen(parent, *child);
    parent.operands.push_back(std::move(child));
}

void ExpressionParser::deepen(Expression &parent, const Expression &child) const
{
    parent.depth = std::max(parent.depth, child.depth + 1);
    if (parent.depth > kMaxNesting)
        refuse("an expression of the template nests more than 200 deep");
}

bool ExpressionParser::tupleEnds() const
{
    return current().kind == TokenKind::variableEnd || current().kind == TokenKind::blockEnd || isOp(")") ||
           isName("in") || isName("recursive");
}

ExpressionPtr ExpressionParser::tuple(bool conditional)
{
    ExpressionPtr first = conditional ? expression() : logicalOr();
    if (!isOp(","))
        return first;
    auto e = node(ExpressionKind::tuple);
    adopt(*e, std::move(first));
    while (skipOp(",") && !tupleEnds())
        adopt(*e, conditional ? expression() : logicalOr());
    return e;
}

ExpressionPtr ExpressionParser::expression()
{
    const Nesting nesting(*this);
    ExpressionPtr e = logicalOr();
    while (skipName("if")) {
        ExpressionPtr condition = logicalOr();
        ExpressionPtr other = skipName("else") ? expression() : nullptr;
        e = join(ExpressionKind::conditional, {}, std::move(e), std::move(condition), std::move(other));
    }
    return e;
}

ExpressionPtr ExpressionParser::logicalOr()
{
    ExpressionPtr e = logicalAnd();
    while (skipName("or"))
        e = join(ExpressionKind::logicalOr, {}, std::move(e), logicalAnd());
    return e;
}

ExpressionPtr ExpressionParser::logicalAnd()
{
    ExpressionPtr e = logicalNot();
    while (skipName("and"))
        e = join(ExpressionKind::logicalAnd, {}, std::move(e), logicalNot());
    return e;
}

ExpressionPtr ExpressionParser::logicalNot()
{
    if (!(isName("not") && !(following().kind == TokenKind::name && following().text == "in")))
        return comparison();
    const Nesting nesting(*this);
    ++m_at;
    return join(ExpressionKind::logicalNot, {}, logicalNot());
}

std::string ExpressionParser::comparisonOperator()
{
    for (std::string_view op : {"==", "!=", ">=", "<=", ">", "<"}) {
        if (skipOp(op))
            return std::string(op);
    }
    if (skipName("in"))
        return "in";
    if (isName("not") && following().kind == TokenKind::name && following().text == "in") {
        m_at += 2;
        return "not in";
    }
    return {};
}

ExpressionPtr ExpressionParser::comparison()
{
    ExpressionPtr first = sum();
    std::string op = comparisonOperator();
    if (op.empty())
        return first;
    auto e = node(ExpressionKind::compare);
    adopt(*e, std::move(first));
    for (; !op.empty(); op = comparisonOperator()) {
        e->comparisons.push_back(op);
        adopt(*e, sum());
    }
    return e;
}

ExpressionPtr ExpressionParser::sum()
{
    ExpressionPtr e = concatenation();
    while (isOp("+") || isOp("-")) {
        std::string op = m_tokens[m_at++].text;
        e = join(ExpressionKind::binary, std::move(op), std::move(e), concatenation());
    }
    return e;
}

ExpressionPtr ExpressionParser::concatenation()
{
    ExpressionPtr first = product();
    if (!isOp("~"))
        return first;
    auto e = node(ExpressionKind::concat);
    adopt(*e, std::move(first));
    while (skipOp("~"))
        adopt(*e, product());
    return e;
}

ExpressionPtr ExpressionParser::product()
{
    ExpressionPtr e = power();
    while (isOp("*") || isOp("/") || isOp("//") || isOp("%")) {
        std::string op = m_tokens[m_at++].text;
        e = join(ExpressionKind::binary, std::move(op), std::move(e), power());
    }
    return e;
}

ExpressionPtr ExpressionParser::power()
{
    ExpressionPtr e = unary(true);
    while (skipOp("**"))
        e = join(ExpressionKind::binary, "**", std::move(e), unary(true));
    return e;
}

ExpressionPtr ExpressionParser::unary(bool withFilters)
{
    const Nesting nesting(*this);
    ExpressionPtr e;
    if (skipOp("-"))
        e = join(ExpressionKind::negate, {}, unary(false));
    else if (skipOp("+"))
        e = join(ExpressionKind::plus, {}, unary(false));
    else
        e = primary();
    e = postfix(std::move(e));
    return withFilters ? filters(std::move(e)) : std::move(e);
}

ExpressionPtr ExpressionParser::constant(Value value)
{
    auto e = node(ExpressionKind::constant);
    e->value = std::move(value);
    return e;
}

ExpressionPtr ExpressionParser::primary()
{
    const Token token = current();
    switch (token.kind) {
    case TokenKind::name: ++m_at; return nameOrConstant(token.text);
    case TokenKind::string: return strings();
    case TokenKind::integer: ++m_at; return constant(Value::integer(integer(token.text)));
    case TokenKind::real: ++m_at; return constant(Value::real(real(token.text)));
    default: break;
    }
    if (skipOp("("))
        return parenthesized();
    if (skipOp("["))
        return list();
    if (skipOp("{"))
        return dict();
    refuse("the template needs an expression here");
}

ExpressionPtr ExpressionParser::nameOrConstant(const std::string &word)
{
    if (word == "true" || word == "True" || word == "false" || word == "False")
        return constant(Value::boolean(word == "true" || word == "True"));
    if (word == "none" || word == "None")
        return constant(Value::none());
    return join(ExpressionKind::name, word);
}

ExpressionPtr ExpressionParser::strings()
{
    std::string joined;
    while (current().kind == TokenKind::string)
        joined += m_tokens[m_at++].text;
    return constant(Value::literal(nullptr, joined));
}

std::int64_t ExpressionParser::integer(const std::string &digits) const
{
    std::int64_t value = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc())
        refuse("a number of the template is too large");
    return value;
}

double ExpressionParser::real(const std::string &digits) const
{
    double value = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc())
        refuse("a number of the template is too large");
    return value;
}

ExpressionPtr ExpressionParser::parenthesized()
{
    if (skipOp(")"))
        return node(ExpressionKind::tuple);
    ExpressionPtr e = tuple();
    expectOp(")");
    return e;
}

ExpressionPtr ExpressionParser::list()
{
    auto e = node(ExpressionKind::list);
    while (!isOp("]")) {
        adopt(*e, expression());
        if (!skipOp(","))
            break;
    }
    expectOp("]");
    return e;
}

ExpressionPtr ExpressionParser::dict()
{
    auto e = node(ExpressionKind::dict);
    while (!isOp("}")) {
        adopt(*e, expression());
        expectOp(":");
        adopt(*e, expression());
        if (!skipOp(","))
            break;
    }
    expectOp("}");
    return e;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr e)
{
    for (;;) {
        if (skipOp("."))
            e = afterDot(std::move(e));
        else if (skipOp("["))
            e = subscript(std::move(e));
        else if (isOp("("))
            e = call(std::move(e));
        else
            return e;
    }
}

ExpressionPtr ExpressionParser::afterDot(ExpressionPtr e)
{
    if (current().kind == TokenKind::integer) {
        ExpressionPtr index = constant(Value::integer(integer(current().text)));
        ++m_at;
        return join(ExpressionKind::item, {}, std::move(e), std::move(index));
    }
    return join(ExpressionKind::attribute, expectName("an attribute"), std::move(e));
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr e)
{
    ExpressionPtr parts[3];
    bool slice = false;
    for (int i = 0; i < 3; ++i) {
        if (!isOp(":") && !isOp("]"))
            parts[i] = expression();
        if (!skipOp(":"))
            break;
        slice = true;
    }
    expectOp("]");
    if (slice)
        return join(ExpressionKind::slice, {}, std::move(e), std::move(parts[0]), std::move(parts[1]),
                    std::move(parts[2]));
    if (!parts[0])
        refuse("a subscript of the template is empty");
    return join(ExpressionKind::item, {}, std::move(e), std::move(parts[0]));
}

void ExpressionParser::arguments(Expression &owner)
{
    expectOp("(");
    while (!isOp(")")) {
        const bool named =
            current().kind == TokenKind::name && following().kind == TokenKind::op && following().text == "=";
        std::string name = named ? current().text : std::string();
        m_at += named ? 2 : 0;
        ExpressionPtr value = expression();
        deepen(owner, *value);
        if (named)
            owner.arguments.named.emplace_back(std::move(name), std::move(value));
        else
            owner.arguments.positional.push_back(std::move(value));
        if (!skipOp(","))
            break;
    }
    expectOp(")");
}

ExpressionPtr ExpressionParser::call(ExpressionPtr callee)
{
    auto e = node(ExpressionKind::call);
    adopt(*e, std::move(callee));
    arguments(*e);
    return e;
}

std::string ExpressionParser::dottedName()
{
    std::string name = expectName("a name");
    while (skipOp("."))
        name += "." + expectName("a name");
    return name;
}

ExpressionPtr ExpressionParser::oneFilter(ExpressionPtr subject)
{
    auto e = node(ExpressionKind::filter);
    e->name = dottedName();
    adopt(*e, std::move(subject));
    if (isOp("("))
        arguments(*e);
    return e;
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr e)
{
    for (;;) {
        if (skipOp("|"))
            e = oneFilter(std::move(e));
        else if (e && skipName("is"))
            e = test(std::move(e));
        else if (e && isOp("("))
            e = call(std::move(e));
        else
            return e;
    }
}

bool ExpressionParser::testTakesArgument() const
{
    switch (current().kind) {
    case TokenKind::string:
    case TokenKind::integer:
    case TokenKind::real: return true;
    case TokenKind::name:
        return !isName("else") && !isName("or") && !isName("and") && !isName("is") && !isName("if") &&
               !isName("in") && !isName("not");
    default: return isOp("[") || isOp("{");
    }
}

ExpressionPtr ExpressionParser::test(ExpressionPtr subject)
{
    const bool negated = skipName("not");
    auto e = node(ExpressionKind::test);
    e->name = dottedName();
    adopt(*e, std::move(subject));
    if (isOp("(")) {
        arguments(*e);
    } else if (testTakesArgument()) {
        ExpressionPtr argument = postfix(primary());
        deepen(*e, *argument);
        e->arguments.positional.push_back(std::move(argument));
    }
    return negated ? join(ExpressionKind::logicalNot, {}, ExpressionPtr(std::move(e)))
                   : ExpressionPtr(std::move(e));
}

} // namespace kvilt::text::jinja

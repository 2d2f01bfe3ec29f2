// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/parser.h"

#include "engine/text/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>

namespace kvilt::text::jinja {

namespace {

using Names = std::initializer_list<std::string_view>;

class Parser {
public:
    explicit Parser(std::string_view source) : m_tokens(tokenize(source)) {}

    Program run()
    {
        Program program;
        program.body = body({});
        return program;
    }

private:
    struct Nesting {
        explicit Nesting(Parser &p) : parser(p)
        {
            if (++parser.m_nesting > kMaxNesting)
                parser.refuse("the template nests more than 200 deep");
        }
        ~Nesting() { --parser.m_nesting; }
        Nesting(const Nesting &) = delete;
        Nesting &operator=(const Nesting &) = delete;
        Parser &parser;
    };

    // --- tokens ---
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

    // --- statements ---
    // Up to a block whose first word is one of `ends`; the word is current then. With no ends: to the end of all.
    Body body(Names ends)
    {
        const Nesting nesting(*this);
        Body out;
        for (;;) {
            const Token &token = current();
            if (token.kind == TokenKind::data) {
                auto s = make(StatementKind::data);
                s->text = MarkedText::literal(token.text);
                ++m_at;
                out.push_back(std::move(s));
            } else if (token.kind == TokenKind::variableBegin) {
                ++m_at;
                auto s = make(StatementKind::output);
                s->expressions.push_back(tuple());
                expect(TokenKind::variableEnd, "'}}'");
                out.push_back(std::move(s));
            } else if (token.kind == TokenKind::blockBegin) {
                ++m_at;
                if (current().kind == TokenKind::name &&
                    std::find(ends.begin(), ends.end(), current().text) != ends.end())
                    return out;
                out.push_back(statement());
            } else {
                if (ends.size() != 0)
                    refuse("the template ends within a block that needs '" + std::string(*ends.begin()) + "'");
                return out;
            }
        }
    }

    std::unique_ptr<Statement> make(StatementKind kind) const
    {
        auto s = std::make_unique<Statement>();
        s->kind = kind;
        s->line = current().line;
        return s;
    }

    void endBlock() { expect(TokenKind::blockEnd, "'%}'"); }

    // body {% endword %}
    Body bodyUntil(std::string_view end)
    {
        endBlock();
        Body inner = body({end});
        ++m_at;
        if (end == "endblock" || end == "endmacro")
            skipOptionalName();
        endBlock();
        return inner;
    }

    void skipOptionalName()
    {
        if (current().kind == TokenKind::name)
            ++m_at;
    }

    std::unique_ptr<const Statement> statement()
    {
        const std::string word = expectName("a statement");
        if (word == "for")
            return forLoop();
        if (word == "if")
            return branches();
        if (word == "set")
            return set();
        if (word == "macro")
            return macro();
        if (word == "call")
            return callBlock();
        if (word == "filter")
            return filterBlock();
        if (word == "with")
            return with();
        if (word == "generation")
            return scope("endgeneration");
        if (word == "block") {
            expectName("a name");
            return scope("endblock");
        }
        if (word == "break" || word == "continue") {
            if (m_loops == 0)
                refuse("'" + word + "' stands outside of a loop of the template");
            auto s = make(word == "break" ? StatementKind::breakLoop : StatementKind::continueLoop);
            endBlock();
            return s;
        }
        refuse("the template has the unknown statement '" + word + "'");
    }

    std::unique_ptr<const Statement> forLoop()
    {
        auto s = make(StatementKind::forLoop);
        s->target = target(false);
        if (!skipName("in"))
            refuse("the template needs 'in' here");
        s->expressions.push_back(tuple(false));
        s->expressions.push_back(skipName("if") ? expression() : nullptr);
        s->recursive = skipName("recursive");
        endBlock();
        ++m_loops;
        s->body = body({"endfor", "else"});
        --m_loops;
        if (skipName("else")) {
            endBlock();
            s->orElse = body({"endfor"});
        }
        ++m_at;
        endBlock();
        return s;
    }

    std::unique_ptr<const Statement> branches()
    {
        auto s = make(StatementKind::branches);
        do {
            s->expressions.push_back(tuple());
            endBlock();
            s->bodies.push_back(body({"endif", "elif", "else"}));
        } while (skipName("elif"));
        if (skipName("else")) {
            endBlock();
            s->orElse = body({"endif"});
        }
        if (!skipName("endif"))
            refuse("the template needs 'endif' here");
        endBlock();
        return s;
    }

    Target target(bool allowAttribute)
    {
        Target t;
        const bool parenthesized = skipOp("(");
        do {
            if (t.unpacks && isOp(")"))
                break;
            t.names.push_back(expectName("a name"));
            if (allowAttribute && t.names.size() == 1 && skipOp(".")) {
                t.attribute = expectName("an attribute");
                break;
            }
            t.unpacks |= isOp(",");
        } while (skipOp(",") && !isName("in"));
        if (parenthesized)
            expectOp(")");
        return t;
    }

    std::unique_ptr<const Statement> set()
    {
        auto s = make(StatementKind::set);
        s->target = target(true);
        if (skipOp("=")) {
            s->expressions.push_back(tuple());
            endBlock();
            return s;
        }
        s->kind = StatementKind::setBlock;
        s->expressions.push_back(isOp("|") ? filters(nullptr) : nullptr);
        s->body = bodyUntil("endset");
        return s;
    }

    void signature(MacroSignature &out)
    {
        expectOp("(");
        while (!isOp(")")) {
            std::string name = expectName("a parameter");
            out.parameters.emplace_back(std::move(name), skipOp("=") ? expression() : nullptr);
            if (!skipOp(","))
                break;
        }
        expectOp(")");
    }

    std::unique_ptr<const Statement> macro()
    {
        auto s = make(StatementKind::macro);
        s->signature.name = expectName("the macro's name");
        signature(s->signature);
        s->body = bodyOutsideLoops("endmacro");
        return s;
    }

    std::unique_ptr<const Statement> callBlock()
    {
        auto s = make(StatementKind::callBlock);
        s->signature.name = "caller";
        if (isOp("("))
            signature(s->signature);
        s->expressions.push_back(expression());
        if (s->expressions[0]->kind != ExpressionKind::call)
            refuse("a call block of the template needs a call");
        s->body = bodyOutsideLoops("endcall");
        return s;
    }

    Body bodyOutsideLoops(std::string_view end)
    {
        const unsigned loops = std::exchange(m_loops, 0);
        Body inner = bodyUntil(end);
        m_loops = loops;
        return inner;
    }

    std::unique_ptr<const Statement> filterBlock()
    {
        auto s = make(StatementKind::filterBlock);
        s->expressions.push_back(filters(oneFilter(nullptr)));
        s->body = bodyUntil("endfilter");
        return s;
    }

    std::unique_ptr<const Statement> with()
    {
        auto s = make(StatementKind::with);
        while (current().kind == TokenKind::name) {
            std::string name = expectName("a name");
            expectOp("=");
            s->signature.parameters.emplace_back(std::move(name), expression());
            if (!skipOp(","))
                break;
        }
        s->body = bodyUntil("endwith");
        return s;
    }

    std::unique_ptr<const Statement> scope(std::string_view end)
    {
        auto s = make(StatementKind::scope);
        s->body = bodyUntil(end);
        return s;
    }

    // --- expressions, loosest first ---
    std::unique_ptr<Expression> node(ExpressionKind kind) const
    {
        auto e = std::make_unique<Expression>();
        e->kind = kind;
        e->line = current().line;
        return e;
    }

    void adopt(Expression &parent, ExpressionPtr child) const
    {
        if (child)
            deepen(parent, *child);
        parent.operands.push_back(std::move(child));
    }

    void deepen(Expression &parent, const Expression &child) const
    {
        parent.depth = std::max(parent.depth, child.depth + 1);
        if (parent.depth > kMaxNesting)
            refuse("an expression of the template nests more than 200 deep");
    }

    template <typename... Children>
    ExpressionPtr join(ExpressionKind kind, std::string name, Children... children) const
    {
        auto e = node(kind);
        e->name = std::move(name);
        (adopt(*e, std::move(children)), ...);
        return e;
    }

    bool tupleEnds() const
    {
        return current().kind == TokenKind::variableEnd || current().kind == TokenKind::blockEnd || isOp(")") ||
               isName("in") || isName("recursive");
    }

    // One expression, or several with commas. `conditional` off: an "if" that follows belongs to the loop.
    ExpressionPtr tuple(bool conditional = true)
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

    ExpressionPtr expression()
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

    ExpressionPtr logicalOr()
    {
        ExpressionPtr e = logicalAnd();
        while (skipName("or"))
            e = join(ExpressionKind::logicalOr, {}, std::move(e), logicalAnd());
        return e;
    }

    ExpressionPtr logicalAnd()
    {
        ExpressionPtr e = logicalNot();
        while (skipName("and"))
            e = join(ExpressionKind::logicalAnd, {}, std::move(e), logicalNot());
        return e;
    }

    ExpressionPtr logicalNot()
    {
        if (!(isName("not") && !(following().kind == TokenKind::name && following().text == "in")))
            return comparison();
        const Nesting nesting(*this);
        ++m_at;
        return join(ExpressionKind::logicalNot, {}, logicalNot());
    }

    std::string comparisonOperator()
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

    ExpressionPtr comparison()
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

    ExpressionPtr sum()
    {
        ExpressionPtr e = concatenation();
        while (isOp("+") || isOp("-")) {
            std::string op = m_tokens[m_at++].text;
            e = join(ExpressionKind::binary, std::move(op), std::move(e), concatenation());
        }
        return e;
    }

    ExpressionPtr concatenation()
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

    ExpressionPtr product()
    {
        ExpressionPtr e = power();
        while (isOp("*") || isOp("/") || isOp("//") || isOp("%")) {
            std::string op = m_tokens[m_at++].text;
            e = join(ExpressionKind::binary, std::move(op), std::move(e), power());
        }
        return e;
    }

    ExpressionPtr power()
    {
        ExpressionPtr e = unary(true);
        while (skipOp("**"))
            e = join(ExpressionKind::binary, "**", std::move(e), unary(true));
        return e;
    }

    ExpressionPtr unary(bool withFilters)
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

    ExpressionPtr constant(Value value)
    {
        auto e = node(ExpressionKind::constant);
        e->value = std::move(value);
        return e;
    }

    ExpressionPtr primary()
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

    ExpressionPtr nameOrConstant(const std::string &word)
    {
        if (word == "true" || word == "True" || word == "false" || word == "False")
            return constant(Value::boolean(word == "true" || word == "True"));
        if (word == "none" || word == "None")
            return constant(Value::none());
        return join(ExpressionKind::name, word);
    }

    ExpressionPtr strings()
    {
        std::string joined;
        while (current().kind == TokenKind::string)
            joined += m_tokens[m_at++].text;
        return constant(Value::literal(nullptr, joined));
    }

    std::int64_t integer(const std::string &digits) const
    {
        std::int64_t value = 0;
        if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc())
            refuse("a number of the template is too large");
        return value;
    }

    double real(const std::string &digits) const
    {
        double value = 0;
        if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc())
            refuse("a number of the template is too large");
        return value;
    }

    ExpressionPtr parenthesized()
    {
        if (skipOp(")"))
            return node(ExpressionKind::tuple);
        ExpressionPtr e = tuple();
        expectOp(")");
        return e;
    }

    ExpressionPtr list()
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

    ExpressionPtr dict()
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

    ExpressionPtr postfix(ExpressionPtr e)
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

    ExpressionPtr afterDot(ExpressionPtr e)
    {
        if (current().kind == TokenKind::integer) {
            ExpressionPtr index = constant(Value::integer(integer(current().text)));
            ++m_at;
            return join(ExpressionKind::item, {}, std::move(e), std::move(index));
        }
        return join(ExpressionKind::attribute, expectName("an attribute"), std::move(e));
    }

    ExpressionPtr subscript(ExpressionPtr e)
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

    void arguments(Expression &owner)
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

    ExpressionPtr call(ExpressionPtr callee)
    {
        auto e = node(ExpressionKind::call);
        adopt(*e, std::move(callee));
        arguments(*e);
        return e;
    }

    std::string dottedName()
    {
        std::string name = expectName("a name");
        while (skipOp("."))
            name += "." + expectName("a name");
        return name;
    }

    ExpressionPtr oneFilter(ExpressionPtr subject)
    {
        auto e = node(ExpressionKind::filter);
        e->name = dottedName();
        adopt(*e, std::move(subject));
        if (isOp("("))
            arguments(*e);
        return e;
    }

    // Filters, tests and calls after a value. The innermost operand of a chain without a subject is null.
    ExpressionPtr filters(ExpressionPtr e)
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

    bool testTakesArgument() const
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

    ExpressionPtr test(ExpressionPtr subject)
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

    std::vector<Token> m_tokens;
    std::size_t m_at = 0;
    unsigned m_nesting = 0;
    unsigned m_loops = 0;
};

} // namespace

Program parse(std::string_view source)
{
    return Parser(source).run();
}

} // namespace kvilt::text::jinja

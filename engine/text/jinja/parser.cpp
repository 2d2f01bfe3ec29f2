// SPDX-License-Identifier: Apache-2.0
// Statements; what stands in them is expression_parser.cpp's.
#include "engine/text/jinja/parser.h"

#include "engine/text/jinja/expression_parser.h"

#include <initializer_list>

namespace kvilt::text::jinja {

namespace {

using Names = std::initializer_list<std::string_view>;

class Parser : private ExpressionParser {
public:
    explicit Parser(std::string_view source) : ExpressionParser(source) {}

    Program run()
    {
        Program program;
        program.body = body({});
        return program;
    }

private:
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

    unsigned m_loops = 0;
};

} // namespace

Program parse(std::string_view source)
{
    return Parser(source).run();
}

} // namespace kvilt::text::jinja

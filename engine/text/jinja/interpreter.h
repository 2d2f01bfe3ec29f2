// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/jinja/ast.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvilt::text::jinja {

// Builds a text within the budget: a result that may not be kept is refused before it is built.
class TextBuilder {
public:
    explicit TextBuilder(Budget &budget) : m_budget(budget) {}
    ~TextBuilder() { m_budget.release(m_held); }
    TextBuilder(const TextBuilder &) = delete;
    TextBuilder &operator=(const TextBuilder &) = delete;
    void append(const MarkedText &text) { append(text, 0, text.size()); }
    void append(const MarkedText &text, std::size_t begin, std::size_t end)
    {
        grow(end - begin);
        m_text.append(text, begin, end);
        account(); // a text of many runs takes more than one
    }
    void literal(std::string_view bytes)
    {
        grow(bytes.size());
        m_text.appendLiteral(bytes);
    }
    void like(std::string_view bytes, const MarkedText &text, std::size_t at)
    {
        grow(bytes.size());
        m_text.appendLike(bytes, text, at);
    }
    std::size_t size() const { return m_text.size(); }
    MarkedText take()
    {
        m_budget.release(std::exchange(m_held, 0));
        return std::move(m_text);
    }
    Value value() { return Value::text(&m_budget, take()); }

private:
    void grow(std::size_t bytes)
    {
        m_budget.touch(bytes);
        m_text.reserveFor(bytes, [this](std::size_t room) { m_budget.expect(room); });
        account();
    }
    // What the text takes, spare room included.
    void account()
    {
        const std::size_t now = m_text.footprint();
        m_budget.hold(now - m_held); // it only grows
        m_held = now;
    }
    Budget &m_budget;
    std::size_t m_held = 0;
    MarkedText m_text;
};

// Names and their values; the nearest scope wins.
struct Scope {
    std::shared_ptr<Scope> parent;
    std::vector<std::pair<std::string_view, Value>> variables; // names live in the program or in the interpreter

    Value *find(std::string_view name);
    void set(std::string_view name, Value value);
};

// Runs one template once. Throws TemplateError.
class Interpreter {
public:
    Interpreter(const Program &program, Budget &budget, std::int64_t unixSeconds);
    ~Interpreter();
    Interpreter(const Interpreter &) = delete;
    Interpreter &operator=(const Interpreter &) = delete;

    void setGlobal(std::string name, Value value);
    MarkedText run();

    Budget &budget() { return m_budget; }
    std::int64_t unixSeconds() const { return m_unixSeconds; }

    // What filters, tests and methods share.
    Value text(MarkedText t) { return Value::text(&m_budget, std::move(t)); }
    Value literal(std::string_view bytes) { return Value::literal(&m_budget, bytes); }
    Value list(std::vector<Value> items) { return Value::list(&m_budget, std::move(items)); }
    Value tuple(std::vector<Value> items) { return Value::list(&m_budget, std::move(items), true); }
    Value generator(std::vector<Value> items) { return Value::generator(&m_budget, std::move(items)); }
    Value markup(MarkedText t) { return Value::markup(&m_budget, std::move(t)); }
    Value function(std::string name, CallableObject::Function f);
    Value nameSpace(std::vector<std::pair<std::string, Value>> attributes);
    Value call(const Value &callee, const Arguments &arguments);
    Value attribute(const Value &owner, std::string_view name); // owner.name
    Value item(const Value &owner, const Value &key);           // owner[key]
    std::vector<Value> iterate(const Value &value);
    MarkedText toText(const Value &value); // str(value)
    MarkedText toJson(const Value &value, const Arguments &options);
    Value filter(const std::string &name, const Value &subject, const Arguments &arguments);
    bool test(const std::string &name, const Value &subject, const Arguments &arguments);

private:
    enum class Flow : std::uint8_t { normal, breakLoop, continueLoop };
    // Nested evaluations and statements, macro calls included; each takes some hundred bytes of stack.
    static constexpr unsigned kMaxDepth = 600;
    struct Depth {
        explicit Depth(Interpreter &r) : run(r)
        {
            run.m_budget.step();
            if (run.m_depth >= kMaxDepth)
                throw TemplateError{"the template calls itself too deeply"};
            ++run.m_depth;
        }
        ~Depth() { --run.m_depth; }
        Depth(const Depth &) = delete;
        Depth &operator=(const Depth &) = delete;
        Interpreter &run;
    };

    // statements
    Flow execute(const Body &body);
    Flow execute(const Statement &statement);
    Flow dispatch(const Statement &statement);
    Flow executeFor(const Statement &s, const Value &iterable, unsigned depth);
    Flow executeBranches(const Statement &s);
    Flow executeInScope(const Body &body);
    void executeMacro(const Statement &s);
    void executeCallBlock(const Statement &s);
    void executeWith(const Statement &s);
    std::vector<Value> selectItems(const Statement &s, const Value &iterable);
    void assign(const Target &target, Value value);
    Value capture(const Body &body); // in a scope of its own
    Value makeMacro(const Statement &s);
    Value callMacro(const Statement &s, const std::shared_ptr<Scope> &definedIn, const Arguments &given);
    void write(const MarkedText &text);

    // expressions
    Value evaluate(const Expression &e);
    Value evaluateFilter(const Expression &e, const Value *subject);
    Value applyChain(const Expression &e, const Value &subject);
    Value evaluateCall(const Expression &e);
    Value evaluateSlice(const Expression &e);
    Value evaluateDict(const Expression &e);
    Value evaluateConcat(const Expression &e);
    bool evaluateComparisons(const Expression &e);
    bool compare(const std::string &op, const Value &a, const Value &b);
    Value binary(const std::string &op, const Value &a, const Value &b);
    Value add(const Value &a, const Value &b);
    Value multiply(const Value &a, const Value &b);
    Value integerArithmetic(char op, std::int64_t a, std::int64_t b);
    Arguments evaluateArguments(const CallArguments &arguments);
    std::vector<Value> evaluateAll(const std::vector<ExpressionPtr> &operands);
    Value lookUp(std::string_view name);
    Value loopAttribute(LoopObject &loop, const Value &self, std::string_view name);

    const Program &m_program;
    Budget &m_budget;
    std::int64_t m_unixSeconds;
    std::shared_ptr<Scope> m_scope;
    std::vector<std::shared_ptr<Scope>> m_captured; // by macros; emptied at the end, so that no cycle stays
    std::vector<std::shared_ptr<NamespaceObject>> m_namespaces;
    std::vector<std::unique_ptr<std::string>> m_globalNames;
    TextBuilder *m_output = nullptr;
    bool m_capturing = false;
    unsigned m_depth = 0;
};

// --- the other files of this room ---

// True when values of this kind have a method of that name.
bool hasMethod(const Value &owner, std::string_view name);
Value callMethod(Interpreter &run, const Value &owner, std::string_view name, const Arguments &arguments);
void installGlobals(Interpreter &run); // range, namespace, raise_exception, strftime_now, dict, joiner, cycler, lipsum

bool contains(Interpreter &run, const Value &container, const Value &item);
std::string realToText(double value); // Python's repr of a float
bool isSpace(char32_t c);             // Python's str.isspace
char32_t toUpper(char32_t c);
char32_t toLower(char32_t c);
std::int64_t toInteger(const Value &value, std::string_view what); // or a TemplateError
// A value as a field of str.format writes it, `spec` being what stands after the colon; or a TemplateError.
MarkedText formatField(Interpreter &run, std::string_view spec, const Value &value);
std::string wholeDigits(std::uint64_t value, int base, bool capitals);
// `type`: e, f or g, capital or not; `size` is not negative; `precision` < 0: 6 places.
std::string realDigits(char type, double size, int precision);
MarkedText reprOf(Interpreter &run, const Value &value); // Python's repr
// HTML's five characters as entities; what is markup already stays.
MarkedText escaped(Interpreter &run, const Value &value);
// Python's "%" formatting of one text.
Value formatPercent(Interpreter &run, const MarkedText &pattern, const Value &arguments);
Value stripped(Interpreter &run, const MarkedText &text, const Value *characters, bool left, bool right);
Value replaced(Interpreter &run, const MarkedText &text, const std::string &from, const MarkedText &to,
               std::int64_t count);
Value recased(Interpreter &run, const MarkedText &text, bool upper);
Value capitalized(Interpreter &run, const MarkedText &text);
Value titled(Interpreter &run, const MarkedText &text, bool asFilter);

} // namespace kvilt::text::jinja

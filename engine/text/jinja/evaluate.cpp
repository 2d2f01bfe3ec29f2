// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <algorithm>
#include <cmath>

namespace kvilt::text::jinja {

namespace {

using Kind = Value::Kind;

std::string inQuotes(std::string_view name)
{
    return "'" + utf8::sanitized(name.substr(0, 60)) + "'";
}

[[noreturn]] void noMeaning(std::string_view op, const Value &a, const Value &b)
{
    throw TemplateError{"'" + std::string(op) + "' has no meaning between " + std::string(typeName(a)) + " and " +
                        std::string(typeName(b))};
}

// Python's index: negative from the end. False when outside.
bool normalizeIndex(std::int64_t &index, std::size_t size)
{
    if (index < 0)
        index += static_cast<std::int64_t>(size);
    return index >= 0 && index < static_cast<std::int64_t>(size);
}

// Byte offset of the n-th character.
std::size_t byteOfCharacter(std::string_view text, std::size_t n)
{
    std::size_t at = 0;
    for (; n > 0 && at < text.size(); --n)
        at += utf8::decode(text, at).bytes;
    return at;
}

struct SliceRange {
    std::int64_t start, stop, step;
};

SliceRange sliceRange(const Value &start, const Value &stop, const Value &step, std::size_t size)
{
    const auto given = [](const Value &v) { return !v.is(Kind::none) && !v.is(Kind::undefined); };
    const auto n = static_cast<std::int64_t>(size);
    const std::int64_t by = given(step) ? toInteger(step, "a slice") : 1;
    if (by == 0)
        throw TemplateError{"a slice has the step 0"};
    const auto clamp = [&](const Value &v, std::int64_t fallback) {
        if (!given(v))
            return fallback;
        std::int64_t i = toInteger(v, "a slice");
        if (i < 0)
            i = i < -n ? -1 : i + n;
        else if (by < 0 && i >= n)
            i = n - 1;
        return by > 0 ? std::clamp<std::int64_t>(i, 0, n) : std::clamp<std::int64_t>(i, -1, n - 1);
    };
    return {clamp(start, by > 0 ? 0 : n - 1), clamp(stop, by > 0 ? n : -1), by};
}

template <typename Visit>
void forSlice(const SliceRange &r, Visit visit)
{
    for (std::int64_t i = r.start; r.step > 0 ? i < r.stop : i > r.stop;) {
        visit(static_cast<std::size_t>(i));
        if (__builtin_add_overflow(i, r.step, &i))
            return;
    }
}

} // namespace

Value Interpreter::evaluate(const Expression &e)
{
    const Depth depth(*this);
    switch (e.kind) {
    case ExpressionKind::constant: return e.value;
    case ExpressionKind::name: return lookUp(e.name);
    case ExpressionKind::list: return list(evaluateAll(e.operands));
    case ExpressionKind::tuple: return tuple(evaluateAll(e.operands));
    case ExpressionKind::dict: return evaluateDict(e);
    case ExpressionKind::attribute: return attribute(evaluate(*e.operands[0]), e.name);
    case ExpressionKind::item: {
        const Value owner = evaluate(*e.operands[0]);
        return item(owner, evaluate(*e.operands[1]));
    }
    case ExpressionKind::slice: return evaluateSlice(e);
    case ExpressionKind::call: return evaluateCall(e);
    case ExpressionKind::filter: return evaluateFilter(e, nullptr);
    case ExpressionKind::test: {
        const Value subject = evaluate(*e.operands[0]);
        return Value::boolean(test(e.name, subject, evaluateArguments(e.arguments)));
    }
    case ExpressionKind::negate: return binary("-", Value::integer(0), evaluate(*e.operands[0]));
    case ExpressionKind::plus: return binary("+", Value::integer(0), evaluate(*e.operands[0]));
    case ExpressionKind::logicalNot: return Value::boolean(!isTrue(evaluate(*e.operands[0])));
    case ExpressionKind::logicalAnd: {
        Value left = evaluate(*e.operands[0]);
        return isTrue(left) ? evaluate(*e.operands[1]) : left;
    }
    case ExpressionKind::logicalOr: {
        Value left = evaluate(*e.operands[0]);
        return isTrue(left) ? left : evaluate(*e.operands[1]);
    }
    case ExpressionKind::binary: {
        const Value left = evaluate(*e.operands[0]);
        return binary(e.name, left, evaluate(*e.operands[1]));
    }
    case ExpressionKind::concat: return evaluateConcat(e);
    case ExpressionKind::compare: return Value::boolean(evaluateComparisons(e));
    case ExpressionKind::conditional:
        if (isTrue(evaluate(*e.operands[1])))
            return evaluate(*e.operands[0]);
        return e.operands[2] ? evaluate(*e.operands[2]) : Value();
    }
    return {};
}

Value Interpreter::lookUp(std::string_view name)
{
    const Value *found = m_scope->find(name);
    return found ? *found : Value();
}

std::vector<Value> Interpreter::evaluateAll(const std::vector<ExpressionPtr> &operands)
{
    std::vector<Value> values;
    values.reserve(operands.size());
    for (const ExpressionPtr &operand : operands)
        values.push_back(evaluate(*operand));
    return values;
}

Value Interpreter::evaluateDict(const Expression &e)
{
    std::vector<std::pair<Value, Value>> entries;
    for (std::size_t i = 0; i + 1 < e.operands.size(); i += 2) {
        Value key = evaluate(*e.operands[i]);
        Value value = evaluate(*e.operands[i + 1]);
        const auto old =
            std::find_if(entries.begin(), entries.end(), [&](const auto &entry) { return equal(entry.first, key); });
        if (old != entries.end())
            old->second = std::move(value);
        else
            entries.emplace_back(std::move(key), std::move(value));
    }
    return Value::dict(&m_budget, std::move(entries));
}

Value Interpreter::evaluateConcat(const Expression &e)
{
    TextBuilder joined(m_budget);
    for (const ExpressionPtr &operand : e.operands)
        joined.append(toText(evaluate(*operand)));
    return joined.value();
}

Arguments Interpreter::evaluateArguments(const CallArguments &arguments)
{
    Arguments values;
    values.positional = evaluateAll(arguments.positional);
    for (const auto &[name, expression] : arguments.named)
        values.named.emplace_back(name, evaluate(*expression));
    return values;
}

// A method call does not build a bound method first.
Value Interpreter::evaluateCall(const Expression &e)
{
    const Expression &callee = *e.operands[0];
    if (callee.kind == ExpressionKind::attribute) {
        const Value owner = evaluate(*callee.operands[0]);
        if (hasMethod(owner, callee.name))
            return callMethod(*this, owner, callee.name, evaluateArguments(e.arguments));
        const Value function = attribute(owner, callee.name);
        if (function.is(Kind::undefined))
            throw TemplateError{std::string(typeName(owner)) + " has no method " + inQuotes(callee.name)};
        return call(function, evaluateArguments(e.arguments));
    }
    const Value function = evaluate(callee);
    if (function.is(Kind::undefined) && callee.kind == ExpressionKind::name)
        throw TemplateError{"the template calls " + inQuotes(callee.name) + ", which is not defined"};
    return call(function, evaluateArguments(e.arguments));
}

Value Interpreter::call(const Value &callee, const Arguments &arguments)
{
    m_budget.step();
    if (callee.is(Kind::callable))
        return callee.callable().call(*this, arguments);
    if (callee.is(Kind::loop) && callee.loop().recurse)
        return callee.loop().recurse(*this, arguments);
    throw TemplateError{"the template calls " + std::string(typeName(callee)) + ", which is no function"};
}

Value Interpreter::evaluateFilter(const Expression &e, const Value *subject)
{
    const Value input = e.operands[0] ? evaluate(*e.operands[0]) : subject ? *subject : Value();
    return filter(e.name, input, evaluateArguments(e.arguments));
}

// A chain of filters whose innermost subject is given (filter and set blocks).
Value Interpreter::applyChain(const Expression &e, const Value &subject)
{
    const Depth depth(*this);
    if (e.kind != ExpressionKind::filter)
        throw TemplateError{"the template has something else than filters in a filter block"};
    const Value input = e.operands[0] ? applyChain(*e.operands[0], subject) : subject;
    return filter(e.name, input, evaluateArguments(e.arguments));
}

Value Interpreter::evaluateSlice(const Expression &e)
{
    const auto part = [&](std::size_t i) { return e.operands[i] ? evaluate(*e.operands[i]) : Value(); };
    const Value owner = part(0);
    const Value start = part(1), stop = part(2), step = part(3);
    if (owner.isGenerator())
        throw TemplateError{"the template slices a generator; it has no places"};
    if (owner.is(Kind::list)) {
        std::vector<Value> items;
        forSlice(sliceRange(start, stop, step, owner.items().size()),
                 [&](std::size_t i) { items.push_back(owner.items()[i]); });
        m_budget.step(items.size());
        return Value::list(&m_budget, std::move(items), owner.isTuple());
    }
    if (!owner.is(Kind::text))
        throw TemplateError{"the template slices " + std::string(typeName(owner))};
    const MarkedText &text = owner.text();
    m_budget.touch(text.size());
    const SliceRange range = sliceRange(start, stop, step, utf8::length(text.bytes()));
    TextBuilder out(m_budget);
    if (range.step == 1) {
        if (range.start < range.stop)
            out.append(text, byteOfCharacter(text.bytes(), static_cast<std::size_t>(range.start)),
                       byteOfCharacter(text.bytes(), static_cast<std::size_t>(range.stop)));
        return out.value();
    }
    std::vector<std::size_t> starts;
    m_budget.expect(text.size() * sizeof(std::size_t));
    for (std::size_t at = 0; at < text.size(); at += utf8::decode(text.bytes(), at).bytes)
        starts.push_back(at);
    forSlice(range, [&](std::size_t i) {
        out.append(text, starts[i], starts[i] + utf8::decode(text.bytes(), starts[i]).bytes);
    });
    return out.value();
}

Value Interpreter::attribute(const Value &owner, std::string_view name)
{
    m_budget.step();
    switch (owner.kind()) {
    case Kind::undefined: throw TemplateError{"the template reads " + inQuotes(name) + " of an undefined value"};
    case Kind::name_space:
        for (const auto &[key, value] : owner.nameSpace().attributes) {
            if (key == name)
                return value;
        }
        return {};
    case Kind::loop: return loopAttribute(owner.loop(), owner, name);
    case Kind::callable: return name == "name" ? literal(owner.callable().name) : Value();
    default: break;
    }
    if (hasMethod(owner, name)) {
        return function(std::string(name),
                        [owner, method = std::string(name)](Interpreter &run, const Arguments &arguments) {
                            return callMethod(run, owner, method, arguments);
                        });
    }
    if (owner.is(Kind::dict)) {
        m_budget.step(owner.entries().size() / 16);
        const Value *found = owner.find(name);
        return found ? *found : Value();
    }
    return {};
}

Value Interpreter::item(const Value &owner, const Value &key)
{
    m_budget.step();
    if (owner.isGenerator())
        return {};
    if (owner.is(Kind::undefined))
        throw TemplateError{"the template subscripts an undefined value"};
    if (owner.is(Kind::dict)) {
        m_budget.step(owner.entries().size() / 16);
        for (const auto &[name, value] : owner.entries()) {
            if (equal(name, key))
                return value;
        }
    }
    if (key.is(Kind::text))
        return owner.is(Kind::dict) && !hasMethod(owner, key.bytes()) ? Value() : attribute(owner, key.bytes());
    if (!key.isInteger())
        return {};
    std::int64_t index = key.asInteger();
    if (owner.is(Kind::list))
        return normalizeIndex(index, owner.items().size()) ? owner.items()[static_cast<std::size_t>(index)] : Value();
    if (owner.is(Kind::text)) {
        const MarkedText &text = owner.text();
        m_budget.touch(text.size());
        if (!normalizeIndex(index, utf8::length(text.bytes())))
            return {};
        const std::size_t at = byteOfCharacter(text.bytes(), static_cast<std::size_t>(index));
        return this->text(text.part(at, at + utf8::decode(text.bytes(), at).bytes));
    }
    return {};
}

Value Interpreter::loopAttribute(LoopObject &loop, const Value &self, std::string_view name)
{
    const auto number = [](std::size_t n) { return Value::integer(static_cast<std::int64_t>(n)); };
    const std::size_t size = loop.items.size();
    if (name == "index")
        return number(loop.index + 1);
    if (name == "index0")
        return number(loop.index);
    if (name == "revindex")
        return number(size - loop.index);
    if (name == "revindex0")
        return number(size - loop.index - 1);
    if (name == "first")
        return Value::boolean(loop.index == 0);
    if (name == "last")
        return Value::boolean(loop.index + 1 == size);
    if (name == "length")
        return number(size);
    if (name == "depth")
        return number(loop.depth);
    if (name == "depth0")
        return number(loop.depth - 1);
    if (name == "previtem")
        return loop.index > 0 ? loop.items[loop.index - 1] : Value();
    if (name == "nextitem")
        return loop.index + 1 < size ? loop.items[loop.index + 1] : Value();
    if (name == "cycle") {
        return function("cycle", [self](Interpreter &, const Arguments &a) {
            if (a.positional.empty())
                throw TemplateError{"loop.cycle() needs something to cycle through"};
            return a.positional[self.loop().index % a.positional.size()];
        });
    }
    if (name == "changed") {
        return function("changed", [self](Interpreter &, const Arguments &a) {
            LoopObject &l = self.loop();
            const bool same = l.hasChanged && std::equal(l.lastChanged.begin(), l.lastChanged.end(),
                                                         a.positional.begin(), a.positional.end(), equal);
            l.lastChanged = a.positional;
            l.hasChanged = true;
            return Value::boolean(!same);
        });
    }
    return {};
}

std::vector<Value> Interpreter::iterate(const Value &value)
{
    std::vector<Value> items;
    switch (value.kind()) {
    case Kind::undefined: return items;
    case Kind::list: m_budget.step(value.items().size()); return value.items();
    case Kind::dict:
        m_budget.step(value.entries().size());
        for (const auto &[key, entry] : value.entries())
            items.push_back(key);
        return items;
    case Kind::text: {
        const MarkedText &text_ = value.text();
        m_budget.step(text_.size());
        for (std::size_t at = 0; at < text_.size();) {
            const std::size_t next = at + utf8::decode(text_.bytes(), at).bytes;
            items.push_back(text(text_.part(at, next)));
            at = next;
        }
        return items;
    }
    default: throw TemplateError{"the template iterates over " + std::string(typeName(value))};
    }
}

bool Interpreter::evaluateComparisons(const Expression &e)
{
    Value left = evaluate(*e.operands[0]);
    for (std::size_t i = 0; i < e.comparisons.size(); ++i) {
        Value right = evaluate(*e.operands[i + 1]);
        if (!compare(e.comparisons[i], left, right))
            return false;
        left = std::move(right);
    }
    return true;
}

bool Interpreter::compare(const std::string &op, const Value &a, const Value &b)
{
    const auto size = [](const Value &v) {
        return v.is(Kind::text) ? v.text().size() / 64 : v.items().size() + v.entries().size();
    };
    m_budget.step(std::min(size(a), size(b)) + 1);
    if (op == "==")
        return equal(a, b);
    if (op == "!=")
        return !equal(a, b);
    if (op == "in")
        return contains(*this, b, a);
    if (op == "not in")
        return !contains(*this, b, a);
    if (op == "<")
        return less(a, b);
    if (op == ">")
        return less(b, a);
    return op == "<=" ? less(a, b) || equal(a, b) : less(b, a) || equal(a, b);
}

Value Interpreter::binary(const std::string &op, const Value &a, const Value &b)
{
    if (op == "+")
        return add(a, b);
    if (op == "*")
        return multiply(a, b);
    if (op == "%" && a.is(Kind::text))
        return formatPercent(*this, a.text(), b);
    if (!a.isNumber() || !b.isNumber())
        noMeaning(op, a, b);
    const bool divides = op == "/" || op == "//" || op == "%";
    if (divides && b.asReal() == 0)
        throw TemplateError{"the template divides by zero"};
    if (op == "/")
        return Value::real(a.asReal() / b.asReal());
    if (a.isInteger() && b.isInteger() && !(op == "**" && b.asInteger() < 0))
        return integerArithmetic(op == "//" ? '/' : op == "**" ? '^' : op[0], a.asInteger(), b.asInteger());
    const double x = a.asReal(), y = b.asReal();
    if (op == "-")
        return Value::real(x - y);
    if (op == "//")
        return Value::real(std::floor(x / y));
    if (op == "%") {
        const double remainder = std::fmod(x, y);
        return Value::real(remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder);
    }
    return Value::real(std::pow(x, y));
}

Value Interpreter::integerArithmetic(char op, std::int64_t a, std::int64_t b)
{
    std::int64_t r = 0;
    bool overflow = false;
    switch (op) {
    case '+': overflow = __builtin_add_overflow(a, b, &r); break;
    case '-': overflow = __builtin_sub_overflow(a, b, &r); break;
    case '*': overflow = __builtin_mul_overflow(a, b, &r); break;
    case '/':
    case '%':
        if (b == -1) { // the one quotient that may not fit
            overflow = op == '/' && __builtin_sub_overflow(std::int64_t(0), a, &r);
            break;
        }
        r = op == '/' ? a / b : a % b;
        if (a % b != 0 && (a < 0) != (b < 0)) // Python rounds down
            r += op == '/' ? -1 : b;
        break;
    default:
        r = 1;
        for (std::int64_t base = a, n = b; n > 0 && !overflow; n >>= 1) {
            if (n & 1)
                overflow |= __builtin_mul_overflow(r, base, &r);
            if (n > 1)
                overflow |= __builtin_mul_overflow(base, base, &base);
        }
    }
    if (overflow)
        throw TemplateError{"a number of the template becomes too large"};
    return Value::integer(r);
}

Value Interpreter::add(const Value &a, const Value &b)
{
    if (a.is(Kind::text) && b.is(Kind::text)) {
        const bool markup = a.isMarkup() || b.isMarkup(); // then what is plain text is escaped, as MarkupSafe does
        TextBuilder joined(m_budget);
        joined.append(markup ? escaped(*this, a) : a.text());
        joined.append(markup ? escaped(*this, b) : b.text());
        return markup ? this->markup(joined.take()) : joined.value();
    }
    if (a.isGenerator() || b.isGenerator())
        noMeaning("+", a, b);
    if (a.is(Kind::list) && b.is(Kind::list) && a.isTuple() == b.isTuple()) {
        m_budget.step(a.items().size() + b.items().size());
        m_budget.expect((a.items().size() + b.items().size()) * sizeof(Value));
        std::vector<Value> items = a.items();
        items.insert(items.end(), b.items().begin(), b.items().end());
        return Value::list(&m_budget, std::move(items), a.isTuple());
    }
    if (!a.isNumber() || !b.isNumber())
        noMeaning("+", a, b);
    return a.isInteger() && b.isInteger() ? integerArithmetic('+', a.asInteger(), b.asInteger())
                                          : Value::real(a.asReal() + b.asReal());
}

Value Interpreter::multiply(const Value &a, const Value &b)
{
    if (a.isInteger() && (b.is(Kind::text) || b.is(Kind::list)))
        return multiply(b, a);
    if (b.isInteger() && (a.is(Kind::text) || a.is(Kind::list))) {
        const std::size_t size = a.is(Kind::text) ? a.text().footprint() : a.items().size() * sizeof(Value);
        const auto times = static_cast<std::uint64_t>(std::max<std::int64_t>(b.asInteger(), 0));
        std::uint64_t total = 0;
        m_budget.expect(__builtin_mul_overflow(std::uint64_t(size), times, &total) ? ~std::uint64_t(0) : total);
        if (size == 0)
            return a;
        m_budget.touch(total);
        if (a.is(Kind::text)) {
            TextBuilder repeated(m_budget);
            for (std::uint64_t i = 0; i < times; ++i)
                repeated.append(a.text());
            return repeated.value();
        }
        std::vector<Value> items;
        for (std::uint64_t i = 0; i < times; ++i)
            items.insert(items.end(), a.items().begin(), a.items().end());
        return Value::list(&m_budget, std::move(items), a.isTuple());
    }
    if (!a.isNumber() || !b.isNumber())
        noMeaning("*", a, b);
    return a.isInteger() && b.isInteger() ? integerArithmetic('*', a.asInteger(), b.asInteger())
                                          : Value::real(a.asReal() * b.asReal());
}

} // namespace kvilt::text::jinja

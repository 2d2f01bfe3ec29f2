// SPDX-License-Identifier: Apache-2.0
// What may stand after "is".
#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <algorithm>

namespace kvilt::text::jinja {

namespace {

using Kind = Value::Kind;
using Predicate = bool (*)(Interpreter &, const Value &, const Arguments &);

struct NamedPredicate {
    std::string_view name;
    Predicate holds;
};

const Value &other(const Arguments &a)
{
    if (a.positional.empty())
        throw TemplateError{"a test of the template needs something to compare with"};
    return a.positional[0];
}

std::int64_t divisorOf(const Arguments &a)
{
    const std::int64_t divisor = toInteger(other(a), "a divisor");
    if (divisor == 0)
        throw TemplateError{"the template divides by zero"};
    return divisor;
}

bool hasCase(Interpreter &run, const Value &v, bool upper)
{
    const MarkedText text = run.toText(v);
    const Value changed = recased(run, text, upper);
    return changed.bytes() == text.bytes() && recased(run, text, !upper).bytes() != text.bytes();
}

template <Kind... kinds>
bool isKind(Interpreter &, const Value &v, const Arguments &)
{
    return (v.is(kinds) || ...);
}

bool isEqual(Interpreter &, const Value &v, const Arguments &a)
{
    return equal(v, other(a));
}

bool isGreater(Interpreter &, const Value &v, const Arguments &a)
{
    return less(other(a), v);
}

bool isLess(Interpreter &, const Value &v, const Arguments &a)
{
    return less(v, other(a));
}

constexpr NamedPredicate kPredicates[] = {
    {"defined", [](Interpreter &, const Value &v, const Arguments &) { return !v.is(Kind::undefined); }},
    {"undefined", isKind<Kind::undefined>},
    {"none", isKind<Kind::none>},
    {"null", isKind<Kind::none>},
    {"boolean", isKind<Kind::boolean>},
    {"true", [](Interpreter &, const Value &v, const Arguments &) { return v.is(Kind::boolean) && isTrue(v); }},
    {"false", [](Interpreter &, const Value &v, const Arguments &) { return v.is(Kind::boolean) && !isTrue(v); }},
    {"integer", isKind<Kind::integer>},
    {"float", isKind<Kind::real>},
    {"number", isKind<Kind::integer, Kind::real, Kind::boolean>},
    {"string", isKind<Kind::text>},
    {"mapping", isKind<Kind::dict>},
    {"sequence", isKind<Kind::list, Kind::dict, Kind::text>},
    // Python: an undefined value has __iter__ as well.
    {"iterable", isKind<Kind::list, Kind::dict, Kind::text, Kind::undefined>},
    {"callable", isKind<Kind::callable>},
    {"sameas",
     [](Interpreter &, const Value &v, const Arguments &a) {
         return v.kind() == other(a).kind() && v.identity() == other(a).identity() && equal(v, other(a));
     }},
    {"escaped", [](Interpreter &, const Value &, const Arguments &) { return false; }},
    {"in", [](Interpreter &r, const Value &v, const Arguments &a) { return contains(r, other(a), v); }},
    {"odd", [](Interpreter &, const Value &v, const Arguments &) { return toInteger(v, "'odd'") % 2 != 0; }},
    {"even", [](Interpreter &, const Value &v, const Arguments &) { return toInteger(v, "'even'") % 2 == 0; }},
    {"divisibleby",
     [](Interpreter &, const Value &v, const Arguments &a) {
         const std::int64_t d = divisorOf(a);
         return d == -1 || toInteger(v, "'divisibleby'") % d == 0;
     }},
    {"lower", [](Interpreter &r, const Value &v, const Arguments &) { return hasCase(r, v, false); }},
    {"upper", [](Interpreter &r, const Value &v, const Arguments &) { return hasCase(r, v, true); }},
    {"eq", isEqual},
    {"equalto", isEqual},
    {"==", isEqual},
    {"ne", [](Interpreter &, const Value &v, const Arguments &a) { return !equal(v, other(a)); }},
    {"!=", [](Interpreter &, const Value &v, const Arguments &a) { return !equal(v, other(a)); }},
    {"gt", isGreater},
    {"greaterthan", isGreater},
    {">", isGreater},
    {"lt", isLess},
    {"lessthan", isLess},
    {"<", isLess},
    {"ge", [](Interpreter &, const Value &v, const Arguments &a) { return !less(v, other(a)); }},
    {">=", [](Interpreter &, const Value &v, const Arguments &a) { return !less(v, other(a)); }},
    {"le", [](Interpreter &, const Value &v, const Arguments &a) { return !less(other(a), v); }},
    {"<=", [](Interpreter &, const Value &v, const Arguments &a) { return !less(other(a), v); }},
};

} // namespace

bool Interpreter::test(const std::string &name, const Value &subject, const Arguments &arguments)
{
    m_budget.step();
    const auto found =
        std::find_if(std::begin(kPredicates), std::end(kPredicates), [&](const auto &p) { return p.name == name; });
    if (found == std::end(kPredicates))
        throw TemplateError{"the template uses the unknown test '" + utf8::sanitized(name.substr(0, 60)) + "'"};
    return found->holds(*this, subject, arguments);
}

bool contains(Interpreter &run, const Value &container, const Value &item)
{
    switch (container.kind()) {
    case Kind::text:
        if (!item.is(Kind::text))
            throw TemplateError{"'in' looks for " + std::string(typeName(item)) + " in a string"};
        run.budget().touch(container.text().size());
        return container.bytes().find(item.bytes()) != std::string::npos;
    case Kind::list:
        run.budget().step(container.items().size());
        return std::any_of(container.items().begin(), container.items().end(),
                           [&](const Value &v) { return equal(v, item); });
    case Kind::dict:
        run.budget().step(container.entries().size());
        return std::any_of(container.entries().begin(), container.entries().end(),
                           [&](const auto &e) { return equal(e.first, item); });
    case Kind::undefined: return false;
    default: throw TemplateError{"'in' looks into " + std::string(typeName(container))};
    }
}

} // namespace kvilt::text::jinja

// SPDX-License-Identifier: Apache-2.0
// What may stand after "|".
#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace kvilt::text::jinja {

namespace {

using Kind = Value::Kind;
using Filter = Value (*)(Interpreter &, const Value &, const Arguments &);

struct NamedFilter {
    std::string_view name;
    Filter apply;
};

Value argument(const Arguments &a, std::size_t position, std::string_view name, Value fallback = {})
{
    const Value *found = a.find(position, name);
    return found ? *found : fallback;
}

bool flag(const Arguments &a, std::size_t position, std::string_view name)
{
    return isTrue(argument(a, position, name));
}

std::int64_t number(const Arguments &a, std::size_t position, std::string_view name, std::int64_t fallback)
{
    const Value *found = a.find(position, name);
    return found && !found->is(Kind::none) ? toInteger(*found, name) : fallback;
}

// "a.b.0" of a value, as the attribute arguments of filters walk it.
Value walk(Interpreter &run, const Value &start, const Value &path)
{
    if (!path.is(Kind::text))
        return run.item(start, path);
    Value at = start;
    const std::string &names = path.bytes();
    for (std::size_t begin = 0; begin <= names.size();) {
        const std::size_t end = std::min(names.find('.', begin), names.size());
        const std::string name = names.substr(begin, end - begin);
        std::int64_t index = 0;
        const bool isIndex = !name.empty() && std::from_chars(name.data(), name.data() + name.size(), index).ptr ==
                                                  name.data() + name.size();
        at = run.item(at, isIndex ? Value::integer(index) : run.literal(name));
        begin = end + 1;
    }
    return at;
}

// What sort, unique, min, max and groupby compare: an attribute perhaps, and small letters unless told otherwise.
struct Keyed {
    Interpreter &run;
    Value attribute;
    bool caseSensitive;

    Value operator()(const Value &item) const
    {
        const Value key = attribute.is(Kind::undefined) || attribute.is(Kind::none) ? item : walk(run, item, attribute);
        return key.is(Kind::text) && !caseSensitive ? recased(run, key.text(), false) : key;
    }
};

std::vector<Value> sorted(Interpreter &run, std::vector<Value> items, const Keyed &key, bool reverse)
{
    std::vector<std::pair<Value, std::size_t>> keys;
    for (std::size_t i = 0; i < items.size(); ++i)
        keys.emplace_back(key(items[i]), i);
    run.budget().step(items.size() * 16);
    std::stable_sort(keys.begin(), keys.end(), [&](const auto &a, const auto &b) {
        return reverse ? less(b.first, a.first) : less(a.first, b.first);
    });
    std::vector<Value> out;
    for (const auto &[k, index] : keys)
        out.push_back(items[index]);
    return out;
}

Value sortFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const Keyed key{run, argument(a, 2, "attribute"), flag(a, 1, "case_sensitive")};
    return run.list(sorted(run, run.iterate(v), key, flag(a, 0, "reverse")));
}

Value uniqueFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const Keyed key{run, argument(a, 1, "attribute"), flag(a, 0, "case_sensitive")};
    std::vector<Value> seen, out;
    for (const Value &item : run.iterate(v)) {
        const Value k = key(item);
        run.budget().step(1 + seen.size());
        if (std::any_of(seen.begin(), seen.end(), [&](const Value &s) { return equal(s, k); }))
            continue;
        seen.push_back(k);
        out.push_back(item);
    }
    return run.generator(std::move(out));
}

Value extremum(Interpreter &run, const Value &v, const Arguments &a, bool greatest)
{
    const std::vector<Value> items = run.iterate(v);
    if (items.empty())
        return {};
    const Keyed key{run, argument(a, 1, "attribute"), flag(a, 0, "case_sensitive")};
    const std::vector<Value> order = sorted(run, items, key, greatest);
    return order.front();
}

Value groupBy(Interpreter &run, const Value &v, const Arguments &a)
{
    const Keyed key{run, argument(a, 0, "attribute"), flag(a, 2, "case_sensitive")};
    std::vector<Value> groups, members;
    Value current;
    const auto close = [&] {
        if (!members.empty())
            groups.push_back(run.tuple({current, run.list(std::exchange(members, {}))}));
    };
    for (const Value &item : sorted(run, run.iterate(v), key, false)) {
        const Value k = key(item);
        if (members.empty() || !equal(k, current)) {
            close();
            current = k;
        }
        members.push_back(item);
    }
    close();
    return run.list(std::move(groups));
}

Value dictSort(Interpreter &run, const Value &v, const Arguments &a)
{
    if (!v.is(Kind::dict))
        throw TemplateError{"dictsort needs a mapping, not " + std::string(typeName(v))};
    const Value by = argument(a, 1, "by");
    const bool byValue = by.is(Kind::text) && by.bytes() == "value";
    std::vector<Value> pairs;
    for (const auto &[key, value] : v.entries())
        pairs.push_back(run.tuple({key, value}));
    const Keyed key{run, Value::integer(byValue ? 1 : 0), flag(a, 0, "case_sensitive")};
    return run.list(sorted(run, std::move(pairs), key, flag(a, 2, "reverse")));
}

// select, reject and their attr forms: the test's name, then its arguments.
Value selectFilter(Interpreter &run, const Value &v, const Arguments &a, bool byAttribute, bool wanted)
{
    std::size_t used = 0;
    const Value attribute = byAttribute ? argument(a, used++, "attribute") : Value();
    const std::string test = used < a.positional.size() ? a.positional[used++].bytes() : std::string();
    Arguments rest;
    rest.positional.assign(a.positional.begin() + static_cast<std::ptrdiff_t>(std::min(used, a.positional.size())),
                           a.positional.end());
    std::vector<Value> out;
    if (!isTrue(v)) // none as well: the reference does not look further
        return run.generator({});
    for (const Value &item : run.iterate(v)) {
        const Value subject = byAttribute ? walk(run, item, attribute) : item;
        if ((test.empty() ? isTrue(subject) : run.test(test, subject, rest)) == wanted)
            out.push_back(item);
    }
    return run.generator(std::move(out));
}

// map('filter', ...) or map(attribute=..., default=...).
Value mapFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const Value *attribute = nullptr, *fallback = nullptr;
    for (const auto &[name, value] : a.named) {
        attribute = name == "attribute" ? &value : attribute;
        fallback = name == "default" ? &value : fallback;
    }
    if (!attribute && (a.positional.empty() || !a.positional[0].is(Kind::text)))
        throw TemplateError{"map needs a filter or an attribute"};
    Arguments rest;
    if (!attribute) {
        rest.positional.assign(a.positional.begin() + 1, a.positional.end());
        rest.named = a.named;
    }
    std::vector<Value> out;
    if (!isTrue(v))
        return run.generator({});
    for (const Value &item : run.iterate(v)) {
        Value mapped = attribute ? walk(run, item, *attribute) : run.filter(a.positional[0].bytes(), item, rest);
        out.push_back(attribute && fallback && mapped.is(Kind::undefined) ? *fallback : std::move(mapped));
    }
    return run.generator(std::move(out));
}

Value joinFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const MarkedText separator = run.toText(argument(a, 0, "d"));
    const Value attribute = argument(a, 1, "attribute");
    TextBuilder out(run.budget());
    bool first = true;
    for (const Value &item : run.iterate(v)) {
        if (!std::exchange(first, false))
            out.append(separator);
        out.append(
            run.toText(attribute.is(Kind::undefined) || attribute.is(Kind::none) ? item : walk(run, item, attribute)));
    }
    return out.value();
}

Value lengthFilter(Interpreter &run, const Value &v, const Arguments &)
{
    switch (v.kind()) {
    case Kind::undefined: return Value::integer(0);
    case Kind::text:
        run.budget().touch(v.text().size());
        return Value::integer(static_cast<std::int64_t>(utf8::length(v.bytes())));
    case Kind::list:
        if (v.isGenerator())
            break;
        return Value::integer(static_cast<std::int64_t>(v.items().size()));
    case Kind::dict: return Value::integer(static_cast<std::int64_t>(v.entries().size()));
    default: break;
    }
    throw TemplateError{std::string(typeName(v)) + " has no length"};
}

Value defaultFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const bool replaceFalse = flag(a, 1, "boolean");
    const bool keep = !v.is(Kind::undefined) && (!replaceFalse || isTrue(v));
    return keep ? v : argument(a, 0, "default_value", run.literal(""));
}

Value indentFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const Value width = argument(a, 0, "width", Value::integer(4));
    const std::int64_t spaces =
        width.is(Kind::text) ? 0 : std::clamp<std::int64_t>(toInteger(width, "indent"), 0, 1000);
    const std::string prefix =
        width.is(Kind::text) ? width.bytes() : std::string(static_cast<std::size_t>(spaces), ' ');
    const bool first = flag(a, 1, "first"), blank = flag(a, 2, "blank");
    const MarkedText text = run.toText(v);
    const std::string &bytes = text.bytes();
    TextBuilder out(run.budget());
    for (std::size_t at = 0, line = 0; at <= bytes.size(); ++line) {
        const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
        const bool wants = line == 0 ? first : blank || end > at;
        out.literal(wants ? prefix : "");
        out.append(text, at, std::min(end + 1, bytes.size()));
        at = end + 1;
    }
    return out.value();
}

Value replaceFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const MarkedText text = run.toText(v), to = run.toText(argument(a, 1, "new"));
    const MarkedText from = run.toText(argument(a, 0, "old"));
    return replaced(run, text, from.bytes(), to, number(a, 2, "count", -1));
}

Value trimFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const Value characters = argument(a, 0, "chars");
    return stripped(run, run.toText(v), &characters, true, true);
}

Value intFilter(Interpreter &, const Value &v, const Arguments &a)
{
    const Value fallback = argument(a, 0, "default", Value::integer(0));
    const std::int64_t base = number(a, 1, "base", 10);
    if (v.isInteger())
        return Value::integer(v.asInteger());
    if (v.is(Kind::real))
        return std::fabs(v.asReal()) < 9.2e18 ? Value::integer(static_cast<std::int64_t>(v.asReal())) : fallback;
    if (!v.is(Kind::text))
        return fallback;
    std::string s = v.bytes();
    std::erase_if(s, [](char c) { return c == ' ' || c == '\n' || c == '_'; });
    std::int64_t whole = 0;
    const auto r = std::from_chars(s.data() + (s.starts_with('+') ? 1 : 0), s.data() + s.size(), whole,
                                   static_cast<int>(std::clamp<std::int64_t>(base, 2, 36)));
    if (r.ec == std::errc() && r.ptr == s.data() + s.size() && !s.empty())
        return Value::integer(whole);
    double real = 0;
    const auto d = std::from_chars(s.data(), s.data() + s.size(), real);
    const bool isReal = d.ec == std::errc() && d.ptr == s.data() + s.size() && !s.empty() && std::fabs(real) < 9.2e18;
    return isReal ? Value::integer(static_cast<std::int64_t>(real)) : fallback;
}

Value floatFilter(Interpreter &, const Value &v, const Arguments &a)
{
    if (v.isNumber())
        return Value::real(v.asReal());
    double real = 0;
    const std::string s = v.is(Kind::text) ? v.bytes() : std::string();
    const auto r = std::from_chars(s.data(), s.data() + s.size(), real);
    return r.ec == std::errc() && r.ptr == s.data() + s.size() && !s.empty()
               ? Value::real(real)
               : argument(a, 0, "default", Value::real(0));
}

Value roundFilter(Interpreter &, const Value &v, const Arguments &a)
{
    if (!v.isNumber())
        throw TemplateError{"round needs a number, not " + std::string(typeName(v))};
    const double scale =
        std::pow(10.0, static_cast<double>(std::clamp<std::int64_t>(number(a, 0, "precision", 0), -300, 300)));
    const Value method = argument(a, 1, "method");
    const std::string how = method.is(Kind::text) ? method.bytes() : "common";
    const double scaled = v.asReal() * scale;
    return Value::real((how == "ceil"    ? std::ceil(scaled)
                        : how == "floor" ? std::floor(scaled)
                                         : std::nearbyint(scaled)) /
                       scale);
}

Value absFilter(Interpreter &run, const Value &v, const Arguments &)
{
    if (!v.isNumber())
        throw TemplateError{"abs needs a number, not " + std::string(typeName(v))};
    if (v.is(Kind::real))
        return Value::real(std::fabs(v.asReal()));
    (void)run;
    if (v.asInteger() == INT64_MIN)
        throw TemplateError{"a number of the template becomes too large"};
    return Value::integer(std::abs(v.asInteger()));
}

Value sumFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const Value attribute = argument(a, 0, "attribute");
    double real = argument(a, 1, "start").asReal();
    std::int64_t whole = argument(a, 1, "start").asInteger();
    bool isReal = argument(a, 1, "start").is(Kind::real);
    for (const Value &item : run.iterate(v)) {
        const Value n = attribute.is(Kind::undefined) || attribute.is(Kind::none) ? item : walk(run, item, attribute);
        if (!n.isNumber())
            throw TemplateError{"sum needs numbers, not " + std::string(typeName(n))};
        isReal |= n.is(Kind::real);
        real += n.asReal();
        if (!n.is(Kind::real) && __builtin_add_overflow(whole, n.asInteger(), &whole))
            throw TemplateError{"a number of the template becomes too large"};
    }
    return isReal ? Value::real(real) : Value::integer(whole);
}

Value firstFilter(Interpreter &run, const Value &v, const Arguments &)
{
    const std::vector<Value> items = run.iterate(v);
    return items.empty() ? Value() : items.front();
}

Value lastFilter(Interpreter &run, const Value &v, const Arguments &)
{
    const std::vector<Value> items = run.iterate(v);
    return items.empty() ? Value() : items.back();
}

Value reverseFilter(Interpreter &run, const Value &v, const Arguments &)
{
    std::vector<Value> items = run.iterate(v);
    std::reverse(items.begin(), items.end());
    if (!v.is(Kind::text))
        return run.list(std::move(items));
    TextBuilder out(run.budget());
    for (const Value &character : items)
        out.append(character.text());
    return out.value();
}

Value batchFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const auto size = static_cast<std::size_t>(std::max<std::int64_t>(number(a, 0, "linecount", 1), 1));
    const Value *fill = a.find(1, "fill_with");
    std::vector<Value> rows, row;
    for (const Value &item : run.iterate(v)) {
        if (row.size() == size)
            rows.push_back(run.list(std::exchange(row, {})));
        row.push_back(item);
    }
    if (!row.empty() && fill && !fill->is(Kind::none)) {
        run.budget().step(size);
        run.budget().expect(size * sizeof(Value));
        row.resize(std::max(row.size(), size), *fill);
    }
    if (!row.empty())
        rows.push_back(run.list(std::move(row)));
    return run.list(std::move(rows));
}

Value sliceFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const std::vector<Value> items = run.iterate(v);
    const auto count = static_cast<std::size_t>(std::clamp<std::int64_t>(number(a, 0, "slices", 1), 1, 100'000));
    const std::size_t each = items.size() / count, more = items.size() % count;
    std::vector<Value> parts;
    run.budget().step(count);
    for (std::size_t i = 0, at = 0; i < count; ++i) {
        const std::size_t end = at + each + (i < more ? 1 : 0);
        parts.push_back(run.list(
            {items.begin() + static_cast<std::ptrdiff_t>(at), items.begin() + static_cast<std::ptrdiff_t>(end)}));
        at = end;
    }
    return run.list(std::move(parts));
}

Value escapeFilter(Interpreter &run, const Value &v, const Arguments &)
{
    return run.markup(escaped(run, v));
}

Value truncateFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    const std::int64_t length = number(a, 0, "length", 255);
    const bool cutWords = flag(a, 1, "killwords");
    const MarkedText end = MarkedText::literal(a.find(2, "end") ? run.toText(*a.find(2, "end")).bytes() : "...");
    const std::int64_t leeway = number(a, 3, "leeway", 5);
    const MarkedText text = run.toText(v);
    if (static_cast<std::int64_t>(utf8::length(text.bytes())) <= length + leeway)
        return run.text(text);
    std::size_t cut = 0;
    for (std::int64_t n = length - static_cast<std::int64_t>(utf8::length(end.bytes())); n > 0 && cut < text.size();
         --n)
        cut += utf8::decode(text.bytes(), cut).bytes;
    if (!cutWords) {
        const std::size_t space = text.bytes().substr(0, cut).rfind(' ');
        cut = space == std::string::npos ? cut : space;
    }
    TextBuilder out(run.budget());
    out.append(text, 0, cut);
    out.append(end);
    return out.value();
}

Value itemsFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    if (v.is(Kind::undefined))
        return run.list({});
    if (!v.is(Kind::dict))
        throw TemplateError{"items needs a mapping, not " + std::string(typeName(v))};
    return callMethod(run, v, "items", a);
}

Value formatFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    std::vector<Value> values = a.positional;
    return formatPercent(run, run.toText(v), run.tuple(std::move(values)));
}

Value wordCount(Interpreter &run, const Value &v, const Arguments &)
{
    const std::string text = run.toText(v).bytes();
    std::int64_t words = 0;
    bool inside = false;
    for (std::size_t at = 0; at < text.size(); at += utf8::decode(text, at).bytes) {
        const bool space = isSpace(utf8::decode(text, at).codePoint);
        words += !space && !inside;
        inside = !space;
    }
    return Value::integer(words);
}

Value sameText(Interpreter &run, const Value &v, const Arguments &)
{
    return v.isMarkup() ? v : run.text(run.toText(v)); // markup stays markup
}

Value safeFilter(Interpreter &run, const Value &v, const Arguments &)
{
    return run.markup(run.toText(v));
}

Value forceEscapeFilter(Interpreter &run, const Value &v, const Arguments &)
{
    return run.markup(escaped(run, run.text(run.toText(v))));
}

Value toJsonFilter(Interpreter &run, const Value &v, const Arguments &a)
{
    return run.text(run.toJson(v, a));
}

constexpr NamedFilter kFilters[] = {
    {"abs", absFilter},
    {"attr",
     [](Interpreter &r, const Value &v, const Arguments &a) { return r.attribute(v, argument(a, 0, "name").bytes()); }},
    {"batch", batchFilter},
    {"capitalize", [](Interpreter &r, const Value &v, const Arguments &) { return capitalized(r, r.toText(v)); }},
    {"center",
     [](Interpreter &r, const Value &v, const Arguments &a) {
         Arguments width;
         width.positional = {Value::integer(number(a, 0, "width", 80))};
         return callMethod(r, r.text(r.toText(v)), "center", width);
     }},
    {"count", lengthFilter},
    {"d", defaultFilter},
    {"default", defaultFilter},
    {"dictsort", dictSort},
    {"e", escapeFilter},
    {"escape", escapeFilter},
    {"first", firstFilter},
    {"float", floatFilter},
    {"forceescape", forceEscapeFilter},
    {"format", formatFilter},
    {"groupby", groupBy},
    {"indent", indentFilter},
    {"int", intFilter},
    {"items", itemsFilter},
    {"join", joinFilter},
    {"last", lastFilter},
    {"length", lengthFilter},
    {"list", [](Interpreter &r, const Value &v, const Arguments &) { return r.list(r.iterate(v)); }},
    {"lower", [](Interpreter &r, const Value &v, const Arguments &) { return recased(r, r.toText(v), false); }},
    {"map", mapFilter},
    {"max", [](Interpreter &r, const Value &v, const Arguments &a) { return extremum(r, v, a, true); }},
    {"min", [](Interpreter &r, const Value &v, const Arguments &a) { return extremum(r, v, a, false); }},
    {"reject", [](Interpreter &r, const Value &v, const Arguments &a) { return selectFilter(r, v, a, false, false); }},
    {"rejectattr",
     [](Interpreter &r, const Value &v, const Arguments &a) { return selectFilter(r, v, a, true, false); }},
    {"replace", replaceFilter},
    {"reverse", reverseFilter},
    {"round", roundFilter},
    {"safe", safeFilter},
    {"select", [](Interpreter &r, const Value &v, const Arguments &a) { return selectFilter(r, v, a, false, true); }},
    {"selectattr",
     [](Interpreter &r, const Value &v, const Arguments &a) { return selectFilter(r, v, a, true, true); }},
    {"slice", sliceFilter},
    {"sort", sortFilter},
    {"string", sameText},
    {"sum", sumFilter},
    {"title", [](Interpreter &r, const Value &v, const Arguments &) { return titled(r, r.toText(v), true); }},
    {"tojson", toJsonFilter},
    {"trim", trimFilter},
    {"truncate", truncateFilter},
    {"unique", uniqueFilter},
    {"upper", [](Interpreter &r, const Value &v, const Arguments &) { return recased(r, r.toText(v), true); }},
    {"wordcount", wordCount},
};

} // namespace

MarkedText escaped(Interpreter &run, const Value &value)
{
    const MarkedText text = run.toText(value);
    if (value.isMarkup())
        return text;
    TextBuilder out(run.budget());
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text.bytes()[at];
        const std::string_view entity = c == '&'    ? "&amp;"
                                        : c == '<'  ? "&lt;"
                                        : c == '>'  ? "&gt;"
                                        : c == '"'  ? "&#34;"
                                        : c == '\'' ? "&#39;"
                                                    : "";
        if (entity.empty())
            out.append(text, at, at + 1);
        else
            out.like(entity, text, at);
    }
    return out.take();
}

Value Interpreter::filter(const std::string &name, const Value &subject, const Arguments &arguments)
{
    m_budget.step();
    const auto found =
        std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto &f) { return f.name == name; });
    if (found == std::end(kFilters))
        throw TemplateError{"the template uses the unknown filter '" + utf8::sanitized(name.substr(0, 60)) + "'"};
    return found->apply(*this, subject, arguments);
}

} // namespace kvilt::text::jinja

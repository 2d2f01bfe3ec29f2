// SPDX-License-Identifier: Apache-2.0
// Methods of strings, mappings and lists.
#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <algorithm>
#include <limits>

namespace kvilt::text::jinja {

namespace {

using Kind = Value::Kind;
using Method = Value (*)(Interpreter &, const Value &, const Arguments &);

struct NamedMethod {
    std::string_view name;
    Method call;
};

const Value &required(const Arguments &a, std::size_t position, std::string_view name, std::string_view method)
{
    const Value *found = a.find(position, name);
    if (!found)
        throw TemplateError{std::string(method) + "() needs the argument '" + std::string(name) + "'"};
    return *found;
}

const MarkedText &requiredText(const Arguments &a, std::size_t position, std::string_view name, std::string_view method)
{
    const Value &value = required(a, position, name, method);
    if (!value.is(Kind::text))
        throw TemplateError{std::string(method) + "() needs a string, not " + std::string(typeName(value))};
    return value.text();
}

std::int64_t optionalInteger(const Arguments &a, std::size_t position, std::string_view name, std::int64_t fallback)
{
    const Value *found = a.find(position, name);
    return found && !found->is(Kind::none) ? toInteger(*found, name) : fallback;
}

// --- strings ---

std::vector<Value> splitAtSpaces(Interpreter &run, const MarkedText &text, std::int64_t limit)
{
    std::vector<Value> parts;
    const std::string &s = text.bytes();
    const auto skip = [&](std::size_t at, bool spaces) {
        while (at < s.size() && isSpace(utf8::decode(s, at).codePoint) == spaces)
            at += utf8::decode(s, at).bytes;
        return at;
    };
    for (std::size_t at = skip(0, true); at < s.size(); --limit) {
        if (limit == 0) {
            parts.push_back(stripped(run, text.part(at, s.size()), nullptr, false, true));
            break;
        }
        const std::size_t end = skip(at, false);
        run.budget().step();
        parts.push_back(run.text(text.part(at, end)));
        at = skip(end, true);
    }
    return parts;
}

std::vector<Value> splitAt(Interpreter &run, const MarkedText &text, const std::string &separator, std::int64_t limit)
{
    std::vector<Value> parts;
    std::size_t done = 0;
    for (std::size_t at = text.bytes().find(separator); at != std::string::npos && limit != 0;
         at = text.bytes().find(separator, done), --limit) {
        run.budget().step();
        parts.push_back(run.text(text.part(done, at)));
        done = at + separator.size();
    }
    parts.push_back(run.text(text.part(done, text.size())));
    return parts;
}

std::vector<Value> splitAtFromRight(Interpreter &run, const MarkedText &text, const std::string &separator,
                                    std::int64_t limit)
{
    std::vector<Value> parts;
    std::size_t end = text.size();
    while (limit != 0 && end >= separator.size()) {
        const std::size_t at = text.bytes().rfind(separator, end - separator.size());
        if (at == std::string::npos)
            break;
        run.budget().step();
        parts.push_back(run.text(text.part(at + separator.size(), end)));
        end = at;
        --limit;
    }
    parts.push_back(run.text(text.part(0, end)));
    std::reverse(parts.begin(), parts.end());
    return parts;
}

Value split(Interpreter &run, const Value &self, const Arguments &a, bool fromRight)
{
    const Value *separator = a.find(0, "sep");
    const std::int64_t limit = optionalInteger(a, 1, "maxsplit", -1);
    run.budget().touch(self.text().size());
    if (!separator || separator->is(Kind::none))
        return run.list(splitAtSpaces(run, self.text(), fromRight ? -1 : limit));
    if (!separator->is(Kind::text) || separator->text().empty())
        throw TemplateError{"split() needs a separator that is not empty"};
    return run.list(fromRight ? splitAtFromRight(run, self.text(), separator->bytes(), limit)
                              : splitAt(run, self.text(), separator->bytes(), limit));
}

Value splitLines(Interpreter &run, const Value &self, const Arguments &a)
{
    const Value *keep = a.find(0, "keepends");
    const std::string &s = self.bytes();
    std::vector<Value> lines;
    for (std::size_t at = 0; at < s.size();) {
        const std::size_t end = std::min(s.find_first_of("\n\r", at), s.size());
        const std::size_t next = std::min(s.size(), end + (s.substr(end, 2) == "\r\n" ? 2 : 1));
        run.budget().step();
        lines.push_back(run.text(self.text().part(at, keep && isTrue(*keep) ? next : end)));
        at = next;
    }
    return run.list(std::move(lines));
}

Value partition(Interpreter &run, const Value &self, const Arguments &a, bool fromRight)
{
    const MarkedText &separator = requiredText(a, 0, "sep", "partition");
    const MarkedText &text = self.text();
    const std::size_t at = fromRight ? text.bytes().rfind(separator.bytes()) : text.bytes().find(separator.bytes());
    if (at == std::string::npos)
        return fromRight ? run.tuple({run.literal(""), run.literal(""), self})
                         : run.tuple({self, run.literal(""), run.literal("")});
    const std::size_t after = at + separator.size();
    return run.tuple(
        {run.text(text.part(0, at)), run.text(text.part(at, after)), run.text(text.part(after, text.size()))});
}

bool affix(const Value &self, const Value &wanted, bool atEnd)
{
    if (wanted.is(Kind::list))
        return std::any_of(wanted.items().begin(), wanted.items().end(),
                           [&](const Value &w) { return affix(self, w, atEnd); });
    if (!wanted.is(Kind::text))
        throw TemplateError{"startswith() and endswith() need a string"};
    return atEnd ? self.bytes().ends_with(wanted.bytes()) : self.bytes().starts_with(wanted.bytes());
}

// Python counts characters, the text counts bytes.
Value findText(const Value &self, const Arguments &a, bool fromRight)
{
    const std::string &needle = requiredText(a, 0, "sub", "find").bytes();
    const std::size_t at = fromRight ? self.bytes().rfind(needle) : self.bytes().find(needle);
    return Value::integer(at == std::string::npos
                              ? -1
                              : static_cast<std::int64_t>(utf8::length(std::string_view(self.bytes()).substr(0, at))));
}

Value countText(const Value &self, const Arguments &a)
{
    const std::string &needle = requiredText(a, 0, "sub", "count").bytes();
    if (needle.empty())
        return Value::integer(static_cast<std::int64_t>(utf8::length(self.bytes())) + 1);
    std::int64_t n = 0;
    for (std::size_t at = self.bytes().find(needle); at != std::string::npos;
         at = self.bytes().find(needle, at + needle.size()))
        ++n;
    return Value::integer(n);
}

Value joinTexts(Interpreter &run, const Value &self, const Arguments &a)
{
    TextBuilder out(run.budget());
    bool first = true;
    for (const Value &part : run.iterate(required(a, 0, "iterable", "join"))) {
        if (!part.is(Kind::text))
            throw TemplateError{"join() needs strings, not " + std::string(typeName(part))};
        if (!std::exchange(first, false))
            out.append(self.text());
        out.append(part.text());
    }
    return out.value();
}

Value pad(Interpreter &run, const Value &self, const Arguments &a, char mode)
{
    const std::int64_t width = toInteger(required(a, 0, "width", "padding"), "a width");
    const auto length = static_cast<std::int64_t>(utf8::length(self.bytes()));
    if (width <= length)
        return self;
    const auto room = static_cast<std::uint64_t>(width - length);
    run.budget().expect(room);
    const Value *fill = a.find(1, "fillchar");
    const MarkedText one = mode == 'z'                    ? MarkedText::literal("0")
                           : fill && fill->is(Kind::text) ? fill->text()
                                                          : MarkedText::literal(" ");
    const std::uint64_t left = mode == 'r' || mode == 'z' ? room
                               : mode == 'c'              ? room / 2 + (room & static_cast<std::uint64_t>(width) & 1)
                                                          : 0;
    TextBuilder out(run.budget());
    for (std::uint64_t i = 0; i < left; ++i)
        out.append(one);
    out.append(self.text());
    for (std::uint64_t i = left; i < room; ++i)
        out.append(one);
    return out.value();
}

template <typename Test>
Value allCharacters(const Value &self, Test holds)
{
    const std::string &s = self.bytes();
    for (std::size_t at = 0; at < s.size(); at += utf8::decode(s, at).bytes) {
        if (!holds(utf8::decode(s, at).codePoint))
            return Value::boolean(false);
    }
    return Value::boolean(!s.empty());
}

bool isLetter(char32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= 0x80 && toUpper(c) != toLower(c)) || c >= 0x3040;
}

bool isDigitCharacter(char32_t c)
{
    return c >= '0' && c <= '9';
}

Value isCase(const Value &self, bool upper)
{
    bool cased = false;
    const std::string &s = self.bytes();
    for (std::size_t at = 0; at < s.size(); at += utf8::decode(s, at).bytes) {
        const char32_t c = utf8::decode(s, at).codePoint;
        if (upper ? toUpper(c) != c : toLower(c) != c)
            return Value::boolean(false);
        cased |= toUpper(c) != c || toLower(c) != c;
    }
    return Value::boolean(cased);
}

Value cutAffix(Interpreter &run, const Value &self, const Arguments &a, bool atEnd)
{
    const std::string &cut = requiredText(a, 0, "prefix", "removeprefix").bytes();
    if (!(atEnd ? self.bytes().ends_with(cut) : self.bytes().starts_with(cut)))
        return self;
    return run.text(atEnd ? self.text().part(0, self.text().size() - cut.size())
                          : self.text().part(cut.size(), self.text().size()));
}

// "{}", "{0}", "{name}", "{:>8.2f}", "{!r}"; "{x.attribute}" is not walked: the sandbox would have to guard it.
Value formatBraces(Interpreter &run, const Value &self, const Arguments &a)
{
    const std::string &s = self.bytes();
    TextBuilder out(run.budget());
    std::size_t automatic = 0;
    for (std::size_t at = 0; at < s.size();) {
        const std::size_t brace = std::min(s.find_first_of("{}", at), s.size());
        out.append(self.text(), at, brace);
        if (brace == s.size())
            break;
        if (brace + 1 < s.size() && s[brace + 1] == s[brace]) {
            out.append(self.text(), brace, brace + 1);
            at = brace + 2;
            continue;
        }
        const std::size_t close = s.find('}', brace);
        if (s[brace] == '}' || close == std::string::npos)
            throw TemplateError{"format() has a single brace"};
        const std::string whole = s.substr(brace + 1, close - brace - 1);
        const std::size_t colon = std::min(whole.find(':'), whole.size());
        const std::string spec = whole.substr(std::min(colon + 1, whole.size()));
        const std::size_t bang = std::min(whole.find('!'), colon);
        const std::string conversion = whole.substr(bang, colon - bang), field = whole.substr(0, bang);
        if (spec.find('{') != std::string::npos || (!conversion.empty() && conversion != "!r" && conversion != "!s"))
            throw TemplateError{"format() cannot read the field '" + utf8::sanitized(whole.substr(0, 40)) + "'"};
        const bool number =
            std::all_of(field.begin(), field.end(), [](char c) { return c >= '0' && c <= '9'; }) && field.size() < 6;
        const std::size_t position = field.empty() ? automatic++
                                     : number      ? std::stoul(field)
                                                   : std::numeric_limits<std::size_t>::max();
        const Value *value = a.find(position, field);
        if (!value)
            throw TemplateError{"format() has no value for the field '" + utf8::sanitized(field.substr(0, 40)) + "'"};
        const Value shown = conversion == "!r"   ? run.text(reprOf(run, *value))
                            : conversion == "!s" ? run.text(run.toText(*value))
                                                 : *value;
        out.append(formatField(run, spec, shown));
        at = close + 1;
    }
    return out.value();
}

const Value *argument0(const Arguments &a)
{
    return a.find(0, "chars");
}

constexpr NamedMethod kTextMethods[] = {
    {"strip", [](Interpreter &r, const Value &s,
                 const Arguments &a) { return stripped(r, s.text(), argument0(a), true, true); }},
    {"lstrip", [](Interpreter &r, const Value &s,
                  const Arguments &a) { return stripped(r, s.text(), argument0(a), true, false); }},
    {"rstrip", [](Interpreter &r, const Value &s,
                  const Arguments &a) { return stripped(r, s.text(), argument0(a), false, true); }},
    {"split", [](Interpreter &r, const Value &s, const Arguments &a) { return split(r, s, a, false); }},
    {"rsplit", [](Interpreter &r, const Value &s, const Arguments &a) { return split(r, s, a, true); }},
    {"splitlines", splitLines},
    {"partition", [](Interpreter &r, const Value &s, const Arguments &a) { return partition(r, s, a, false); }},
    {"rpartition", [](Interpreter &r, const Value &s, const Arguments &a) { return partition(r, s, a, true); }},
    {"startswith",
     [](Interpreter &, const Value &s, const Arguments &a) {
         return Value::boolean(affix(s, required(a, 0, "prefix", "startswith"), false));
     }},
    {"endswith",
     [](Interpreter &, const Value &s, const Arguments &a) {
         return Value::boolean(affix(s, required(a, 0, "suffix", "endswith"), true));
     }},
    {"replace",
     [](Interpreter &r, const Value &s, const Arguments &a) {
         return replaced(r, s.text(), requiredText(a, 0, "old", "replace").bytes(),
                         requiredText(a, 1, "new", "replace"), optionalInteger(a, 2, "count", -1));
     }},
    {"upper", [](Interpreter &r, const Value &s, const Arguments &) { return recased(r, s.text(), true); }},
    {"lower", [](Interpreter &r, const Value &s, const Arguments &) { return recased(r, s.text(), false); }},
    {"capitalize", [](Interpreter &r, const Value &s, const Arguments &) { return capitalized(r, s.text()); }},
    {"title", [](Interpreter &r, const Value &s, const Arguments &) { return titled(r, s.text(), false); }},
    {"find", [](Interpreter &, const Value &s, const Arguments &a) { return findText(s, a, false); }},
    {"rfind", [](Interpreter &, const Value &s, const Arguments &a) { return findText(s, a, true); }},
    {"index",
     [](Interpreter &, const Value &s, const Arguments &a) {
         Value at = findText(s, a, false);
         if (at.asInteger() < 0)
             throw TemplateError{"index() does not find its string"};
         return at;
     }},
    {"count", [](Interpreter &, const Value &s, const Arguments &a) { return countText(s, a); }},
    {"join", joinTexts},
    {"format", formatBraces},
    {"ljust", [](Interpreter &r, const Value &s, const Arguments &a) { return pad(r, s, a, 'l'); }},
    {"rjust", [](Interpreter &r, const Value &s, const Arguments &a) { return pad(r, s, a, 'r'); }},
    {"center", [](Interpreter &r, const Value &s, const Arguments &a) { return pad(r, s, a, 'c'); }},
    {"zfill", [](Interpreter &r, const Value &s, const Arguments &a) { return pad(r, s, a, 'z'); }},
    {"isdigit", [](Interpreter &, const Value &s, const Arguments &) { return allCharacters(s, isDigitCharacter); }},
    {"isnumeric", [](Interpreter &, const Value &s, const Arguments &) { return allCharacters(s, isDigitCharacter); }},
    {"isspace", [](Interpreter &, const Value &s, const Arguments &) { return allCharacters(s, isSpace); }},
    {"isalpha", [](Interpreter &, const Value &s, const Arguments &) { return allCharacters(s, isLetter); }},
    {"isalnum",
     [](Interpreter &, const Value &s,
        const Arguments &) { return allCharacters(s, [](char32_t c) { return isLetter(c) || isDigitCharacter(c); }); }},
    {"isupper", [](Interpreter &, const Value &s, const Arguments &) { return isCase(s, true); }},
    {"islower", [](Interpreter &, const Value &s, const Arguments &) { return isCase(s, false); }},
    {"removeprefix", [](Interpreter &r, const Value &s, const Arguments &a) { return cutAffix(r, s, a, false); }},
    {"removesuffix", [](Interpreter &r, const Value &s, const Arguments &a) { return cutAffix(r, s, a, true); }},
};

// --- mappings and lists ---

Value dictItems(Interpreter &run, const Value &self, const Arguments &)
{
    std::vector<Value> items;
    for (const auto &[key, value] : self.entries()) {
        run.budget().step();
        items.push_back(run.tuple({key, value}));
    }
    return run.list(std::move(items));
}

Value dictValues(Interpreter &run, const Value &self, const Arguments &)
{
    std::vector<Value> values;
    for (const auto &[key, value] : self.entries())
        values.push_back(value);
    run.budget().step(values.size());
    return run.list(std::move(values));
}

Value dictGet(Interpreter &run, const Value &self, const Arguments &a)
{
    const Value &wanted = required(a, 0, "key", "get");
    run.budget().step(1 + self.entries().size() / 16);
    for (const auto &[key, value] : self.entries()) {
        if (equal(key, wanted))
            return value;
    }
    const Value *fallback = a.find(1, "default");
    return fallback ? *fallback : Value::none();
}

Value refuseChange(Interpreter &, const Value &, const Arguments &)
{
    throw TemplateError{"the template changes a list or a mapping, which the sandbox does not allow"};
}

constexpr NamedMethod kDictMethods[] = {
    {"items", dictItems},
    {"keys", [](Interpreter &r, const Value &s, const Arguments &) { return r.list(r.iterate(s)); }},
    {"values", dictValues},
    {"get", dictGet},
    {"copy", [](Interpreter &, const Value &s, const Arguments &) { return s; }},
    {"pop", refuseChange},
    {"update", refuseChange},
    {"clear", refuseChange},
    {"setdefault", refuseChange},
    {"popitem", refuseChange},
};

Value listIndex(Interpreter &run, const Value &self, const Arguments &a)
{
    const Value &wanted = required(a, 0, "value", "index");
    run.budget().step(1 + self.items().size());
    const auto found =
        std::find_if(self.items().begin(), self.items().end(), [&](const Value &v) { return equal(v, wanted); });
    if (found == self.items().end())
        throw TemplateError{"index() does not find its value"};
    return Value::integer(found - self.items().begin());
}

Value listCount(Interpreter &run, const Value &self, const Arguments &a)
{
    const Value &wanted = required(a, 0, "value", "count");
    run.budget().step(1 + self.items().size());
    return Value::integer(
        std::count_if(self.items().begin(), self.items().end(), [&](const Value &v) { return equal(v, wanted); }));
}

constexpr NamedMethod kListMethods[] = {
    {"index", listIndex},
    {"count", listCount},
    {"copy", [](Interpreter &, const Value &s, const Arguments &) { return s; }},
    {"append", refuseChange},
    {"extend", refuseChange},
    {"insert", refuseChange},
    {"pop", refuseChange},
    {"remove", refuseChange},
    {"clear", refuseChange},
    {"reverse", refuseChange},
    {"sort", refuseChange},
};

template <std::size_t N>
Method findIn(const NamedMethod (&methods)[N], std::string_view name)
{
    const auto found =
        std::find_if(std::begin(methods), std::end(methods), [&](const NamedMethod &m) { return m.name == name; });
    return found == std::end(methods) ? nullptr : found->call;
}

Method findMethod(const Value &owner, std::string_view name)
{
    switch (owner.kind()) {
    case Kind::text: return findIn(kTextMethods, name);
    case Kind::dict: return findIn(kDictMethods, name);
    case Kind::list: return findIn(kListMethods, name);
    default: return nullptr;
    }
}

} // namespace

bool hasMethod(const Value &owner, std::string_view name)
{
    return findMethod(owner, name) != nullptr;
}

Value callMethod(Interpreter &run, const Value &owner, std::string_view name, const Arguments &arguments)
{
    run.budget().step();
    const Method method = findMethod(owner, name);
    if (!method)
        throw TemplateError{std::string(typeName(owner)) + " has no method '" + utf8::sanitized(name.substr(0, 60)) +
                            "'"};
    run.budget().touch(owner.is(Kind::text) ? owner.text().size() : 0);
    return method(run, owner, arguments);
}

} // namespace kvilt::text::jinja

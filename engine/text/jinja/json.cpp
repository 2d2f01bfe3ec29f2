// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/json.h"

#include "engine/text/jinja/interpreter.h"
#include "engine/text/utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace kvilt::text::jinja {

namespace {

using Json = nlohmann::ordered_json;
using Kind = Value::Kind;

// Brackets outside of strings, so that a deep document is refused before anything recurses over it.
unsigned nesting(std::string_view json)
{
    unsigned depth = 0, deepest = 0;
    bool inString = false;
    for (std::size_t i = 0; i < json.size(); ++i) {
        const char c = json[i];
        if (inString) {
            i += c == '\\' ? 1 : 0;
            inString = c != '"';
        } else if (c == '"') {
            inString = true;
        } else if (c == '[' || c == '{') {
            deepest = std::max(deepest, ++depth);
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return deepest;
}

class Converter {
public:
    Converter(Budget &budget, const SourceOf &sourceOf) : m_budget(budget), m_sourceOf(sourceOf) {}

    Value convert(const Json &json, std::string_view key, unsigned depth)
    {
        m_budget.step();
        switch (json.type()) {
        case Json::value_t::boolean: return Value::boolean(json.get<bool>());
        case Json::value_t::number_integer: return Value::integer(json.get<std::int64_t>());
        case Json::value_t::number_unsigned: {
            const auto number = json.get<std::uint64_t>();
            return number > std::uint64_t(INT64_MAX) ? Value::real(static_cast<double>(number))
                                                     : Value::integer(static_cast<std::int64_t>(number));
        }
        case Json::value_t::number_float: return Value::real(json.get<double>());
        case Json::value_t::string: return string(json.get_ref<const std::string &>(), key);
        case Json::value_t::array: return array(json, depth);
        case Json::value_t::object: return object(json, depth);
        default: return Value::none();
        }
    }

private:
    Value string(const std::string &s, std::string_view key)
    {
        return Value::text(&m_budget, MarkedText::from(s, m_sourceOf(key, s)));
    }

    Value array(const Json &json, unsigned depth)
    {
        std::vector<Value> items;
        for (const Json &item : json)
            items.push_back(convert(item, {}, depth + 1));
        return Value::list(&m_budget, std::move(items));
    }

    Value object(const Json &json, unsigned depth)
    {
        std::vector<std::pair<Value, Value>> entries;
        for (const auto &[name, value] : json.items())
            entries.emplace_back(string(name, {}),
                                 convert(value, depth == 0 ? std::string_view(name) : std::string_view(), depth + 1));
        return Value::dict(&m_budget, std::move(entries));
    }

    Budget &m_budget;
    const SourceOf &m_sourceOf;
};

// json.dumps as transformers calls it.
class Writer {
public:
    Writer(Interpreter &run, const Arguments &options) : m_run(run), m_out(run.budget())
    {
        const auto option = [&](std::size_t position, std::string_view name) {
            const Value *found = options.find(position, name);
            return found && !found->is(Kind::none) ? *found : Value();
        };
        m_ascii = isTrue(option(0, "ensure_ascii"));
        const Value indent = option(1, "indent");
        m_indents = !indent.is(Kind::undefined);
        if (indent.is(Kind::text))
            m_indent = indent.bytes();
        else if (m_indents)
            m_indent.assign(static_cast<std::size_t>(std::clamp<std::int64_t>(toInteger(indent, "indent"), 0, 64)),
                            ' ');
        const Value separators = option(2, "separators");
        m_itemSeparator = separators.items().size() == 2 ? separators.items()[0].bytes() : m_indents ? "," : ", ";
        m_keySeparator = separators.items().size() == 2 ? separators.items()[1].bytes() : ": ";
        m_sorted = isTrue(option(3, "sort_keys"));
    }

    MarkedText write(const Value &value)
    {
        one(value, 0);
        return m_out.take();
    }

private:
    void one(const Value &value, unsigned depth)
    {
        m_run.budget().step();
        switch (value.kind()) {
        case Kind::none: return m_out.literal("null");
        case Kind::boolean: return m_out.literal(isTrue(value) ? "true" : "false");
        case Kind::integer: return m_out.append(m_run.toText(value));
        case Kind::real: return real(value.asReal());
        case Kind::text: return string(value.text());
        case Kind::list:
            if (value.isGenerator())
                throw TemplateError{"tojson cannot write a generator; make a list of it first"};
            return list(value.items(), depth);
        case Kind::dict: return dict(value, depth);
        default: throw TemplateError{"tojson cannot write " + std::string(typeName(value))};
        }
    }

    void real(double d)
    {
        m_out.literal(std::isnan(d) ? "NaN" : std::isinf(d) ? (d < 0 ? "-Infinity" : "Infinity") : realToText(d));
    }

    void newLine(unsigned depth)
    {
        if (!m_indents)
            return;
        m_out.literal("\n");
        for (unsigned i = 0; i < depth; ++i)
            m_out.literal(m_indent);
    }

    void list(const std::vector<Value> &items, unsigned depth)
    {
        m_out.literal("[");
        for (std::size_t i = 0; i < items.size(); ++i) {
            m_out.literal(i > 0 ? m_itemSeparator : "");
            newLine(depth + 1);
            one(items[i], depth + 1);
        }
        if (!items.empty())
            newLine(depth);
        m_out.literal("]");
    }

    void dict(const Value &value, unsigned depth)
    {
        auto entries = value.entries();
        if (m_sorted)
            std::stable_sort(entries.begin(), entries.end(),
                             [](const auto &a, const auto &b) { return less(a.first, b.first); });
        m_out.literal("{");
        for (std::size_t i = 0; i < entries.size(); ++i) {
            m_out.literal(i > 0 ? m_itemSeparator : "");
            newLine(depth + 1);
            const Value &name = entries[i].first;
            if (name.is(Kind::text))
                string(name.text());
            else
                quotedNumber(name, depth);
            m_out.literal(m_keySeparator);
            one(entries[i].second, depth + 1);
        }
        if (!entries.empty())
            newLine(depth);
        m_out.literal("}");
    }

    void quotedNumber(const Value &value, unsigned depth)
    {
        m_out.literal("\"");
        one(value, depth);
        m_out.literal("\"");
    }

    void unicodeEscape(char32_t code, const MarkedText &text, std::size_t at)
    {
        char buffer[16];
        if (code >= 0x10000) {
            unicodeEscape(0xD7C0 + (code >> 10), text, at);
            code = 0xDC00 + (code & 0x3FF);
        }
        std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(code));
        m_out.like(buffer, text, at);
    }

    void string(const MarkedText &text)
    {
        static constexpr std::string_view kFrom = "\"\\\n\r\t\b\f";
        static constexpr std::string_view kTo = "\"\\nrtbf";
        const std::string &bytes = text.bytes();
        m_out.literal("\"");
        std::size_t plain = 0; // what stands unescaped is copied in one go
        for (std::size_t at = 0; at < bytes.size();) {
            const utf8::Decoded c = utf8::decode(bytes, at);
            const std::size_t simple = kFrom.find(bytes[at]);
            const bool control = c.codePoint < 0x20 || (m_ascii && c.codePoint > 0x7E);
            if (simple != std::string_view::npos || control) {
                m_out.append(text, plain, at);
                if (simple != std::string_view::npos)
                    m_out.like(std::string("\\") + kTo[simple], text, at);
                else
                    unicodeEscape(c.codePoint, text, at);
                plain = at + c.bytes;
            }
            at += c.bytes;
        }
        m_out.append(text, plain, bytes.size());
        m_out.literal("\"");
    }

    Interpreter &m_run;
    TextBuilder m_out;
    bool m_ascii = false, m_indents = false, m_sorted = false;
    std::string m_indent, m_itemSeparator, m_keySeparator;
};

} // namespace

Value fromJson(Budget &budget, std::string_view json, std::string_view what, const SourceOf &sourceOf)
{
    if (nesting(json) > 90)
        throw TemplateError{std::string(what) + " are nested more than 90 deep", true};
    budget.expect(json.size());
    const Json document = Json::parse(json, nullptr, false);
    if (document.is_discarded())
        throw TemplateError{std::string(what) + " are not valid JSON", true};
    return Converter(budget, sourceOf).convert(document, {}, 0);
}

bool isJson(std::string_view text)
{
    return nesting(text) <= 90 && nlohmann::json::accept(text);
}

MarkedText Interpreter::toJson(const Value &value, const Arguments &options)
{
    return Writer(*this, options).write(value);
}

} // namespace kvilt::text::jinja

// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/value.h"

#include <algorithm>

namespace kvilt::text::jinja {

namespace {

unsigned deeper(unsigned depth)
{
    if (depth >= kMaxValueDepth)
        throw TemplateError{"lists and mappings are nested more than 100 deep"};
    return depth + 1;
}

} // namespace

Value Value::boolean(bool b)
{
    Value v(Kind::boolean);
    v.m_integer = b ? 1 : 0;
    return v;
}

Value Value::integer(std::int64_t i)
{
    Value v(Kind::integer);
    v.m_integer = i;
    return v;
}

Value Value::real(double d)
{
    Value v(Kind::real);
    v.m_real = d;
    return v;
}

Value Value::object(Kind kind, std::shared_ptr<Object> object)
{
    Value v(kind);
    v.m_object = std::move(object);
    return v;
}

Value Value::text(Budget *budget, MarkedText text)
{
    auto made = std::make_shared<TextObject>(budget, std::move(text));
    made->hold(sizeof(TextObject) + made->text.footprint());
    return object(Kind::text, std::move(made));
}

Value Value::markup(Budget *budget, MarkedText text)
{
    Value made = Value::text(budget, std::move(text));
    static_cast<TextObject &>(*made.m_object).markup = true;
    return made;
}

Value Value::generator(Budget *budget, std::vector<Value> items)
{
    Value made = Value::list(budget, std::move(items));
    static_cast<ListObject &>(*made.m_object).generator = true;
    return made;
}

Value Value::list(Budget *budget, std::vector<Value> items, bool tuple)
{
    auto made = std::make_shared<ListObject>(budget, std::move(items), tuple);
    made->hold(sizeof(ListObject) + made->items.capacity() * sizeof(Value));
    for (const Value &item : made->items)
        made->depth = std::max(made->depth, deeper(item.depth()));
    return object(Kind::list, std::move(made));
}

Value Value::dict(Budget *budget, std::vector<std::pair<Value, Value>> entries)
{
    auto made = std::make_shared<DictObject>(budget, std::move(entries));
    made->hold(sizeof(DictObject) + made->entries.capacity() * 2 * sizeof(Value));
    for (const auto &[key, value] : made->entries)
        made->depth = std::max({made->depth, deeper(key.depth()), deeper(value.depth())});
    return object(Kind::dict, std::move(made));
}

const MarkedText &Value::text() const
{
    static const MarkedText empty;
    return m_kind == Kind::text ? static_cast<const TextObject &>(*m_object).text : empty;
}

const std::vector<Value> &Value::items() const
{
    static const std::vector<Value> empty;
    return m_kind == Kind::list ? static_cast<const ListObject &>(*m_object).items : empty;
}

bool Value::isTuple() const
{
    return m_kind == Kind::list && static_cast<const ListObject &>(*m_object).tuple;
}

bool Value::isGenerator() const
{
    return m_kind == Kind::list && static_cast<const ListObject &>(*m_object).generator;
}

bool Value::isMarkup() const
{
    return m_kind == Kind::text && static_cast<const TextObject &>(*m_object).markup;
}

const std::vector<std::pair<Value, Value>> &Value::entries() const
{
    static const std::vector<std::pair<Value, Value>> empty;
    return m_kind == Kind::dict ? static_cast<const DictObject &>(*m_object).entries : empty;
}

NamespaceObject &Value::nameSpace() const
{
    return static_cast<NamespaceObject &>(*m_object);
}

const CallableObject &Value::callable() const
{
    return static_cast<const CallableObject &>(*m_object);
}

LoopObject &Value::loop() const
{
    return static_cast<LoopObject &>(*m_object);
}

unsigned Value::depth() const
{
    if (m_kind == Kind::list)
        return static_cast<const ListObject &>(*m_object).depth;
    return m_kind == Kind::dict ? static_cast<const DictObject &>(*m_object).depth : 0;
}

const Value *Value::find(std::string_view key) const
{
    for (const auto &[name, value] : entries()) {
        if (name.is(Kind::text) && name.bytes() == key)
            return &value;
    }
    return nullptr;
}

const Value *Arguments::find(std::size_t position, std::string_view name) const
{
    if (position < positional.size())
        return &positional[position];
    for (const auto &[key, value] : named) {
        if (key == name)
            return &value;
    }
    return nullptr;
}

bool isTrue(const Value &v)
{
    switch (v.kind()) {
    case Value::Kind::undefined:
    case Value::Kind::none: return false;
    case Value::Kind::boolean:
    case Value::Kind::integer: return v.asInteger() != 0;
    case Value::Kind::real: return v.asReal() != 0;
    case Value::Kind::text: return !v.text().empty();
    case Value::Kind::list: return v.isGenerator() || !v.items().empty();
    case Value::Kind::dict: return !v.entries().empty();
    default: return true;
    }
}

bool equal(const Value &a, const Value &b)
{
    if (a.isNumber() && b.isNumber())
        return a.isInteger() && b.isInteger() ? a.asInteger() == b.asInteger() : a.asReal() == b.asReal();
    if (a.kind() != b.kind())
        return false;
    if (a.is(Value::Kind::text))
        return a.bytes() == b.bytes();
    if (a.is(Value::Kind::list))
        return a.isTuple() == b.isTuple() && a.isGenerator() == b.isGenerator() &&
               std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), equal);
    if (a.is(Value::Kind::dict)) {
        const auto holds = [&](const auto &entry) {
            return std::any_of(b.entries().begin(), b.entries().end(), [&](const auto &other) {
                return equal(entry.first, other.first) && equal(entry.second, other.second);
            });
        };
        return a.entries().size() == b.entries().size() && std::all_of(a.entries().begin(), a.entries().end(), holds);
    }
    return a.identity() == b.identity(); // none, undefined: both have no object
}

bool less(const Value &a, const Value &b)
{
    if (a.isNumber() && b.isNumber())
        return a.isInteger() && b.isInteger() ? a.asInteger() < b.asInteger() : a.asReal() < b.asReal();
    if (a.is(Value::Kind::text) && b.is(Value::Kind::text))
        return a.bytes() < b.bytes(); // UTF-8 sorts as its code points do
    if (a.is(Value::Kind::list) && b.is(Value::Kind::list))
        return std::lexicographical_compare(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                                            less);
    throw TemplateError{"'<' has no meaning between " + std::string(typeName(a)) + " and " + std::string(typeName(b))};
}

std::string_view typeName(const Value &value)
{
    switch (value.kind()) {
    case Value::Kind::undefined: return "an undefined value";
    case Value::Kind::none: return "none";
    case Value::Kind::boolean: return "a boolean";
    case Value::Kind::integer: return "an integer";
    case Value::Kind::real: return "a number";
    case Value::Kind::text: return "a string";
    case Value::Kind::list: return value.isGenerator() ? "a generator" : value.isTuple() ? "a tuple" : "a list";
    case Value::Kind::dict: return "a mapping";
    case Value::Kind::name_space: return "a namespace";
    case Value::Kind::callable: return "a function";
    case Value::Kind::loop: return "a loop";
    }
    return "a value";
}

} // namespace kvilt::text::jinja

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/jinja/budget.h"
#include "engine/text/jinja/marked_text.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Python's values as far as templates use them. Everything but a namespace is immutable, as in the sandbox that the
// reference runs, so values share what they hold.
namespace kvilt::text::jinja {

// What a value holds on the heap, counted against the render's memory while it lives. Constants of a parsed template
// have no budget: they live with the template.
struct Object {
    explicit Object(Budget *owner) : budget(owner) {}
    virtual ~Object()
    {
        if (budget)
            budget->release(held);
    }
    Object(const Object &) = delete;
    Object &operator=(const Object &) = delete;
    void hold(std::size_t bytes)
    {
        if (budget)
            budget->hold(bytes);
        held += bytes;
    }
    Budget *budget;
    std::size_t held = 0;
};

struct TextObject;
struct ListObject;
struct DictObject;
struct NamespaceObject;
struct CallableObject;
struct LoopObject;

class Value {
public:
    enum class Kind : std::uint8_t {
        undefined,
        none,
        boolean,
        integer,
        real,
        text,
        list,
        dict,
        name_space,
        callable,
        loop
    };

    Value() = default; // undefined
    static Value none() { return Value(Kind::none); }
    static Value boolean(bool b);
    static Value integer(std::int64_t i);
    static Value real(double d);
    static Value text(Budget *budget, MarkedText text);
    static Value markup(Budget *budget, MarkedText text); // a text that says it is HTML: "..."|safe
    static Value literal(Budget *budget, std::string_view bytes) { return text(budget, MarkedText::literal(bytes)); }
    static Value list(Budget *budget, std::vector<Value> items, bool tuple = false);
    // What map, select and their like give: goes through a loop, has no length, no places and no JSON.
    static Value generator(Budget *budget, std::vector<Value> items);
    static Value dict(Budget *budget, std::vector<std::pair<Value, Value>> entries);
    static Value object(Kind kind, std::shared_ptr<Object> object);

    Kind kind() const { return m_kind; }
    bool is(Kind kind) const { return m_kind == kind; }
    bool isNumber() const { return m_kind == Kind::boolean || m_kind == Kind::integer || m_kind == Kind::real; }
    bool isInteger() const { return m_kind == Kind::boolean || m_kind == Kind::integer; }
    std::int64_t asInteger() const { return m_kind == Kind::real ? 0 : m_integer; }
    double asReal() const { return m_kind == Kind::real ? m_real : static_cast<double>(m_integer); }

    const MarkedText &text() const;
    const std::string &bytes() const { return text().bytes(); }
    const std::vector<Value> &items() const;
    bool isTuple() const;
    bool isGenerator() const;
    bool isMarkup() const;
    const std::vector<std::pair<Value, Value>> &entries() const;
    NamespaceObject &nameSpace() const;
    const CallableObject &callable() const;
    LoopObject &loop() const;
    unsigned depth() const; // of containers in containers

    const Value *find(std::string_view key) const; // a dict's value by text key; null when absent
    const Object *identity() const { return m_object.get(); }

private:
    explicit Value(Kind kind) : m_kind(kind) {}
    Kind m_kind = Kind::undefined;
    union {
        std::int64_t m_integer = 0;
        double m_real;
    };
    std::shared_ptr<Object> m_object;
};

inline constexpr unsigned kMaxValueDepth = 100;

struct TextObject : Object {
    TextObject(Budget *owner, MarkedText t) : Object(owner), text(std::move(t)) {}
    MarkedText text;
    bool markup = false;
};

struct ListObject : Object {
    ListObject(Budget *owner, std::vector<Value> i, bool t) : Object(owner), items(std::move(i)), tuple(t) {}
    std::vector<Value> items;
    bool tuple;
    bool generator = false;
    unsigned depth = 1;
};

struct DictObject : Object {
    DictObject(Budget *owner, std::vector<std::pair<Value, Value>> e) : Object(owner), entries(std::move(e)) {}
    std::vector<std::pair<Value, Value>> entries; // in order of insertion, keys unique
    unsigned depth = 1;
};

// The one mutable value. May hold itself, so the interpreter empties all of them when it ends.
struct NamespaceObject : Object {
    using Object::Object;
    std::vector<std::pair<std::string, Value>> attributes;
};

struct Arguments {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> named;

    // The argument by position or name; null when not given.
    const Value *find(std::size_t position, std::string_view name) const;
};

class Interpreter;

struct CallableObject : Object {
    using Function = std::function<Value(Interpreter &, const Arguments &)>;
    CallableObject(Budget *owner, std::string n, Function f) : Object(owner), name(std::move(n)), call(std::move(f)) {}
    std::string name;
    Function call;
};

struct LoopObject : Object {
    using Object::Object;
    std::vector<Value> items;
    std::size_t index = 0;
    unsigned depth = 1;
    CallableObject::Function recurse; // empty unless the loop is recursive
    std::vector<Value> lastChanged;
    bool hasChanged = false;
};

bool isTrue(const Value &value);
bool equal(const Value &a, const Value &b);
// a < b; throws where Python has no order.
bool less(const Value &a, const Value &b);
std::string_view typeName(const Value &value); // Python's name, for messages

} // namespace kvilt::text::jinja

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/jinja/value.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace kvilt::text::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<const Expression>;
using Body = std::vector<std::unique_ptr<const Statement>>;

struct CallArguments {
    std::vector<ExpressionPtr> positional;
    std::vector<std::pair<std::string, ExpressionPtr>> named;
};

enum class ExpressionKind : std::uint8_t {
    constant, // value
    name,     // name
    list,
    tuple,     // operands
    dict,      // operands: key, value, key, value, ...
    attribute, // operands[0] . name
    item,      // operands[0] [ operands[1] ]
    slice,     // operands[0] [ operands[1] : operands[2] : operands[3] ], each may be null
    call,      // operands[0] ( arguments )
    filter,    // operands[0] | name ( arguments ); operands[0] null in a filter block
    test,      // operands[0] is name ( arguments )
    negate,
    plus,
    logicalNot, // operands[0]
    logicalAnd,
    logicalOr,   // operands[0], operands[1]
    binary,      // name: + - * / // % **
    concat,      // operands, any number
    compare,     // operands[0] comparisons[0] operands[1] comparisons[1] ...
    conditional, // operands[0] if operands[1] else operands[2] (may be null)
};

struct Expression {
    ExpressionKind kind = ExpressionKind::constant;
    std::uint32_t line = 1;
    std::uint32_t depth = 1; // of the tree below, itself included
    Value value;
    std::string name;
    std::vector<ExpressionPtr> operands;
    std::vector<std::string> comparisons;
    CallArguments arguments;
};

// What a loop or a set assigns to: one name, several that unpack a sequence, or an attribute of a namespace.
struct Target {
    std::vector<std::string> names;
    std::string attribute; // of names[0]
    bool unpacks = false;
};

struct MacroSignature {
    std::string name;
    std::vector<std::pair<std::string, ExpressionPtr>> parameters; // a null default: the parameter has none
};

enum class StatementKind : std::uint8_t {
    data,        // text
    output,      // expressions, each written
    forLoop,     // target in expressions[0] if expressions[1] (may be null): body, else orElse
    branches,    // if expressions[0]: bodies[0], elif ...; orElse
    set,         // target = expressions[0]
    setBlock,    // target = body through expressions[0] (a filter chain; may be null)
    macro,       // signature, body
    callBlock,   // expressions[0] is the call; signature, body give caller()
    filterBlock, // expressions[0] is the filter chain; body
    with,        // signature.parameters are names and values; body
    scope,       // body, in a scope of its own (generation, block)
    breakLoop,
    continueLoop,
};

struct Statement {
    StatementKind kind = StatementKind::data;
    std::uint32_t line = 1;
    MarkedText text;
    std::vector<ExpressionPtr> expressions;
    Target target;
    bool recursive = false;
    MacroSignature signature;
    Body body;
    std::vector<Body> bodies;
    Body orElse;
};

// A parsed template; immutable, shared by renders.
struct Program {
    Body body;
};

} // namespace kvilt::text::jinja

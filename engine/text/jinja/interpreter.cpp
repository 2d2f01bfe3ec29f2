// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/interpreter.h"

#include <algorithm>

namespace kvilt::text::jinja {

Value *Scope::find(std::string_view name)
{
    for (Scope *scope = this; scope; scope = scope->parent.get()) {
        for (auto &[key, value] : scope->variables) {
            if (key == name)
                return &value;
        }
    }
    return nullptr;
}

void Scope::set(std::string_view name, Value value)
{
    for (auto &[key, old] : variables) {
        if (key == name) {
            old = std::move(value);
            return;
        }
    }
    variables.emplace_back(name, std::move(value));
}

namespace {

// Enters a scope below another one and comes back, whatever happens between.
class Entered {
public:
    Entered(std::shared_ptr<Scope> &current, std::shared_ptr<Scope> parent) : m_current(current), m_before(current)
    {
        current = std::make_shared<Scope>();
        current->parent = std::move(parent);
    }
    ~Entered() { m_current = m_before; }
    Entered(const Entered &) = delete;
    Entered &operator=(const Entered &) = delete;

private:
    std::shared_ptr<Scope> &m_current;
    std::shared_ptr<Scope> m_before;
};

// Sends what is written elsewhere for a while.
class Redirected {
public:
    Redirected(TextBuilder *&output, TextBuilder &to, bool &capturing)
        : m_output(output), m_before(output), m_capturing(capturing), m_wasCapturing(capturing)
    {
        output = &to;
        capturing = true;
    }
    ~Redirected()
    {
        m_output = m_before;
        m_capturing = m_wasCapturing;
    }
    Redirected(const Redirected &) = delete;
    Redirected &operator=(const Redirected &) = delete;

private:
    TextBuilder *&m_output;
    TextBuilder *m_before;
    bool &m_capturing;
    bool m_wasCapturing;
};

} // namespace

Interpreter::Interpreter(const Program &program, Budget &budget, std::int64_t unixSeconds)
    : m_program(program), m_budget(budget), m_unixSeconds(unixSeconds), m_scope(std::make_shared<Scope>())
{
    installGlobals(*this);
}

Interpreter::~Interpreter()
{
    m_captured.push_back(m_scope);
    for (const auto &scope : m_captured)
        scope->variables.clear();
    for (const auto &space : m_namespaces)
        space->attributes.clear();
}

void Interpreter::setGlobal(std::string name, Value value)
{
    m_globalNames.push_back(std::make_unique<std::string>(std::move(name)));
    m_scope->set(*m_globalNames.back(), std::move(value));
}

MarkedText Interpreter::run()
{
    TextBuilder output(m_budget);
    m_output = &output;
    const Entered scope(m_scope, m_scope);
    m_captured.push_back(m_scope);
    execute(m_program.body);
    return output.take();
}

void Interpreter::write(const MarkedText &text)
{
    m_output->append(text);
    if (!m_capturing)
        m_budget.output(m_output->size());
}

Interpreter::Flow Interpreter::execute(const Body &body)
{
    for (const auto &statement : body) {
        if (const Flow flow = execute(*statement); flow != Flow::normal)
            return flow;
    }
    return Flow::normal;
}

Interpreter::Flow Interpreter::execute(const Statement &s)
try {
    const Depth depth(*this);
    return dispatch(s);
} catch (TemplateError &error) {
    if (!std::exchange(error.complete, true))
        error.message += " (line " + std::to_string(s.line) + ")";
    throw;
}

Interpreter::Flow Interpreter::dispatch(const Statement &s)
{
    switch (s.kind) {
    case StatementKind::data: write(s.text); return Flow::normal;
    case StatementKind::output: write(toText(evaluate(*s.expressions[0]))); return Flow::normal;
    case StatementKind::forLoop: return executeFor(s, evaluate(*s.expressions[0]), 1);
    case StatementKind::branches: return executeBranches(s);
    case StatementKind::set: assign(s.target, evaluate(*s.expressions[0])); return Flow::normal;
    case StatementKind::setBlock: {
        const Value body = capture(s.body);
        assign(s.target, s.expressions[0] ? applyChain(*s.expressions[0], body) : body);
        return Flow::normal;
    }
    case StatementKind::macro: executeMacro(s); return Flow::normal;
    case StatementKind::callBlock: executeCallBlock(s); return Flow::normal;
    case StatementKind::filterBlock: write(toText(applyChain(*s.expressions[0], capture(s.body)))); return Flow::normal;
    case StatementKind::with: executeWith(s); return Flow::normal;
    case StatementKind::scope: return executeInScope(s.body);
    case StatementKind::breakLoop: return Flow::breakLoop;
    case StatementKind::continueLoop: return Flow::continueLoop;
    }
    return Flow::normal;
}

Interpreter::Flow Interpreter::executeBranches(const Statement &s)
{
    for (std::size_t i = 0; i < s.bodies.size(); ++i) {
        if (isTrue(evaluate(*s.expressions[i])))
            return execute(s.bodies[i]);
    }
    return execute(s.orElse);
}

Interpreter::Flow Interpreter::executeInScope(const Body &body)
{
    const Entered scope(m_scope, m_scope);
    return execute(body);
}

std::vector<Value> Interpreter::selectItems(const Statement &s, const Value &iterable)
{
    std::vector<Value> items = iterate(iterable);
    if (!s.expressions[1])
        return items;
    std::vector<Value> selected;
    for (const Value &item : items) {
        const Entered scope(m_scope, m_scope);
        assign(s.target, item);
        if (isTrue(evaluate(*s.expressions[1])))
            selected.push_back(item);
    }
    return selected;
}

Interpreter::Flow Interpreter::executeFor(const Statement &s, const Value &iterable, unsigned depth)
{
    auto loop = std::make_shared<LoopObject>(&m_budget);
    loop->items = selectItems(s, iterable);
    loop->hold(sizeof(LoopObject) + loop->items.size() * sizeof(Value));
    loop->depth = depth;
    if (loop->items.empty())
        return executeInScope(s.orElse);
    if (s.recursive) {
        loop->recurse = [&s, depth, scope = m_scope](Interpreter &run, const Arguments &arguments) {
            if (arguments.positional.size() != 1)
                throw TemplateError{"loop() takes one list"};
            TextBuilder inner(run.m_budget);
            const Redirected redirected(run.m_output, inner, run.m_capturing);
            const Entered entered(run.m_scope, scope);
            run.executeFor(s, arguments.positional[0], depth + 1);
            return inner.value();
        };
    }
    const Value self = Value::object(Value::Kind::loop, loop);
    bool finished = false;
    for (; loop->index < loop->items.size(); ++loop->index) {
        m_budget.step();
        const Entered scope(m_scope, m_scope);
        m_scope->set("loop", self);
        assign(s.target, loop->items[loop->index]);
        const Flow flow = execute(s.body);
        finished |= flow == Flow::normal;
        if (flow == Flow::breakLoop)
            break;
    }
    loop->recurse = nullptr; // it holds the scope around
    // As in the reference, "else" also runs when break or continue left every round early.
    return finished ? Flow::normal : executeInScope(s.orElse);
}

void Interpreter::assign(const Target &target, Value value)
{
    if (!target.attribute.empty()) {
        Value *space = m_scope->find(target.names[0]);
        if (!space || !space->is(Value::Kind::name_space))
            throw TemplateError{"the template sets an attribute of '" + target.names[0] + "', which is no namespace"};
        auto &attributes = space->nameSpace().attributes;
        const auto old = std::find_if(attributes.begin(), attributes.end(),
                                      [&](const auto &a) { return a.first == target.attribute; });
        if (old != attributes.end()) {
            old->second = std::move(value);
            return;
        }
        space->nameSpace().hold(sizeof(attributes[0]));
        attributes.emplace_back(target.attribute, std::move(value));
        return;
    }
    if (!target.unpacks) {
        m_scope->set(target.names[0], std::move(value));
        return;
    }
    std::vector<Value> parts = iterate(value);
    if (parts.size() != target.names.size())
        throw TemplateError{"the template unpacks " + std::to_string(parts.size()) + " values into " +
                            std::to_string(target.names.size()) + " names"};
    for (std::size_t i = 0; i < parts.size(); ++i)
        m_scope->set(target.names[i], std::move(parts[i]));
}

Value Interpreter::capture(const Body &body)
{
    TextBuilder inner(m_budget);
    const Redirected redirected(m_output, inner, m_capturing);
    executeInScope(body);
    return inner.value();
}

Value Interpreter::makeMacro(const Statement &s)
{
    m_captured.push_back(m_scope);
    m_budget.step(16); // a captured scope lives to the end
    return function(s.signature.name, [&s, scope = m_scope](Interpreter &run, const Arguments &given) {
        return run.callMacro(s, scope, given);
    });
}

void Interpreter::executeMacro(const Statement &s)
{
    m_scope->set(s.signature.name, makeMacro(s));
}

Value Interpreter::callMacro(const Statement &s, const std::shared_ptr<Scope> &definedIn, const Arguments &given)
{
    const Entered scope(m_scope, definedIn);
    const auto &parameters = s.signature.parameters;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const Value *argument = given.find(i, parameters[i].first);
        if (argument)
            m_scope->set(parameters[i].first, *argument);
        else
            m_scope->set(parameters[i].first, parameters[i].second ? evaluate(*parameters[i].second) : Value());
    }
    const auto isParameter = [&](const std::string &name) {
        return std::any_of(parameters.begin(), parameters.end(), [&](const auto &p) { return p.first == name; });
    };
    std::vector<std::pair<Value, Value>> extra;
    for (const auto &[name, value] : given.named) {
        if (name == "caller")
            m_scope->set("caller", value);
        else if (!isParameter(name))
            extra.emplace_back(literal(name), value);
    }
    const auto first = static_cast<std::ptrdiff_t>(std::min(parameters.size(), given.positional.size()));
    m_scope->set("varargs", tuple({given.positional.begin() + first, given.positional.end()}));
    m_scope->set("kwargs", Value::dict(&m_budget, std::move(extra)));
    return capture(s.body);
}

void Interpreter::executeCallBlock(const Statement &s)
{
    const Expression &call_ = *s.expressions[0];
    const Value callee = evaluate(*call_.operands[0]);
    Arguments arguments = evaluateArguments(call_.arguments);
    arguments.named.emplace_back("caller", makeMacro(s));
    write(toText(call(callee, arguments)));
}

void Interpreter::executeWith(const Statement &s)
{
    std::vector<Value> values;
    for (const auto &[name, expression] : s.signature.parameters)
        values.push_back(evaluate(*expression));
    const Entered scope(m_scope, m_scope);
    for (std::size_t i = 0; i < values.size(); ++i)
        m_scope->set(s.signature.parameters[i].first, std::move(values[i]));
    execute(s.body);
}

Value Interpreter::function(std::string name, CallableObject::Function f)
{
    auto made = std::make_shared<CallableObject>(&m_budget, std::move(name), std::move(f));
    made->hold(sizeof(CallableObject));
    return Value::object(Value::Kind::callable, std::move(made));
}

Value Interpreter::nameSpace(std::vector<std::pair<std::string, Value>> attributes)
{
    auto made = std::make_shared<NamespaceObject>(&m_budget);
    made->hold(sizeof(NamespaceObject) + attributes.size() * sizeof(attributes[0]));
    made->attributes = std::move(attributes);
    m_namespaces.push_back(made);
    return Value::object(Value::Kind::name_space, std::move(made));
}

} // namespace kvilt::text::jinja

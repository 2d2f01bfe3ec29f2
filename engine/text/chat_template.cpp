// SPDX-License-Identifier: Apache-2.0
#include "engine/text/chat_template.h"

#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/json.h"
#include "engine/text/jinja/parser.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <new>

namespace kvilt::text {

namespace {

using jinja::Budget;
using jinja::Value;

constexpr std::size_t kMaxSource = 1u << 20;

Origin originOf(std::string_view role)
{
    if (role == "system" || role == "developer")
        return Origin::system;
    if (role == "assistant" || role == "model")
        return Origin::assistant;
    return role == "tool" || role == "function" || role == "ipython" ? Origin::tool : Origin::user;
}

bool isKnownRole(std::string_view role)
{
    static constexpr std::array<std::string_view, 8> kRoles = {"system",    "user",  "assistant", "tool",
                                                               "developer", "model", "function",  "ipython"};
    return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

std::string contentText(const nlohmann::ordered_json &content)
{
    if (content.is_string())
        return content.get<std::string>();
    std::string joined;
    for (const auto &part : content.is_array() ? content : nlohmann::ordered_json::array()) {
        if (part.is_object() && part.contains("text") && part["text"].is_string())
            joined += part["text"].get<std::string>();
    }
    return joined;
}

// The message's JSON with its text as content.
std::string withTextContent(const ChatMessage &message)
{
    auto object = nlohmann::ordered_json::parse(message.json, nullptr, false);
    object["content"] = message.content;
    return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// The message's JSON, saying what its `content` says.
std::string withContent(const ChatMessage &message)
{
    if (!jinja::isJson(message.json))
        return message.json; // fromJson has the words for it
    auto object = nlohmann::ordered_json::parse(message.json, nullptr, false);
    if (!object.is_object() || contentText(object.value("content", nlohmann::ordered_json())) == message.content)
        return message.json;
    return withTextContent(message);
}

bool hasParts(const ChatMessage &message)
{
    if (message.json.empty() || !jinja::isJson(message.json))
        return false;
    const auto object = nlohmann::ordered_json::parse(message.json, nullptr, false);
    return object.is_object() && object.value("content", nlohmann::ordered_json()).is_array();
}

// What a SourceId stands for.
struct Source {
    Origin origin = Origin::templateText;
    std::int32_t message = -1;
    bool isContent = false;
};

class Render {
public:
    Render(const jinja::Program &program, const RenderOptions &options, const RenderLimits &limits,
           std::uint64_t inputBytes)
        : m_budget(limits.steps, limits.memoryBytes + limits.memoryPerInputByte * inputBytes,
                   std::min<std::uint64_t>(limits.outputBytes, std::numeric_limits<std::int32_t>::max()), limits.stop),
          m_run(program, m_budget, options.unixSeconds)
    {
        m_sources.push_back({});
    }

    RenderedPrompt operator()(const std::vector<ChatMessage> &messages, const RenderOptions &options)
    {
        m_run.setGlobal("messages", messageList(messages));
        m_run.setGlobal("add_generation_prompt", Value::boolean(options.addGenerationPrompt));
        m_run.setGlobal("tools", options.toolsJson.empty()
                                     ? Value::none()
                                     : json(options.toolsJson, "The tools", {Origin::toolDefinition}));
        m_run.setGlobal("documents", Value::none());
        special("bos_token", options.bosToken);
        special("eos_token", options.eosToken);
        special("unk_token", options.unknownToken);
        special("pad_token", options.padToken);
        for (const auto &[name, value] : options.variables)
            m_run.setGlobal(name, variable(value));
        return prompt(m_run.run());
    }

private:
    jinja::SourceId source(const Source &source)
    {
        m_sources.push_back(source);
        return static_cast<jinja::SourceId>(m_sources.size() - 1);
    }

    void special(const char *name, const std::string &spelling)
    {
        if (!spelling.empty())
            m_run.setGlobal(name, m_run.literal(spelling));
    }

    Value json(std::string_view text, std::string_view what, const Source &from)
    {
        const jinja::SourceId id = source(from);
        return jinja::fromJson(m_budget, text, what, [id](std::string_view, std::string_view) { return id; });
    }

    Value variable(const std::string &value)
    {
        if (jinja::isJson(value))
            return json(value, "A variable", {Origin::variable});
        return m_run.text(jinja::MarkedText::from(value, source({Origin::variable})));
    }

    Value messageList(const std::vector<ChatMessage> &messages)
    {
        std::vector<Value> list;
        for (std::size_t i = 0; i < messages.size(); ++i)
            list.push_back(message(messages[i], static_cast<std::int32_t>(i)));
        return m_run.list(std::move(list));
    }

    Value message(const ChatMessage &m, std::int32_t index)
    {
        const Origin origin = originOf(m.role);
        const jinja::SourceId content = source({origin, index, true});
        const jinja::SourceId other = source({origin, index, false});
        const auto sourceOf = [&](std::string_view key, std::string_view text) {
            if (key == "role" && isKnownRole(text))
                return jinja::kTemplateSource;
            return key == "content" ? content : other;
        };
        if (!m.json.empty())
            return jinja::fromJson(m_budget, withContent(m), "The messages", sourceOf);
        const auto text = [&](std::string_view key, const std::string &value) {
            return m_run.text(jinja::MarkedText::from(value, sourceOf(key, value)));
        };
        return Value::dict(&m_budget, {{m_run.literal("role"), text("role", m.role)},
                                       {m_run.literal("content"), text("content", m.content)}});
    }

    RenderedPrompt prompt(jinja::MarkedText text) const
    {
        RenderedPrompt out;
        for (std::size_t i = 0; i < text.runs().size(); ++i) {
            const auto &run = text.runs()[i];
            const Source &from = m_sources[run.source];
            const std::size_t end = i + 1 < text.runs().size() ? text.runs()[i + 1].begin : text.size();
            ProvenanceSpan span{run.begin,      static_cast<std::uint32_t>(end), from.origin, from.message,
                                from.isContent, from.isContent ? run.offset : 0};
            // Runs of one origin whose offsets nobody sees belong together.
            if (!out.spans.empty() && !span.isContent && !out.spans.back().isContent &&
                out.spans.back().origin == span.origin && out.spans.back().message == span.message)
                out.spans.back().end = span.end;
            else
                out.spans.push_back(span);
        }
        out.text = text.takeBytes();
        return out;
    }

    Budget m_budget;
    jinja::Interpreter m_run;
    std::vector<Source> m_sources;
};

std::uint64_t bytesOf(const std::vector<ChatMessage> &messages, const RenderOptions &options)
{
    std::uint64_t bytes = options.toolsJson.size();
    for (const ChatMessage &message : messages)
        bytes += message.content.size() + message.json.size();
    for (const auto &[name, value] : options.variables)
        bytes += value.size();
    return bytes;
}

tl::unexpected<Error> refused(const jinja::TemplateError &error)
{
    std::string message = "The chat template failed: " + error.message;
    return fail(ErrorCode::badInput, message.back() == '.' ? message : message + ".");
}

} // namespace

std::vector<ByteRange> RenderedPrompt::guarded() const
{
    std::vector<ByteRange> ranges;
    for (const ProvenanceSpan &span : spans) {
        if (span.origin == Origin::templateText)
            continue;
        if (!ranges.empty() && ranges.back().end == span.begin)
            ranges.back().end = span.end;
        else
            ranges.push_back({span.begin, span.end});
    }
    return ranges;
}

Result<std::vector<ChatMessage>> parseMessages(std::string_view jsonArray)
{
    if (!jinja::isJson(jsonArray))
        return fail(ErrorCode::badInput, "The messages are not valid JSON (or nested more than 90 deep).");
    const auto document = nlohmann::ordered_json::parse(jsonArray, nullptr, false);
    if (!document.is_array())
        return fail(ErrorCode::badInput, "The messages are not a JSON array of objects with role and content.");
    std::vector<ChatMessage> messages;
    for (const auto &item : document) {
        if (!item.is_object() || !item.contains("role") || !item["role"].is_string())
            return fail(ErrorCode::badInput,
                        "Message " + std::to_string(messages.size() + 1) + " is not an object with a role.");
        // A reply may consist of calls alone.
        if (!item.contains("content") && !item.contains("tool_calls") && !item.contains("function_call"))
            return fail(ErrorCode::badInput, "Message " + std::to_string(messages.size() + 1) + " has no content.");
        ChatMessage message;
        message.role = item["role"].get<std::string>();
        if (item.contains("content"))
            message.content = contentText(item["content"]);
        message.json = item.dump();
        messages.push_back(std::move(message));
    }
    return messages;
}

ChatTemplate::ChatTemplate(std::string source, std::shared_ptr<const jinja::Program> program)
    : m_source(std::move(source)), m_program(std::move(program))
{
}

Result<ChatTemplate> ChatTemplate::parse(std::string_view source)
try {
    if (source.size() > kMaxSource)
        return fail(ErrorCode::badInput,
                    "The chat template has " + std::to_string(source.size()) + " bytes; at most 1 MiB can be read.");
    return ChatTemplate(std::string(source), std::make_shared<const jinja::Program>(jinja::parse(source)));
} catch (const jinja::TemplateError &error) {
    return refused(error);
} catch (const std::bad_alloc &) {
    return fail(ErrorCode::outOfMemory, "There is not enough memory to read the chat template.");
}

bool ChatTemplate::takesParts(const RenderLimits &limits) const
{
    static constexpr std::string_view kProbe = "a part of a message";
    const ChatMessage probe{.role = "user", .content = std::string(kProbe),
                            .json = R"({"role":"user","content":[{"type":"text","text":"a part of a message"}]})"};
    try {
        const std::string text = Render(*m_program, {}, limits, bytesOf({probe}, {}))({probe}, {}).text;
        return text.find(kProbe) != std::string::npos && text.find("type") == std::string::npos;
    } catch (const jinja::TemplateError &) {
        return false;
    }
}

Result<RenderedPrompt> ChatTemplate::render(const std::vector<ChatMessage> &messages, const RenderOptions &options,
                                            const RenderLimits &limits) const
try {
    if (!options.joinParts || !std::ranges::any_of(messages, hasParts) || takesParts(limits))
        return Render(*m_program, options, limits, bytesOf(messages, options))(messages, options);
    std::vector<ChatMessage> joined = messages;
    for (ChatMessage &message : joined)
        if (hasParts(message))
            message.json = withTextContent(message);
    return Render(*m_program, options, limits, bytesOf(joined, options))(joined, options);
} catch (const jinja::TemplateError &error) {
    return refused(error);
} catch (const std::bad_alloc &) {
    return fail(ErrorCode::outOfMemory, "There is not enough memory to render the chat template.");
}

} // namespace kvilt::text

// SPDX-License-Identifier: Apache-2.0
#include "engine/store/transcript.h"

#include "engine/store/bounded_json.h"
#include "engine/text/utf8.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <ctime>

namespace kvilt::store {

using nlohmann::ordered_json;

namespace {

std::string isoTime(std::int64_t ms)
{
    const std::time_t seconds = std::time_t(ms / 1000);
    std::tm parts{};
    char text[32];
    if (!gmtime_r(&seconds, &parts) || !std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts))
        return "";
    return text;
}

const char *headingOf(api::Role role)
{
    static constexpr std::array<const char *, 4> names{"System", "User", "Assistant", "Tool"};
    return names[std::size_t(role)];
}

std::optional<api::Role> roleFrom(const std::string &name)
{
    if (name == "developer") // OpenAI's later name
        return api::Role::system;
    for (const auto role : {api::Role::system, api::Role::user, api::Role::assistant, api::Role::tool})
        if (name == toString(role))
            return role;
    return std::nullopt;
}

std::string oneLine(std::string text)
{
    for (char &c : text)
        c = c == '\n' || c == '\r' ? ' ' : c;
    return text;
}

ordered_json toJson(const MessageRow &row)
{
    // What the object said beyond role and text comes back as it was.
    auto object = parseBoundedJson(row.json);
    if (!object.is_object())
        object = ordered_json::object();
    object["role"] = toString(row.role);
    if (!object.contains("content") || object["content"].is_string())
        object["content"] = row.text;
    return object;
}

Result<std::string> textOf(const ordered_json &content, const std::string &where)
{
    if (content.is_null())
        return std::string();
    if (content.is_string())
        return content.get<std::string>();
    if (!content.is_array())
        return fail(ErrorCode::badInput, where + " has a \"content\" that is neither text nor a list of parts.");
    std::string text;
    for (const auto &part : content) {
        const auto value = part.is_object() ? part.find("text") : part.end();
        if (!part.is_object() || value == part.end() || !value->is_string())
            return fail(ErrorCode::badInput, where + " has a part that is not text; only text can be imported.");
        text += value->get<std::string>();
    }
    return text;
}

Result<MessageRow> messageFrom(const ordered_json &object, std::size_t number)
{
    const std::string where = "Message " + std::to_string(number);
    if (!object.is_object() || !object.contains("role") || !object["role"].is_string())
        return fail(ErrorCode::badInput, where + " has no \"role\".");
    const auto role = roleFrom(object["role"].get<std::string>());
    if (!role)
        return fail(ErrorCode::badInput, where + " has a role that is not system, user, assistant or tool.");
    MessageRow row;
    row.role = *role;
    const bool empty = !object.contains("content") || object["content"].is_null();
    if (empty && row.role != api::Role::assistant) // a reply may hold tool calls and nothing else
        return fail(ErrorCode::badInput, where + " has no \"content\".");
    KVILT_TRY(row.text, textOf(object.contains("content") ? object["content"] : ordered_json(), where));
    const std::size_t plain = object.contains("content") && object["content"].is_string() ? 2 : 1;
    if (object.size() > plain)
        row.json = object.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    return row;
}

} // namespace

std::string toMarkdown(const StoredConversation &conversation)
{
    std::string out = "# " + oneLine(conversation.session.title.empty() ? "Chat" : conversation.session.title) + "\n";
    for (const MessageRow &message : conversation.messages) {
        out += std::string("\n## ") + headingOf(message.role) + "\n\n" + message.text;
        if (out.back() != '\n')
            out += '\n';
    }
    return out;
}

std::string toOpenAiJson(const StoredConversation &conversation)
{
    ordered_json document;
    document["title"] = conversation.session.title;
    document["created"] = isoTime(conversation.session.createdMs);
    document["messages"] = ordered_json::array();
    for (const MessageRow &message : conversation.messages)
        document["messages"].push_back(toJson(message));
    return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<StoredConversation> fromOpenAiJson(std::string_view text)
{
    const ordered_json document = parseBoundedJson(text);
    if (document.is_discarded())
        return fail(ErrorCode::badInput, "The file is not JSON, or nested too deeply.");
    const ordered_json *messages = &document;
    StoredConversation conversation;
    if (document.is_object()) {
        if (!document.contains("messages"))
            return fail(ErrorCode::badInput, "The file has no \"messages\".");
        messages = &document["messages"];
        if (document.contains("title") && document["title"].is_string())
            conversation.session.title = document["title"].get<std::string>();
    }
    if (!messages->is_array())
        return fail(ErrorCode::badInput, "The file's messages are not a list.");
    for (const auto &object : *messages) {
        KVILT_TRY(MessageRow row, messageFrom(object, conversation.messages.size() + 1));
        conversation.messages.push_back(std::move(row));
    }
    if (conversation.messages.empty())
        return fail(ErrorCode::badInput, "The file holds no messages.");
    return conversation;
}

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"
#include "engine/text/byte_range.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvilt::text {

// One message as a template sees it.
struct ChatMessage {
    std::string role;
    std::string content;
    // The whole message as a JSON object (tool_calls, content parts, reasoning_content, ...). Empty: just
    // {"role": role, "content": content}. When set, its "content" is what the template sees as long as it says the
    // same as `content`; `content` goes first where they differ (a reply was continued, its thinking cut).
    std::string json;
};

// From the messages array of the OpenAI API. A content of parts leaves ChatMessage::content with their text joined.
Result<std::vector<ChatMessage>> parseMessages(std::string_view jsonArray);

// Where a character of the prompt comes from. Everything but `templateText` is guarded: it never becomes a control
// token. A role of the known set (system, user, assistant, tool, developer, model, function, ipython) counts as
// template text, because templates build markers from it ("<|" + role + "|>").
enum class Origin : std::uint8_t { templateText, system, user, assistant, tool, toolDefinition, variable };

// Bytes [begin, end) of RenderedPrompt::text. Spans are ascending and cover the whole text.
struct ProvenanceSpan {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    Origin origin = Origin::templateText;
    std::int32_t message = -1;      // index in the messages given; -1: none
    bool isContent = false;         // these are bytes of that message's `content` string ...
    std::uint32_t contentBegin = 0; // ... from this offset on
    bool operator==(const ProvenanceSpan &) const = default;
};

struct RenderedPrompt {
    std::string text;
    std::vector<ProvenanceSpan> spans;

    // What Tokenizer::encode must guard: every stretch that is not template text, neighbours joined.
    std::vector<ByteRange> guarded() const;
};

struct RenderOptions {
    bool addGenerationPrompt = false;
    std::string toolsJson;                                      // an array of tool definitions; empty: none
    std::vector<std::pair<std::string, std::string>> variables; // value: JSON where it parses as such, else a string
    std::string bosToken, eosToken, unknownToken, padToken;     // their spelling; part of the template text
    bool joinParts = false;       // a content of parts reaches a template that knows only text as their text, joined
    std::int64_t unixSeconds = 0; // what strftime_now() sees: an injected clock, read as UTC
};

// What one render may cost. A step is a node evaluated; long string work counts its bytes. Memory is what the values
// alive at one time hold, growing ones with the room they grow into: what a render takes beyond it are copies of one value.
// The inputs pay for themselves, several times over: a long chat is no attack.
struct RenderLimits {
    std::uint64_t steps = 4'000'000;
    std::uint64_t outputBytes = 32u << 20;
    std::uint64_t memoryBytes = 20u << 20; // keeps the whole program below 64 MiB besides its files
    std::uint64_t memoryPerInputByte = 6;
    const std::atomic<bool> *stop = nullptr; // true: give up soon
};

namespace jinja {
struct Program;
}

// A chat template in the Jinja2 dialect that model files carry, as Hugging Face transformers runs it (trim_blocks and
// lstrip_blocks on, loop controls, tojson without escaping, immutable sandbox). Immutable after parsing; safe for
// concurrent use.
class ChatTemplate {
public:
    // At most 1 MiB of source and 200 levels of nesting.
    static Result<ChatTemplate> parse(std::string_view source);

    Result<RenderedPrompt> render(const std::vector<ChatMessage> &messages, const RenderOptions &options = {},
                                  const RenderLimits &limits = {}) const;

    const std::string &source() const { return m_source; }

private:
    // Whether it shows a content that is a list of text parts; most know only text.
    bool takesParts(const RenderLimits &limits) const;

    ChatTemplate(std::string source, std::shared_ptr<const jinja::Program> program);
    std::string m_source;
    std::shared_ptr<const jinja::Program> m_program;
};

} // namespace kvilt::text

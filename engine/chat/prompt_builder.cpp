// SPDX-License-Identifier: Apache-2.0
#include "engine/chat/prompt_builder.h"

#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

#include <algorithm>
#include <optional>

namespace kvilt::chat {

namespace {

using text::ByteRange;
using text::ProvenanceSpan;

bool isBlank(std::string_view s)
{
    return s.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

// A reply where it stands in the rendered text: these ids, whatever the tokenizer would say now.
struct Anchor {
    ByteRange range;                // of the rendered text
    std::vector<TokenId> ids;
    std::vector<ByteRange> spans;   // of the rendered text, a token
    std::size_t message = 0;
};

// The bytes of a message's content that stand in the rendered text as one piece.
struct Placed {
    ByteRange inText;
    std::uint32_t contentBegin = 0, contentEnd = 0;
};

// One a message; nothing for one that is not shown, twice or in pieces: no single place to put its ids.
std::vector<std::optional<Placed>> placesOf(std::size_t messages, std::span<const ProvenanceSpan> spans)
{
    std::vector<std::optional<Placed>> places(messages);
    std::vector<bool> scattered(messages);
    for (const ProvenanceSpan &span : spans) {
        if (!span.isContent || span.message < 0 || std::size_t(span.message) >= messages || span.begin == span.end)
            continue;
        std::optional<Placed> &placed = places[std::size_t(span.message)];
        const std::uint32_t bytes = span.end - span.begin;
        if (!placed) {
            placed = Placed{{span.begin, span.end}, span.contentBegin, span.contentBegin + bytes};
        } else if (placed->inText.end == span.begin && placed->contentEnd == span.contentBegin) {
            placed->inText.end = span.end;
            placed->contentEnd += bytes;
        } else {
            scattered[std::size_t(span.message)] = true;
        }
    }
    for (std::size_t i = 0; i < messages; ++i)
        if (scattered[i])
            places[i].reset();
    return places;
}

// Whether the rendered text shows just these bytes of the content.
bool shows(std::string_view text, const Placed &placed, std::string_view content)
{
    return placed.contentEnd <= content.size() &&
           text.substr(placed.inText.begin, placed.inText.end - placed.inText.begin) ==
               content.substr(placed.contentBegin, placed.contentEnd - placed.contentBegin);
}

// Where each token's text ends within the reply, as a reader saw it grow.
std::vector<ByteRange> decodedSpans(const std::shared_ptr<const text::Tokenizer> &tokenizer,
                                    std::span<const TokenId> ids, std::string &textOut)
{
    text::StreamDecoder decoder(tokenizer);
    std::vector<ByteRange> spans;
    for (TokenId id : ids) {
        const auto begin = std::uint32_t(textOut.size());
        textOut += decoder.push(id);
        spans.push_back({begin, std::uint32_t(textOut.size())});
    }
    textOut += decoder.finish();
    if (!spans.empty())
        spans.back().end = std::uint32_t(textOut.size());
    return spans;
}

std::uint32_t commonPrefix(std::string_view a, std::string_view b)
{
    const auto n = std::min(a.size(), b.size());
    return std::uint32_t(std::mismatch(a.begin(), a.begin() + std::ptrdiff_t(n), b.begin()).first - a.begin());
}

// Whether these ids may stand for the reply's text: they are of this vocabulary, and a file that somebody made can
// hide no control token among them.
bool trusted(const PromptMessage &message, const text::Tokenizer &tokenizer)
{
    return std::ranges::all_of(message.ids, [&](TokenId id) {
        return id >= 0 && std::uint32_t(id) < tokenizer.vocabSize() && !(message.foreignIds && tokenizer.isControl(id));
    });
}

// The longest run of the reply's own tokens that the rendered text shows unchanged. A template that trims white
// space does not change a reply: the model did write it, and without it the next prompt would miss a block.
std::optional<Anchor> anchorFor(const PromptMessage &message, std::size_t index, const Placed &placed,
                                const std::shared_ptr<const text::Tokenizer> &tokenizer)
{
    std::string decoded;
    const std::vector<ByteRange> spans = decodedSpans(tokenizer, message.ids, decoded);
    const std::string_view content = message.content;
    const bool headTrimmed = isBlank(content.substr(0, placed.contentBegin));
    const bool tailTrimmed = isBlank(content.substr(placed.contentEnd));
    std::uint32_t same = commonPrefix(content, decoded);
    if (same < placed.contentEnd || !tailTrimmed)
        same = std::min(same, placed.contentEnd);
    const std::uint32_t low = headTrimmed ? 0 : placed.contentBegin;

    std::size_t first = 0;
    while (first < spans.size() && spans[first].begin < low)
        ++first;
    std::size_t last = first;
    while (last < spans.size() && spans[last].end <= same)
        ++last;
    if (first == last)
        return std::nullopt;
    auto inText = [&](std::uint32_t offset) {
        const std::uint32_t clamped = std::clamp(offset, placed.contentBegin, placed.contentEnd);
        return placed.inText.begin + (clamped - placed.contentBegin);
    };
    Anchor anchor{.range = {inText(spans[first].begin), inText(spans[last - 1].end)}, .ids = {}, .spans = {},
                  .message = index};
    anchor.ids.assign(message.ids.begin() + std::ptrdiff_t(first), message.ids.begin() + std::ptrdiff_t(last));
    for (std::size_t i = first; i < last; ++i)
        anchor.spans.push_back({inText(spans[i].begin), inText(spans[i].end)});
    return anchor;
}

// The guarded ranges that lie in [begin, end), from there on.
std::vector<ByteRange> guardedWithin(std::span<const ByteRange> guarded, ByteRange range)
{
    std::vector<ByteRange> out;
    const auto first = std::ranges::upper_bound(guarded, range.begin, {}, &ByteRange::end); // ascending, disjoint
    for (auto at = first; at != guarded.end() && at->begin < range.end; ++at) {
        const ByteRange &g = *at;
        const std::uint32_t begin = std::max(g.begin, range.begin), end = std::min(g.end, range.end);
        if (begin < end)
            out.push_back({begin - range.begin, end - range.begin});
    }
    return out;
}

Result<void> encodeGap(const text::Tokenizer &tokenizer, const text::RenderedPrompt &rendered, ByteRange range,
                       std::span<const ByteRange> guarded, const std::atomic<bool> *stop, Prompt &prompt)
{
    const std::string_view piece = std::string_view(rendered.text).substr(range.begin, range.end - range.begin);
    // Messages get no second BOS: most templates spell it themselves.
    const bool spelled = tokenizer.bos() >= 0 && piece.starts_with(tokenizer.piece(tokenizer.bos()));
    const bool addBos = range.begin == 0 && !(spelled && !tokenizer.piece(tokenizer.bos()).empty());
    if (piece.empty() && !addBos)
        return {};
    KVILT_TRY(const text::Encoding encoding, tokenizer.encode(piece, guardedWithin(guarded, range),
                                                              {.parseSpecial = true, .addBos = addBos, .stop = stop,
                                                               .continues = range.begin > 0}));
    prompt.ids.insert(prompt.ids.end(), encoding.ids.begin(), encoding.ids.end());
    for (const ByteRange &span : encoding.spans)
        prompt.spans.push_back({span.begin + range.begin, span.end + range.begin});
    return {};
}

// Which tokens show bytes of each message's content.
void mapMessages(Prompt &prompt, std::span<const ProvenanceSpan> provenance, std::span<const std::uint32_t> stripped)
{
    std::size_t t = 0;
    for (const ProvenanceSpan &span : provenance) {
        if (!span.isContent || span.message < 0)
            continue;
        MessageTokens &message = prompt.messages[std::size_t(span.message)];
        while (t > 0 && prompt.spans[t - 1].end > span.begin)
            --t;
        while (t < prompt.spans.size() && prompt.spans[t].end <= span.begin)
            ++t;
        for (std::size_t i = t; i < prompt.spans.size() && prompt.spans[i].begin < span.end; ++i) {
            const std::uint32_t begin = std::max(prompt.spans[i].begin, span.begin);
            const std::uint32_t end = std::min(prompt.spans[i].end, span.end);
            if (message.spans.empty())
                message.firstToken = std::int32_t(i);
            message.endToken = std::int32_t(i) + 1;
            message.spans.push_back({.token = std::int32_t(i),
                                     .begin = span.contentBegin + (begin - span.begin) +
                                              stripped[std::size_t(span.message)],
                                     .bytes = end > begin ? end - begin : 0});
        }
    }
    // A message that shows nothing (empty, or dropped by the template) stands where its neighbour ends.
    std::int32_t position = 0;
    for (MessageTokens &message : prompt.messages) {
        if (message.spans.empty())
            message.firstToken = message.endToken = position;
        position = message.endToken;
    }
}

} // namespace

struct PromptBuilder::Rendered {
    text::RenderedPrompt prompt;
    std::vector<PromptMessage> messages; // as rendered: thinking stripped
    std::vector<std::uint32_t> stripped; // bytes cut from the head of each message's content
};

PromptBuilder::PromptBuilder(std::shared_ptr<const text::Tokenizer> tokenizer,
                             std::shared_ptr<const text::ChatTemplate> chatTemplate)
    : m_tokenizer(std::move(tokenizer)), m_template(std::move(chatTemplate))
{
}

ByteRange thinkingRange(std::string_view reply)
{
    constexpr std::string_view kOpen = "<think>", kClose = "</think>";
    const std::size_t begin = reply.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos || !reply.substr(begin).starts_with(kOpen))
        return {};
    const std::size_t close = reply.find(kClose, begin);
    if (close == std::string_view::npos)
        return {};
    const std::size_t end = reply.find_first_not_of(" \t\r\n", close + kClose.size());
    return {std::uint32_t(begin), std::uint32_t(end == std::string_view::npos ? reply.size() : end)};
}

Result<PromptBuilder::Rendered> PromptBuilder::render(std::span<const PromptMessage> messages,
                                                      const PromptOptions &options) const
{
    Rendered out{.prompt = {}, .messages = {messages.begin(), messages.end()},
                 .stripped = std::vector<std::uint32_t>(messages.size(), 0)};
    const bool continues = options.continueReply && !messages.empty();
    std::vector<text::ChatMessage> shown;
    for (std::size_t i = 0; i + (continues ? 1 : 0) < messages.size(); ++i) {
        PromptMessage &message = out.messages[i];
        if (message.role == api::Role::assistant && options.thinking == api::ThinkingInPrompt::strip)
            out.stripped[i] = thinkingRange(message.content).end;
        message.content.erase(0, out.stripped[i]);
        shown.push_back({std::string(api::toString(message.role)), message.content, message.json});
    }
    auto spelling = [&](TokenId id) { return id < 0 ? std::string() : std::string(m_tokenizer->piece(id)); };
    text::RenderOptions renderOptions{.addGenerationPrompt = options.addGenerationPrompt || continues,
                                      .toolsJson = options.toolsJson,
                                      .variables = options.variables,
                                      .bosToken = spelling(m_tokenizer->bos()),
                                      .eosToken = spelling(m_tokenizer->eos()),
                                      .unknownToken = spelling(m_tokenizer->unknown()),
                                      .padToken = {},
                                      .joinParts = true,
                                      .unixSeconds = options.unixSeconds};
    KVILT_TRY(out.prompt, m_template->render(shown, renderOptions, {.stop = options.stop}));
    if (!continues)
        return out;
    const auto begin = std::uint32_t(out.prompt.text.size());
    out.prompt.text += messages.back().content;
    out.prompt.spans.push_back({.begin = begin,
                                .end = std::uint32_t(out.prompt.text.size()),
                                .origin = text::Origin::assistant,
                                .message = std::int32_t(messages.size() - 1),
                                .isContent = true});
    return out;
}

Result<Prompt> PromptBuilder::build(std::span<const PromptMessage> messages, const PromptOptions &options) const
{
    if (!m_template)
        return fail(ErrorCode::unsupported, "this model has no chat template, so it takes plain text only; use an "
                                            "instruction-tuned model, or give a prompt instead of messages");
    KVILT_TRY(Rendered rendered, render(messages, options));
    std::vector<Anchor> anchors;
    const auto places = placesOf(messages.size(), rendered.prompt.spans);
    for (std::size_t i = 0; i < messages.size(); ++i) {
        if (messages[i].role != api::Role::assistant || messages[i].ids.empty())
            continue;
        const auto &placed = places[i];
        if (!placed)
            continue;
        if (!trusted(messages[i], *m_tokenizer))
            continue;
        // The ids belong to the reply before anything was stripped from its head.
        Placed whole = *placed;
        whole.contentBegin += rendered.stripped[i];
        whole.contentEnd += rendered.stripped[i];
        if (!shows(rendered.prompt.text, whole, messages[i].content))
            continue; // the template was given other words than these
        if (auto anchor = anchorFor(messages[i], i, whole, m_tokenizer))
            anchors.push_back(std::move(*anchor));
    }
    // A template may show the messages in another order.
    std::ranges::sort(anchors, {}, [](const Anchor &anchor) { return anchor.range.begin; });

    Prompt prompt{.ids = {}, .text = {}, .spans = {}, .messages = std::vector<MessageTokens>(messages.size())};
    const std::vector<ByteRange> guarded = rendered.prompt.guarded();
    std::uint32_t position = 0;
    for (const Anchor &anchor : anchors) {
        KVILT_TRY_VOID(encodeGap(*m_tokenizer, rendered.prompt, {position, anchor.range.begin}, guarded, options.stop, prompt));
        prompt.ids.insert(prompt.ids.end(), anchor.ids.begin(), anchor.ids.end());
        prompt.spans.insert(prompt.spans.end(), anchor.spans.begin(), anchor.spans.end());
        prompt.messages[anchor.message].reused = true;
        position = anchor.range.end;
    }
    const auto end = std::uint32_t(rendered.prompt.text.size());
    KVILT_TRY_VOID(encodeGap(*m_tokenizer, rendered.prompt, {position, end}, guarded, options.stop, prompt));
    for (std::size_t i = 0; i < messages.size(); ++i)
        prompt.messages[i].id = messages[i].id;
    mapMessages(prompt, rendered.prompt.spans, rendered.stripped);
    prompt.text = std::move(rendered.prompt.text);
    return prompt;
}

} // namespace kvilt::chat

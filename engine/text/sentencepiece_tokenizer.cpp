// SPDX-License-Identifier: Apache-2.0
#include "engine/text/sentencepiece_tokenizer.h"

#include "engine/text/utf8.h"

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

namespace kvilt::text {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81"; // ▁, which a text may spell itself

// Larger score, smaller order; the order of floats kept exactly (-0 equals 0). kNone is never given.
std::uint32_t orderOf(float score)
{
    const auto bits = std::bit_cast<std::int32_t>(score + 0.0f);
    const std::uint32_t ascending =
        bits < 0 ? ~static_cast<std::uint32_t>(bits) : static_cast<std::uint32_t>(bits) | 0x80000000u;
    return std::min(~ascending, MergeCandidate::kNone - 1);
}

bool continuesOverSpace(std::string_view piece)
{
    for (std::size_t at = piece.find(' ', 1); at != std::string_view::npos; at = piece.find(' ', at + 1)) {
        if (piece[at - 1] != ' ')
            return true;
    }
    return false;
}

// The text as the pieces see it: ▁ read as a space, perhaps a space before it. `origin[i]` is where byte i came from;
// empty when that is simply i - prefix.
struct Seen {
    std::string text;
    std::vector<std::uint32_t> origin;
    std::uint32_t prefix = 0;

    std::uint32_t sourceOf(std::uint32_t at) const { return origin.empty() ? at - std::min(at, prefix) : origin[at]; }
};

Seen see(std::string_view text, bool addPrefix)
{
    Seen seen;
    seen.prefix = addPrefix ? 1 : 0;
    seen.text.reserve(text.size() + 1);
    if (addPrefix)
        seen.text += ' ';
    if (text.find(kSpaceMark) == std::string_view::npos) {
        seen.text += text;
        return seen;
    }
    seen.origin.assign(seen.prefix, 0);
    for (std::size_t at = 0; at < text.size();) {
        const bool mark = text.substr(at, kSpaceMark.size()) == kSpaceMark;
        seen.text += mark ? ' ' : text[at];
        seen.origin.push_back(static_cast<std::uint32_t>(at));
        at += mark ? kSpaceMark.size() : 1;
    }
    seen.origin.push_back(static_cast<std::uint32_t>(text.size()));
    return seen;
}

} // namespace

SentencePieceTokenizer::SentencePieceTokenizer(Vocabulary v, const std::array<std::uint8_t, 32> &identity)
    : Tokenizer(std::move(v), identity), m_spacesBeginWords(true)
{
    for (TokenId id = 0; m_spacesBeginWords && id < static_cast<TokenId>(vocabSize()); ++id) {
        const PieceType type = pieceType(id);
        const bool reachable = type == PieceType::normal || type == PieceType::unused;
        m_spacesBeginWords = !reachable || !continuesOverSpace(piece(id));
    }
}

Result<void> SentencePieceTokenizer::encodeStretch(const Stretch &stretch, MergeScratch &scratch, Encoding &out) const
{
    const Seen seen = see(stretch.text, addsSpacePrefix() && stretch.begins);
    const std::size_t first = out.spans.size();
    const auto end = static_cast<std::uint32_t>(seen.text.size());
    for (std::uint32_t begin = 0; begin < end;) {
        std::uint32_t stop = m_spacesBeginWords ? begin + 1 : end;
        while (stop < end && !(seen.text[stop] == ' ' && seen.text[stop - 1] != ' '))
            ++stop;
        encodeWord(seen.text, {begin, stop}, scratch, out);
        begin = stop;
    }
    for (std::size_t i = first; i < out.spans.size(); ++i) {
        ByteRange &span = out.spans[i];
        span = {stretch.offset + seen.sourceOf(span.begin), stretch.offset + seen.sourceOf(span.end)};
    }
    return {};
}

void SentencePieceTokenizer::encodeWord(std::string_view text, ByteRange word, MergeScratch &scratch,
                                        Encoding &out) const
{
    const Vocabulary &v = vocabulary();
    scratch.symbols.clear();
    for (std::uint32_t at = word.begin; at < word.end;) {
        const std::uint32_t next = at + utf8::decode(text, at).bytes;
        scratch.symbols.push_back({at, next, v.find(text.substr(at, next - at))});
        at = next;
    }
    mergeSymbols(scratch, [&](const Symbol &left, const Symbol &right) {
        if (right.end - left.begin > kMaxPieceBytes)
            return MergeCandidate{};
        const TokenId id = v.find(text.substr(left.begin, right.end - left.begin));
        return id < 0 ? MergeCandidate{} : MergeCandidate{orderOf(v.score(id)), id};
    });
    for (const Symbol &symbol : scratch.symbols) {
        if (symbol.id < 0) {
            appendBytes(text.substr(symbol.begin, symbol.end - symbol.begin), symbol.begin, out);
            continue;
        }
        out.ids.push_back(symbol.id);
        out.spans.push_back({symbol.begin, symbol.end});
    }
}

} // namespace kvilt::text

// SPDX-License-Identifier: Apache-2.0
#include "engine/text/bpe_tokenizer.h"

#include "engine/text/utf8.h"

#include <array>
#include <bit>

namespace kvilt::text {

namespace {

std::size_t mix(std::uint64_t pair)
{
    pair ^= pair >> 32;
    pair *= 0x9E3779B97F4A7C15u; // odd constant of Fibonacci hashing
    return pair ^ (pair >> 29);
}

std::uint64_t pairOf(TokenId left, TokenId right)
{
    return (std::uint64_t(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
}

tl::unexpected<Error> badMerge(std::size_t index, std::string_view what)
{
    return fail(ErrorCode::badInput, "Merge " + std::to_string(index) + " of the vocabulary " + std::string(what) +
                                         "; the file is damaged, get it again.");
}

} // namespace

void BpeRules::insert(TokenId left, TokenId right, MergeCandidate candidate)
{
    const std::uint64_t pair = pairOf(left, right);
    const std::size_t mask = m_slots.size() - 1;
    std::size_t slot = mix(pair) & mask;
    for (; m_slots[slot].pair != kEmpty; slot = (slot + 1) & mask) {
        if (m_slots[slot].pair == pair)
            return; // the first of equal merges is the better one
    }
    m_slots[slot] = {pair, candidate};
}

MergeCandidate BpeRules::find(TokenId left, TokenId right) const
{
    if (left < 0 || right < 0)
        return {};
    const std::uint64_t pair = pairOf(left, right);
    const std::size_t mask = m_slots.size() - 1;
    for (std::size_t slot = mix(pair) & mask; m_slots[slot].pair != kEmpty; slot = (slot + 1) & mask) {
        if (m_slots[slot].pair == pair)
            return m_slots[slot].candidate;
    }
    return {};
}

Result<BpeRules> BpeRules::build(const VocabularySource &source, const Vocabulary &vocabulary)
{
    BpeRules rules;
    KVILT_TRY(rules.preTokenizer, PreTokenizer::create(source.preTokenizer));
    if (source.merges.empty() || source.merges.size() > (1u << 22))
        return fail(ErrorCode::badInput, "The vocabulary has " + std::to_string(source.merges.size()) +
                                             " merges; byte-level BPE needs from 1 to 4,194,304.");
    rules.m_slots.resize(std::bit_ceil(source.merges.size() * 2));
    std::string joined;
    constexpr int kMaxControlMerges = 256; // a file cannot buy more linear searches
    int controls = 0;
    for (std::size_t i = 0; i < source.merges.size(); ++i) {
        const std::string_view merge = source.merges[i];
        const std::size_t space = merge.find(' ', 1);
        if (merge.size() > kMaxPieceBytes || space == std::string_view::npos)
            return badMerge(i, "is not two pieces with a space between");
        joined.clear();
        appendByteLevelDecoded(joined, merge.substr(0, space));
        const std::size_t leftBytes = joined.size();
        appendByteLevelDecoded(joined, merge.substr(space + 1));
        const TokenId left = vocabulary.find(std::string_view(joined).substr(0, leftBytes));
        const TokenId right = vocabulary.find(std::string_view(joined).substr(leftBytes));
        const TokenId result = vocabulary.find(joined);
        if (result < 0 && ++controls <= kMaxControlMerges && vocabulary.findControl(joined) >= 0)
            continue; // text never merges into a control token
        if (left < 0 || right < 0 || result < 0)
            return badMerge(i, "names a piece that is not in it");
        rules.insert(left, right, {static_cast<std::uint32_t>(i), result});
    }
    return rules;
}

BpeTokenizer::BpeTokenizer(Vocabulary vocabulary, BpeRules rules, const std::array<std::uint8_t, 32> &identity)
    : Tokenizer(std::move(vocabulary), identity), m_rules(std::move(rules))
{
    MergeScratch scratch;
    Encoding spelled;
    encodeWord("\xEF\xBF\xBD", 0, scratch, spelled);
    m_replacement = std::move(spelled.ids);
}

Result<void> BpeTokenizer::encodeStretch(const Stretch &stretch, MergeScratch &scratch, Encoding &out) const
{
    // The expressions need valid UTF-8. An invalid byte stands in as a control character, which they treat like U+FFFD
    // (neither letter nor digit nor space); the words themselves are cut from the true bytes.
    std::string standIn;
    std::string_view seen = stretch.text;
    if (!utf8::isValid(seen))
        seen = standIn = utf8::sanitizedSameLength(seen, '\x1A');
    return m_rules.preTokenizer.split(seen, [&](std::uint32_t begin, std::uint32_t end) {
        encodeWord(stretch.text.substr(begin, end - begin), stretch.offset + begin, scratch, out);
    });
}

void BpeTokenizer::encodeWord(std::string_view word, std::uint32_t offset, MergeScratch &scratch, Encoding &out) const
{
    const auto add = [&](TokenId id, std::uint32_t begin, std::uint32_t end) {
        out.ids.push_back(id);
        out.spans.push_back({offset + begin, offset + end});
    };
    if (m_rules.preTokenizer.takesWholeWords()) {
        if (const TokenId id = vocabulary().find(word); id >= 0)
            return add(id, 0, static_cast<std::uint32_t>(word.size()));
    }
    scratch.symbols.clear();
    for (std::uint32_t i = 0; i < word.size(); ++i)
        scratch.symbols.push_back({i, i + 1, vocabulary().byteToken(static_cast<std::uint8_t>(word[i]))});
    mergeSymbols(scratch, [&](const Symbol &a, const Symbol &b) { return m_rules.find(a.id, b.id); });
    for (const Symbol &symbol : scratch.symbols) {
        if (symbol.id >= 0)
            add(symbol.id, symbol.begin, symbol.end);
        else
            appendWithoutPiece(word, symbol, offset, out);
    }
}

// A byte that the vocabulary cannot spell. As part of a valid character (a rare control character) it is left out, as
// the reference does; an invalid byte is spelled as U+FFFD. Never the unknown token: many files name a control token
// so.
void BpeTokenizer::appendWithoutPiece(std::string_view word, const Symbol &symbol, std::uint32_t offset,
                                      Encoding &out) const
{
    std::size_t start = symbol.begin;
    while (start > 0 && symbol.begin - start < 3 && (static_cast<std::uint8_t>(word[start]) & 0xC0) == 0x80)
        --start;
    const utf8::Decoded c = utf8::decode(word, start);
    if (c.valid && start + c.bytes > symbol.begin)
        return;
    for (const TokenId id : m_replacement) {
        out.ids.push_back(id);
        out.spans.push_back({offset + symbol.begin, offset + symbol.end});
    }
}

} // namespace kvilt::text

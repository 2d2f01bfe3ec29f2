// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/pre_tokenizer.h"
#include "engine/text/tokenizer.h"

#include <string>
#include <vector>

namespace kvilt::text {

// Which pairs of pieces join, and in which order.
struct BpeRules {
    PreTokenizer preTokenizer;

    static Result<BpeRules> build(const VocabularySource &source, const Vocabulary &vocabulary);
    MergeCandidate find(TokenId left, TokenId right) const;

private:
    void insert(TokenId left, TokenId right, MergeCandidate candidate);

    struct Slot {
        std::uint64_t pair = kEmpty; // left id in the upper half
        MergeCandidate candidate;
    };
    static constexpr std::uint64_t kEmpty = ~std::uint64_t(0);
    std::vector<Slot> m_slots; // a power of two, at most half full
};

// Byte-level BPE (tokenizer.ggml.model "gpt2"): words by expression, within a word merges by rank.
class BpeTokenizer final : public Tokenizer {
public:
    BpeTokenizer(Vocabulary vocabulary, BpeRules rules, const std::array<std::uint8_t, 32> &identity);

private:
    Result<void> encodeStretch(const Stretch &stretch, MergeScratch &scratch, Encoding &out) const override;
    void encodeWord(std::string_view word, std::uint32_t offset, MergeScratch &scratch, Encoding &out) const;
    void appendWithoutPiece(std::string_view word, const Symbol &symbol, std::uint32_t offset, Encoding &out) const;

    BpeRules m_rules;
    std::vector<TokenId> m_replacement; // how U+FFFD is spelled; empty: it cannot be
};

} // namespace kvilt::text

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace kvilt::text {

// Cuts a text into the words within which byte-level BPE merges. A family is a list of expressions: each cuts the
// pieces that the one before left into its matches and what lies between them. Immutable and safe for concurrent use.
class PreTokenizer {
public:
    // By the name that GGUF files carry in tokenizer.ggml.pre. An unknown name is `unsupported`: another cut would
    // silently give other ids than the model was trained with.
    static Result<PreTokenizer> create(std::string_view name);

    // What goes with the name beside its expressions.
    bool takesWholeWords() const { return m_takesWholeWords; } // a word that is a piece needs no merges
    bool addsBos() const { return m_addsBos; }                 // unless the file says otherwise

    // Calls `word(begin, end)` for consecutive ranges that cover the text. `text` must be valid UTF-8.
    using WordSink = std::function<void(std::uint32_t begin, std::uint32_t end)>;
    Result<void> split(std::string_view text, const WordSink &word) const;

private:
    struct Expression; // a compiled PCRE2 pattern, or a cut written as code
    Result<void> splitFrom(std::size_t stage, std::string_view text, std::uint32_t offset, void *matchData,
                           const WordSink &word) const;
    std::vector<std::shared_ptr<const Expression>> m_expressions;
    bool m_takesWholeWords = false;
    bool m_addsBos = false;
};

} // namespace kvilt::text

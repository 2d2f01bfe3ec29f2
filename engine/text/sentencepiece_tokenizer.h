// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/tokenizer.h"

namespace kvilt::text {

// SentencePiece's BPE (tokenizer.ggml.model "llama"): neighbours whose joint text is a piece merge, best score first;
// what has no piece is spelled in byte tokens.
class SentencePieceTokenizer final : public Tokenizer {
public:
    SentencePieceTokenizer(Vocabulary vocabulary, const std::array<std::uint8_t, 32> &identity);

private:
    Result<void> encodeStretch(const Stretch &stretch, MergeScratch &scratch, Encoding &out) const override;
    void encodeWord(std::string_view text, ByteRange word, MergeScratch &scratch, Encoding &out) const;

    // No piece continues over a space that follows something else, so words merge on their own: small heaps, and
    // memory that does not grow with the text. True for all vocabularies seen; if not, a stretch is one word.
    bool m_spacesBeginWords = false;
};

} // namespace kvilt::text

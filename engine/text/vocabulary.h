// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/support/error.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvilt::gguf {
class GgufFile;
}

namespace kvilt::text {

enum class TokenizerModel : std::uint8_t { bpe, sentencePiece }; // tokenizer.ggml.model: gpt2, llama

// As stored in tokenizer.ggml.token_type.
enum class PieceType : std::uint8_t { normal = 1, unknown = 2, control = 3, userDefined = 4, unused = 5, byte = 6 };

// What a file says of its tokenizer, before anything is checked. The views must live until the Tokenizer is built.
struct VocabularySource {
    std::string model;                    // "gpt2" or "llama"
    std::string preTokenizer;             // "", "default", "smollm", ...; BPE only
    std::vector<std::string_view> pieces; // as spelled in the file: byte-level alphabet, or ▁ for a space
    std::vector<std::int32_t> types;      // empty: all normal
    std::vector<float> scores;            // SentencePiece
    std::vector<std::string_view> merges; // BPE, "left right", best first
    std::optional<std::int64_t> bos, eos, eot, eom, unknown, padding;
    std::optional<bool> addBos, addEos, addSpacePrefix;

    static Result<VocabularySource> fromGguf(const gguf::GgufFile &file);
};

struct SpecialTokens {
    TokenId bos = -1, eos = -1, eot = -1, eom = -1, unknown = -1, padding = -1;
    std::vector<TokenId> endOfGeneration; // ascending
    bool addBos = false, addEos = false, addSpacePrefix = false;
};

// Checked pieces in one block of bytes, found by content through an open-addressing table of ids (4 bytes a slot):
// 262,144 pieces build in some tens of milliseconds without an allocation a piece.
class Vocabulary {
public:
    static Result<Vocabulary> build(const VocabularySource &source);

    SpecialTokens special;

    TokenizerModel model() const { return m_model; }
    std::uint32_t size() const { return static_cast<std::uint32_t>(m_types.size()); }
    bool contains(TokenId id) const { return id >= 0 && static_cast<std::uint32_t>(id) < size(); }
    std::string_view piece(TokenId id) const; // bytes it stands for; empty when out of range
    PieceType type(TokenId id) const
    {
        return contains(id) ? m_types[static_cast<std::size_t>(id)] : PieceType::unknown;
    }
    float score(TokenId id) const { return m_scores.empty() ? 0.0f : m_scores[static_cast<std::size_t>(id)]; }

    // The ordinary piece of exactly these bytes, or -1. Control and unknown pieces are never found: no sequence of
    // merges may turn text into one.
    TokenId find(std::string_view bytes) const;
    TokenId byteToken(std::uint8_t byte) const { return m_byteTokens[byte]; } // -1: the vocabulary has none

private:
    TokenizerModel m_model = TokenizerModel::bpe;
    std::string m_bytes;
    std::vector<std::uint32_t> m_offsets; // size() + 1
    std::vector<PieceType> m_types;
    std::vector<float> m_scores;
    std::vector<TokenId> m_table;      // power of two, -1: empty
    std::vector<TokenId> m_byteTokens; // 256
};

} // namespace kvilt::text

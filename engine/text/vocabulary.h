// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/support/error.h"

#include <algorithm>
#include <cstdint>
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

// A piece longer than this is no word of any language: the file is damaged or hostile.
inline constexpr std::size_t kMaxPieceBytes = 64u << 10;

// What a file says of its tokenizer, before anything is checked. The views must live until the Tokenizer is built.
struct VocabularySource {
    std::string model;                    // "gpt2" or "llama"
    std::string preTokenizer;             // "", "default", "smollm", ...; BPE only
    std::string modelName;                // general.name: some models are known by it alone
    std::vector<std::string_view> pieces; // as spelled in the file: byte-level alphabet, or ▁ for a space
    std::vector<std::int64_t> types;      // empty: all normal
    std::vector<float> scores;            // SentencePiece
    std::vector<std::string_view> merges; // BPE, "left right", best first
    std::optional<std::int64_t> bos, eos, eot, eom, unknown, padding;
    std::optional<bool> addBos, addEos, addSpacePrefix;

    static Result<VocabularySource> fromGguf(const gguf::GgufFile &file);
};

// -1: the vocabulary has none.
struct SpecialTokens {
    TokenId bos = -1, eos = -1, eot = -1, eom = -1, unknown = -1, padding = -1;
    std::vector<TokenId> endOfGeneration; // ascending
    std::vector<TokenId> eatsSpaceAfter;  // ascending: the white space that follows them is no text
    bool addBos = false, addEos = false, addSpacePrefix = false;
};

// Checked pieces in one block of bytes, found by content through an open-addressing table of ids (4 bytes a slot), so
// that 262,144 pieces need no allocation each. Pieces are kept as the bytes they stand for: the byte-level alphabet is
// decoded and ▁ is a space, and text is looked up as it is.
class Vocabulary {
public:
    static Result<Vocabulary> build(const VocabularySource &source);

    SpecialTokens special;

    TokenizerModel model() const { return m_model; }
    std::uint32_t size() const { return static_cast<std::uint32_t>(m_types.size()); }
    bool contains(TokenId id) const { return id >= 0 && static_cast<std::uint32_t>(id) < size(); }
    std::string_view piece(TokenId id) const; // the bytes it stands for; empty when out of range
    PieceType type(TokenId id) const
    {
        return contains(id) ? m_types[static_cast<std::size_t>(id)] : PieceType::unknown;
    }
    TokenId findControl(std::string_view bytes) const; // linear; for checks at load
    bool isControl(TokenId id) const { return type(id) == PieceType::control || type(id) == PieceType::unknown; }
    bool eatsSpaceAfter(TokenId id) const
    {
        return std::binary_search(special.eatsSpaceAfter.begin(), special.eatsSpaceAfter.end(), id);
    }
    float score(TokenId id) const { return m_scores.empty() ? 0.0f : m_scores[static_cast<std::size_t>(id)]; }

    // The ordinary piece of exactly these bytes, or -1; of equal pieces the lowest id. Control, unknown and byte pieces
    // are never found (no sequence of merges may turn text into a control token), nor are BPE pieces spelled outside
    // the byte-level alphabet, which merges cannot reach.
    TokenId find(std::string_view bytes) const;
    TokenId byteToken(std::uint8_t byte) const { return m_byteTokens[byte]; } // -1: none

private:
    Result<void> takePieces(const VocabularySource &source);
    Result<void> takePiece(std::string_view spelled, PieceType type, std::string &buffer);
    void insert(TokenId id);
    void indexPieces();
    Result<void> takeSpecialTokens(const VocabularySource &source);
    void findEndsOfGeneration();
    void findSpaceEaters(std::string_view modelName);

    TokenizerModel m_model = TokenizerModel::bpe;
    std::string m_bytes;
    std::vector<std::uint32_t> m_offsets; // size() + 1
    std::vector<PieceType> m_types;
    std::vector<float> m_scores;
    std::vector<TokenId> m_table;       // a power of two of slots; -1: empty
    std::vector<TokenId> m_byteTokens;  // 256
    std::vector<TokenId> m_unreachable; // ascending: BPE pieces spelled outside the byte-level alphabet
};

// Byte-level BPE writes each byte as one printable character. Appends the bytes that `spelled` stands for; a character
// outside that alphabet stands for itself, and then the answer is false.
bool appendByteLevelDecoded(std::string &out, std::string_view spelled);

} // namespace kvilt::text

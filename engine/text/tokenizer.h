// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/support/error.h"
#include "engine/text/byte_range.h"
#include "engine/text/merge.h"
#include "engine/text/special_scan.h"
#include "engine/text/vocabulary.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvilt::gguf {
class GgufFile;
}

namespace kvilt::text {

// One encode call takes at most this many bytes: two orders above any context window, and small enough that working
// memory (some 40 bytes a byte in the worst case) stays payable.
inline constexpr std::size_t kMaxTextBytes = std::size_t(256) << 20;

// What the text consists of. `spans[i]` are the bytes of the text that became ids[i]: ascending, without gaps or
// overlap; empty for an added BOS or EOS. Where a character became several byte tokens each has its own bytes (a space
// that a SentencePiece vocabulary spells in bytes belongs to the last of them).
struct Encoding {
    std::vector<TokenId> ids;
    std::vector<ByteRange> spans;
};

struct EncodeOptions {
    bool parseSpecial = false; // control tokens spelled in the text become that token (outside guarded ranges)
    bool addBos = true;        // BOS as the vocabulary says (`addsBos()`); false: never
    bool addEos = false;       // true: EOS as the vocabulary says (`addsEos()`)
    const std::atomic<bool> *stop = nullptr; // true: give up soon, with ErrorCode::cancelled
    bool continues = false;    // an ordinary token stands before the text: its beginning gets no space prefix
};

struct DecodeOptions {
    bool skipControl = false;    // leave control tokens (BOS, <|im_end|>, ...) out
    bool undoSpacePrefix = true; // drop the space that encoding put before the text, so that decode undoes encode
};

// Immutable and safe for concurrent use. Bytes in, bytes out: invalid UTF-8 survives a round trip wherever the
// vocabulary has byte tokens (every BPE one of the known families and SentencePiece with byte fallback).
class Tokenizer {
public:
    // Reads tokenizer.ggml.* and copies what it needs: the file may be closed afterwards. A malformed vocabulary is an
    // error; peak memory is a small multiple of the vocabulary's bytes.
    static Result<std::shared_ptr<const Tokenizer>> fromGguf(const gguf::GgufFile &file);
    static Result<std::shared_ptr<const Tokenizer>> fromVocabulary(const VocabularySource &source);
    virtual ~Tokenizer() = default;
    Tokenizer(const Tokenizer &) = delete;
    Tokenizer &operator=(const Tokenizer &) = delete;

    Result<Encoding> encode(std::string_view text, const EncodeOptions &options = {}) const;

    // `guarded`: ascending, disjoint ranges of the text that come from a user, a model or a tool. The text is tokenised
    // as one; a control token is matched only where no byte of it is guarded. User-defined pieces (whitespace runs,
    // HTML tags) are matched everywhere, except guarded ones that look like a marker ("<|...|>"). So for text that
    // spells no control token the ids equal those of encode(text).
    Result<Encoding> encode(std::string_view text, std::span<const ByteRange> guarded,
                            const EncodeOptions &options) const;

    // The bytes of the ids, joined. An id out of range is an error.
    Result<std::string> decode(std::span<const TokenId> ids, const DecodeOptions &options = {}) const;

    // Bytes that this token stands for, as in the middle of a text; empty for an id out of range.
    std::string_view piece(TokenId id) const { return m_vocabulary.piece(id); }
    PieceType pieceType(TokenId id) const { return m_vocabulary.type(id); }
    // Control and unknown tokens: what a reader of the chat should not see.
    bool isControl(TokenId id) const { return m_vocabulary.isControl(id); }
    // Ends a generation: EOS, end of turn, end of message and their kin.
    bool isEndOfGeneration(TokenId id) const;

    std::uint32_t vocabSize() const { return m_vocabulary.size(); }
    TokenId bos() const { return m_vocabulary.special.bos; } // -1: none; so with all below
    TokenId eos() const { return m_vocabulary.special.eos; }
    TokenId eot() const { return m_vocabulary.special.eot; }
    TokenId unknown() const { return m_vocabulary.special.unknown; }
    std::span<const TokenId> endOfGeneration() const { return m_vocabulary.special.endOfGeneration; } // ascending
    bool addsBos() const { return m_vocabulary.special.addBos; }
    bool addsEos() const { return m_vocabulary.special.addEos; }
    bool addsSpacePrefix() const { return m_vocabulary.special.addSpacePrefix; }

    // SHA-256 over everything that decides ids: model, pre-tokenizer, flags, special ids, pieces, types, scores,
    // merges.
    const std::array<std::uint8_t, 32> &identity() const { return m_identity; }

protected:
    Tokenizer(Vocabulary vocabulary, const std::array<std::uint8_t, 32> &identity);

    // A stretch of text between special tokens or the text's ends.
    struct Stretch {
        std::string_view text;
        std::uint32_t offset = 0; // of its first byte in the whole text
        bool begins = true;       // after a special token or nothing: where a space prefix stands, if there is one
    };
    virtual Result<void> encodeStretch(const Stretch &stretch, MergeScratch &scratch, Encoding &out) const = 0;
    const Vocabulary &vocabulary() const { return m_vocabulary; }
    // The bytes have no piece of their own: each becomes its byte token, or all together the unknown token.
    void appendBytes(std::string_view bytes, std::uint32_t offset, Encoding &out) const;

private:
    Result<void> encodeInto(std::string_view text, std::span<const ByteRange> guarded, const EncodeOptions &options,
                            Encoding &out) const;

    Vocabulary m_vocabulary;
    SpecialScan m_specials;
    std::array<std::uint8_t, 32> m_identity;
};

// Turns a stream of ids into text for people: always valid UTF-8. Holds back the bytes of an incomplete character
// until the tokens that complete it arrive; bytes that can never become a character are shown as U+FFFD.
class StreamDecoder {
public:
    explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer,
                           const DecodeOptions &options = {.skipControl = true, .undoSpacePrefix = false});
    std::string push(TokenId id); // the text that is certain now, possibly none
    std::string finish();         // what was held back, as U+FFFD; the decoder is empty afterwards

private:
    std::shared_ptr<const Tokenizer> m_tokenizer;
    DecodeOptions m_options;
    std::string m_held; // at most 3 bytes
    bool m_atStart = true;
};

} // namespace kvilt::text

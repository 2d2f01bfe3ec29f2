// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer.h"

#include "engine/text/bpe_tokenizer.h"
#include "engine/text/sentencepiece_tokenizer.h"
#include "engine/text/utf8.h"

#include <openssl/evp.h>

#include <algorithm>
#include <new>

namespace kvilt::text {

namespace {

// SHA-256 over fields, each with its length before it, so that no two sources share a byte stream.
class IdentityHash {
public:
    IdentityHash() : m_context(EVP_MD_CTX_new()) { EVP_DigestInit_ex(m_context, EVP_sha256(), nullptr); }
    ~IdentityHash() { EVP_MD_CTX_free(m_context); }
    IdentityHash(const IdentityHash &) = delete;
    IdentityHash &operator=(const IdentityHash &) = delete;

    void number(std::uint64_t value) { raw(&value, sizeof value); }
    void text(std::string_view value)
    {
        number(value.size());
        raw(value.data(), value.size());
    }
    template <typename T>
    void numbers(const std::vector<T> &values)
    {
        number(values.size());
        raw(values.data(), values.size() * sizeof(T));
    }
    // Lengths, then bytes in chunks: a call of the digest a piece would cost more than the hashing.
    void texts(const std::vector<std::string_view> &values)
    {
        std::string chunk;
        number(values.size());
        for (std::string_view value : values) {
            const auto size = static_cast<std::uint32_t>(value.size());
            chunk.append(reinterpret_cast<const char *>(&size), sizeof size).append(value);
            if (chunk.size() > (64u << 10)) {
                raw(chunk.data(), chunk.size());
                chunk.clear();
            }
        }
        raw(chunk.data(), chunk.size());
    }
    std::array<std::uint8_t, 32> finish()
    {
        std::array<std::uint8_t, 32> digest{};
        EVP_DigestFinal_ex(m_context, digest.data(), nullptr);
        return digest;
    }

private:
    void raw(const void *data, std::size_t bytes) { EVP_DigestUpdate(m_context, data, bytes); }
    EVP_MD_CTX *m_context;
};

std::array<std::uint8_t, 32> identityOf(const VocabularySource &source, const SpecialTokens &special)
{
    IdentityHash hash;
    hash.text("kvilt tokenizer 1");
    hash.text(source.model);
    hash.text(source.preTokenizer);
    hash.texts(source.pieces);
    hash.numbers(source.types);
    hash.numbers(source.scores);
    hash.texts(source.merges);
    for (TokenId id : {special.bos, special.eos, special.eot, special.eom, special.unknown, special.padding})
        hash.number(static_cast<std::uint64_t>(id));
    hash.numbers(special.endOfGeneration);
    hash.number((special.addBos ? 1u : 0u) | (special.addEos ? 2u : 0u) | (special.addSpacePrefix ? 4u : 0u) |
                (special.eatsSpaceAfter.empty() ? 0u : 8u));
    return hash.finish();
}

} // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary, const std::array<std::uint8_t, 32> &identity)
    : m_vocabulary(std::move(vocabulary)), m_specials(m_vocabulary), m_identity(identity)
{
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::fromGguf(const gguf::GgufFile &file)
{
    KVILT_TRY(const VocabularySource source, VocabularySource::fromGguf(file));
    return fromVocabulary(source);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::fromVocabulary(const VocabularySource &source)
try {
    KVILT_TRY(Vocabulary vocabulary, Vocabulary::build(source));
    if (vocabulary.model() == TokenizerModel::sentencePiece) {
        const auto identity = identityOf(source, vocabulary.special);
        return std::make_shared<const SentencePieceTokenizer>(std::move(vocabulary), identity);
    }
    KVILT_TRY(BpeRules rules, BpeRules::build(source, vocabulary));
    if (!source.addBos)
        vocabulary.special.addBos = rules.preTokenizer.addsBos() && vocabulary.special.bos >= 0;
    const auto identity = identityOf(source, vocabulary.special);
    return std::make_shared<const BpeTokenizer>(std::move(vocabulary), std::move(rules), identity);
} catch (const std::bad_alloc &) {
    return fail(ErrorCode::outOfMemory, "There is not enough memory for the vocabulary of this model.");
}

Result<Encoding> Tokenizer::encode(std::string_view text, const EncodeOptions &options) const
{
    return encode(text, {}, options);
}

Result<Encoding> Tokenizer::encode(std::string_view text, std::span<const ByteRange> guarded,
                                   const EncodeOptions &options) const
try {
    if (text.size() > kMaxTextBytes)
        return fail(ErrorCode::badInput, "The text has " + std::to_string(text.size()) + " bytes; at most " +
                                             std::to_string(kMaxTextBytes) + " can be tokenised at once, so split it.");
    Encoding out;
    KVILT_TRY_VOID(encodeInto(text, guarded, options, out));
    return out;
} catch (const std::bad_alloc &) {
    return fail(ErrorCode::outOfMemory,
                "There is not enough memory to tokenise " + std::to_string(text.size()) + " bytes of text; split it.");
}

Result<void> Tokenizer::encodeInto(std::string_view text, std::span<const ByteRange> guarded,
                                   const EncodeOptions &options, Encoding &out) const
{
    const auto add = [&](TokenId id, std::uint32_t begin, std::uint32_t end) {
        out.ids.push_back(id);
        out.spans.push_back({begin, end});
    };
    const auto textEnd = static_cast<std::uint32_t>(text.size());
    if (options.addBos && addsBos())
        add(bos(), 0, 0);
    MergeScratch scratch;
    std::uint32_t done = 0;
    const auto stretchTo = [&](std::uint32_t end) -> Result<void> {
        if (options.stop && options.stop->load(std::memory_order_relaxed))
            return fail(ErrorCode::cancelled, "The text was not tokenised: it was stopped.");
        if (end == done)
            return {};
        // Stretches are what special tokens leave, so one stands before it or nothing does.
        return encodeStretch({text.substr(done, end - done), done, done > 0 || !options.continues}, scratch, out);
    };
    for (const auto &match : m_specials.find(m_vocabulary, text, options.parseSpecial, guarded)) {
        KVILT_TRY_VOID(stretchTo(match.begin));
        add(match.id, match.begin, match.end);
        done = match.end;
        if (m_vocabulary.eatsSpaceAfter(match.id))
            while (done < textEnd && std::string_view(" \t\n\v\f\r").find(text[done]) != std::string_view::npos)
                ++done;
    }
    KVILT_TRY_VOID(stretchTo(textEnd));
    if (options.addEos && addsEos())
        add(eos(), textEnd, textEnd);
    return {};
}

void Tokenizer::appendBytes(std::string_view bytes, std::uint32_t offset, Encoding &out) const
{
    const auto missing = [&](char c) { return m_vocabulary.byteToken(static_cast<std::uint8_t>(c)) < 0; };
    if (std::any_of(bytes.begin(), bytes.end(), missing)) {
        if (unknown() >= 0) {
            out.ids.push_back(unknown());
            out.spans.push_back({offset, offset + static_cast<std::uint32_t>(bytes.size())});
        }
        return;
    }
    for (std::uint32_t i = 0; i < bytes.size(); ++i) {
        out.ids.push_back(m_vocabulary.byteToken(static_cast<std::uint8_t>(bytes[i])));
        out.spans.push_back({offset + i, offset + i + 1});
    }
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, const DecodeOptions &options) const
try {
    std::string out;
    bool afterSpecial = true;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (!m_vocabulary.contains(ids[i]))
            return fail(ErrorCode::badInput, "Token " + std::to_string(ids[i]) + " at position " + std::to_string(i) +
                                                 " is outside the vocabulary of " + std::to_string(vocabSize()) + ".");
        std::string_view bytes = piece(ids[i]);
        const bool special = isControl(ids[i]) || pieceType(ids[i]) == PieceType::userDefined;
        if (addsSpacePrefix() && options.undoSpacePrefix && afterSpecial && !special && bytes.starts_with(' '))
            bytes.remove_prefix(1);
        afterSpecial = special;
        if (!options.skipControl || !isControl(ids[i]))
            out += bytes;
    }
    return out;
} catch (const std::bad_alloc &) {
    return fail(ErrorCode::outOfMemory, "There is not enough memory for the text of these tokens.");
}

bool Tokenizer::isEndOfGeneration(TokenId id) const
{
    return std::binary_search(endOfGeneration().begin(), endOfGeneration().end(), id);
}

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, const DecodeOptions &options)
    : m_tokenizer(std::move(tokenizer)), m_options(options)
{
}

std::string StreamDecoder::push(TokenId id)
{
    if (m_options.skipControl && m_tokenizer->isControl(id))
        return {};
    std::string_view bytes = m_tokenizer->piece(id);
    if (m_atStart && m_options.undoSpacePrefix && m_tokenizer->addsSpacePrefix() && bytes.starts_with(' '))
        bytes.remove_prefix(1);
    m_atStart = false;
    m_held += bytes;
    const std::size_t certain = m_held.size() - utf8::incompleteTail(m_held);
    std::string text = utf8::sanitized(std::string_view(m_held).substr(0, certain));
    m_held.erase(0, certain);
    return text;
}

std::string StreamDecoder::finish()
{
    std::string text = utf8::sanitized(m_held);
    m_held.clear();
    return text;
}

} // namespace kvilt::text

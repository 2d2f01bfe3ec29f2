// SPDX-License-Identifier: Apache-2.0
#include "engine/text/vocabulary.h"

#include "engine/text/utf8.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace kvilt::text {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81"; // ▁ U+2581

// Code point of the byte-level alphabet -> byte + 1; 0: not in the alphabet. Printable Latin-1 stands for itself, the
// other bytes take U+0100 upwards in ascending order.
constexpr std::array<std::uint16_t, 0x144> makeByteAlphabet()
{
    std::array<std::uint16_t, 0x144> table{};
    std::uint16_t shifted = 0x100;
    for (std::uint16_t byte = 0; byte < 256; ++byte) {
        const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        table[printable ? byte : shifted++] = static_cast<std::uint16_t>(byte + 1);
    }
    return table;
}
constexpr auto kByteAlphabet = makeByteAlphabet();

// "<0x0A>" -> 10, or -1.
int parseBytePiece(std::string_view piece)
{
    const auto digit = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                      : -1;
    };
    if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>' || digit(piece[3]) < 0 ||
        digit(piece[4]) < 0)
        return -1;
    return digit(piece[3]) * 16 + digit(piece[4]);
}

void appendSpacesUnmarked(std::string &out, std::string_view spelled)
{
    for (std::size_t at = 0; at < spelled.size();) {
        const std::size_t mark = std::min(spelled.find(kSpaceMark, at), spelled.size());
        out.append(spelled, at, mark - at);
        if (mark < spelled.size())
            out += ' ';
        at = mark + kSpaceMark.size();
    }
}

std::string count(std::size_t n, std::string_view what)
{
    return std::to_string(n) + " " + std::string(what);
}

// Names of the tokens that end a turn in the families we know, in the order in which one of them is taken for EOT.
constexpr std::string_view kEndOfTurnNames[] = {
    "<|eot_id|>",      "<|im_end|>", "<|end|>", "<end_of_turn>",         "<turn|>",           "<|endoftext|>",
    "<|end_of_text|>", "<EOT>",      "_<EOT>",  "<｜end▁of▁sentence｜>", "<end_of_utterance>"};
constexpr std::string_view kOtherEndNames[] = {"<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "</s>",
                                               "<|eom_id|>", "[EOT]",    "[EOS]",     "<eos>"};

} // namespace

bool appendByteLevelDecoded(std::string &out, std::string_view spelled)
{
    bool inAlphabet = true;
    for (std::size_t at = 0; at < spelled.size();) {
        const auto first = static_cast<std::uint8_t>(spelled[at]);
        if (first > 0x20 && first < 0x7F) { // itself: most of a vocabulary
            out += spelled[at++];
            continue;
        }
        const utf8::Decoded c = utf8::decode(spelled, at);
        const std::uint16_t byte = c.valid && c.codePoint < kByteAlphabet.size() ? kByteAlphabet[c.codePoint] : 0;
        if (byte != 0)
            out += static_cast<char>(byte - 1);
        else
            out.append(spelled, at, c.bytes);
        inAlphabet &= byte != 0;
        at += c.bytes;
    }
    return inAlphabet;
}

std::string_view Vocabulary::piece(TokenId id) const
{
    if (!contains(id))
        return {};
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(m_bytes).substr(m_offsets[i], m_offsets[i + 1] - m_offsets[i]);
}

TokenId Vocabulary::findControl(std::string_view bytes) const
{
    for (TokenId id = 0; id < static_cast<TokenId>(size()); ++id) {
        if (isControl(id) && piece(id) == bytes)
            return id;
    }
    return -1;
}

TokenId Vocabulary::find(std::string_view bytes) const
{
    const std::size_t mask = m_table.size() - 1;
    for (std::size_t slot = XXH3_64bits(bytes.data(), bytes.size()) & mask;; slot = (slot + 1) & mask) {
        const TokenId id = m_table[slot];
        if (id < 0 || piece(id) == bytes)
            return id;
    }
}

void Vocabulary::insert(TokenId id)
{
    const std::string_view bytes = piece(id);
    const std::size_t mask = m_table.size() - 1;
    std::size_t slot = XXH3_64bits(bytes.data(), bytes.size()) & mask;
    for (; m_table[slot] >= 0; slot = (slot + 1) & mask) {
        if (piece(m_table[slot]) == bytes)
            return;
    }
    m_table[slot] = id;
}

// Ordinary pieces first, so that a user-defined piece never hides one of the same bytes. A SentencePiece user-defined
// piece with a plain space is out of reach of merges (they see ▁), so it is found by the special-token scan only.
void Vocabulary::indexPieces()
{
    m_table.assign(std::bit_ceil(std::size_t(size()) * 2), -1);
    const auto insertAll = [&](PieceType wanted) {
        for (TokenId id = 0; id < static_cast<TokenId>(size()); ++id) {
            const bool reachable = m_model == TokenizerModel::bpe
                                       ? !std::binary_search(m_unreachable.begin(), m_unreachable.end(), id)
                                       : wanted != PieceType::userDefined || piece(id).find(' ') == piece(id).npos;
            if (type(id) == wanted && !piece(id).empty() && reachable)
                insert(id);
        }
    };
    insertAll(PieceType::normal);
    insertAll(PieceType::unused);
    insertAll(PieceType::userDefined);
    for (int byte = 0; byte < 256; ++byte) {
        const char c = static_cast<char>(byte);
        if (const TokenId id = find({&c, 1}); id >= 0 && m_byteTokens[static_cast<std::size_t>(byte)] < 0)
            m_byteTokens[static_cast<std::size_t>(byte)] = id;
    }
}

Result<void> Vocabulary::takePiece(std::string_view spelled, PieceType type, std::string &buffer)
{
    const std::string which = "Token " + std::to_string(m_types.size());
    if (spelled.size() > kMaxPieceBytes)
        return fail(ErrorCode::badInput, which + " of the vocabulary has " + count(spelled.size(), "bytes") +
                                             "; the file is damaged, get it again.");
    if (type == PieceType::byte) {
        const int byte = parseBytePiece(spelled);
        if (byte < 0)
            return fail(ErrorCode::badInput, which + " of the vocabulary is marked as a byte but is not spelled <0x00> "
                                                     "to <0xFF>; the file is damaged, get it again.");
        buffer += static_cast<char>(byte);
        if (m_byteTokens[static_cast<std::size_t>(byte)] < 0)
            m_byteTokens[static_cast<std::size_t>(byte)] = static_cast<TokenId>(m_types.size());
    } else if (type != PieceType::normal && type != PieceType::unused) {
        buffer += spelled;
    } else if (m_model == TokenizerModel::bpe) {
        if (!appendByteLevelDecoded(buffer, spelled))
            m_unreachable.push_back(static_cast<TokenId>(m_types.size()));
    } else {
        appendSpacesUnmarked(buffer, spelled);
    }
    m_types.push_back(type);
    m_offsets.push_back(static_cast<std::uint32_t>(buffer.size()));
    return {};
}

Result<void> Vocabulary::takePieces(const VocabularySource &source)
{
    const std::size_t n = source.pieces.size();
    std::uint64_t bytes = 0;
    for (std::string_view piece : source.pieces)
        bytes += piece.size();
    if (n == 0 || n > (1u << 22) || bytes > std::numeric_limits<std::uint32_t>::max())
        return fail(ErrorCode::badInput, "The vocabulary has " + count(n, "tokens of ") + count(bytes, "bytes") +
                                             "; from 1 to 4,194,304 tokens are possible.");
    if (!source.types.empty() && source.types.size() != n)
        return fail(ErrorCode::badInput, "The vocabulary has " + count(n, "tokens but ") +
                                             count(source.types.size(), "token types") + "; the file is damaged.");
    m_bytes.reserve(bytes);
    m_offsets.reserve(n + 1);
    m_types.reserve(n);
    m_offsets.push_back(0);
    m_byteTokens.assign(256, -1);
    for (std::size_t i = 0; i < n; ++i) {
        const std::int64_t type = source.types.empty() ? 1 : source.types[i];
        // Type 0 (undefined) and unknown numbers read as normal: files in circulation have them.
        const bool known = type >= 1 && type <= 6;
        KVILT_TRY_VOID(takePiece(source.pieces[i], known ? static_cast<PieceType>(type) : PieceType::normal, m_bytes));
    }
    return {};
}

void Vocabulary::findEndsOfGeneration()
{
    auto &ends = special.endOfGeneration;
    std::array<TokenId, std::size(kEndOfTurnNames)> turnEnds;
    turnEnds.fill(-1);
    bool hasReturn = false, hasCall = false;
    TokenId plainEnd = -1;
    for (TokenId id = 0; id < static_cast<TokenId>(size()); ++id) {
        const std::string_view bytes = piece(id);
        if (bytes.size() < 4 || (bytes[0] != '<' && bytes[0] != '[' && bytes[0] != '_'))
            continue;
        const auto turn = std::find(std::begin(kEndOfTurnNames), std::end(kEndOfTurnNames), bytes);
        const bool other =
            std::find(std::begin(kOtherEndNames), std::end(kOtherEndNames), bytes) != std::end(kOtherEndNames);
        if (turn == std::end(kEndOfTurnNames) && !other)
            continue;
        // Some converters leave markers as ordinary pieces; text must not reach them all the same. The plainer names
        // are words of their own in some vocabularies (Qwen merges "</s" and ">").
        if (type(id) == PieceType::normal && !bytes.starts_with("<|") && bytes != "<end_of_turn>")
            continue;
        m_types[static_cast<std::size_t>(id)] = PieceType::control;
        ends.push_back(id);
        if (turn != std::end(kEndOfTurnNames))
            turnEnds[static_cast<std::size_t>(turn - std::begin(kEndOfTurnNames))] = id;
        hasReturn |= bytes == "<|return|>";
        hasCall |= bytes == "<|call|>";
        plainEnd = bytes == "<|end|>" ? id : plainEnd;
    }
    if (hasReturn && hasCall) // there <|end|> only closes one message of several
        std::erase(ends, plainEnd);
    if (special.eot < 0) {
        const auto first = std::find_if(turnEnds.begin(), turnEnds.end(), [](TokenId id) { return id >= 0; });
        special.eot = first == turnEnds.end() ? -1 : *first;
    }
    for (TokenId id : {special.eos, special.eot, special.eom}) {
        if (id >= 0 && !(hasReturn && hasCall && id == plainEnd))
            ends.push_back(id);
    }
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

// Phi-3 was trained with markers that swallow the white space after them; its files do not say so, so it is known by
// its name, as in llama.cpp. Beginning and end of text and the unknown token are ordinary there.
void Vocabulary::findSpaceEaters(std::string_view modelName)
{
    std::string name(modelName.substr(0, 200));
    std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos)
        return;
    for (TokenId id = 0; id < static_cast<TokenId>(size()); ++id) {
        const std::string_view spelled = piece(id);
        const bool marker = isControl(id) || type(id) == PieceType::userDefined;
        if ((marker && spelled != "<unk>" && spelled != "<s>" && spelled != "<|endoftext|>") || spelled == "</s>")
            special.eatsSpaceAfter.push_back(id);
    }
}

Result<void> Vocabulary::takeSpecialTokens(const VocabularySource &source)
{
    const bool bpe = m_model == TokenizerModel::bpe;
    const auto take = [&](const char *name, std::optional<std::int64_t> given, TokenId fallback,
                          TokenId &out) -> Result<void> {
        if (given && *given != -1 && (*given < 0 || *given >= static_cast<std::int64_t>(size())))
            return fail(ErrorCode::badInput, "The " + std::string(name) + " token has id " + std::to_string(*given) +
                                                 ", but the vocabulary has " + count(size(), "tokens") +
                                                 "; the file is damaged, get it again.");
        const TokenId id = given ? static_cast<TokenId>(*given) : fallback;
        out = contains(id) ? id : -1;
        return {};
    };
    KVILT_TRY_VOID(take("BOS", source.bos, bpe ? -1 : 1, special.bos));
    KVILT_TRY_VOID(take("EOS", source.eos, bpe ? -1 : 2, special.eos));
    KVILT_TRY_VOID(take("EOT", source.eot, -1, special.eot));
    KVILT_TRY_VOID(take("EOM", source.eom, -1, special.eom));
    KVILT_TRY_VOID(take("unknown", source.unknown, bpe ? -1 : 0, special.unknown));
    KVILT_TRY_VOID(take("padding", source.padding, -1, special.padding));
    special.addBos = source.addBos.value_or(!bpe) && special.bos >= 0;
    special.addEos = source.addEos.value_or(false) && special.eos >= 0;
    special.addSpacePrefix = !bpe && source.addSpacePrefix.value_or(true);
    findSpaceEaters(source.modelName);
    return {};
}

Result<Vocabulary> Vocabulary::build(const VocabularySource &source)
{
    Vocabulary v;
    if (source.model != "gpt2" && source.model != "llama")
        return fail(ErrorCode::unsupported,
                    "The tokenizer model is \"" + utf8::sanitized(source.model.substr(0, 40)) +
                        "\"; this version reads gpt2 (byte-level BPE) and llama (SentencePiece).");
    v.m_model = source.model == "gpt2" ? TokenizerModel::bpe : TokenizerModel::sentencePiece;
    KVILT_TRY_VOID(v.takePieces(source));
    if (v.m_model == TokenizerModel::sentencePiece) {
        if (source.scores.size() != v.size())
            return fail(ErrorCode::badInput, "The vocabulary has " + count(v.size(), "tokens but ") +
                                                 count(source.scores.size(), "scores") + "; the file is damaged.");
        if (std::any_of(source.scores.begin(), source.scores.end(), [](float s) { return std::isnan(s); }))
            return fail(ErrorCode::badInput, "A score of the vocabulary is not a number; the file is damaged.");
        v.m_scores = source.scores;
    }
    KVILT_TRY_VOID(v.takeSpecialTokens(source));
    v.findEndsOfGeneration();
    v.indexPieces();
    return v;
}

} // namespace kvilt::text

// SPDX-License-Identifier: Apache-2.0
// The vocabularies of tiny models: small, but built by the same rules as real ones.
#include "tests/support/tiny_vocabulary.h"

#include <cstdio>
#include <map>

namespace kvilt::test {
namespace {

std::string utf8(std::uint32_t codePoint)
{
    if (codePoint < 0x80)
        return std::string(1, static_cast<char>(codePoint));
    return {static_cast<char>(0xc0 | codePoint >> 6), static_cast<char>(0x80 | (codePoint & 0x3f))};
}

bool printsAsItself(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// The letter that byte-level BPE writes for a byte.
std::string byteLetter(int byte)
{
    int others = 0;
    for (int b = 0; b < byte; ++b)
        others += !printsAsItself(b);
    return utf8(static_cast<std::uint32_t>(printsAsItself(byte) ? byte : 0x100 + others));
}

const std::string kSpace = "\xc4\xa0"; // byte-level BPE's letter for a blank

} // namespace

TinyBpe tinyBpe()
{
    TinyBpe bpe;
    const auto add = [&](const std::string &piece, int type) {
        bpe.pieces.push_back(piece);
        bpe.types.push_back(type);
    };
    for (const char *special : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"})
        add(special, 3);
    for (int byte = 0; byte < 256; ++byte)
        add(byteLetter(byte), 1);
    const std::pair<std::string, std::string> merges[] = {
        {kSpace, "t"}, {"h", "e"}, {"i", "n"}, {kSpace, "a"}, {"r", "e"}, {"o", "n"}, {kSpace + "t", "he"}, {"e", "r"},
        {kSpace, "s"}, {"a", "t"}, {kSpace, "w"}, {kSpace, "o"}, {"e", "n"}, {kSpace, "c"}, {"i", "t"}, {"i", "s"},
        {"a", "n"}, {"o", "r"}, {"e", "s"}, {kSpace, "b"}, {"e", "d"}, {kSpace, "f"}, {"in", "g"}, {kSpace, "p"},
        {"o", "u"}, {kSpace + "a", "n"}, {"a", "l"}, {"a", "r"}, {kSpace + "t", "o"}, {kSpace, "m"}, {kSpace + "o", "f"},
        {kSpace, "in"}, {kSpace, "d"}, {kSpace, "h"}, {kSpace + "an", "d"}, {"i", "c"}, {"a", "s"}, {"l", "e"}, {"l", "l"},
        {"o", "m"}, {"s", "e"}, {"h", "i"}, {"u", "s"}, {"us", "er"}, {"e", "m"}, {"s", "y"}, {"sy", "s"}, {"t", "em"},
        {"sys", "tem"}, {"as", "s"}, {"is", "t"}, {"ass", "ist"}, {"assist", "an"}, {"assistan", "t"}, {"he", "ll"}, {"hell", "o"},
    };
    for (const auto &[left, right] : merges) {
        bpe.merges.push_back(left + " " + right);
        add(left + right, 1);
    }
    return bpe;
}

TinySentencePiece tinySentencePiece()
{
    TinySentencePiece spm;
    const auto add = [&](const std::string &piece, float score, int type) {
        spm.pieces.push_back(piece);
        spm.scores.push_back(score);
        spm.types.push_back(type);
    };
    for (const char *special : {"<pad>", "<eos>", "<bos>"})
        add(special, 0, 3);
    add("<unk>", 0, 2);
    for (const char *special : {"<|im_start|>", "<|im_end|>"})
        add(special, 0, 3);
    for (int byte = 0; byte < 256; ++byte) {
        char text[8];
        std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
        add(text, 0, 6);
    }
    const std::string blank = "\xe2\x96\x81";
    // Every prefix that merging passes through must be a piece itself, and the longer the better.
    const std::string words[] = {blank + "the", blank + "and", blank + "of", blank + "to", blank + "in", blank + "a", blank + "is",
                                 blank + "he", "user", "system", "assistant", "hello", "ing", "er", "ed", "es", "on", "at"};
    std::map<std::string, bool> seen;
    float score = 0;
    for (const std::string &word : words)
        for (std::size_t length = 2; length <= word.size(); ++length) {
            const std::string piece = word.substr(0, length);
            if ((static_cast<unsigned char>(piece.back()) & 0x80) != 0 || seen[piece])
                continue;
            seen[piece] = true;
            add(piece, score -= 1, 1);
        }
    add(blank, score -= 1, 1);
    for (int c = 0x21; c < 0x7f; ++c)
        add(std::string(1, static_cast<char>(c)), score -= 1, 1);
    add("\n", score -= 1, 1);
    return spm;
}

} // namespace kvilt::test

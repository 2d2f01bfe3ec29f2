// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/gguf_writer.h"

#include <cstdint>
#include <string>

namespace kvilt::test {

// A whole model of some hundred kilobytes with random weights from a seed: real architecture, real metadata, a small
// real vocabulary and a ChatML template. Its text makes no sense, its numbers do.
struct TinyModelOptions {
    std::string architecture = "llama"; // or "gemma3"
    gguf::TensorType weights = gguf::TensorType::q8_0;
    gguf::TensorType embedding = gguf::TensorType::q8_0; // the head too, tied or not
    std::uint64_t seed = 1;
    std::uint32_t layers = 0;      // 0: 3 for llama, 7 for gemma3 (layer 5 sees everything)
    std::uint32_t width = 0;       // 0: 64, or 256 where the types have blocks of 256
    std::uint32_t feedForward = 0; // 0: 96, or 512
    std::uint32_t heads = 4;
    std::uint32_t kvHeads = 2;
    std::uint32_t headDim = 32;
    std::uint32_t window = 32;     // gemma3
    std::uint32_t contextLength = 2048;
    bool tied = true;
    bool ropeFactors = false;      // llama: rope_freqs.weight
    float ropeScaling = 0;         // linear factor, 0: none
    bool vocabularyOnly = false;   // no weights at all
};

// The writer with everything set, for tests that break one thing.
GgufWriter tinyModelWriter(const TinyModelOptions &options);
std::vector<std::byte> tinyModelBytes(const TinyModelOptions &options);
// Writes it to `path`; false when the file could not be written.
bool writeTinyModel(const std::string &path, const TinyModelOptions &options);

// Tokens of the tiny vocabularies. Both have <|im_start|> and <|im_end|> as control tokens; end of generation is
// <|im_end|>. BPE (llama): 0 <|endoftext|>, 1 <|im_start|>, 2 <|im_end|>, 3..258 the bytes, then merges.
// SentencePiece (gemma3): 0 <pad>, 1 <eos>, 2 <bos>, 3 <unk>, 4 <|im_start|>, 5 <|im_end|>, 6..261 bytes, then pieces.
extern const char *const kTinyChatTemplate;

// `count` random blocks of a type whose weights have about this standard deviation, as in a file; empty for a type
// that has no recipe here.
std::vector<std::byte> randomWeights(gguf::TensorType type, std::uint64_t elements, float deviation, std::uint64_t seed);

// Rounds to nearest even; finite values only.
std::uint16_t halfFromFloat(float value);
float floatFromHalf(std::uint16_t bits);

// splitmix64: the same numbers everywhere, unlike the standard library's distributions.
class Random {
public:
    explicit Random(std::uint64_t seed) : m_state(seed) {}
    std::uint64_t next();
    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(next() % limit); }
    float uniform(float low, float high) { return low + (high - low) * static_cast<float>(next() >> 40) * 0x1p-24f; }

private:
    std::uint64_t m_state;
};

} // namespace kvilt::test

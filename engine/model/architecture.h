// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

// Architectures as data. To add one that fits these words, add a row to architecture.cpp; a new idea (a new norm
// place, experts) is a new field here, read in one place by the backends.
namespace kvilt::model {

enum class RopeLayout : std::uint8_t {
    interleaved, // pairs (2i, 2i+1); GGUF conversion permutes llama's Q and K for it
    halves,      // pairs (i, i + rotated/2)
};
enum class Activation : std::uint8_t { silu, geluTanh };

// What a tensor is for. Those from attentionNorm on stand once a layer.
enum class TensorRole : std::uint8_t {
    tokenEmbedding, outputNorm, output, ropeFactors,
    attentionNorm, query, key, value, attentionOutput, queryNorm, keyNorm, postAttentionNorm,
    feedForwardNorm, gate, up, down, postFeedForwardNorm,
};
inline constexpr int kTensorRoles = 17;
inline constexpr int kFirstLayerRole = static_cast<int>(TensorRole::attentionNorm);

// A length that the hyperparameters give.
enum class Extent : std::uint8_t { one, width, vocabulary, queryWidth, keyWidth, valueWidth, attentionWidth, feedForward, keyDim, ropePairs };

struct TensorRule {
    TensorRole role;
    std::string_view name; // "blk.*.attn_q.weight": * is the layer
    Extent rowLength;      // innermost
    Extent rows;           // one: a vector
    bool required;
};

struct Architecture {
    std::string_view name; // general.architecture, and the prefix of its metadata keys
    std::span<const TensorRule> tensors;
    RopeLayout rope = RopeLayout::interleaved;
    Activation activation = Activation::silu;
    bool scaleEmbedding = false;         // token embeddings times sqrt(width)
    double defaultRopeBase = 10000;
    // Sliding windows: every `windowPattern`-th layer sees everything, the others `attention.sliding_window` tokens
    // and rotate by `windowRopeBase` without scaling. 0: no windows.
    std::uint32_t windowPattern = 0;
    double windowRopeBase = 10000;
    // Files with so many layers scale attention by 1/sqrt(width / heads) instead of 1/sqrt(keyDim); 0: none do.
    std::uint32_t layersScaledByWidth = 0;
};

// Null when unknown.
const Architecture *findArchitecture(std::string_view name);
std::span<const Architecture> allArchitectures();

// "blk.3.attn_q.weight" for rule "blk.*.attn_q.weight" and layer 3.
std::string tensorName(const TensorRule &rule, std::uint32_t layer);

} // namespace kvilt::model

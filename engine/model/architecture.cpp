// SPDX-License-Identifier: Apache-2.0
#include "engine/model/architecture.h"

namespace kvilt::model {
namespace {

using enum TensorRole;

constexpr TensorRule kLlamaTensors[] = {
    {tokenEmbedding, "token_embd.weight", Extent::width, Extent::vocabulary, true},
    {outputNorm, "output_norm.weight", Extent::width, Extent::one, true},
    {output, "output.weight", Extent::width, Extent::vocabulary, false},
    {ropeFactors, "rope_freqs.weight", Extent::ropePairs, Extent::one, false},
    {attentionNorm, "blk.*.attn_norm.weight", Extent::width, Extent::one, true},
    {query, "blk.*.attn_q.weight", Extent::width, Extent::queryWidth, true},
    {key, "blk.*.attn_k.weight", Extent::width, Extent::keyWidth, true},
    {value, "blk.*.attn_v.weight", Extent::width, Extent::valueWidth, true},
    {attentionOutput, "blk.*.attn_output.weight", Extent::attentionWidth, Extent::width, true},
    {feedForwardNorm, "blk.*.ffn_norm.weight", Extent::width, Extent::one, true},
    {gate, "blk.*.ffn_gate.weight", Extent::width, Extent::feedForward, true},
    {up, "blk.*.ffn_up.weight", Extent::width, Extent::feedForward, true},
    {down, "blk.*.ffn_down.weight", Extent::feedForward, Extent::width, true},
};

constexpr TensorRule kGemma3Tensors[] = {
    {tokenEmbedding, "token_embd.weight", Extent::width, Extent::vocabulary, true},
    {outputNorm, "output_norm.weight", Extent::width, Extent::one, true},
    {output, "output.weight", Extent::width, Extent::vocabulary, false},
    {attentionNorm, "blk.*.attn_norm.weight", Extent::width, Extent::one, true},
    {query, "blk.*.attn_q.weight", Extent::width, Extent::queryWidth, true},
    {key, "blk.*.attn_k.weight", Extent::width, Extent::keyWidth, true},
    {value, "blk.*.attn_v.weight", Extent::width, Extent::valueWidth, true},
    {queryNorm, "blk.*.attn_q_norm.weight", Extent::keyDim, Extent::one, true},
    {keyNorm, "blk.*.attn_k_norm.weight", Extent::keyDim, Extent::one, true},
    {attentionOutput, "blk.*.attn_output.weight", Extent::attentionWidth, Extent::width, true},
    {postAttentionNorm, "blk.*.post_attention_norm.weight", Extent::width, Extent::one, true},
    {feedForwardNorm, "blk.*.ffn_norm.weight", Extent::width, Extent::one, true},
    {gate, "blk.*.ffn_gate.weight", Extent::width, Extent::feedForward, true},
    {up, "blk.*.ffn_up.weight", Extent::width, Extent::feedForward, true},
    {down, "blk.*.ffn_down.weight", Extent::feedForward, Extent::width, true},
    {postFeedForwardNorm, "blk.*.post_ffw_norm.weight", Extent::width, Extent::one, true},
};

constexpr Architecture kArchitectures[] = {
    {.name = "llama", .tensors = kLlamaTensors},
    {.name = "gemma3",
     .tensors = kGemma3Tensors,
     .rope = RopeLayout::halves,
     .activation = Activation::geluTanh,
     .scaleEmbedding = true,
     .defaultRopeBase = 1e6,
     .windowPattern = 6,
     .windowRopeBase = 10000,
     .layersScaledByWidth = 62}, // Gemma 3 27B only: its query_pre_attn_scalar is width / heads
};

} // namespace

const Architecture *findArchitecture(std::string_view name)
{
    for (const Architecture &entry : kArchitectures)
        if (entry.name == name)
            return &entry;
    return nullptr;
}

std::span<const Architecture> allArchitectures()
{
    return kArchitectures;
}

std::string tensorName(const TensorRule &rule, std::uint32_t layer)
{
    const std::size_t star = rule.name.find('*');
    if (star == std::string_view::npos)
        return std::string(rule.name);
    return std::string(rule.name.substr(0, star)) + std::to_string(layer) + std::string(rule.name.substr(star + 1));
}

} // namespace kvilt::model

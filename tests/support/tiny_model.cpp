// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tiny_model.h"

#include "tests/support/tiny_vocabulary.h"

#include <bit>
#include <cmath>
#include <fstream>

namespace kvilt::test {

using gguf::TensorType;

const char *const kTinyChatTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

std::uint64_t Random::next()
{
    std::uint64_t z = (m_state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

std::uint16_t halfFromFloat(float value)
{
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
    const double magnitude = std::fabs(static_cast<double>(value));
    if (magnitude >= 65520)
        return sign | 0x7c00;
    const int exponent = magnitude < 0x1p-14 ? -14 : std::ilogb(magnitude);
    const double units = std::nearbyint(std::ldexp(magnitude, 10 - exponent)); // ties to even
    // Units reach 2048 when rounding carries; the sum below then moves into the next exponent by itself.
    const int biased = magnitude < 0x1p-14 ? 0 : exponent + 14;
    return static_cast<std::uint16_t>(sign + biased * 1024 + static_cast<int>(units));
}

float floatFromHalf(std::uint16_t bits)
{
    const int exponent = bits >> 10 & 31;
    const int mantissa = bits & 1023;
    const float magnitude = exponent == 31 ? (mantissa ? NAN : INFINITY)
                            : exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                            : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

namespace {

void putHalf(std::byte *at, float value)
{
    const std::uint16_t half = halfFromFloat(value);
    std::memcpy(at, &half, 2);
}

// Where a type keeps its float16 scales and how large its integers get: random bytes elsewhere make valid blocks.
struct BlockRecipe {
    TensorType type;
    int scaleAt;        // byte offset of the main scale; kExponent, kInPieces: see putScale()
    int minimumAt;      // of the minimum or offset, -1: none
    float spread;       // standard deviation of the weights when the scale is 1
    float minimumRatio; // the minimum, in scales
};
constexpr int kExponent = -1; // MXFP4: the first byte is the scale's exponent
constexpr int kInPieces = -2; // IQ1_M: four bits of the scale in each of four words at byte 48
constexpr BlockRecipe kRecipes[] = {
    {TensorType::q4_0, 0, -1, 4.6f, 0},      {TensorType::q4_1, 0, 2, 4.6f, -7.5f},
    {TensorType::q5_0, 0, -1, 9.2f, 0},      {TensorType::q5_1, 0, 2, 9.2f, -15.5f},
    {TensorType::q8_0, 0, -1, 74.f, 0},      {TensorType::q4_k, 0, 2, 240.f, 7.5f},
    {TensorType::q5_k, 0, 2, 480.f, 15.5f},  {TensorType::q6_k, 208, -1, 1360.f, 0},
    {TensorType::q2_k, 80, 82, 13.9f, 1.5f}, {TensorType::q3_k, 108, -1, 43.f, 0},
    {TensorType::tq1_0, 52, -1, 0.82f, 0},   {TensorType::tq2_0, 64, -1, 0.82f, 0},
    {TensorType::iq2_xxs, 0, -1, 53.f, 0},   {TensorType::iq2_xs, 0, -1, 56.f, 0},
    {TensorType::iq2_s, 0, -1, 56.f, 0},     {TensorType::iq3_xxs, 0, -1, 142.f, 0},
    {TensorType::iq3_s, 0, -1, 140.f, 0},    {TensorType::iq1_s, 0, -1, 7.2f, 0},
    {TensorType::iq4_nl, 0, -1, 67.f, 0},    {TensorType::iq4_xs, 0, -1, 1250.f, 0},
    {TensorType::iq1_m, kInPieces, -1, 7.2f, 0}, {TensorType::mxfp4, kExponent, -1, 2.9f, 0},
};

void putScale(const BlockRecipe &recipe, std::byte *block, float scale)
{
    if (recipe.scaleAt == kExponent) {
        block[0] = static_cast<std::byte>(127 + std::ilogb(scale));
    } else if (recipe.scaleAt == kInPieces) {
        for (unsigned i = 0; i < 4; ++i)
            block[49 + 2 * i] = (block[49 + 2 * i] & std::byte(15)) | static_cast<std::byte>((halfFromFloat(scale) >> (4 * i) & 15) << 4);
    } else {
        putHalf(block + recipe.scaleAt, scale);
    }
    if (recipe.minimumAt >= 0)
        putHalf(block + recipe.minimumAt, scale * recipe.minimumRatio);
    if (recipe.type == TensorType::tq2_0) // the digit 3 does not occur
        for (int i = 0; i < 64; ++i)
            block[i] &= ~(block[i] >> 1 & std::byte(0x55));
}

std::vector<std::byte> randomFloats(TensorType type, std::uint64_t elements, float deviation, Random &random)
{
    ByteSink sink;
    for (std::uint64_t i = 0; i < elements; ++i) {
        const float value = random.uniform(-1.7320508f, 1.7320508f) * deviation;
        if (type == TensorType::f32)
            sink.put(value);
        else if (type == TensorType::f16)
            sink.put(halfFromFloat(value));
        else
            sink.put(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
    }
    return sink.take();
}

std::vector<std::byte> normWeights(std::uint32_t count, std::uint64_t seed)
{
    Random random(seed);
    ByteSink sink;
    for (std::uint32_t i = 0; i < count; ++i)
        sink.put(random.uniform(0.8f, 1.2f));
    return sink.take();
}

TinyModelOptions completed(TinyModelOptions o)
{
    const bool big = gguf::info(o.weights).blockSize > 32 || gguf::info(o.embedding).blockSize > 32;
    o.layers = o.layers ? o.layers : o.architecture == "gemma3" ? 7 : 3;
    o.width = o.width ? o.width : big ? 256 : 64;
    o.feedForward = o.feedForward ? o.feedForward : big ? 512 : 96;
    // attn_output's rows are heads * headDim long and must be whole blocks as well.
    o.headDim = big && o.headDim * o.heads % 256 != 0 ? 64 : o.headDim;
    return o;
}

void setHyperparameters(GgufWriter &w, const TinyModelOptions &o)
{
    const std::string p = o.architecture + ".";
    w.setString("general.architecture", o.architecture);
    w.setString("general.name", "Tiny " + o.architecture);
    w.setU32(p + "context_length", o.contextLength);
    w.setU32(p + "embedding_length", o.width);
    w.setU32(p + "block_count", o.layers);
    w.setU32(p + "feed_forward_length", o.feedForward);
    w.setU32(p + "attention.head_count", o.heads);
    w.setU32(p + "attention.head_count_kv", o.kvHeads);
    w.setU32(p + "attention.key_length", o.headDim);
    w.setU32(p + "attention.value_length", o.headDim);
    w.setF32(p + "attention.layer_norm_rms_epsilon", 1e-5f);
    w.setF32(p + "rope.freq_base", o.architecture == "gemma3" ? 1e6f : 10000.f);
    if (o.architecture == "gemma3")
        w.setU32(p + "attention.sliding_window", o.window);
    if (o.ropeScaling > 0) {
        w.setString(p + "rope.scaling.type", "linear");
        w.setF32(p + "rope.scaling.factor", o.ropeScaling);
    }
}

std::uint32_t setVocabulary(GgufWriter &w, const TinyModelOptions &o)
{
    w.setString("tokenizer.chat_template", kTinyChatTemplate);
    if (o.architecture == "gemma3") {
        const TinySentencePiece spm = tinySentencePiece();
        w.setString("tokenizer.ggml.model", "llama");
        w.setString("tokenizer.ggml.pre", "default");
        w.setStrings("tokenizer.ggml.tokens", spm.pieces);
        w.setF32s("tokenizer.ggml.scores", spm.scores);
        w.setI32s("tokenizer.ggml.token_type", spm.types);
        w.setU32("tokenizer.ggml.bos_token_id", 2);
        w.setU32("tokenizer.ggml.eos_token_id", 5);
        w.setU32("tokenizer.ggml.unknown_token_id", 3);
        w.setU32("tokenizer.ggml.padding_token_id", 0);
        w.setBool("tokenizer.ggml.add_bos_token", true);
        w.setBool("tokenizer.ggml.add_space_prefix", false);
        return static_cast<std::uint32_t>(spm.pieces.size());
    }
    const TinyBpe bpe = tinyBpe();
    w.setString("tokenizer.ggml.model", "gpt2");
    w.setString("tokenizer.ggml.pre", "smollm");
    w.setStrings("tokenizer.ggml.tokens", bpe.pieces);
    w.setI32s("tokenizer.ggml.token_type", bpe.types);
    w.setStrings("tokenizer.ggml.merges", bpe.merges);
    w.setU32("tokenizer.ggml.bos_token_id", 1);
    w.setU32("tokenizer.ggml.eos_token_id", 2);
    w.setBool("tokenizer.ggml.add_bos_token", false);
    return static_cast<std::uint32_t>(bpe.pieces.size());
}

// Adds tensors with names and seeds of their own, so that one more tensor changes no other.
class Weights {
public:
    Weights(GgufWriter &writer, const TinyModelOptions &options) : m_writer(writer), m_o(options) {}

    void matrix(const std::string &name, TensorType type, std::uint32_t cols, std::uint32_t rows)
    {
        const float deviation = 1.0f / std::sqrt(static_cast<float>(cols));
        m_writer.addTensor(name, type, {cols, rows},
                           randomWeights(type, std::uint64_t(cols) * rows, deviation, m_o.seed * 1000 + m_next++));
    }
    void norm(const std::string &name, std::uint32_t length)
    {
        m_writer.addTensor(name, TensorType::f32, {length}, normWeights(length, m_o.seed * 1000 + m_next++));
    }
    void layer(std::uint32_t index)
    {
        const std::string p = "blk." + std::to_string(index) + ".";
        const std::uint32_t queries = m_o.heads * m_o.headDim;
        const std::uint32_t keys = m_o.kvHeads * m_o.headDim;
        norm(p + "attn_norm.weight", m_o.width);
        matrix(p + "attn_q.weight", m_o.weights, m_o.width, queries);
        matrix(p + "attn_k.weight", m_o.weights, m_o.width, keys);
        matrix(p + "attn_v.weight", m_o.weights, m_o.width, keys);
        matrix(p + "attn_output.weight", m_o.weights, queries, m_o.width);
        norm(p + "ffn_norm.weight", m_o.width);
        matrix(p + "ffn_gate.weight", m_o.weights, m_o.width, m_o.feedForward);
        matrix(p + "ffn_up.weight", m_o.weights, m_o.width, m_o.feedForward);
        matrix(p + "ffn_down.weight", m_o.weights, m_o.feedForward, m_o.width);
        if (m_o.architecture != "gemma3")
            return;
        norm(p + "attn_q_norm.weight", m_o.headDim);
        norm(p + "attn_k_norm.weight", m_o.headDim);
        norm(p + "post_attention_norm.weight", m_o.width);
        norm(p + "post_ffw_norm.weight", m_o.width);
    }

private:
    GgufWriter &m_writer;
    const TinyModelOptions &m_o;
    std::uint64_t m_next = 0;
};

} // namespace

std::vector<std::byte> randomWeights(TensorType type, std::uint64_t elements, float deviation, std::uint64_t seed)
{
    Random random(seed);
    if (gguf::info(type).blockSize == 1)
        return randomFloats(type, elements, deviation, random);
    const BlockRecipe *recipe = nullptr;
    for (const BlockRecipe &entry : kRecipes)
        if (entry.type == type)
            recipe = &entry;
    if (!recipe)
        return {};
    const gguf::TensorTypeInfo &block = gguf::info(type);
    std::vector<std::byte> out(elements / block.blockSize * block.blockBytes);
    for (std::size_t at = 0; at < out.size(); at += block.blockBytes) {
        for (std::uint32_t i = 0; i < block.blockBytes; ++i)
            out[at + i] = static_cast<std::byte>(random.next() >> 33);
        const float scale = deviation / recipe->spread * random.uniform(0.7f, 1.3f);
        putScale(*recipe, &out[at], scale);
    }
    return out;
}

GgufWriter tinyModelWriter(const TinyModelOptions &options)
{
    const TinyModelOptions o = completed(options);
    GgufWriter writer;
    setHyperparameters(writer, o);
    const std::uint32_t vocabulary = setVocabulary(writer, o);
    if (o.vocabularyOnly)
        return writer;
    Weights weights(writer, o);
    weights.matrix("token_embd.weight", o.embedding, o.width, vocabulary);
    weights.norm("output_norm.weight", o.width);
    for (std::uint32_t layer = 0; layer < o.layers; ++layer)
        weights.layer(layer);
    if (!o.tied)
        weights.matrix("output.weight", o.embedding, o.width, vocabulary);
    if (o.ropeFactors) {
        ByteSink factors;
        for (std::uint32_t i = 0; i < o.headDim / 2; ++i)
            factors.put(1.0f + 7.0f * static_cast<float>(i) / static_cast<float>(o.headDim));
        writer.addTensor("rope_freqs.weight", TensorType::f32, {o.headDim / 2}, factors.take());
    }
    return writer;
}

std::vector<std::byte> tinyModelBytes(const TinyModelOptions &options)
{
    return tinyModelWriter(options).build();
}

bool writeTinyModel(const std::string &path, const TinyModelOptions &options)
{
    const std::vector<std::byte> bytes = tinyModelBytes(options);
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return static_cast<bool>(out);
}

} // namespace kvilt::test

// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_description.h"

#include "engine/gguf/gguf_file.h"

#include <cmath>

namespace kvilt::model {
namespace {

using gguf::GgufFile;

// Above anything that exists; their products stay far below 2^63, and every width is later checked against a tensor
// that the file really holds.
constexpr std::uint64_t kMaxLayers = 4096;
constexpr std::uint64_t kMaxWidth = 1u << 20;
constexpr std::uint64_t kMaxHeads = 4096;
constexpr std::uint64_t kMaxHeadDim = 4096;
constexpr std::uint64_t kMaxContext = 1u << 28;

// Reads "<architecture>.<key>" values of one file.
class Reader {
public:
    Reader(const GgufFile &file, std::string_view architecture) : m_file(file), m_prefix(std::string(architecture) + ".") {}

    std::string key(std::string_view name) const { return m_prefix + std::string(name); }
    bool has(std::string_view name) const { return m_file.has(key(name)); }
    tl::unexpected<Error> bad(std::string_view name, const std::string &why) const
    {
        return fail(ErrorCode::badInput, m_file.path() + ": the metadata '" + key(name) + "' " + why);
    }

    // A whole number from 1 to `most`; absent: `standard`, or an error when that is 0. Files may give a list with one
    // entry a layer; all must agree then.
    Result<std::uint32_t> count(std::string_view name, std::uint64_t most, std::uint64_t standard = 0) const
    {
        const gguf::Metadata *entry = m_file.findMetadata(key(name));
        if (!entry && standard != 0)
            return static_cast<std::uint32_t>(standard);
        std::int64_t value = 0;
        if (entry && entry->type == gguf::ValueType::array) {
            KVILT_TRY(value, equalEntries(name));
        } else {
            KVILT_TRY(std::uint64_t scalar, m_file.get<std::uint64_t>(key(name)));
            value = scalar > most ? -1 : static_cast<std::int64_t>(scalar);
        }
        if (value < 1 || static_cast<std::uint64_t>(value) > most)
            return bad(name, "must be a number from 1 to " + std::to_string(most) + ".");
        return static_cast<std::uint32_t>(value);
    }

    // A positive, finite number; absent: `standard`, or an error when that is 0.
    Result<double> positive(std::string_view name, double standard = 0) const
    {
        KVILT_TRY(std::optional<double> given, m_file.find<double>(key(name)));
        if (!given && standard == 0)
            return m_file.get<double>(key(name));
        const double value = given.value_or(standard);
        if (!std::isfinite(value) || value <= 0 || value > 1e15)
            return bad(name, "must be a positive number, not " + std::to_string(value) + ".");
        return value;
    }

    // Refuses a feature that would change the result and is not built in: the key may be absent or neutral.
    Result<void> refuseUnless(std::string_view name, double neutral) const
    {
        const gguf::Metadata *entry = m_file.findMetadata(key(name));
        if (!entry)
            return {};
        double value = 0;
        if (entry->type == gguf::ValueType::f32 || entry->type == gguf::ValueType::f64) {
            KVILT_TRY(value, m_file.get<double>(key(name)));
        } else {
            KVILT_TRY(std::int64_t whole, m_file.get<std::int64_t>(key(name)));
            value = static_cast<double>(whole);
        }
        if (value == neutral)
            return {};
        return fail(ErrorCode::unsupported, m_file.path() + " uses '" + key(name) + "', which this version of Kvilt cannot compute.");
    }

    const GgufFile &file() const { return m_file; }

private:
    Result<std::int64_t> equalEntries(std::string_view name) const
    {
        KVILT_TRY(std::vector<std::int64_t> values, m_file.get<std::vector<std::int64_t>>(key(name)));
        if (values.empty())
            return bad(name, "is an empty list.");
        for (const std::int64_t value : values)
            if (value != values.front())
                return fail(ErrorCode::unsupported, m_file.path() + ": the metadata '" + key(name) +
                                                        "' differs from layer to layer, which this version of Kvilt cannot compute.");
        return values.front();
    }

    const GgufFile &m_file;
    std::string m_prefix;
};

Result<const Architecture *> architectureOf(const GgufFile &file)
{
    KVILT_TRY(std::string_view name, file.get<std::string_view>("general.architecture"));
    if (const Architecture *known = findArchitecture(name))
        return known;
    std::string all;
    for (const Architecture &entry : allArchitectures())
        all += (all.empty() ? "" : ", ") + std::string(entry.name);
    return fail(ErrorCode::unsupported, file.path() + " is a model of the architecture '" + gguf::printable(name) +
                                            "', which this version of Kvilt cannot run (it knows " + all + ").");
}

Result<void> refuseUnsupported(const Reader &reader)
{
    KVILT_TRY(std::optional<std::uint64_t> parts, reader.file().find<std::uint64_t>("split.count"));
    if (parts.value_or(1) > 1)
        return fail(ErrorCode::unsupported, reader.file().path() + " is one part of a model that was split into " +
                                                std::to_string(*parts) + " files; merge them into one first.");
    for (const char *key : {"expert_count", "attn_logit_softcapping", "final_logit_softcapping", "attention.max_alibi_bias",
                            "attention.clamp_kqv"})
        KVILT_TRY_VOID(reader.refuseUnless(key, 0));
    for (const char *key : {"logit_scale", "residual_scale", "embedding_scale"})
        KVILT_TRY_VOID(reader.refuseUnless(key, 1));
    return {};
}

Result<void> readHeads(const Reader &reader, ModelDescription &d)
{
    KVILT_TRY(d.heads, reader.count("attention.head_count", kMaxHeads));
    KVILT_TRY(d.kvHeads, reader.count("attention.head_count_kv", kMaxHeads, d.heads));
    if (d.heads % d.kvHeads != 0)
        return reader.bad("attention.head_count_kv", "is " + std::to_string(d.kvHeads) + ", which does not divide the " +
                                                         std::to_string(d.heads) + " heads.");
    if (!reader.has("attention.key_length") && d.width % d.heads != 0)
        return reader.bad("attention.head_count", "is " + std::to_string(d.heads) + ", which does not divide the width " +
                                                      std::to_string(d.width) + ".");
    const std::uint32_t standard = std::max(1u, d.width / d.heads);
    KVILT_TRY(d.keyDim, reader.count("attention.key_length", kMaxHeadDim, standard));
    KVILT_TRY(d.valueDim, reader.count("attention.value_length", kMaxHeadDim, standard));
    if (d.keyDim > kMaxHeadDim || d.valueDim > kMaxHeadDim)
        return reader.bad("attention.head_count", "gives heads wider than " + std::to_string(kMaxHeadDim) + ".");
    return {};
}

Result<void> readRope(const Reader &reader, ModelDescription &d)
{
    KVILT_TRY(d.rotated, reader.count("rope.dimension_count", kMaxHeadDim, d.keyDim));
    if (d.rotated % 2 != 0 || d.rotated > d.keyDim)
        return reader.bad("rope.dimension_count", "is " + std::to_string(d.rotated) + "; an even number up to the head's " +
                                                      std::to_string(d.keyDim) + " is needed.");
    KVILT_TRY(d.rope.base, reader.positive("rope.freq_base", d.architecture->defaultRopeBase));
    KVILT_TRY(d.windowRope.base, reader.positive("rope.freq_base_swa", d.architecture->windowRopeBase));
    KVILT_TRY(std::optional<std::string_view> type, reader.file().find<std::string_view>(reader.key("rope.scaling.type")));
    if (type && *type != "none" && *type != "linear")
        return fail(ErrorCode::unsupported, reader.file().path() + " scales RoPE by '" + gguf::printable(*type) +
                                                "', which this version of Kvilt cannot compute.");
    // Old files have rope.scale_linear and no type; a factor of 0 says "none" in some.
    const char *key = reader.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    KVILT_TRY(std::optional<double> factor, reader.file().find<double>(reader.key(key)));
    if (factor && (!std::isfinite(*factor) || *factor < 0 || *factor > 1e6))
        return reader.bad(key, "must be a positive number.");
    if (factor.value_or(0) > 0 && (!type || *type == "linear"))
        d.rope.frequencyScale = 1 / *factor;
    d.rope.useFactors = reader.file().findTensor("rope_freqs.weight") != nullptr;
    return {};
}

Result<void> readWindows(const Reader &reader, ModelDescription &d)
{
    d.windowed.assign(d.layers, false);
    const std::uint32_t pattern = d.architecture->windowPattern;
    if (pattern == 0)
        return {};
    KVILT_TRY(d.window, reader.count("attention.sliding_window", kMaxContext));
    if (reader.has("attention.sliding_window_pattern")) {
        KVILT_TRY(std::uint32_t given, reader.count("attention.sliding_window_pattern", kMaxLayers));
        if (given != pattern)
            return fail(ErrorCode::unsupported, reader.file().path() + " makes every " + std::to_string(given) +
                                                    "th layer global; for this architecture Kvilt knows only every " +
                                                    std::to_string(pattern) + "th.");
    }
    for (std::uint32_t layer = 0; layer < d.layers; ++layer)
        d.windowed[layer] = (layer + 1) % pattern != 0;
    return {};
}

Result<void> readVocabulary(const Reader &reader, ModelDescription &d)
{
    const gguf::TensorInfo *embedding = reader.file().findTensor("token_embd.weight");
    if (!embedding)
        return fail(ErrorCode::badInput, reader.file().path() + " holds no weights (the tensor 'token_embd.weight' is missing), so it cannot be run.");
    if (embedding->dims[1] > kMaxWidth * 4)
        return fail(ErrorCode::badInput, reader.file().path() + ": the vocabulary of " + std::to_string(embedding->dims[1]) + " tokens is too large.");
    d.vocabulary = static_cast<std::uint32_t>(embedding->dims[1]);
    if (reader.has("vocab_size")) {
        KVILT_TRY(std::uint32_t stated, reader.count("vocab_size", kMaxWidth * 4));
        if (stated != d.vocabulary)
            return reader.bad("vocab_size", "is " + std::to_string(stated) + ", but the token embedding has " +
                                                std::to_string(d.vocabulary) + " rows.");
    }
    return {};
}

} // namespace

Result<ModelDescription> ModelDescription::fromGguf(const GgufFile &file)
{
    ModelDescription d;
    KVILT_TRY(d.architecture, architectureOf(file));
    const Reader reader(file, d.architecture->name);
    KVILT_TRY_VOID(refuseUnsupported(reader));
    KVILT_TRY_VOID(readVocabulary(reader, d));
    KVILT_TRY(d.layers, reader.count("block_count", kMaxLayers));
    KVILT_TRY(d.width, reader.count("embedding_length", kMaxWidth));
    KVILT_TRY(d.contextLength, reader.count("context_length", kMaxContext));
    KVILT_TRY(d.feedForward, reader.count("feed_forward_length", kMaxWidth * 4));
    KVILT_TRY_VOID(readHeads(reader, d));
    KVILT_TRY_VOID(readRope(reader, d));
    KVILT_TRY_VOID(readWindows(reader, d));
    KVILT_TRY(double epsilon, reader.positive("attention.layer_norm_rms_epsilon"));
    if (epsilon > 1)
        return reader.bad("attention.layer_norm_rms_epsilon", "must be a small number, not " + std::to_string(epsilon) + ".");
    d.normEpsilon = static_cast<float>(epsilon);
    const bool byWidth = d.architecture->layersScaledByWidth == d.layers;
    const double standard = 1 / std::sqrt(byWidth ? double(d.width) / d.heads : double(d.keyDim));
    KVILT_TRY(double scale, reader.positive("attention.scale", standard));
    d.attentionScale = static_cast<float>(scale);
    if (d.architecture->scaleEmbedding)
        d.embeddingScale = std::sqrt(static_cast<float>(d.width));
    return d;
}

std::uint64_t ModelDescription::extent(Extent which) const
{
    switch (which) {
    case Extent::one: return 1;
    case Extent::width: return width;
    case Extent::vocabulary: return vocabulary;
    case Extent::queryWidth: return queryWidth();
    case Extent::keyWidth: return keyWidth();
    case Extent::valueWidth: return valueWidth();
    case Extent::attentionWidth: return attentionWidth();
    case Extent::feedForward: return feedForward;
    case Extent::keyDim: return keyDim;
    case Extent::ropePairs: return rotated / 2;
    }
    return 0;
}

bool ModelDescription::has(TensorRole role) const
{
    for (const TensorRule &rule : architecture->tensors)
        if (rule.role == role)
            return true;
    return false;
}

kv::KvLayout makeKvLayout(const ModelDescription &d, api::KvType kType, api::KvType vType, std::uint32_t blockSize)
{
    kv::LayerGroup all;
    all.name = "all layers";
    all.k = {kType, d.kvHeads, d.keyDim};
    all.v = {vType, d.kvHeads, d.valueDim};
    kv::LayerGroup windowed = all;
    windowed.name = "window " + std::to_string(d.window);
    windowed.kind = kv::GroupKind::window;
    windowed.window = d.window;
    for (std::uint32_t layer = 0; layer < d.layers; ++layer)
        (d.windowed[layer] ? windowed : all).layers.push_back(layer);
    if (!windowed.layers.empty())
        all.name = "global layers";
    kv::KvLayout layout{.blockSize = blockSize, .groups = {}};
    for (kv::LayerGroup *group : {&all, &windowed})
        if (!group->layers.empty())
            layout.groups.push_back(std::move(*group));
    return layout;
}

} // namespace kvilt::model

// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/step_ops.h"

namespace kvilt::backend::cuda {

using kernels::cuda::AttentionOp;
using kernels::cuda::AttentionTile;
using kernels::cuda::EmbedOp;
using kernels::cuda::Gate;
using kernels::cuda::GatedOp;
using kernels::cuda::GatherOp;
using kernels::cuda::KvView;
using kernels::cuda::Matrix;
using kernels::cuda::NormedInput;
using kernels::cuda::Op;
using kernels::cuda::ProjectOp;
using kernels::cuda::QkvOp;
using kernels::cuda::Rows;
using kernels::cuda::SampleOp;
using kernels::cuda::StepSlice;

namespace {

class Builder {
public:
    Builder(const OpContext &context, const StepImage &image, const StepPointers &at, std::uint32_t longest)
        : m_c(context), m_d(context.description), m_image(image), m_at(at), m_longest(longest)
    {
        m_placeOfLayer.resize(m_d.layers);
        for (std::uint32_t g = 0; g < m_c.layout.groups.size(); ++g)
            for (std::uint32_t i = 0; i < m_c.layout.groups[g].layers.size(); ++i)
                m_placeOfLayer[m_c.layout.groups[g].layers[i]] = {g, i};
        m_flow = {.rows = rows(), .hidden = m_c.workspace.hidden, .slices = at.view.slices,
                  .sliceCount = count(image.slices), .tiles = at.tiles, .tileCount = count(image.tiles),
                  .singleRows = image.singleRows};
    }

    std::vector<StepOp> build(float *logits)
    {
        EmbedOp embed;
        embed.step = m_at.view;
        embed.rows = rows();
        embed.embedding = m_c.weights.embedding();
        embed.scale = m_d.embeddingScale;
        embed.hidden = m_c.workspace.hidden;
        add(0, embed);
        for (std::uint32_t layer = 0; layer < m_d.layers; ++layer)
            addLayer(layer);
        if (m_image.logitRows > 0)
            addLogits(logits);
        return std::move(m_ops);
    }

private:
    // The rows that go through a layer: all of the step, or in the end those with logits.
    struct Flow {
        std::uint32_t rows = 0;
        float *hidden = nullptr;
        const StepSlice *slices = nullptr;
        std::uint32_t sliceCount = 0;
        const AttentionTile *tiles = nullptr;
        std::uint32_t tileCount = 0;
        bool singleRows = false;
    };

    template <typename T>
    static std::uint32_t count(const std::vector<T> &items)
    {
        return static_cast<std::uint32_t>(items.size());
    }
    std::uint32_t rows() const { return count(m_image.rows); }
    void add(std::uint32_t layer, Op op)
    {
        const bool first = m_ops.empty() || m_ops.back().layer != layer;
        m_ops.push_back({layer, first, std::move(op)});
    }
    KvView kv(std::uint32_t layer) const
    {
        const auto [group, index] = m_placeOfLayer[layer];
        return m_c.groups[group].layer(index);
    }

    // x of a layer's first product: the residual stream, plus what the layer before left to be normed.
    NormedInput input(const float *norm, const float *deltaNorm) const
    {
        NormedInput in;
        in.x = m_flow.hidden;
        in.norm = norm;
        in.delta = deltaNorm ? m_c.workspace.delta : nullptr;
        in.deltaNorm = deltaNorm;
        in.epsilon = m_d.normEpsilon;
        return in;
    }

    void addLayer(std::uint32_t layer)
    {
        const LayerWeights &w = m_c.weights.layer(layer);
        QkvOp qkv;
        qkv.step = m_at.view;
        qkv.rows = rows();
        qkv.slices = count(m_image.slices);
        qkv.in = input(w.attentionNorm, layer > 0 ? m_c.weights.layer(layer - 1).postFeedForwardNorm : nullptr);
        qkv.key = w.key;
        qkv.value = w.value;
        qkv.queryNorm = w.queryNorm;
        qkv.keyNorm = w.keyNorm;
        qkv.rope = m_c.rope.view(m_d.windowed[layer]);
        qkv.heads = m_d.heads;
        qkv.kv = kv(layer);
        qkv.queries = m_c.workspace.queries;
        const bool goesOnWithFewer = layer + 1 == m_d.layers && !m_image.allFinal();
        if (!goesOnWithFewer)
            qkv.query = w.query;
        add(layer, qkv);
        if (goesOnWithFewer && !keepFinalRows(layer, qkv))
            return;
        addRest(layer);
    }

    // False: no row is wanted.
    bool keepFinalRows(std::uint32_t layer, QkvOp qkv)
    {
        if (m_image.logitRows == 0)
            return false;
        GatherOp gather;
        gather.rows = m_image.logitRows;
        gather.cols = m_d.width;
        gather.rowIndex = m_at.finalRows;
        gather.from = m_c.workspace.hidden;
        gather.to = m_c.workspace.finalHidden;
        add(layer, gather);
        m_flow = {.rows = m_image.logitRows, .hidden = m_c.workspace.finalHidden, .slices = m_at.finalSlices,
                  .sliceCount = count(m_image.finalSlices), .tiles = m_at.finalTiles, .tileCount = count(m_image.finalTiles),
                  .singleRows = m_image.finalSingleRows};
        qkv.rows = m_flow.rows;
        qkv.in = input(m_c.weights.layer(layer).attentionNorm, nullptr);
        qkv.query = m_c.weights.layer(layer).query;
        qkv.key = {};
        qkv.value = {};
        qkv.rowIndex = m_at.finalRows;
        add(layer, qkv);
        return true;
    }

    void addRest(std::uint32_t layer)
    {
        const LayerWeights &w = m_c.weights.layer(layer);
        AttentionOp attention;
        attention.step = m_at.view;
        attention.step.slices = m_flow.slices;
        attention.rows = m_flow.rows;
        attention.slices = m_flow.sliceCount;
        attention.tiles = m_flow.tiles;
        attention.tileCount = m_flow.tileCount;
        attention.singleRows = m_flow.singleRows;
        attention.longest = m_longest;
        attention.kv = kv(layer);
        attention.heads = m_d.heads;
        attention.window = m_d.windowed[layer] ? m_d.window : 0;
        attention.scale = m_d.attentionScale;
        attention.queries = m_c.workspace.queries;
        attention.out = m_c.workspace.attended;
        add(layer, attention);
        addProduct(layer, m_c.workspace.attended, w.attentionOutput, w.postAttentionNorm != nullptr);
        GatedOp gated;
        gated.rows = m_flow.rows;
        gated.in = input(w.feedForwardNorm, w.postAttentionNorm);
        gated.gate = w.gate;
        gated.up = w.up;
        gated.activation = m_d.architecture->activation == model::Activation::silu ? Gate::silu : Gate::geluTanh;
        gated.out = m_c.workspace.gated;
        add(layer, gated);
        addProduct(layer, m_c.workspace.gated, w.down, w.postFeedForwardNorm != nullptr);
    }

    // Into the residual stream, or beside it where it is normed before it is added.
    void addProduct(std::uint32_t layer, const Rows &x, const Matrix &weights, bool normedLater)
    {
        ProjectOp project;
        project.rows = m_flow.rows;
        project.x = x;
        project.weights = weights;
        project.add = !normedLater;
        project.out = normedLater ? m_c.workspace.delta : m_flow.hidden;
        project.ldOut = m_d.width;
        add(layer, project);
    }

    void addLogits(float *logits)
    {
        const std::uint32_t last = m_d.layers - 1;
        ProjectOp head;
        head.rows = m_flow.rows;
        head.in = input(m_c.weights.outputNorm(), m_c.weights.layer(last).postFeedForwardNorm);
        head.weights = m_c.weights.head();
        head.out = logits;
        head.ldOut = m_d.vocabulary;
        add(last, head);
        if (m_image.samples.empty())
            return;
        SampleOp sample;
        sample.count = count(m_image.samples);
        sample.greedyOnly = m_image.greedyOnly;
        sample.slots = m_at.samples;
        sample.history = m_at.history;
        sample.logits = logits;
        sample.vocabulary = m_d.vocabulary;
        sample.sampled = m_at.view.sampled;
        add(last, sample);
    }

    const OpContext &m_c;
    const model::ModelDescription &m_d;
    const StepImage &m_image;
    const StepPointers &m_at;
    std::uint32_t m_longest;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> m_placeOfLayer; // group, index in it
    Flow m_flow;
    std::vector<StepOp> m_ops;
};

} // namespace

std::vector<StepOp> stepOps(const OpContext &context, const StepImage &image, const StepPointers &at, std::uint32_t longest, float *logits)
{
    return Builder(context, image, at, longest).build(logits);
}

} // namespace kvilt::backend::cuda

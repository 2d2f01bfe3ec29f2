// SPDX-License-Identifier: Apache-2.0
// What one task of a step does.
#include "engine/backend/cpu_step.h"

#include <algorithm>

namespace kvilt::backend {
namespace {

std::uint32_t share(std::uint32_t whole, std::uint32_t part, std::uint32_t parts)
{
    return static_cast<std::uint32_t>(std::uint64_t(whole) * part / parts);
}

kernels::RopeSettings ropeSettings(const model::ModelDescription &d, const model::RopeDescription &rope,
                                   std::span<const float> factors)
{
    kernels::RopeSettings settings;
    settings.rotated = d.rotated;
    settings.base = rope.base;
    settings.freqScale = rope.frequencyScale;
    settings.freqFactors = rope.useFactors ? factors : std::span<const float>();
    return settings;
}

} // namespace

void CpuStep::runTask(std::uint32_t phase, std::uint32_t task, int thread)
{
    if (m_cancel && m_cancel->load(std::memory_order_relaxed))
        m_abandoned.store(true, std::memory_order_relaxed);
    if (abandoned())
        return;
    const auto [kind, layer] = m_phases[phase];
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    const CpuWorkspace &work = m_c.workspace;
    const auto rows = [&](auto method) { forRows(task, m_rows, [&](std::uint32_t row) { (this->*method)(layer, row); }); };
    switch (kind) {
    case Kind::embed: forRows(task, m_rows, [&](std::uint32_t row) { embed(row); }); break;
    case Kind::attentionInput: rows(&CpuStep::attentionInput); break;
    case Kind::qkv: {
        const Rows keys{work.query.data + work.keyColumn, work.query.stride};
        const Rows values{work.query.data + work.valueColumn, work.query.stride};
        const Product products[] = {{&w.query, work.query}, {&w.key, keys}, {&w.value, values}};
        multiply(products, m_rows, task, thread);
        break;
    }
    case Kind::rotate: rows(&CpuStep::rotate); break;
    case Kind::attention: attend(layer, task, thread); break;
    case Kind::merge: merge(layer, task); break;
    case Kind::attentionPack: rows(&CpuStep::packAttended); break;
    case Kind::attentionOutput: {
        const Product product{&w.attentionOutput, w.postAttentionNorm ? work.delta : work.hidden, !w.postAttentionNorm};
        multiply({&product, 1}, m_rows, task, thread);
        break;
    }
    case Kind::feedForwardInput: rows(&CpuStep::feedForwardInput); break;
    case Kind::gateUp: gateUp(layer, task, thread); break;
    case Kind::feedForwardPack: rows(&CpuStep::packFeedForward); break;
    case Kind::down: {
        const Product product{&w.down, w.postFeedForwardNorm ? work.delta : work.hidden, !w.postFeedForwardNorm};
        multiply({&product, 1}, m_rows, task, thread);
        break;
    }
    case Kind::finalRows: finalRow(task); break;
    case Kind::head: {
        const Product product{&m_c.weights.head(), {m_logits, m_c.description.vocabulary}};
        multiply({&product, 1}, m_logitRows, task, thread);
        break;
    }
    case Kind::greedy: chooseGreedy(task); break;
    }
}

void CpuStep::forRows(std::uint32_t task, std::uint32_t rows, FunctionRef<void(std::uint32_t)> body) const
{
    for (std::uint32_t row = share(rows, task, m_rowTasks); row < share(rows, task + 1, m_rowTasks); ++row)
        body(row);
}

void CpuStep::embed(std::uint32_t row) const
{
    const model::ModelDescription &d = m_c.description;
    const CpuWeights &w = m_c.weights;
    const auto token = static_cast<std::uint32_t>(m_tokenIds[row]);
    float *hidden = m_c.workspace.hidden.row(row);
    if (w.embeddingPacked())
        m_c.kernels.dequantisePackedRow(w.head(), token, hidden);
    else
        m_c.kernels.dequantiseRow(w.embedding().type,
                                  w.embedding().data + token * kernels::rowBytes(w.embedding().type, d.width), d.width, hidden);
    if (d.embeddingScale != 1)
        m_c.kernels.scale(d.embeddingScale, d.width, hidden);
    const StepSlice &slice = sliceOfRow(row);
    const std::uint32_t position = slice.firstPosition + (row - slice.firstRow);
    float *rope = m_c.workspace.rope.row(row);
    kernels::ropeRow(ropeSettings(d, d.rope, w.ropeFactors()), position, rope);
    if (d.window != 0)
        kernels::ropeRow(ropeSettings(d, d.windowRope, w.ropeFactors()), position, rope + d.rotated);
}

// hidden += norm(delta), where a layer norms what it adds.
void CpuStep::addNormed(std::uint32_t row, const float *norm) const
{
    const model::ModelDescription &d = m_c.description;
    float *hidden = m_c.workspace.hidden.row(row);
    float *delta = m_c.workspace.delta.row(row);
    m_c.kernels.rmsNorm(delta, norm, d.width, d.normEpsilon, delta);
    m_c.kernels.add(hidden, delta, d.width, hidden);
}

// Row `from` of hidden, normed, as activation row `to` in every format that the users multiply with.
void CpuStep::prepareNormed(const float *norm, std::span<const kernels::PackedMatrix *const> users, std::uint32_t from,
                            std::uint32_t to) const
{
    const model::ModelDescription &d = m_c.description;
    bool done[2] = {};
    for (const kernels::PackedMatrix *user : users) {
        const auto format = kernels::activationFormat(user->type);
        if (std::exchange(done[static_cast<std::size_t>(format)], true))
            continue;
        m_c.kernels.rmsNormPrepare(format, m_c.workspace.hidden.row(from), norm, d.width, d.normEpsilon,
                                   m_c.workspace.activationRow(format, d.width, to));
    }
}

void CpuStep::attentionInput(std::uint32_t layer, std::uint32_t row) const
{
    if (layer > 0 && m_c.weights.layer(layer - 1).postFeedForwardNorm)
        addNormed(row, m_c.weights.layer(layer - 1).postFeedForwardNorm);
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    const kernels::PackedMatrix *const users[] = {&w.query, &w.key, &w.value};
    prepareNormed(w.attentionNorm, users, row, row);
}

void CpuStep::feedForwardInput(std::uint32_t layer, std::uint32_t row) const
{
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    if (w.postAttentionNorm)
        addNormed(row, w.postAttentionNorm);
    const kernels::PackedMatrix *const users[] = {&w.gate, &w.up};
    prepareNormed(w.feedForwardNorm, users, row, row);
}

// Norms and turns Q and K of one token, and stores K and V in its block.
void CpuStep::rotate(std::uint32_t layer, std::uint32_t row) const
{
    const model::ModelDescription &d = m_c.description;
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    float *query = m_c.workspace.query.row(row);
    float *key = query + m_c.workspace.keyColumn;
    for (std::uint32_t head = 0; w.queryNorm && head < d.heads; ++head)
        m_c.kernels.rmsNorm(query + head * d.keyDim, w.queryNorm, d.keyDim, d.normEpsilon, query + head * d.keyDim);
    for (std::uint32_t head = 0; w.keyNorm && head < d.kvHeads; ++head)
        m_c.kernels.rmsNorm(key + head * d.keyDim, w.keyNorm, d.keyDim, d.normEpsilon, key + head * d.keyDim);
    const float *rope = m_c.workspace.rope.row(row) + (d.windowed[layer] ? d.rotated : 0);
    const auto kind = d.architecture->rope == model::RopeLayout::halves ? kernels::RopeKind::neox : kernels::RopeKind::norm;
    m_c.kernels.rope(kind, rope, d.rotated, d.heads, d.keyDim, query);
    m_c.kernels.rope(kind, rope, d.rotated, d.kvHeads, d.keyDim, key);

    const StepSlice &slice = sliceOfRow(row);
    const auto [groupIndex, index] = m_placeOfLayer[layer];
    const CpuKvGroup &group = m_c.groups[groupIndex];
    const std::uint32_t position = slice.firstPosition + (row - slice.firstRow);
    // CpuProgram::submit has made sure that the table covers the position with a block of this program's own memory.
    auto *block = const_cast<std::byte *>(slice.blocks[groupIndex][position / m_c.layout.blockSize]);
    const std::uint32_t slot = position % m_c.layout.blockSize;
    m_c.kernels.writeKeys(group.keys(), key, slot, block + group.keyOffset(index));
    m_c.kernels.writeValues(group.values(), query + m_c.workspace.valueColumn, slot, block + group.valueOffset(index));
}

void CpuStep::attend(std::uint32_t layer, std::uint32_t unit, int thread) const
{
    const GroupPlan &group = m_groups[m_placeOfLayer[layer].first];
    const auto after = std::upper_bound(group.slices.begin(), group.slices.end(), unit,
                                        [](std::uint32_t u, const AttentionPlan &plan) { return u < plan.firstUnit; });
    const auto plan = std::prev(after);
    const auto args = attentionArgs(m_slices[static_cast<std::size_t>(plan - group.slices.begin())], layer);
    m_c.kernels.attentionUnit(args, plan->cut, unit - plan->firstUnit, m_partials + plan->firstPartial,
                              m_c.workspace.scratch(thread));
}

// Tiles of slices with several tokens; a single token's are joined in packAttended.
void CpuStep::merge(std::uint32_t layer, std::uint32_t tile) const
{
    const GroupPlan &group = m_groups[m_placeOfLayer[layer].first];
    const auto after = std::upper_bound(group.slices.begin(), group.slices.end(), tile,
                                        [](std::uint32_t t, const AttentionPlan &plan) { return t < plan.firstTile; });
    const auto plan = std::prev(after);
    const auto args = attentionArgs(m_slices[static_cast<std::size_t>(plan - group.slices.begin())], layer);
    m_c.kernels.mergeAttention(args, plan->cut, tile - plan->firstTile, m_partials + plan->firstPartial);
}

void CpuStep::packAttended(std::uint32_t layer, std::uint32_t row) const
{
    const StepSlice &slice = sliceOfRow(row);
    const AttentionPlan &plan = m_groups[m_placeOfLayer[layer].first].slices[m_sliceOfRow[row]];
    if (slice.tokens == 1 && plan.cut.rangesPerTile > 1)
        for (std::uint32_t tile = 0; tile < plan.cut.units / plan.cut.rangesPerTile; ++tile)
            m_c.kernels.mergeAttention(attentionArgs(slice, layer), plan.cut, tile, m_partials + plan.firstPartial);
    const kernels::PackedMatrix &user = m_c.weights.layer(layer).attentionOutput;
    const auto format = kernels::activationFormat(user.type);
    m_c.kernels.prepareRow(format, m_c.workspace.attended.row(row), user.cols, m_c.workspace.activationRow(format, user.cols, row));
}

void CpuStep::packFeedForward(std::uint32_t layer, std::uint32_t row) const
{
    const kernels::PackedMatrix &user = m_c.weights.layer(layer).down;
    const auto format = kernels::activationFormat(user.type);
    m_c.kernels.prepareRow(format, m_c.workspace.gate.row(row), user.cols, m_c.workspace.activationRow(format, user.cols, row));
}

// The same rows of gate and up, and at once activation(gate) * up of them: they are still in the cache.
void CpuStep::gateUp(std::uint32_t layer, std::uint32_t task, int thread) const
{
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    const CpuWorkspace &work = m_c.workspace;
    const std::uint32_t tasks = matmulTasks({&w.gate});
    const std::uint32_t begin = share(w.gate.panels(), task, tasks);
    const std::uint32_t end = share(w.gate.panels(), task + 1, tasks);
    multiplyPanels({&w.gate, work.gate}, begin, end, m_rows, thread);
    multiplyPanels({&w.up, work.up}, begin, end, m_rows, thread);
    const std::uint32_t column = begin * kernels::kPanelRows;
    const std::uint32_t columns = std::min(end * kernels::kPanelRows, w.gate.rows) - column;
    const auto multiplyGated =
        m_c.description.architecture->activation == model::Activation::silu ? m_c.kernels.siluMul : m_c.kernels.geluMul;
    for (std::uint32_t row = 0; row < m_rows; ++row) {
        float *gate = work.gate.row(row) + column;
        multiplyGated(gate, work.up.row(row) + column, columns, gate);
    }
}

// A task's share of the panels of all products, one after the other.
void CpuStep::multiply(std::span<const Product> products, std::uint32_t count, std::uint32_t task, int thread) const
{
    std::uint32_t panels = 0;
    for (const Product &product : products)
        panels += product.matrix->panels();
    const std::uint32_t tasks = std::min(panels, m_matmulTasks);
    const std::uint32_t begin = share(panels, task, tasks);
    const std::uint32_t end = share(panels, task + 1, tasks);
    std::uint32_t first = 0;
    for (const Product &product : products) {
        const std::uint32_t last = first + product.matrix->panels();
        if (begin < last && end > first)
            multiplyPanels(product, std::max(begin, first) - first, std::min(end, last) - first, count, thread);
        first = last;
    }
}

void CpuStep::multiplyPanels(const Product &product, std::uint32_t begin, std::uint32_t end, std::uint32_t count,
                             int thread) const
{
    const kernels::PackedMatrix &matrix = *product.matrix;
    kernels::MatmulArgs args;
    args.weights = matrix;
    args.x = m_c.workspace.activations(kernels::activationFormat(matrix.type), matrix.cols, count);
    args.panelBegin = begin;
    args.panelEnd = end;
    args.out = product.out.data;
    args.ldOut = product.out.stride;
    args.addToOut = product.add;
    args.scratch = m_c.workspace.scratch(thread);
    m_c.kernels.matmul(args);
}

void CpuStep::finalRow(std::uint32_t index) const
{
    const std::uint32_t row = m_finalRows[index];
    if (const float *norm = m_c.weights.layer(m_c.description.layers - 1).postFeedForwardNorm)
        addNormed(row, norm);
    const kernels::PackedMatrix *const users[] = {&m_c.weights.head()};
    prepareNormed(m_c.weights.outputNorm(), users, row, index);
}

void CpuStep::chooseGreedy(std::uint32_t index)
{
    const std::uint32_t slice = m_greedySlices[index];
    const std::uint32_t row = m_slices[slice].firstLogitRow + m_slices[slice].logitRows - 1;
    const std::size_t vocabulary = m_c.description.vocabulary;
    m_greedy[slice] = static_cast<TokenId>(m_c.kernels.argmax(m_logits + row * vocabulary, m_c.description.vocabulary));
}

} // namespace kvilt::backend

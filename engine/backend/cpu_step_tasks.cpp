// SPDX-License-Identifier: Apache-2.0
// What one task of a step does.
#include "engine/backend/cpu_step.h"

#include <algorithm>
#include <cstring>
#include <utility>

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
    const Phase &p = m_phases[phase];
    const std::uint32_t layer = p.layer;
    const std::uint32_t end = share(p.rows, task + 1, p.tasks);
    const auto rows = [&](auto work) {
        for (std::uint32_t row = share(p.rows, task, p.tasks); row < end; ++row)
            work(row);
    };
    switch (p.kind) {
    case Kind::embed: rows([&](std::uint32_t row) { embed(row); }); break;
    case Kind::attentionInput: rows([&](std::uint32_t row) { attentionInput(layer, row); }); break;
    case Kind::rotate:
        rows([&](std::uint32_t row) {
            rotateQuery(layer, row, row);
            storeKeyValue(layer, row);
        });
        break;
    case Kind::store: rows([&](std::uint32_t row) { storeKeyValue(layer, row); }); break;
    case Kind::keepFinal: keepFinalRows(layer); break;
    case Kind::rotateFinal: rows([&](std::uint32_t row) { rotateQuery(layer, row, m_finalRows[row]); }); break;
    case Kind::attention: attend(layer, task, thread); break;
    case Kind::merge: merge(layer, task); break;
    case Kind::attentionPack: rows([&](std::uint32_t row) { packAttended(layer, row); }); break;
    case Kind::feedForwardInput: rows([&](std::uint32_t row) { feedForwardInput(layer, row); }); break;
    case Kind::gateUp: gateUp(p, task, thread); break;
    case Kind::feedForwardPack: rows([&](std::uint32_t row) { packFeedForward(layer, row); }); break;
    case Kind::finalRows: rows([&](std::uint32_t row) { finalRow(row); }); break;
    case Kind::greedy: chooseGreedy(task); break;
    default: multiply(p, task, thread);
    }
}

// The phases that are nothing but products.
void CpuStep::multiply(const Phase &phase, std::uint32_t task, int thread) const
{
    const CpuLayerWeights &w = m_c.weights.layer(phase.layer);
    const CpuWorkspace &work = m_c.workspace;
    const Product query{&w.query, work.query};
    const Product key{&w.key, {work.query.data + work.keyColumn, work.query.stride}};
    const Product value{&w.value, {work.query.data + work.valueColumn, work.query.stride}};
    const auto run = [&](std::initializer_list<Product> products) { multiplyShare(phase, products, task, thread); };
    switch (phase.kind) {
    case Kind::qkv: run({query, key, value}); break;
    case Kind::keyValue: run({key, value}); break;
    case Kind::query: run({query}); break;
    case Kind::attentionOutput:
        run({{&w.attentionOutput, w.postAttentionNorm ? work.delta : work.hidden, !w.postAttentionNorm}});
        break;
    case Kind::down: run({{&w.down, w.postFeedForwardNorm ? work.delta : work.hidden, !w.postFeedForwardNorm}}); break;
    case Kind::head: run({{&m_c.weights.head(), {m_logits, m_c.description.vocabulary}}}); break;
    default: break;
    }
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
    const StepSlice &slice = m_slices[m_sliceOfRow[row]];
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

// A row of hidden, normed, as activation row in every format that the users multiply with.
void CpuStep::prepareNormed(const float *norm, std::span<const kernels::PackedMatrix *const> users, std::uint32_t row) const
{
    const model::ModelDescription &d = m_c.description;
    bool done[2] = {};
    for (const kernels::PackedMatrix *user : users) {
        const auto format = kernels::activationFormat(user->type);
        if (std::exchange(done[static_cast<std::size_t>(format)], true))
            continue;
        m_c.kernels.rmsNormPrepare(format, m_c.workspace.hidden.row(row), norm, d.width, d.normEpsilon,
                                   m_c.workspace.activationRow(format, d.width, row));
    }
}

void CpuStep::attentionInput(std::uint32_t layer, std::uint32_t row) const
{
    if (layer > 0 && m_c.weights.layer(layer - 1).postFeedForwardNorm)
        addNormed(row, m_c.weights.layer(layer - 1).postFeedForwardNorm);
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    const kernels::PackedMatrix *const users[] = {&w.query, &w.key, &w.value};
    prepareNormed(w.attentionNorm, users, row);
}

void CpuStep::feedForwardInput(std::uint32_t layer, std::uint32_t row) const
{
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    if (w.postAttentionNorm)
        addNormed(row, w.postAttentionNorm);
    const kernels::PackedMatrix *const users[] = {&w.gate, &w.up};
    prepareNormed(w.feedForwardNorm, users, row);
}

// Norms (where the model does) and turns the heads of one row, in place.
void CpuStep::rotateHeads(std::uint32_t layer, const float *norm, std::uint32_t heads, std::uint32_t ropeRow, float *x) const
{
    const model::ModelDescription &d = m_c.description;
    for (std::uint32_t head = 0; norm && head < heads; ++head)
        m_c.kernels.rmsNorm(x + head * d.keyDim, norm, d.keyDim, d.normEpsilon, x + head * d.keyDim);
    const float *rope = m_c.workspace.rope.row(ropeRow) + (d.windowed[layer] ? d.rotated : 0);
    const auto kind = d.architecture->rope == model::RopeLayout::halves ? kernels::RopeKind::neox : kernels::RopeKind::norm;
    m_c.kernels.rope(kind, rope, d.rotated, heads, d.keyDim, x);
}

void CpuStep::rotateQuery(std::uint32_t layer, std::uint32_t row, std::uint32_t ropeRow) const
{
    rotateHeads(layer, m_c.weights.layer(layer).queryNorm, m_c.description.heads, ropeRow, m_c.workspace.query.row(row));
}

// Turns the key of one token and stores it with its value in the token's block.
void CpuStep::storeKeyValue(std::uint32_t layer, std::uint32_t row) const
{
    float *key = m_c.workspace.query.row(row) + m_c.workspace.keyColumn;
    rotateHeads(layer, m_c.weights.layer(layer).keyNorm, m_c.description.kvHeads, row, key);
    const StepSlice &slice = m_slices[m_sliceOfRow[row]];
    const auto [groupIndex, index] = m_placeOfLayer[layer];
    const CpuKvGroup &group = m_c.groups[groupIndex];
    const std::uint32_t position = slice.firstPosition + (row - slice.firstRow);
    // CpuProgram::submit has made sure that the table covers the position with a block of this program's own memory.
    auto *block = const_cast<std::byte *>(slice.blocks[groupIndex][position / m_c.layout.blockSize]);
    const std::uint32_t slot = position % m_c.layout.blockSize;
    m_c.kernels.writeKeys(group.keys(), key, slot, block + group.keyOffset(index));
    m_c.kernels.writeValues(group.values(), m_c.workspace.query.row(row) + m_c.workspace.valueColumn, slot,
                            block + group.valueOffset(index));
}

// Moves the rows that go on, residual and normed input of the attention, to the front. In order, so that a row is
// never overwritten before it has moved.
void CpuStep::keepFinalRows(std::uint32_t layer) const
{
    const CpuWorkspace &work = m_c.workspace;
    const std::uint32_t width = m_c.description.width;
    const auto format = kernels::activationFormat(m_c.weights.layer(layer).query.type);
    for (std::uint32_t to = 0; to < m_logitRows; ++to) {
        const std::uint32_t from = m_finalRows[to];
        if (from == to)
            continue;
        std::memcpy(work.hidden.row(to), work.hidden.row(from), width * sizeof(float));
        std::memcpy(work.activationRow(format, width, to), work.activationRow(format, width, from),
                    kernels::activationRowBytes(format, width));
    }
}

void CpuStep::attend(std::uint32_t layer, std::uint32_t unit, int thread) const
{
    const GroupPlan &group = attentionPlan(layer);
    const auto after = std::upper_bound(group.cuts.begin(), group.cuts.end(), unit,
                                        [](std::uint32_t u, const AttentionPlan &plan) { return u < plan.firstUnit; });
    const auto plan = std::prev(after);
    const auto args = attentionArgs(attentionSlices(layer)[static_cast<std::size_t>(plan - group.cuts.begin())], layer);
    m_c.kernels.attentionUnit(args, plan->cut, unit - plan->firstUnit, m_partials + plan->firstPartial,
                              m_c.workspace.scratch(thread));
}

// Tiles of slices with several tokens; a single token's are joined in packAttended.
void CpuStep::merge(std::uint32_t layer, std::uint32_t tile) const
{
    const GroupPlan &group = attentionPlan(layer);
    const auto after = std::upper_bound(group.cuts.begin(), group.cuts.end(), tile,
                                        [](std::uint32_t t, const AttentionPlan &plan) { return t < plan.firstTile; });
    const auto plan = std::prev(after);
    const auto args = attentionArgs(attentionSlices(layer)[static_cast<std::size_t>(plan - group.cuts.begin())], layer);
    m_c.kernels.mergeAttention(args, plan->cut, tile - plan->firstTile, m_partials + plan->firstPartial);
}

void CpuStep::packAttended(std::uint32_t layer, std::uint32_t row) const
{
    const std::uint32_t index = onlyFinal(layer) ? m_sliceOfFinalRow[row] : m_sliceOfRow[row];
    const StepSlice &slice = attentionSlices(layer)[index];
    const AttentionPlan &plan = attentionPlan(layer).cuts[index];
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
void CpuStep::gateUp(const Phase &phase, std::uint32_t task, int thread) const
{
    const CpuLayerWeights &w = m_c.weights.layer(phase.layer);
    const CpuWorkspace &work = m_c.workspace;
    const std::uint32_t begin = share(w.gate.panels(), task, phase.tasks);
    const std::uint32_t end = share(w.gate.panels(), task + 1, phase.tasks);
    multiplyPanels({&w.gate, work.gate}, begin, end, phase.rows, thread);
    multiplyPanels({&w.up, work.up}, begin, end, phase.rows, thread);
    const std::uint32_t column = begin * kernels::kPanelRows;
    const std::uint32_t columns = std::min(end * kernels::kPanelRows, w.gate.rows) - column;
    const auto multiplyGated =
        m_c.description.architecture->activation == model::Activation::silu ? m_c.kernels.siluMul : m_c.kernels.geluMul;
    for (std::uint32_t row = 0; row < phase.rows; ++row) {
        float *gate = work.gate.row(row) + column;
        multiplyGated(gate, work.up.row(row) + column, columns, gate);
    }
}

// A task's share of the panels of all products, one after the other.
void CpuStep::multiplyShare(const Phase &phase, std::span<const Product> products, std::uint32_t task, int thread) const
{
    std::uint32_t panels = 0;
    for (const Product &product : products)
        panels += product.matrix->panels();
    const std::uint32_t begin = share(panels, task, phase.tasks);
    const std::uint32_t end = share(panels, task + 1, phase.tasks);
    std::uint32_t first = 0;
    for (const Product &product : products) {
        const std::uint32_t last = first + product.matrix->panels();
        if (begin < last && end > first)
            multiplyPanels(product, std::max(begin, first) - first, std::min(end, last) - first, phase.rows, thread);
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

// Here the rows with logits are all there is, or stand in front.
void CpuStep::finalRow(std::uint32_t row) const
{
    if (const float *norm = m_c.weights.layer(m_c.description.layers - 1).postFeedForwardNorm)
        addNormed(row, norm);
    const kernels::PackedMatrix *const users[] = {&m_c.weights.head()};
    prepareNormed(m_c.weights.outputNorm(), users, row);
}

void CpuStep::chooseGreedy(std::uint32_t index)
{
    const std::uint32_t slice = m_greedySlices[index];
    const std::uint32_t row = m_slices[slice].firstLogitRow + m_slices[slice].logitRows - 1;
    const std::size_t vocabulary = m_c.description.vocabulary;
    m_greedy[slice] = static_cast<TokenId>(m_c.kernels.argmax(m_logits + row * vocabulary, m_c.description.vocabulary));
}

} // namespace kvilt::backend

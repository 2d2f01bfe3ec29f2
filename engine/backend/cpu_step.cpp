// SPDX-License-Identifier: Apache-2.0
// How a step is cut into phases and tasks; what a task does stands in cpu_step_tasks.cpp.
#include "engine/backend/cpu_step.h"

#include <algorithm>

namespace kvilt::backend {
namespace {

// Tasks a thread and phase: enough that one which another thread holds up can be evened out, few enough that taking
// them costs nothing.
constexpr std::uint32_t kTasksPerThread = 4;
// Attention of single tokens is cut finer: three KV heads on two threads would leave one idle for a tenth of the time.
constexpr std::uint32_t kFinerAttention = 4;

} // namespace

CpuStep::CpuStep(const StepContext &context, std::vector<StepSlice> slices, std::vector<TokenId> tokens,
                 const std::atomic<bool> *cancel)
    : m_c(context), m_slices(std::move(slices)), m_tokenIds(std::move(tokens)), m_greedy(m_slices.size(), -1), m_cancel(cancel)
{
    m_rows = static_cast<std::uint32_t>(m_tokenIds.size());
    m_mostTasks = kTasksPerThread * static_cast<std::uint32_t>(m_c.threads);
    m_placeOfLayer.resize(m_c.description.layers);
    for (std::uint16_t g = 0; g < m_c.layout.groups.size(); ++g)
        for (std::uint32_t i = 0; i < m_c.layout.groups[g].layers.size(); ++i)
            m_placeOfLayer[m_c.layout.groups[g].layers[i]] = {g, i};
    placeSlices();
    for (const kv::LayerGroup &group : m_c.layout.groups)
        m_groups.push_back(planAttention(m_slices, group.layers.front()));
    const std::uint32_t last = m_c.description.layers - 1;
    if (!m_finalSlices.empty())
        m_lastPlan = planAttention(m_finalSlices, last);
    addRowPhase(Kind::embed, 0, m_rows);
    for (std::uint32_t layer = 0; layer < last; ++layer)
        addLayer(layer);
    onlyFinal(last) ? addLastLayer(last) : addLayer(last);
    addLogits();
}

void CpuStep::placeSlices()
{
    m_sliceOfRow.resize(m_rows);
    for (std::uint32_t i = 0; i < m_slices.size(); ++i) {
        StepSlice &slice = m_slices[i];
        std::fill_n(m_sliceOfRow.begin() + slice.firstRow, slice.tokens, i);
        slice.firstLogitRow = m_logitRows;
        m_logitRows += slice.logitRows;
        for (std::uint32_t row = slice.tokens - slice.logitRows; row < slice.tokens; ++row)
            m_finalRows.push_back(slice.firstRow + row);
        if (slice.greedy && slice.logitRows > 0)
            m_greedySlices.push_back(i);
    }
    if (m_logitRows == m_rows)
        return;
    for (const StepSlice &slice : m_slices) {
        if (slice.logitRows == 0)
            continue;
        StepSlice kept = slice;
        kept.firstRow = slice.firstLogitRow;
        kept.firstPosition = slice.firstPosition + slice.tokens - slice.logitRows;
        kept.tokens = slice.logitRows;
        m_sliceOfFinalRow.insert(m_sliceOfFinalRow.end(), kept.tokens, static_cast<std::uint32_t>(m_finalSlices.size()));
        m_finalSlices.push_back(std::move(kept));
    }
}

void CpuStep::addPhase(Kind kind, std::uint32_t layer, std::uint32_t rows, std::uint32_t tasks)
{
    if (tasks == 0 || rows == 0)
        return;
    m_phases.push_back({kind, layer, rows, tasks});
    m_tasks.push_back(tasks);
}

void CpuStep::addRowPhase(Kind kind, std::uint32_t layer, std::uint32_t rows)
{
    addPhase(kind, layer, rows, std::min(rows, m_mostTasks));
}

void CpuStep::addProduct(Kind kind, std::uint32_t layer, std::uint32_t rows,
                         std::initializer_list<const kernels::PackedMatrix *> matrices)
{
    std::uint32_t panels = 0;
    for (const kernels::PackedMatrix *matrix : matrices)
        panels += matrix->panels();
    addPhase(kind, layer, rows, std::min(panels, m_mostTasks));
}

void CpuStep::addLayer(std::uint32_t layer)
{
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    addRowPhase(Kind::attentionInput, layer, m_rows);
    addProduct(Kind::qkv, layer, m_rows, {&w.query, &w.key, &w.value});
    addRowPhase(Kind::rotate, layer, m_rows);
    addRestOfLayer(layer, m_rows);
}

void CpuStep::addLastLayer(std::uint32_t layer)
{
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    addRowPhase(Kind::attentionInput, layer, m_rows);
    addProduct(Kind::keyValue, layer, m_rows, {&w.key, &w.value});
    addRowPhase(Kind::store, layer, m_rows);
    if (m_logitRows == 0)
        return;
    addPhase(Kind::keepFinal, layer, m_logitRows, 1);
    addProduct(Kind::query, layer, m_logitRows, {&w.query});
    addRowPhase(Kind::rotateFinal, layer, m_logitRows);
    addRestOfLayer(layer, m_logitRows);
}

void CpuStep::addRestOfLayer(std::uint32_t layer, std::uint32_t rows)
{
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    addPhase(Kind::attention, layer, rows, attentionPlan(layer).units);
    addPhase(Kind::merge, layer, rows, attentionPlan(layer).mergeTiles);
    addRowPhase(Kind::attentionPack, layer, rows);
    addProduct(Kind::attentionOutput, layer, rows, {&w.attentionOutput});
    addRowPhase(Kind::feedForwardInput, layer, rows);
    addProduct(Kind::gateUp, layer, rows, {&w.gate});
    addRowPhase(Kind::feedForwardPack, layer, rows);
    addProduct(Kind::down, layer, rows, {&w.down});
}

void CpuStep::addLogits()
{
    addRowPhase(Kind::finalRows, 0, m_logitRows);
    addProduct(Kind::head, 0, m_logitRows, {&m_c.weights.head()});
    addPhase(Kind::greedy, 0, m_logitRows, static_cast<std::uint32_t>(m_greedySlices.size()));
}

// The same for all layers of `layer`'s group: the window is the only thing in which groups differ here.
CpuStep::GroupPlan CpuStep::planAttention(const std::vector<StepSlice> &slices, std::uint32_t layer)
{
    GroupPlan plan;
    const std::uint32_t wanted = std::max<std::uint32_t>(1, m_mostTasks / static_cast<std::uint32_t>(slices.size()));
    std::size_t partials = 0;
    for (const StepSlice &slice : slices) {
        const kernels::AttentionArgs args = attentionArgs(slice, layer);
        const AttentionPlan cut{kernels::cutAttention(args, slice.tokens == 1 ? kFinerAttention * wanted : wanted), plan.units, plan.mergeTiles, partials};
        plan.units += cut.cut.units;
        if (cut.cut.rangesPerTile > 1 && slice.tokens > 1)
            plan.mergeTiles += cut.cut.units / cut.cut.rangesPerTile;
        partials += kernels::attentionPartialFloats(args, cut.cut);
        plan.cuts.push_back(cut);
    }
    m_partialFloats = std::max(m_partialFloats, partials);
    return plan;
}

kernels::AttentionArgs CpuStep::attentionArgs(const StepSlice &slice, std::uint32_t layer) const
{
    const auto [groupIndex, index] = m_placeOfLayer[layer];
    const CpuKvGroup &group = m_c.groups[groupIndex];
    kernels::AttentionArgs args;
    args.kv = {slice.blocks[groupIndex].data(), group.keyOffset(index), group.valueOffset(index), group.keys(), group.values()};
    args.queries = m_c.workspace.query.row(slice.firstRow);
    args.ldQueries = m_c.workspace.query.stride;
    args.out = m_c.workspace.attended.row(slice.firstRow);
    args.ldOut = m_c.workspace.attended.stride;
    args.queryHeads = m_c.description.heads;
    args.firstPosition = slice.firstPosition;
    args.tokens = slice.tokens;
    args.window = m_c.description.windowed[layer] ? m_c.description.window : 0;
    args.scale = m_c.description.attentionScale;
    return args;
}

PhaseSeconds CpuStep::phaseSeconds(std::uint64_t beginNs, std::span<const std::uint64_t> endNs) const
{
    PhaseSeconds sum;
    std::uint64_t begin = beginNs;
    for (std::size_t i = 0; i < m_phases.size(); ++i) {
        const double seconds = static_cast<double>(endNs[i] - begin) * 1e-9;
        begin = endNs[i];
        switch (m_phases[i].kind) {
        case Kind::qkv:
        case Kind::keyValue:
        case Kind::query:
        case Kind::attentionOutput:
        case Kind::gateUp:
        case Kind::down:
        case Kind::head: sum.gemm += seconds; break;
        case Kind::attention:
        case Kind::merge: sum.attention += seconds; break;
        default: sum.other += seconds;
        }
    }
    return sum;
}

} // namespace kvilt::backend

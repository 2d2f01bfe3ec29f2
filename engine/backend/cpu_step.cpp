// SPDX-License-Identifier: Apache-2.0
// How a step is cut into phases and tasks; what a task does stands in cpu_step_tasks.cpp.
#include "engine/backend/cpu_step.h"

#include <algorithm>

namespace kvilt::backend {
namespace {

// Tasks a thread and phase: enough that one which another thread holds up can be evened out, few enough that taking
// them costs nothing.
constexpr std::uint32_t kTasksPerThread = 4;

} // namespace

CpuStep::CpuStep(const StepContext &context, std::vector<StepSlice> slices, std::vector<TokenId> tokens,
                 const std::atomic<bool> *cancel)
    : m_c(context), m_slices(std::move(slices)), m_tokenIds(std::move(tokens)), m_greedy(m_slices.size(), -1), m_cancel(cancel)
{
    m_rows = static_cast<std::uint32_t>(m_tokenIds.size());
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
    m_placeOfLayer.resize(m_c.description.layers);
    for (std::uint16_t g = 0; g < m_c.layout.groups.size(); ++g)
        for (std::uint32_t i = 0; i < m_c.layout.groups[g].layers.size(); ++i)
            m_placeOfLayer[m_c.layout.groups[g].layers[i]] = {g, i};
    m_matmulTasks = kTasksPerThread * static_cast<std::uint32_t>(m_c.threads);
    m_rowTasks = std::min(m_rows, m_matmulTasks);
    planAttention();
    addPhase(Kind::embed, 0, m_rowTasks);
    for (std::uint32_t layer = 0; layer < m_c.description.layers; ++layer)
        addLayer(layer);
    if (m_logitRows == 0)
        return;
    addPhase(Kind::finalRows, 0, m_logitRows);
    addPhase(Kind::head, 0, matmulTasks({&m_c.weights.head()}));
    addPhase(Kind::greedy, 0, static_cast<std::uint32_t>(m_greedySlices.size()));
}

void CpuStep::addPhase(Kind kind, std::uint32_t layer, std::uint32_t tasks)
{
    if (tasks == 0)
        return;
    m_phases.push_back({kind, layer});
    m_tasks.push_back(tasks);
}

void CpuStep::addLayer(std::uint32_t layer)
{
    const CpuLayerWeights &w = m_c.weights.layer(layer);
    const GroupPlan &group = m_groups[m_placeOfLayer[layer].first];
    addPhase(Kind::attentionInput, layer, m_rowTasks);
    addPhase(Kind::qkv, layer, matmulTasks({&w.query, &w.key, &w.value}));
    addPhase(Kind::rotate, layer, m_rowTasks);
    addPhase(Kind::attention, layer, group.units);
    addPhase(Kind::merge, layer, group.mergeTiles);
    addPhase(Kind::attentionPack, layer, m_rowTasks);
    addPhase(Kind::attentionOutput, layer, matmulTasks({&w.attentionOutput}));
    addPhase(Kind::feedForwardInput, layer, m_rowTasks);
    addPhase(Kind::gateUp, layer, matmulTasks({&w.gate}));
    addPhase(Kind::feedForwardPack, layer, m_rowTasks);
    addPhase(Kind::down, layer, matmulTasks({&w.down}));
}

std::uint32_t CpuStep::matmulTasks(std::initializer_list<const kernels::PackedMatrix *> matrices) const
{
    std::uint32_t panels = 0;
    for (const kernels::PackedMatrix *matrix : matrices)
        panels += matrix->panels();
    return std::min(panels, m_matmulTasks);
}

// The window is the only thing in which layers of a group could differ for attention, and they do not.
void CpuStep::planAttention()
{
    m_groups.resize(m_c.layout.groups.size());
    const auto slices = static_cast<std::uint32_t>(m_slices.size());
    const std::uint32_t wanted = std::max<std::uint32_t>(1, m_matmulTasks / slices);
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        GroupPlan &group = m_groups[g];
        std::size_t partials = 0;
        for (const StepSlice &slice : m_slices) {
            const kernels::AttentionArgs args = attentionArgs(slice, m_c.layout.groups[g].layers.front());
            AttentionPlan plan{kernels::cutAttention(args, wanted), group.units, group.mergeTiles, partials};
            group.units += plan.cut.units;
            if (plan.cut.rangesPerTile > 1 && slice.tokens > 1)
                group.mergeTiles += plan.cut.units / plan.cut.rangesPerTile;
            partials += kernels::attentionPartialFloats(args, plan.cut);
            group.slices.push_back(plan);
        }
        m_partialFloats = std::max(m_partialFloats, partials);
    }
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

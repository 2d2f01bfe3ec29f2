// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/backend/cpu_kv_memory.h"
#include "engine/backend/cpu_weights.h"
#include "engine/backend/cpu_workspace.h"
#include "engine/model/model_description.h"
#include "engine/support/function_ref.h"
#include "kernels/api/kernel_table.h"

#include <atomic>
#include <cstdint>
#include <vector>

namespace kvilt::backend {

// One slice of a step, flattened: rows [firstRow, firstRow + tokens) of the workspace.
struct StepSlice {
    std::uint32_t firstRow = 0;
    std::uint32_t tokens = 0;
    std::uint32_t firstPosition = 0;
    std::uint32_t logitRows = 0;
    std::uint32_t firstLogitRow = 0;
    bool greedy = false;
    std::vector<std::vector<const std::byte *>> blocks; // a group: logical block -> memory, null where a hole is
};

// What a step reads and writes; all of it outlives the step.
struct StepContext {
    const kernels::KernelTable &kernels;
    const model::ModelDescription &description;
    const CpuWeights &weights;
    const CpuWorkspace &workspace;
    const kv::KvLayout &layout;
    const std::vector<CpuKvGroup> &groups;
    int threads = 1;
};

// One step as a list of phases for the thread pool. Per layer: norm, QKV, rotate and store, attention, merge, pack,
// output projection, norm, gate and up, pack, down. Phases that work token by token have one task when there is one
// token, and then cost no barrier (see ThreadPool): decode crosses five a layer. The last layer computes keys and values
// of all tokens, and everything else only for those whose logits are wanted: they are moved to the front for it.
class CpuStep {
public:
    CpuStep(const StepContext &context, std::vector<StepSlice> slices, std::vector<TokenId> tokens,
            const std::atomic<bool> *cancel);

    std::size_t partialFloats() const { return m_partialFloats; }
    std::uint32_t logitRows() const { return m_logitRows; }
    // Memory for partialFloats() floats and for logitRows() rows of logits.
    void setMemory(float *partials, float *logits) { m_partials = partials, m_logits = logits; }

    std::span<const std::uint32_t> tasksOfPhase() const { return m_tasks; }
    void runTask(std::uint32_t phase, std::uint32_t task, int thread);

    bool abandoned() const { return m_abandoned.load(std::memory_order_relaxed); }
    const std::vector<StepSlice> &slices() const { return m_slices; }
    TokenId greedyToken(std::size_t slice) const { return m_greedy[slice]; }
    // Adds up the phases' times from their end stamps.
    PhaseSeconds phaseSeconds(std::uint64_t beginNs, std::span<const std::uint64_t> endNs) const;

private:
    enum class Kind : std::uint8_t {
        embed, attentionInput, qkv, keyValue, rotate, store, keepFinal, query, rotateFinal, attention, merge, attentionPack,
        attentionOutput, feedForwardInput, gateUp, feedForwardPack, down, finalRows, head, greedy,
    };
    struct Phase {
        Kind kind;
        std::uint32_t layer;
        std::uint32_t rows;  // that it works on
        std::uint32_t tasks; // among which it divides them, or a product's panels
    };
    // How one slice's attention is cut in one layer group; the same in all its layers.
    struct AttentionPlan {
        kernels::AttentionCut cut;
        std::uint32_t firstUnit = 0; // among the units of the group's slices
        std::uint32_t firstTile = 0; // among the tiles that a merge phase joins; only slices of several tokens
        std::size_t firstPartial = 0;
    };
    struct GroupPlan {
        std::vector<AttentionPlan> cuts; // a slice
        std::uint32_t units = 0;
        std::uint32_t mergeTiles = 0;
    };
    // Matrices that multiply the same activations, and where their results go.
    struct Product {
        const kernels::PackedMatrix *matrix;
        Rows out;
        bool add = false;
    };

    void placeSlices();
    GroupPlan planAttention(const std::vector<StepSlice> &slices, std::uint32_t layer);
    void addPhase(Kind kind, std::uint32_t layer, std::uint32_t rows, std::uint32_t tasks);
    void addRowPhase(Kind kind, std::uint32_t layer, std::uint32_t rows);
    void addProduct(Kind kind, std::uint32_t layer, std::uint32_t rows, std::initializer_list<const kernels::PackedMatrix *> matrices);
    void addLayer(std::uint32_t layer);
    void addLastLayer(std::uint32_t layer);
    void addRestOfLayer(std::uint32_t layer, std::uint32_t rows);
    void addLogits();

    void multiply(const Phase &phase, std::uint32_t task, int thread) const;
    void embed(std::uint32_t row) const;
    void attentionInput(std::uint32_t layer, std::uint32_t row) const;
    void feedForwardInput(std::uint32_t layer, std::uint32_t row) const;
    void packFeedForward(std::uint32_t layer, std::uint32_t row) const;
    void addNormed(std::uint32_t row, const float *norm) const;
    void prepareNormed(const float *norm, std::span<const kernels::PackedMatrix *const> users, std::uint32_t row) const;
    void rotateHeads(std::uint32_t layer, const float *norm, std::uint32_t heads, std::uint32_t ropeRow, float *x) const;
    void rotateQuery(std::uint32_t layer, std::uint32_t row, std::uint32_t ropeRow) const;
    void storeKeyValue(std::uint32_t layer, std::uint32_t row) const;
    void keepFinalRows(std::uint32_t layer) const;
    void attend(std::uint32_t layer, std::uint32_t unit, int thread) const;
    void merge(std::uint32_t layer, std::uint32_t tile) const;
    void packAttended(std::uint32_t layer, std::uint32_t row) const;
    void gateUp(const Phase &phase, std::uint32_t task, int thread) const;
    void multiplyShare(const Phase &phase, std::span<const Product> products, std::uint32_t task, int thread) const;
    void multiplyPanels(const Product &product, std::uint32_t begin, std::uint32_t end, std::uint32_t count, int thread) const;
    void finalRow(std::uint32_t row) const;
    void chooseGreedy(std::uint32_t index);
    kernels::AttentionArgs attentionArgs(const StepSlice &slice, std::uint32_t layer) const;

    bool onlyFinal(std::uint32_t layer) const { return layer + 1 == m_c.description.layers && m_logitRows < m_rows; }
    const GroupPlan &attentionPlan(std::uint32_t layer) const
    {
        return onlyFinal(layer) ? m_lastPlan : m_groups[m_placeOfLayer[layer].first];
    }
    const std::vector<StepSlice> &attentionSlices(std::uint32_t layer) const { return onlyFinal(layer) ? m_finalSlices : m_slices; }

    const StepContext &m_c;
    std::vector<StepSlice> m_slices;
    std::vector<StepSlice> m_finalSlices; // their tokens with logits, where the last layer keeps only those
    std::vector<TokenId> m_tokenIds;
    std::vector<std::uint32_t> m_sliceOfRow;
    std::vector<std::uint32_t> m_finalRows;      // rows that want logits, in order
    std::vector<std::uint32_t> m_sliceOfFinalRow; // index in m_finalSlices
    std::vector<GroupPlan> m_groups;
    GroupPlan m_lastPlan;
    std::vector<Phase> m_phases;
    std::vector<std::uint32_t> m_tasks;
    std::vector<std::uint32_t> m_greedySlices;
    std::vector<TokenId> m_greedy;
    std::vector<std::pair<std::uint16_t, std::uint32_t>> m_placeOfLayer; // group, index in it
    std::uint32_t m_rows = 0;
    std::uint32_t m_mostTasks = 1; // of a phase
    std::uint32_t m_logitRows = 0;
    std::size_t m_partialFloats = 0;
    float *m_partials = nullptr;
    float *m_logits = nullptr;
    const std::atomic<bool> *m_cancel;
    std::atomic<bool> m_abandoned = false;
};

} // namespace kvilt::backend

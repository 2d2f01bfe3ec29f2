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
// token, and then cost no barrier (see ThreadPool): decode crosses five a layer.
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
        embed, attentionInput, qkv, rotate, attention, merge, attentionPack, attentionOutput,
        feedForwardInput, gateUp, feedForwardPack, down, finalRows, head, greedy,
    };
    struct Phase {
        Kind kind;
        std::uint32_t layer;
    };
    // How one slice's attention is cut in one layer group; the same in all its layers.
    struct AttentionPlan {
        kernels::AttentionCut cut;
        std::uint32_t firstUnit = 0; // among the units of the group's slices
        std::uint32_t firstTile = 0; // among the tiles that a merge phase joins; only slices of several tokens
        std::size_t firstPartial = 0;
    };
    struct GroupPlan {
        std::vector<AttentionPlan> slices;
        std::uint32_t units = 0;
        std::uint32_t mergeTiles = 0;
    };
    // Matrices that multiply the same activations, and where their results go.
    struct Product {
        const kernels::PackedMatrix *matrix;
        Rows out;
        bool add = false;
    };

    void planAttention();
    void addPhase(Kind kind, std::uint32_t layer, std::uint32_t tasks);
    void addLayer(std::uint32_t layer);
    std::uint32_t matmulTasks(std::initializer_list<const kernels::PackedMatrix *> matrices) const;

    void embed(std::uint32_t row) const;
    void attentionInput(std::uint32_t layer, std::uint32_t row) const;
    void feedForwardInput(std::uint32_t layer, std::uint32_t row) const;
    void packFeedForward(std::uint32_t layer, std::uint32_t row) const;
    void addNormed(std::uint32_t row, const float *norm) const;
    void prepareNormed(const float *norm, std::span<const kernels::PackedMatrix *const> users, std::uint32_t from,
                       std::uint32_t to) const;
    void rotate(std::uint32_t layer, std::uint32_t row) const;
    void attend(std::uint32_t layer, std::uint32_t unit, int thread) const;
    void merge(std::uint32_t layer, std::uint32_t tile) const;
    void packAttended(std::uint32_t layer, std::uint32_t row) const;
    void gateUp(std::uint32_t layer, std::uint32_t task, int thread) const;
    void multiply(std::span<const Product> products, std::uint32_t count, std::uint32_t task, int thread) const;
    void multiplyPanels(const Product &product, std::uint32_t begin, std::uint32_t end, std::uint32_t count, int thread) const;
    void finalRow(std::uint32_t index) const;
    void chooseGreedy(std::uint32_t index);
    kernels::AttentionArgs attentionArgs(const StepSlice &slice, std::uint32_t layer) const;
    const StepSlice &sliceOfRow(std::uint32_t row) const { return m_slices[m_sliceOfRow[row]]; }
    void forRows(std::uint32_t task, std::uint32_t rows, FunctionRef<void(std::uint32_t)> body) const;

    const StepContext &m_c;
    std::vector<StepSlice> m_slices;
    std::vector<TokenId> m_tokenIds;
    std::vector<std::uint32_t> m_sliceOfRow;
    std::vector<std::uint32_t> m_finalRows; // workspace rows that want logits, in order
    std::vector<GroupPlan> m_groups;
    std::vector<Phase> m_phases;
    std::vector<std::uint32_t> m_tasks;
    std::vector<std::uint32_t> m_greedySlices;
    std::vector<TokenId> m_greedy;
    std::vector<std::pair<std::uint16_t, std::uint32_t>> m_placeOfLayer; // group, index in it
    std::uint32_t m_rows = 0;
    std::uint32_t m_rowTasks = 0;    // tasks of a phase that goes row by row
    std::uint32_t m_matmulTasks = 0; // most tasks of a product
    std::uint32_t m_logitRows = 0;
    std::size_t m_partialFloats = 0;
    float *m_partials = nullptr;
    float *m_logits = nullptr;
    const std::atomic<bool> *m_cancel;
    std::atomic<bool> m_abandoned = false;
};

} // namespace kvilt::backend

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/model_description.h"
#include "kernels/cuda/api/ops.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace kvilt::backend::cuda {

// Slots of StepView::sampled: a ticket's tokens stay until kRememberedTickets later ones were sampled.
inline constexpr std::uint32_t kRememberedTickets = 4;

// What a plan is checked against.
struct StepLimits {
    const model::ModelDescription &description;
    const kv::KvLayout &layout;
    std::uint32_t maxTokens = 0;
    std::span<const std::uint32_t> blocksReserved; // a group
};

// A step's plan as the kernels read it, made on the host and uploaded in one piece.
class StepImage {
public:
    // What the program has to know of a slice when the results are there.
    struct Slice {
        std::uint32_t firstLogitRow = 0;
        std::uint32_t keptRows = 0;   // rows that go through the last layer
        std::uint32_t wantedRows = 0; // of these, the last ones whose logits the host wants
        bool sampled = false;
    };

    // badInput with a sentence when the plan cannot be. `slotOf` gives the slot of an earlier ticket's token.
    using SlotOf = std::optional<std::uint32_t> (*)(const void *program, const TokenFromTicket &source);
    static Result<StepImage> make(const StepPlan &plan, const StepLimits &limits, Ticket ticket, SlotOf slotOf, const void *program);

    std::vector<kernels::cuda::StepRow> rows;
    std::vector<kernels::cuda::StepSlice> slices, finalSlices; // finalSlices: rows with logits, where they are fewer
    std::vector<kernels::cuda::AttentionTile> tiles, finalTiles;
    std::vector<std::uint32_t> finalRows; // which rows those are
    std::vector<kernels::cuda::SampleSlot> samples;
    std::vector<std::uint32_t> words;     // block tables, then token histories
    std::vector<Slice> states;            // a slice of the plan
    std::uint32_t logitRows = 0;
    std::uint32_t longest = 0;            // positions of the longest sequence
    bool singleRows = true;               // every slice has one row
    bool finalSingleRows = true;
    bool greedyOnly = true;               // of the samples
    bool allFinal() const { return logitRows == rows.size(); }
    bool wantsLogits = false;

private:
    Result<void> add(const PlanSlice &from, const StepLimits &limits, Ticket ticket, SlotOf slotOf, const void *program);
    Result<void> addRows(const PlanSlice &from, const StepLimits &limits, SlotOf slotOf, const void *program);
    Result<void> addTables(const PlanSlice &from, const StepLimits &limits, kernels::cuda::StepSlice &slice);
    void addSample(const PlanSlice &from, Ticket ticket);
    void keepFinal();
};

// The most slices of a step: what a ticket's slots are counted by.
std::uint32_t slotOf(Ticket ticket, std::uint32_t slice, std::uint32_t maxSlices);

} // namespace kvilt::backend::cuda

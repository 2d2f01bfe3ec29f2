// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/step_image.h"

#include <algorithm>
#include <string>

namespace kvilt::backend::cuda {

using kernels::cuda::AttentionTile;
using kernels::cuda::SampleSlot;
using kernels::cuda::StepRow;
using kernels::cuda::StepSlice;

namespace {

void cutTiles(const std::vector<StepSlice> &slices, std::vector<AttentionTile> &tiles)
{
    for (std::uint32_t s = 0; s < slices.size(); ++s)
        for (std::uint32_t row = 0; row < slices[s].rows; row += kernels::cuda::kTileRows)
            tiles.push_back({s, row, std::min(kernels::cuda::kTileRows, slices[s].rows - row), 0});
}

Result<void> checkShape(const PlanSlice &from, std::uint32_t tokens, std::uint32_t rowsBefore, const StepLimits &limits)
{
    const std::uint32_t kept = std::max(from.logitRows, from.sampleGreedily || from.sampling ? 1u : 0u);
    if (tokens == 0 || kept > tokens || from.tables.size() != limits.layout.groups.size())
        return fail(ErrorCode::badInput, "A step has a slice without tokens, tables or as many tokens as logits.");
    const std::uint32_t context = limits.description.contextLength;
    if (from.firstPosition < 0 || tokens > limits.maxTokens - rowsBefore ||
        std::uint64_t(static_cast<std::uint32_t>(from.firstPosition)) + tokens > context)
        return fail(ErrorCode::badInput, "A step goes past the model's context of " + std::to_string(context) +
                                             " tokens or past " + std::to_string(limits.maxTokens) + " tokens a step.");
    return {};
}

} // namespace

std::uint32_t slotOf(Ticket ticket, std::uint32_t slice, std::uint32_t maxSlices)
{
    return static_cast<std::uint32_t>(ticket % kRememberedTickets) * maxSlices + slice;
}

Result<StepImage> StepImage::make(const StepPlan &plan, const StepLimits &limits, Ticket ticket, SlotOf slotOf, const void *program)
{
    if (plan.slices.empty())
        return fail(ErrorCode::badInput, "A step has no slices.");
    StepImage image;
    for (const PlanSlice &from : plan.slices)
        KVILT_TRY_VOID(image.add(from, limits, ticket, slotOf, program));
    for (std::uint32_t i = 0; i < image.samples.size(); ++i)
        image.samples[i].outSlot = cuda::slotOf(ticket, image.samples[i].outSlot, limits.maxTokens);
    image.keepFinal();
    return image;
}

Result<void> StepImage::add(const PlanSlice &from, const StepLimits &limits, Ticket ticket, SlotOf slotOf, const void *program)
{
    const std::uint32_t tokens = from.source ? 1 : static_cast<std::uint32_t>(from.tokens.size());
    KVILT_TRY_VOID(checkShape(from, tokens, static_cast<std::uint32_t>(rows.size()), limits));
    StepSlice slice{};
    slice.firstRow = static_cast<std::uint32_t>(rows.size());
    slice.rows = tokens;
    slice.firstPosition = static_cast<std::uint32_t>(from.firstPosition);
    KVILT_TRY_VOID(addRows(from, limits, slotOf, program));
    KVILT_TRY_VOID(addTables(from, limits, slice));
    slices.push_back(slice);

    Slice state;
    state.sampled = from.sampleGreedily || from.sampling;
    // One who samples greedily on a plan without logit rows gets the row's logits as well, as the CPU gives them.
    state.wantedRows = std::max(from.logitRows, from.sampleGreedily ? 1u : 0u);
    state.keptRows = std::max(state.wantedRows, state.sampled ? 1u : 0u);
    state.firstLogitRow = logitRows;
    logitRows += state.keptRows;
    wantsLogits = wantsLogits || state.wantedRows > 0;
    singleRows = singleRows && tokens == 1;
    longest = std::max(longest, slice.firstPosition + tokens);
    states.push_back(state);
    if (state.sampled)
        addSample(from, ticket);
    return {};
}

Result<void> StepImage::addRows(const PlanSlice &from, const StepLimits &limits, SlotOf slotOf, const void *program)
{
    const auto slice = static_cast<std::uint32_t>(slices.size());
    const auto position = static_cast<std::uint32_t>(from.firstPosition);
    if (from.source) {
        const auto slot = slotOf(program, *from.source);
        if (!slot)
            return fail(ErrorCode::badInput, "A step asks for a token that step " + std::to_string(from.source->ticket) + " did not sample.");
        rows.push_back({-1 - static_cast<std::int32_t>(*slot), position, slice, 0});
        return {};
    }
    for (std::size_t i = 0; i < from.tokens.size(); ++i) {
        const TokenId token = from.tokens[i];
        if (token < 0 || static_cast<std::uint32_t>(token) >= limits.description.vocabulary)
            return fail(ErrorCode::badInput, "The token id " + std::to_string(token) + " is outside the vocabulary of " +
                                                 std::to_string(limits.description.vocabulary) + ".");
        rows.push_back({token, position + static_cast<std::uint32_t>(i), slice, 0});
    }
    return {};
}

Result<void> StepImage::addTables(const PlanSlice &from, const StepLimits &limits, StepSlice &slice)
{
    const std::uint32_t blockSize = limits.layout.blockSize;
    const std::uint32_t needed = (slice.firstPosition + slice.rows + blockSize - 1) / blockSize;
    for (std::size_t g = 0; g < limits.layout.groups.size(); ++g) {
        const kv::BlockTable &table = *from.tables[g];
        if (table.size() < needed)
            return fail(ErrorCode::badInput, "A block table of a step ends before its tokens do.");
        slice.table[g] = static_cast<std::uint32_t>(words.size());
        for (std::uint32_t i = 0; i < needed; ++i) {
            const BlockId id = table[i];
            const bool written = i >= slice.firstPosition / blockSize;
            if (id == kNoBlock ? written : id.value >= limits.blocksReserved[g])
                return fail(ErrorCode::badInput, "A block table of a step names a block that is not there.");
            words.push_back(id == kNoBlock ? kernels::cuda::kNoSlot : id.value);
        }
    }
    return {};
}

void StepImage::addSample(const PlanSlice &from, Ticket)
{
    SampleSlot slot{};
    slot.logitRow = states.back().firstLogitRow + states.back().keptRows - 1;
    slot.outSlot = static_cast<std::uint32_t>(states.size()) - 1; // the slice, until make() knows the ticket's slots
    slot.repeatPenalty = 1;
    slot.topP = 1;
    if (from.sampling && !from.sampleGreedily) {
        const api::SamplingSettings &s = *from.sampling->settings;
        slot.temperature = s.temperature;
        slot.topK = static_cast<std::uint32_t>(s.topK);
        slot.topP = s.topP;
        slot.minP = s.minP;
        slot.repeatPenalty = static_cast<float>(s.repeatPenalty);
        slot.presencePenalty = static_cast<float>(s.presencePenalty);
        slot.frequencyPenalty = static_cast<float>(s.frequencyPenalty);
        slot.seed = s.seed;
        slot.position = from.sampling->position;
        const bool penalised = s.repeatPenalty != 1.0 || s.presencePenalty != 0.0 || s.frequencyPenalty != 0.0;
        if (penalised && s.penaltyWindow > 0) {
            // The token that is still on the device is the newest of the history.
            const auto window = static_cast<std::size_t>(s.penaltyWindow) - (from.source ? 1 : 0);
            const auto history = from.sampling->history.last(std::min(from.sampling->history.size(), window));
            slot.historyBegin = static_cast<std::uint32_t>(words.size());
            slot.historyCount = static_cast<std::uint32_t>(history.size());
            for (const TokenId token : history)
                words.push_back(static_cast<std::uint32_t>(token));
            slot.historyLast = from.source ? rows.back().token : 0;
        }
        greedyOnly = greedyOnly && s.temperature <= 0 && !penalised;
    }
    samples.push_back(slot);
}

// Rows whose logits are wanted, where the last layer keeps only those; and the tiles of both lists.
void StepImage::keepFinal()
{
    if (!singleRows)
        cutTiles(slices, tiles);
    if (allFinal())
        return;
    for (std::size_t s = 0; s < slices.size(); ++s) {
        const std::uint32_t kept = states[s].keptRows;
        if (kept == 0)
            continue;
        StepSlice slice = slices[s];
        slice.firstRow = states[s].firstLogitRow;
        slice.rows = kept;
        slice.firstPosition = slices[s].firstPosition + slices[s].rows - kept;
        finalSlices.push_back(slice);
        finalSingleRows = finalSingleRows && kept == 1;
        for (std::uint32_t i = slices[s].rows - kept; i < slices[s].rows; ++i)
            finalRows.push_back(slices[s].firstRow + i);
    }
    if (!finalSingleRows)
        cutTiles(finalSlices, finalTiles);
}

} // namespace kvilt::backend::cuda

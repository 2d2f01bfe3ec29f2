// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/backend/cuda/device.h"
#include "engine/backend/cuda/graph_cache.h"
#include "engine/backend/cuda/kv_transfer.h"
#include "engine/backend/cuda/step_ops.h"

#include <array>
#include <deque>
#include <memory>
#include <vector>

namespace kvilt::backend::cuda {

// A model on a CUDA device. submit() queues a step and comes back; the tokens it samples stay on the device for the next one,
// and up to two steps may be under way. A prompt's step is queued at most a few layers ahead of the device, so that a cancel
// is heard within them. Any ErrorCode::device means that the device is lost and the program with it.
class CudaProgram final : public Program {
public:
    static Result<std::unique_ptr<Program>> make(Device &device, std::shared_ptr<const model::Model> model,
                                                 const kv::KvLayout &layout, const PrepareOptions &options);
    ~CudaProgram() override;

    Result<Ticket> submit(const StepPlan &plan) override;
    Result<StepResult> collect(Ticket ticket) override;
    Result<void> reserveBlocks(GroupIndex group, std::uint32_t count) override;
    std::uint64_t bytesReserved() const override;
    void copyBlock(GroupIndex group, BlockId from, BlockId to, std::uint32_t tokens) override;
    Result<void> exportBlock(GroupIndex group, BlockId block, std::span<std::byte> out) override;
    Result<void> importBlock(GroupIndex group, BlockId block, std::span<const std::byte> in) override;
    std::string numerics() const override;
    std::string isa() const override;
    bool samples(const api::SamplingSettings &settings) const override;
    std::uint32_t stepsInFlight() const override { return kStepsInFlight; }

private:
    static constexpr std::uint32_t kStepsInFlight = 2;

    // A step that was submitted.
    struct Pending {
        Ticket ticket = 0;
        std::vector<StepImage::Slice> slices;
        std::uint64_t beginNs = 0;
        bool cancelled = false;
        unsigned buffer = 0;
    };
    // Where a step's results come to on the host; the two steps under way take turns.
    struct Results {
        Memory logits, tokens;
        std::unique_ptr<Event> done;
    };

    CudaProgram(Device &device, std::shared_ptr<const model::Model> model, const kv::KvLayout &layout, const PrepareOptions &options);
    Result<void> prepare(const PrepareOptions &options);
    Result<void> checkSupport() const;
    Result<void> growLogits(std::uint32_t rows);
    Result<bool> runOps(const StepImage &image, const StepPointers &at, const std::atomic<bool> *cancel);
    Result<bool> runEagerly(const std::vector<StepOp> &ops, const std::atomic<bool> *cancel);
    Result<bool> keepPace(std::uint32_t layer, const std::atomic<bool> *cancel);
    Result<void> runAsGraph(const std::vector<StepOp> &ops, const GraphKey &key);
    Result<void> download(const StepImage &image, Results &results, Ticket ticket);
    StepResult finish(const Pending &pending);
    std::optional<std::uint32_t> slotOfToken(const TokenFromTicket &source) const;

    Device &m_device;
    std::shared_ptr<const model::Model> m_model;
    kv::KvLayout m_layout;
    std::uint32_t m_maxTokens;
    Weights m_weights;
    Workspace m_workspace;
    RopeTables m_rope;
    std::vector<KvGroup> m_groups;
    StepMemory m_stepMemory;
    KvTransfer m_transfer;
    GraphCache m_graphs;
    Memory m_logits;
    std::uint64_t m_logitsGeneration = 0;
    std::array<Results, kStepsInFlight> m_results;
    std::array<std::unique_ptr<Event>, 4> m_pace; // ends of the last layers queued
    std::unique_ptr<Event> m_copied;              // the last copyBlock()
    bool m_anyCopied = false;
    std::deque<Pending> m_pending;
    Ticket m_lastTicket = 0;
    std::deque<std::pair<Ticket, std::vector<bool>>> m_sampled; // which slices of the last tickets were sampled
    std::uint64_t m_collectedNs = 0;
    Error m_lost{ErrorCode::device, {}}; // of copyBlock, which cannot say; reported by the next submit()
};

} // namespace kvilt::backend::cuda

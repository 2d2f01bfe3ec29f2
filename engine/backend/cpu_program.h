// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/backend/cpu_step.h"
#include "engine/support/thread_pool.h"

#include <deque>
#include <memory>

namespace kvilt::backend {

// A model on the CPU. submit() computes the whole step with the program's own threads before it returns.
class CpuProgram final : public Program {
public:
    static Result<std::unique_ptr<Program>> make(const kernels::KernelTable &kernels,
                                                 std::shared_ptr<const model::Model> model, const kv::KvLayout &layout,
                                                 const PrepareOptions &options);

    Result<Ticket> submit(const StepPlan &plan) override;
    Result<StepResult> collect(Ticket ticket) override;
    Result<void> reserveBlocks(GroupIndex group, std::uint32_t count) override;
    std::uint64_t bytesReserved() const override;
    void copyBlock(GroupIndex group, BlockId from, BlockId to, std::uint32_t tokens) override;
    Result<void> exportBlock(GroupIndex group, BlockId block, std::span<std::byte> out) override;
    Result<void> importBlock(GroupIndex group, BlockId block, std::span<const std::byte> in) override;
    std::string numerics() const override;
    std::string isa() const override;

private:
    CpuProgram(const kernels::KernelTable &kernels, std::shared_ptr<const model::Model> model, const kv::KvLayout &layout,
               const PrepareOptions &options);
    Result<void> prepareMemory(const PrepareOptions &options);
    Result<void> gather(const StepPlan &plan, std::vector<StepSlice> &slices, std::vector<TokenId> &tokens) const;
    Result<StepSlice> gatherSlice(const PlanSlice &from, std::vector<TokenId> &tokens) const;
    Result<void> gatherBlocks(const PlanSlice &from, StepSlice &slice) const;
    Result<TokenId> sampledToken(const TokenFromTicket &source) const;
    StepResult finish(const CpuStep &step, std::uint64_t beginNs, std::span<const std::uint64_t> endNs);

    // What a later step may still ask for.
    struct Sampled {
        Ticket ticket;
        std::vector<TokenId> tokens;
    };

    const kernels::KernelTable &m_kernels;
    std::shared_ptr<const model::Model> m_model;
    kv::KvLayout m_layout;
    std::uint32_t m_maxTokens;
    ThreadPool m_pool;
    CpuWeights m_weights;
    CpuWorkspace m_workspace;
    std::vector<CpuKvGroup> m_groups;
    kernels::Buffer m_partials;
    kernels::Buffer m_logits;
    std::vector<std::uint64_t> m_endNs;
    Ticket m_lastTicket = 0;
    std::deque<std::pair<Ticket, StepResult>> m_results; // computed, not yet collected
    std::deque<Sampled> m_sampled;
};

} // namespace kvilt::backend

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/api/settings.h"
#include "engine/kv/block_table.h"
#include "engine/kv/kv_layout.h"
#include "engine/support/error.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kvilt::model {
class Model;
}

namespace kvilt::backend {

using Ticket = std::uint64_t;

// "The token that ticket `ticket` gave slice `slice`": lets a device feed a sampled token to the next step
// without a round trip to the host.
struct TokenFromTicket {
    Ticket ticket = 0;
    std::uint32_t slice = 0;
};

// How a program that samples(settings) chooses the token after a slice's last row: as sched::Sampler does.
struct TokenSampling {
    const api::SamplingSettings *settings = nullptr; // valid until submit() returns, like the history
    // Prompt and reply so far; with PlanSlice::source the token it names is the newest and not among these.
    std::span<const TokenId> history;
    std::uint64_t position = 0;                      // tokens made before
};

// A run of consecutive tokens of one sequence in one step.
struct PlanSlice {
    SequenceId sequence;
    std::span<const TokenId> tokens;       // valid until submit() returns, like the tables
    std::optional<TokenFromTicket> source; // instead of `tokens`: one token
    std::int32_t firstPosition = 0;        // position of tokens[0] in the sequence
    // One table a layer group; they already cover firstPosition + tokens.size() positions, and every block
    // from firstPosition on is writable (reference count 1).
    std::span<const kv::BlockTable *const> tables;
    // Logits are made for the slice's last `logitRows` tokens; 0: none (a chunk in the middle of a prompt).
    std::uint32_t logitRows = 0;
    bool sampleGreedily = false;           // the backend also returns the arg-max token of the last row
    std::optional<TokenSampling> sampling; // the backend chooses the token; its row's logits need not come to the host
};

// One step: slices of different sequences, computed as one batch. The result for a slice never depends on its
// neighbours or on how a prompt is cut into slices.
struct StepPlan {
    std::vector<PlanSlice> slices;
    // Polled at every layer; when set, the step is abandoned: rows it wrote are simply written again later.
    const std::atomic<bool> *cancel = nullptr;
};

struct SliceResult {
    std::span<const float> logits; // [logitRows, vocabularySize], valid until the next submit() after collect()
    TokenId token = -1; // that sampleGreedily or sampling asked for
};

// Where a step's time went; all zero where a backend cannot tell (a GPU runs the phases of a step without coming back).
struct PhaseSeconds {
    double gemm = 0;      // products with weights
    double attention = 0; // scores and values
    double other = 0;     // embedding, norms, RoPE, packing, arg-max
};

struct StepResult {
    bool cancelled = false;      // logits and tokens are empty then
    std::vector<SliceResult> slices; // in the plan's order
    double seconds = 0;
    PhaseSeconds phases;
};

// A model made ready on one device, together with the KV memory it reads and writes. Owned and called by one
// thread. Block storage grows lazily in chunks and never beyond the capacities given at prepare().
class Program {
public:
    virtual ~Program() = default;

    virtual Result<Ticket> submit(const StepPlan &plan) = 0;
    virtual Result<StepResult> collect(Ticket ticket) = 0; // each ticket once, in order

    // Makes blocks [0, count) of `group` addressable; outOfMemory when the device refuses.
    virtual Result<void> reserveBlocks(GroupIndex group, std::uint32_t count) = 0;
    virtual std::uint64_t bytesReserved() const = 0;
    // Copies the first `tokens` rows of every layer of the group.
    virtual void copyBlock(GroupIndex group, BlockId from, BlockId to, std::uint32_t tokens) = 0;
    // Canonical stored form (see kv_layout.h and kv_store's format page): per owning layer ascending, K rows
    // [token][head][dim] then V rows [token][head][dim], each side in its KV type. A pure permutation. exportBlock() gives what
    // collected steps wrote, and waits for no other.
    virtual Result<void> exportBlock(GroupIndex group, BlockId block, std::span<std::byte> out) = 0;
    virtual Result<void> importBlock(GroupIndex group, BlockId block, std::span<const std::byte> in) = 0;

    virtual std::string numerics() const = 0; // "cpu:2": which arithmetic made the KV
    virtual std::string isa() const = 0;      // "avx2", "avx512-vnni", ..., "sm_90"

    // Whether PlanSlice::sampling may ask for such a token.
    virtual bool samples(const api::SamplingSettings &) const { return false; }
    // Steps that may be submitted before the first of them is collected. They run in the order of their submission, and so does
    // every copy, import and export between them: a block may be given to another sequence while a step that writes it waits.
    virtual std::uint32_t stepsInFlight() const { return 1; }
};

struct PrepareOptions {
    int threads = 0;                           // 0: one a core
    std::vector<std::uint32_t> blockCapacity;  // per layer group
    std::uint32_t maxStepTokens = 512;         // most tokens of one StepPlan
    // Test and benchmark aid: every sequence's blocks follow each other, so that paging costs nothing.
    bool contiguous = false;
};

// Bytes that blocks may take once a model is ready.
struct KvBudget {
    std::uint64_t standard = 0; // what is taken unasked
    std::uint64_t most = 0;     // more is refused
};

class Backend {
public:
    virtual ~Backend() = default;
    virtual std::string name() const = 0;      // "cpu", "cuda"
    virtual std::string deviceName() const = 0;
    virtual std::uint64_t freeMemory() const = 0;
    virtual std::uint64_t totalMemory() const { return 0; } // of a device of its own; 0: the host's
    virtual KvBudget kvBudget(const model::Model &model, std::uint32_t maxStepTokens) const = 0;
    virtual std::uint32_t preferredStepTokens() const { return 512; } // the step size that prefill is fastest with
    virtual Result<std::unique_ptr<Program>> prepare(std::shared_ptr<const model::Model> model,
                                                     const kv::KvLayout &layout, const PrepareOptions &options) = 0;
};

// KVILT_FORCE_ISA is honoured here; unknown or absent: badInput.
Result<std::unique_ptr<Backend>> makeCpuBackend();

} // namespace kvilt::backend

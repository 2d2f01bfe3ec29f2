// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/model/model.h"
#include "engine/model/model_description.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace kvilt::test {

// How a runner lays out and cuts its work. Every choice must give the same logits.
struct RunnerOptions {
    api::KvType kType = api::KvType::f16;
    api::KvType vType = api::KvType::f16;
    std::uint32_t blockSize = 16;
    int threads = 1;
    std::uint32_t contextTokens = 1024; // blocks for so many tokens
    std::uint32_t maxStepTokens = 512;
    bool contiguous = false;
    std::uint64_t shuffle = 0;          // != 0: blocks are handed out in the order of this seed
    std::string isa;                    // "": the best
    std::function<std::unique_ptr<backend::Backend>()> backend; // empty: the CPU's
};

// A model on the CPU or another backend with block tables of its own, for tests and measurements below the engine.
class ProgramRunner {
public:
    // Aborts with the message when the backend refuses: tests of refusals call the backend themselves.
    ProgramRunner(std::shared_ptr<const model::Model> model, const RunnerOptions &options);

    class Sequence {
    public:
        std::vector<kv::BlockTable> tables; // one a group
        std::int32_t position = 0;          // tokens computed so far
    };
    Sequence newSequence() const;

    // Appends tokens and returns the logits of the last `logitRows` of them.
    std::vector<float> append(Sequence &sequence, std::span<const TokenId> tokens, std::uint32_t logitRows = 1);
    // One step for several sequences, one token run each; the logits of each run's last token.
    std::vector<std::vector<float>> appendTogether(std::span<Sequence *const> sequences,
                                                   std::span<const std::vector<TokenId>> runs);
    // Logits of every token, cut into chunks of `chunk`.
    std::vector<float> allLogits(std::span<const TokenId> tokens, std::uint32_t chunk);

    // The canonical bytes of a sequence's blocks, group by group, blocks in order.
    std::vector<std::byte> exportKv(const Sequence &sequence) const;
    // A sequence that continues from such bytes.
    Sequence importKv(std::span<const std::byte> bytes, std::int32_t tokens);
    void cover(Sequence &sequence, std::uint32_t tokens); // gives it blocks
    void release(Sequence &sequence);                     // hands its blocks back, for the next one

    backend::Program &program() { return *m_program; }
    const kv::KvLayout &layout() const { return m_layout; }
    const model::ModelDescription &description() const { return m_model->description(); }
    backend::StepResult lastStep;

private:
    backend::StepResult step(const backend::StepPlan &plan);
    BlockId takeBlock(std::size_t group);

    std::shared_ptr<const model::Model> m_model;
    kv::KvLayout m_layout;
    std::unique_ptr<backend::Backend> m_backend;
    std::unique_ptr<backend::Program> m_program;
    std::vector<std::vector<BlockId>> m_free; // a group; the next one is at the back
};

// `count` random ids below `vocabulary`.
std::vector<TokenId> randomTokens(std::size_t count, std::uint32_t vocabulary, std::uint64_t seed);

} // namespace kvilt::test

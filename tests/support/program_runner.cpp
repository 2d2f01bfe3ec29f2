// SPDX-License-Identifier: Apache-2.0
#include "tests/support/program_runner.h"

#include "tests/support/tiny_model.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace kvilt::test {
namespace {

template <typename T>
T orAbort(Result<T> result)
{
    if (result)
        return std::move(*result);
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::abort();
}

std::unique_ptr<backend::Backend> backendFor(const std::string &isa)
{
    if (isa.empty())
        return orAbort(backend::makeCpuBackend());
    const char *before = std::getenv("KVILT_FORCE_ISA");
    const std::string kept = before ? before : "";
    ::setenv("KVILT_FORCE_ISA", isa.c_str(), 1);
    auto made = orAbort(backend::makeCpuBackend());
    before ? ::setenv("KVILT_FORCE_ISA", kept.c_str(), 1) : ::unsetenv("KVILT_FORCE_ISA");
    return made;
}

std::uint32_t blocksFor(std::uint32_t tokens, std::uint32_t blockSize)
{
    return (tokens + blockSize - 1) / blockSize;
}

} // namespace

ProgramRunner::ProgramRunner(std::shared_ptr<const model::Model> model, const RunnerOptions &options)
    : m_model(std::move(model)), m_layout(model::makeKvLayout(m_model->description(), options.kType, options.vType, options.blockSize)),
      m_backend(options.backend ? options.backend() : backendFor(options.isa))
{
    const std::uint32_t blocks = blocksFor(options.contextTokens, options.blockSize) + 1;
    backend::PrepareOptions prepare;
    prepare.threads = options.threads;
    prepare.blockCapacity.assign(m_layout.groups.size(), blocks);
    prepare.maxStepTokens = options.maxStepTokens;
    prepare.contiguous = options.contiguous;
    m_program = orAbort(m_backend->prepare(m_model, m_layout, prepare));
    Random random(options.shuffle);
    for (std::uint16_t g = 0; g < m_layout.groups.size(); ++g) {
        if (const auto reserved = m_program->reserveBlocks(GroupIndex{g}, blocks); !reserved)
            std::abort();
        std::vector<BlockId> free;
        for (std::uint32_t i = blocks; i-- > 0;)
            free.push_back(BlockId{i});
        for (std::size_t i = free.size(); options.shuffle != 0 && i > 1; --i)
            std::swap(free[i - 1], free[random.below(static_cast<std::uint32_t>(i))]);
        m_free.push_back(std::move(free));
    }
}

ProgramRunner::Sequence ProgramRunner::newSequence() const
{
    Sequence sequence;
    sequence.tables.resize(m_layout.groups.size());
    return sequence;
}

BlockId ProgramRunner::takeBlock(std::size_t group)
{
    if (m_free[group].empty())
        std::abort();
    const BlockId block = m_free[group].back();
    m_free[group].pop_back();
    return block;
}

void ProgramRunner::cover(Sequence &sequence, std::uint32_t tokens)
{
    for (std::size_t g = 0; g < sequence.tables.size(); ++g)
        while (sequence.tables[g].size() < blocksFor(tokens, m_layout.blockSize))
            sequence.tables[g].append(takeBlock(g));
}

void ProgramRunner::release(Sequence &sequence)
{
    for (std::size_t g = 0; g < sequence.tables.size(); ++g)
        for (const BlockId block : sequence.tables[g].blocks())
            m_free[g].push_back(block);
    sequence = newSequence();
}

backend::StepResult ProgramRunner::step(const backend::StepPlan &plan)
{
    const backend::Ticket ticket = orAbort(m_program->submit(plan));
    return orAbort(m_program->collect(ticket));
}

std::vector<float> ProgramRunner::append(Sequence &sequence, std::span<const TokenId> tokens, std::uint32_t logitRows)
{
    cover(sequence, static_cast<std::uint32_t>(sequence.position) + static_cast<std::uint32_t>(tokens.size()));
    std::vector<const kv::BlockTable *> tables;
    for (const kv::BlockTable &table : sequence.tables)
        tables.push_back(&table);
    backend::PlanSlice slice;
    slice.tokens = tokens;
    slice.firstPosition = sequence.position;
    slice.tables = tables;
    slice.logitRows = logitRows;
    backend::StepPlan plan;
    plan.slices.push_back(slice);
    lastStep = step(plan);
    sequence.position += static_cast<std::int32_t>(tokens.size());
    return {lastStep.slices[0].logits.begin(), lastStep.slices[0].logits.end()};
}

std::vector<std::vector<float>> ProgramRunner::appendTogether(std::span<Sequence *const> sequences,
                                                              std::span<const std::vector<TokenId>> runs)
{
    std::vector<std::vector<const kv::BlockTable *>> tables(sequences.size());
    backend::StepPlan plan;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        cover(*sequences[i], static_cast<std::uint32_t>(sequences[i]->position) + static_cast<std::uint32_t>(runs[i].size()));
        for (const kv::BlockTable &table : sequences[i]->tables)
            tables[i].push_back(&table);
        backend::PlanSlice slice;
        slice.sequence = SequenceId{i + 1};
        slice.tokens = runs[i];
        slice.firstPosition = sequences[i]->position;
        slice.tables = tables[i];
        slice.logitRows = 1;
        plan.slices.push_back(slice);
        sequences[i]->position += static_cast<std::int32_t>(runs[i].size());
    }
    lastStep = step(plan);
    std::vector<std::vector<float>> logits;
    for (const backend::SliceResult &slice : lastStep.slices)
        logits.emplace_back(slice.logits.begin(), slice.logits.end());
    return logits;
}

std::vector<float> ProgramRunner::allLogits(std::span<const TokenId> tokens, std::uint32_t chunk)
{
    Sequence sequence = newSequence();
    std::vector<float> all;
    for (std::size_t at = 0; at < tokens.size(); at += chunk) {
        const auto part = tokens.subspan(at, std::min<std::size_t>(chunk, tokens.size() - at));
        const auto logits = append(sequence, part, static_cast<std::uint32_t>(part.size()));
        all.insert(all.end(), logits.begin(), logits.end());
    }
    release(sequence);
    return all;
}

std::vector<std::byte> ProgramRunner::exportKv(const Sequence &sequence) const
{
    std::vector<std::byte> all;
    for (std::uint16_t g = 0; g < sequence.tables.size(); ++g)
        for (const BlockId block : sequence.tables[g].blocks()) {
            const std::size_t begin = all.size();
            all.resize(begin + m_layout.bytesPerBlock(g));
            if (!m_program->exportBlock(GroupIndex{g}, block, std::span(all).subspan(begin)))
                std::abort();
        }
    return all;
}

ProgramRunner::Sequence ProgramRunner::importKv(std::span<const std::byte> bytes, std::int32_t tokens)
{
    Sequence sequence = newSequence();
    cover(sequence, static_cast<std::uint32_t>(tokens));
    sequence.position = tokens;
    for (std::uint16_t g = 0; g < sequence.tables.size(); ++g)
        for (const BlockId block : sequence.tables[g].blocks()) {
            const std::size_t size = m_layout.bytesPerBlock(g);
            if (!m_program->importBlock(GroupIndex{g}, block, bytes.first(size)))
                std::abort();
            bytes = bytes.subspan(size);
        }
    return sequence;
}

std::vector<TokenId> randomTokens(std::size_t count, std::uint32_t vocabulary, std::uint64_t seed)
{
    Random random(seed);
    std::vector<TokenId> tokens(count);
    for (TokenId &token : tokens)
        token = static_cast<TokenId>(random.below(vocabulary));
    return tokens;
}

} // namespace kvilt::test

// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu_program.h"

#include "engine/support/check.h"

#include <algorithm>
#include <chrono>

namespace kvilt::backend {
namespace {

// Which arithmetic makes the KV and the logits. Raised when a golden test changes; the same on every instruction set.
constexpr const char *kNumerics = "cpu:2";
constexpr std::size_t kRememberedTickets = 4;

std::uint64_t nowNs()
{
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

int threadCount(int wanted)
{
    const int most = 256;
    return wanted > 0 ? std::min(wanted, most) : std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 64);
}

} // namespace

CpuProgram::CpuProgram(const kernels::KernelTable &kernels, std::shared_ptr<const model::Model> model,
                       const kv::KvLayout &layout, const PrepareOptions &options)
    : m_kernels(kernels), m_model(std::move(model)), m_layout(layout), m_maxTokens(std::max(1u, options.maxStepTokens)),
      m_pool(threadCount(options.threads))
{
}

Result<std::unique_ptr<Program>> CpuProgram::make(const kernels::KernelTable &kernels,
                                                  std::shared_ptr<const model::Model> model, const kv::KvLayout &layout,
                                                  const PrepareOptions &options)
{
    KVILT_CHECK(options.blockCapacity.size() == layout.groups.size());
    std::unique_ptr<CpuProgram> program(new CpuProgram(kernels, std::move(model), layout, options));
    KVILT_TRY(program->m_weights, CpuWeights::load(*program->m_model, program->m_pool));
    KVILT_TRY_VOID(program->prepareMemory(options));
    return std::unique_ptr<Program>(std::move(program));
}

Result<void> CpuProgram::prepareMemory(const PrepareOptions &options)
{
    std::size_t scratch = m_weights.largestScratch();
    for (std::size_t g = 0; g < m_layout.groups.size(); ++g) {
        KVILT_TRY(CpuKvGroup group, CpuKvGroup::make(m_layout.groups[g], m_layout.blockSize, options.blockCapacity[g], options.contiguous));
        scratch = std::max(scratch, kernels::attentionScratchBytes(m_model->description().heads, group.keys(), group.values()));
        m_groups.push_back(std::move(group));
    }
    KVILT_TRY(m_workspace, CpuWorkspace::make(m_model->description(), m_maxTokens, m_pool.threads(), scratch));
    return {};
}

Result<TokenId> CpuProgram::sampledToken(const TokenFromTicket &source) const
{
    for (const Sampled &sampled : m_sampled)
        if (sampled.ticket == source.ticket && source.slice < sampled.tokens.size() && sampled.tokens[source.slice] >= 0)
            return sampled.tokens[source.slice];
    return fail(ErrorCode::badInput, "A step asks for a token that step " + std::to_string(source.ticket) + " did not sample.");
}

Result<void> CpuProgram::gatherBlocks(const PlanSlice &from, StepSlice &slice) const
{
    const std::uint32_t end = slice.firstPosition + slice.tokens;
    const std::uint32_t needed = (end + m_layout.blockSize - 1) / m_layout.blockSize;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        if (from.tables[g]->size() < needed)
            return fail(ErrorCode::badInput, "A block table of a step ends before its tokens do.");
        std::vector<const std::byte *> blocks(needed);
        for (std::uint32_t i = 0; i < needed; ++i) {
            const BlockId id = (*from.tables[g])[i];
            const bool written = i >= slice.firstPosition / m_layout.blockSize;
            if (id == kNoBlock ? written : id.value >= m_groups[g].blocksReserved())
                return fail(ErrorCode::badInput, "A block table of a step names a block that is not there.");
            blocks[i] = id == kNoBlock ? nullptr : m_groups[g].block(id.value);
        }
        slice.blocks.push_back(std::move(blocks));
    }
    return {};
}

Result<StepSlice> CpuProgram::gatherSlice(const PlanSlice &from, std::vector<TokenId> &tokens) const
{
    StepSlice slice;
    slice.firstRow = static_cast<std::uint32_t>(tokens.size());
    slice.tokens = from.source ? 1 : static_cast<std::uint32_t>(from.tokens.size());
    slice.firstPosition = static_cast<std::uint32_t>(from.firstPosition);
    slice.logitRows = std::max(from.logitRows, from.sampleGreedily ? 1u : 0u);
    slice.greedy = from.sampleGreedily;
    if (slice.tokens == 0 || slice.logitRows > slice.tokens || from.tables.size() != m_groups.size())
        return fail(ErrorCode::badInput, "A step has a slice without tokens, tables or as many tokens as logits.");
    if (from.firstPosition < 0 || slice.tokens > m_maxTokens - slice.firstRow ||
        std::uint64_t(slice.firstPosition) + slice.tokens > m_model->description().contextLength)
        return fail(ErrorCode::badInput, "A step goes past the model's context of " +
                                             std::to_string(m_model->description().contextLength) + " tokens or past " +
                                             std::to_string(m_maxTokens) + " tokens a step.");
    if (from.source) {
        KVILT_TRY(TokenId token, sampledToken(*from.source));
        tokens.push_back(token);
    } else {
        tokens.insert(tokens.end(), from.tokens.begin(), from.tokens.end());
    }
    for (std::size_t i = slice.firstRow; i < tokens.size(); ++i)
        if (tokens[i] < 0 || static_cast<std::uint32_t>(tokens[i]) >= m_model->description().vocabulary)
            return fail(ErrorCode::badInput, "The token id " + std::to_string(tokens[i]) + " is outside the vocabulary of " +
                                                 std::to_string(m_model->description().vocabulary) + ".");
    KVILT_TRY_VOID(gatherBlocks(from, slice));
    return slice;
}

Result<void> CpuProgram::gather(const StepPlan &plan, std::vector<StepSlice> &slices, std::vector<TokenId> &tokens) const
{
    if (plan.slices.empty())
        return fail(ErrorCode::badInput, "A step has no slices.");
    for (const PlanSlice &from : plan.slices) {
        KVILT_TRY(StepSlice slice, gatherSlice(from, tokens));
        slices.push_back(std::move(slice));
    }
    return {};
}

Result<Ticket> CpuProgram::submit(const StepPlan &plan)
{
    const std::uint64_t beginNs = nowNs();
    std::vector<StepSlice> slices;
    std::vector<TokenId> tokens;
    KVILT_TRY_VOID(gather(plan, slices, tokens));
    const StepContext context{m_kernels, m_model->description(), m_weights, m_workspace, m_layout, m_groups, m_pool.threads()};
    CpuStep step(context, std::move(slices), std::move(tokens), plan.cancel);
    const std::size_t logitBytes = std::size_t(step.logitRows()) * m_model->description().vocabulary * sizeof(float);
    if (!growBuffer(m_partials, step.partialFloats() * sizeof(float)) || !growBuffer(m_logits, logitBytes))
        return fail(ErrorCode::outOfMemory, "The system refused the memory for a step with " + std::to_string(step.logitRows()) +
                                                " rows of logits; ask for fewer at a time.");
    step.setMemory(reinterpret_cast<float *>(m_partials.data()), reinterpret_cast<float *>(m_logits.data()));
    m_endNs.resize(std::max(m_endNs.size(), step.tasksOfPhase().size()));
    m_pool.run(
        step.tasksOfPhase(), [&](std::uint32_t phase, std::uint32_t task, int thread) { step.runTask(phase, task, thread); }, m_endNs);
    ++m_lastTicket;
    m_results.emplace_back(m_lastTicket, finish(step, beginNs, m_endNs));
    return m_lastTicket;
}

StepResult CpuProgram::finish(const CpuStep &step, std::uint64_t beginNs, std::span<const std::uint64_t> endNs)
{
    StepResult result;
    result.cancelled = step.abandoned();
    result.phases = step.phaseSeconds(beginNs, endNs);
    Sampled sampled{m_lastTicket, {}};
    const std::size_t vocabulary = m_model->description().vocabulary;
    const auto *logits = reinterpret_cast<const float *>(m_logits.data());
    for (std::size_t i = 0; i < step.slices().size(); ++i) {
        SliceResult slice;
        if (!result.cancelled) {
            slice.logits = {logits + step.slices()[i].firstLogitRow * vocabulary, step.slices()[i].logitRows * vocabulary};
            slice.token = step.greedyToken(i);
        }
        sampled.tokens.push_back(slice.token);
        result.slices.push_back(slice);
    }
    m_sampled.push_back(std::move(sampled));
    if (m_sampled.size() > kRememberedTickets)
        m_sampled.pop_front();
    result.seconds = static_cast<double>(nowNs() - beginNs) * 1e-9;
    return result;
}

Result<StepResult> CpuProgram::collect(Ticket ticket)
{
    if (m_results.empty() || m_results.front().first != ticket)
        return fail(ErrorCode::badInput, "Step " + std::to_string(ticket) + " is not the next one to collect.");
    StepResult result = std::move(m_results.front().second);
    m_results.pop_front();
    return result;
}

Result<void> CpuProgram::reserveBlocks(GroupIndex group, std::uint32_t count)
{
    return m_groups[group.value].reserve(count);
}

std::uint64_t CpuProgram::bytesReserved() const
{
    std::uint64_t sum = 0;
    for (const CpuKvGroup &group : m_groups)
        sum += group.bytesReserved();
    return sum;
}

void CpuProgram::copyBlock(GroupIndex group, BlockId from, BlockId to, std::uint32_t)
{
    // All rows: those past `tokens` are written before anybody reads them, and whole sides are straight copies.
    m_groups[group.value].copy(from.value, to.value);
}

Result<void> CpuProgram::exportBlock(GroupIndex group, BlockId block, std::span<std::byte> out)
{
    if (block.value >= m_groups[group.value].blocksReserved() || !m_groups[group.value].exportTo(block.value, out))
        return fail(ErrorCode::badInput, "KV block " + std::to_string(block.value) + " cannot be copied out: it has another size.");
    return {};
}

Result<void> CpuProgram::importBlock(GroupIndex group, BlockId block, std::span<const std::byte> in)
{
    if (block.value >= m_groups[group.value].blocksReserved() || !m_groups[group.value].importFrom(block.value, in))
        return fail(ErrorCode::badInput, "KV block " + std::to_string(block.value) + " cannot be filled: its data has another size.");
    return {};
}

std::string CpuProgram::numerics() const
{
    return kNumerics;
}

std::string CpuProgram::isa() const
{
    return m_kernels.name;
}

} // namespace kvilt::backend

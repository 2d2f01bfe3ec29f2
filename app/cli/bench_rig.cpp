// SPDX-License-Identifier: Apache-2.0
#include "app/cli/bench_rig.h"

#include "engine/backend/open_backend.h"
#include "engine/model/model.h"
#include "engine/sched/sampler.h"

#include <algorithm>

namespace kvilt::cli {
namespace {

tl::unexpected<Error> poolTooSmall()
{
    return fail(ErrorCode::outOfMemory, "the pool of this benchmark is too small");
}

} // namespace

Result<std::unique_ptr<BenchRig>> BenchRig::create(const LoadedModel &model, const api::EngineSettings &settings,
                                                   const Shape &shape, bool contiguous)
{
    return make(model, settings, shape, contiguous ? Placing::contiguous : Placing::paged);
}

Result<std::unique_ptr<BenchRig>> BenchRig::createTwin(const LoadedModel &model, const api::EngineSettings &settings,
                                                       std::uint32_t depth, std::uint32_t longest, std::uint64_t seed)
{
    return make(model, settings, {2, depth, longest}, Placing::twin, seed);
}

Result<std::unique_ptr<BenchRig>> BenchRig::make(const LoadedModel &model, const api::EngineSettings &settings, const Shape &shape,
                                                 Placing placing, std::uint64_t seed)
{
    const model::ModelDescription &d = model.model->description();
    const std::uint64_t positions = std::uint64_t(shape.depth) + shape.longest;
    if (positions > d.contextLength)
        return fail(ErrorCode::badInput, "depth " + std::to_string(shape.depth) + " and " +
                                             std::to_string(shape.longest) + " tokens more do not fit into the context of " +
                                             std::to_string(d.contextLength));
    auto rig = std::unique_ptr<BenchRig>(new BenchRig());
    rig->m_layout = model::makeKvLayout(d, settings.kType, settings.vType, std::uint32_t(settings.blockSize));
    const std::uint64_t size = std::uint64_t(settings.blockSize);
    // Chance has twice as many blocks to choose from as the second of a twin needs, so that they do not fill one piece.
    const std::uint64_t sequences = placing == Placing::twin ? 3 : shape.batch;
    const std::uint64_t blocks = sequences * ((positions + size - 1) / size + 1);
    KVILT_TRY(rig->m_device, backend::openBackend(settings));
    rig->m_maxStep = rig->m_device->preferredStepTokens();
    std::uint64_t bytes = 0;
    for (std::size_t g = 0; g < rig->m_layout.groups.size(); ++g)
        bytes += rig->m_layout.bytesPerBlock(g) * blocks;
    if (bytes > rig->m_device->kvBudget(*model.model, rig->m_maxStep).most)
        return fail(ErrorCode::badInput, "the KV of this benchmark does not fit into memory; ask for less depth or batch");
    KVILT_TRY(rig->m_program,
              rig->m_device->prepare(model.model, rig->m_layout,
                                     {.threads = settings.threads,
                                      .blockCapacity = std::vector(rig->m_layout.groups.size(), std::uint32_t(blocks)),
                                      .maxStepTokens = rig->m_maxStep,
                                      .contiguous = placing != Placing::paged}));
    kv::KvCacheConfig config{.layout = rig->m_layout, .identity = {}, .blocks = std::uint32_t(blocks),
                             .numerics = rig->m_program->numerics(), .caching = false};
    KVILT_TRY(rig->m_cache, kv::KvCache::create(std::move(config), rig->m_sink, rig->m_clock));
    const sched::CounterRandom random(42);
    for (std::uint64_t b = 0; b < shape.batch; ++b) {
        auto &tokens = rig->m_tokens.emplace_back();
        for (std::uint64_t i = 0; i < positions; ++i)
            tokens.push_back(TokenId(random.bits((placing == Placing::twin ? 0 : b * positions) + i) % d.vocabulary));
    }
    rig->m_shape = shape;
    std::uint32_t started = 0;
    if (placing == Placing::twin)
        KVILT_TRY_VOID(rig->startSequence(started++, positions));
    if (placing != Placing::contiguous)
        rig->shufflePool(std::uint32_t(blocks), seed);
    while (started < shape.batch)
        KVILT_TRY_VOID(rig->startSequence(started++));
    return rig;
}

void BenchRig::shufflePool(std::uint32_t blocks, std::uint64_t seed)
{
    const std::vector<TokenId> tokens(m_layout.blockSize, 0);
    std::vector<SequenceId> held;
    for (std::uint32_t i = 0; i < blocks; ++i) {
        const kv::Request request{.sequence = SequenceId{1'000'000 + i}, .tokens = tokens, .reuse = false, .seal = false};
        if (m_cache->allocate(request, m_cache->lookup(request), tokens.size()))
            held.push_back(request.sequence);
    }
    const sched::CounterRandom random(seed);
    for (std::size_t left = held.size(); left > 0; --left) {
        std::swap(held[random.bits(left) % left], held[left - 1]);
        m_cache->release(held[left - 1], api::EventReason::finished);
    }
}

Result<void> BenchRig::startSequence(std::uint32_t b, std::uint64_t atOnce)
{
    const kv::Request request{.sequence = SequenceId{b + 1}, .tokens = m_tokens[b], .reuse = false, .seal = false};
    if (!m_cache->allocate(request, m_cache->lookup(request), atOnce))
        return poolTooSmall();
    const auto seconds = advance(b, 0, m_shape.depth);
    return seconds ? Result<void>{} : tl::unexpected(seconds.error());
}

Result<double> BenchRig::advance(std::uint32_t b, std::uint32_t first, std::uint32_t tokens)
{
    double seconds = 0;
    for (std::uint32_t done = 0; done < tokens; done += m_maxStep) {
        KVILT_TRY(const double more, step(b, b + 1, first + done, std::min(m_maxStep, tokens - done)));
        seconds += more;
    }
    return seconds;
}

Result<double> BenchRig::step(std::uint32_t from, std::uint32_t to, std::uint32_t first, std::uint32_t count)
{
    KVILT_TRY(const backend::Ticket ticket, submit(from, to, first, count, {}));
    KVILT_TRY(const backend::StepResult result, m_program->collect(ticket));
    for (std::uint32_t b = from; b < to; ++b)
        m_cache->append(SequenceId{b + 1}, std::span(m_tokens[b]).subspan(first, count));
    m_phases.gemm += result.phases.gemm;
    m_phases.attention += result.phases.attention;
    m_phases.other += result.phases.other;
    return result.seconds;
}

Result<double> BenchRig::decodeAlone(std::uint32_t sequence, std::uint32_t index)
{
    return step(sequence, sequence + 1, m_shape.depth + index, 1);
}

Result<backend::Ticket> BenchRig::submit(std::uint32_t from, std::uint32_t to, std::uint32_t first, std::uint32_t count,
                                         const InFlight &inFlight)
{
    static const api::SamplingSettings greedy;
    backend::StepPlan plan;
    std::vector<kv::CopyOrder> copies; // never filled: nothing is shared
    for (std::uint32_t b = from; b < to; ++b) {
        const SequenceId id{b + 1};
        if (!m_cache->reserve(id, first + count, copies))
            return poolTooSmall();
        backend::PlanSlice slice{.sequence = id,
                                 .tokens = std::span(m_tokens[b]).subspan(first, count),
                                 .source = std::nullopt,
                                 .firstPosition = std::int32_t(first),
                                 .tables = m_cache->tables(id),
                                 .logitRows = inFlight.sampled ? 0u : 1u};
        if (inFlight.sampled)
            slice.sampling = backend::TokenSampling{&greedy, {}, 0};
        if (inFlight.before) {
            slice.tokens = {};
            slice.source = backend::TokenFromTicket{*inFlight.before, b - from};
        }
        plan.slices.push_back(slice);
    }
    for (std::size_t g = 0; g < m_layout.groups.size(); ++g) {
        const GroupIndex group{std::uint16_t(g)};
        KVILT_TRY_VOID(m_program->reserveBlocks(group, m_cache->highWater(group)));
    }
    return m_program->submit(plan);
}

// As the engine decodes on such a device: it chooses the tokens itself, and has the next step before it is asked for the last one's.
Result<double> BenchRig::decodeInFlight(std::uint32_t tokens)
{
    double seconds = 0;
    std::optional<backend::Ticket> last;
    for (std::uint32_t i = 0; i <= tokens; ++i) {
        std::optional<backend::Ticket> next;
        if (i < tokens) {
            KVILT_TRY(next, submit(0, m_shape.batch, m_shape.depth + i, 1, {.sampled = true, .before = last}));
        }
        if (last) {
            KVILT_TRY(const backend::StepResult result, m_program->collect(*last));
            seconds += result.seconds;
            for (std::uint32_t b = 0; b < m_shape.batch; ++b) // which tokens they were is of no matter: nothing is sealed
                m_cache->append(SequenceId{b + 1}, std::span(m_tokens[b]).subspan(m_shape.depth + i - 1, 1));
        }
        last = next;
    }
    KVILT_TRY_VOID(takeBack());
    return seconds;
}

// A window that has passed the depth cannot be taken back: such a sequence is computed again, unmeasured.
Result<void> BenchRig::takeBack()
{
    const backend::PhaseSeconds measured = m_phases;
    for (std::uint32_t b = 0; b < m_shape.batch; ++b) {
        const SequenceId id{b + 1};
        if (m_shape.depth > 0 && m_cache->truncate(id, m_shape.depth))
            continue;
        m_cache->release(id, api::EventReason::finished);
        KVILT_TRY_VOID(startSequence(b));
    }
    m_phases = measured;
    return {};
}

Result<double> BenchRig::prefill(std::uint32_t tokens)
{
    double seconds = 0;
    for (std::uint32_t b = 0; b < m_shape.batch; ++b) {
        KVILT_TRY(const double more, advance(b, m_shape.depth, tokens));
        seconds += more;
    }
    KVILT_TRY_VOID(takeBack());
    return seconds;
}

Result<double> BenchRig::decode(std::uint32_t tokens)
{
    if (m_program->stepsInFlight() > 1 && m_program->samples({}))
        return decodeInFlight(tokens);
    double seconds = 0;
    for (std::uint32_t i = 0; i < tokens; ++i) {
        KVILT_TRY(const double more, step(0, m_shape.batch, m_shape.depth + i, 1));
        seconds += more;
    }
    KVILT_TRY_VOID(takeBack());
    return seconds;
}

} // namespace kvilt::cli

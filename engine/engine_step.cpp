// SPDX-License-Identifier: Apache-2.0
#include "engine/engine_impl.h"
#include "engine/support/check.h"

#include <algorithm>

namespace kvilt {

Result<StepReport> Engine::Impl::step()
{
    StepReport report;
    if (interruptFlag.exchange(false, std::memory_order_relaxed)) {
        report.interrupted = true;
        return report;
    }
    tiers->takeCommitted();
    report.worked = tiers->restoreSome(sequences, options.stepSeconds / 2);

    KVILT_TRY_VOID(dropUnwanted());
    if (flights.empty())
        KVILT_TRY_VOID(planStep(report));
    KVILT_TRY_VOID(runAhead());
    if (!flights.empty()) {
        KVILT_TRY(const bool done, land(report));
        report.worked = true;
        report.interrupted = !done;
    }
    report.underWay = std::uint32_t(flights.size());
    if (!report.worked && std::any_of(sequences.begin(), sequences.end(), [](const auto &entry) {
            return entry.second->stage != Sequence::Stage::finished;
        })) {
        if (!storageProblem.empty() && settings.backend != "cpu")
            return fail(ErrorCode::outOfMemory, storageProblem); // the CPU has other memory
        failStuck();
        report.worked = true;
    }
    return report;
}

Result<void> Engine::Impl::planStep(StepReport &report)
{
    const sched::StepDecision decision = scheduler->plan(schedulerState(), meter.cost());
    for (SequenceId id : decision.preempt)
        preempt(id);
    bool admitted = false;
    for (SequenceId id : decision.admit) {
        if (!admit(id))
            break; // the queue keeps its order
        admitted = true;
    }
    report.worked = report.worked || admitted || !decision.preempt.empty();
    return launch(makePlan(decision.run));
}

sched::SchedulerState Engine::Impl::schedulerState()
{
    sched::SchedulerState state{.blockSize = std::uint32_t(settings.blockSize),
                                .freeBlocks = freeBlocks(),
                                .totalBlocks = blocks};
    int lookups = 4; // only the head of the queue may be admitted soon
    for (auto &[id, s] : sequences) {
        if (s->stage == Sequence::Stage::finished)
            continue;
        sched::SequenceState out{.id = s->id, .arrival = id, .priority = s->request.priority,
                                 .tokens = std::uint32_t(s->tokens.size())};
        if (s->stage == Sequence::Stage::waiting) {
            if (lookups-- > 0)
                s->cachedTokens = std::uint32_t(cache->lookup(s->kvRequest()).memoryTokens);
            out.cachedTokens = s->cachedTokens;
        } else {
            out.running = true;
            out.computed = std::uint32_t(cache->computedTokens(s->id));
            out.blocks = std::uint32_t((cache->reservedPositions(s->id) + state.blockSize - 1) / state.blockSize);
            out.blocks -= cache->sharesTail(s->id) ? 1 : 0; // the copy takes a block of its own
            if (s->stage == Sequence::Stage::restoring) // holds blocks, has nothing to run yet
                out.tokens = out.computed;
            else if (const Flight::Slice *slice = underWay(s->id))
                foresee(*s, *slice, out);
        }
        state.sequences.push_back(out);
    }
    return state;
}

std::uint32_t Engine::Impl::freeBlocks() const
{
    std::uint32_t least = blocks;
    for (std::size_t g = 0; g < layout.groups.size(); ++g)
        least = std::min(least, cache->available(GroupIndex{std::uint16_t(g)}));
    return least;
}

void Engine::Impl::preempt(SequenceId id)
{
    Sequence &s = *find(id);
    cache->release(id, api::EventReason::preempted);
    s.restores.clear();
    s.stage = Sequence::Stage::waiting;
    s.stats.phase = SequencePhase::queued;
    ++s.stats.preemptions;
}

bool Engine::Impl::admit(SequenceId id)
{
    Sequence &s = *find(id);
    const kv::Request request = s.kvRequest();
    const kv::Lookup found = cache->lookup(request);
    if (!s.admittedBefore || s.restoreFailed) // a stored block that could not be read: why there is less than thought
        recordLookup(s, request, found);
    tiers->rememberRoot(s.request.salt);
    auto allocation = cache->allocate(request, found, found.matchedTokens + 1);
    if (!allocation)
        return false;
    s.stats.evictedBlocks += allocation->evictedBlocks;
    s.restores.assign(allocation->restores.begin(), allocation->restores.end());
    s.stage = s.restores.empty() ? Sequence::Stage::running : Sequence::Stage::restoring;
    s.stats.phase = s.restores.empty() ? SequencePhase::prefill : SequencePhase::restoring;
    if (s.request.supersedes != api::EventReason::none && !s.lookup.cachedPath.empty())
        cache->markDead(s.lookup.cachedPath, s.request.session, s.request.supersedes);
    if (!s.admittedBefore || s.restoreFailed) {
        s.restoreFailed = false;
        s.stats.cachedMemory = std::uint32_t(found.memoryTokens + found.partialTokens);
        s.stats.cachedDisk = std::uint32_t(found.diskTokens);
        s.stats.cachedHost = std::uint32_t(found.hostTokens);
        s.stats.startedNs = options.clockNs();
        s.admittedBefore = true;
        s.peakComputed = 0;
    }
    s.peakComputed = std::max(s.peakComputed, std::uint32_t(allocation->hitTokens));
    for (const kv::CopyOrder &copy : allocation->copies)
        tiers->copyLater(copy);
    return true;
}

void Engine::Impl::recordLookup(Sequence &s, const kv::Request &request, const kv::Lookup &found)
{
    const kv::Parting parting = cache->parting(request, found);
    LookupRecord &r = s.lookup;
    r.matchedTokens = std::uint32_t(found.matchedTokens);
    r.firstMissing = std::uint32_t(found.firstMissing);
    r.reason = request.reuse ? found.reason : api::EventReason::cacheOff;
    r.firstDifference = std::int32_t(parting.firstDifference);
    r.cachedPath = parting.cachedPath;
    r.pathInMemory = parting.inMemory;
    r.pathEvicted = parting.evicted;
    r.pathOnDisk = parting.onDisk;
    r.wantedGhosts = std::uint32_t(found.wantedGhosts.size()) + (found.evictedAtNs != 0 ? 1 : 0);
    r.evictedAtNs = found.evictedAtNs;
    r.evictedFor = found.evictedFor;
    r.evictedBy = found.evictedBy;
    r.cachedTokensBegin = r.firstMissing;
    constexpr std::size_t kMostNodes = 8192; // what was computed again is counted over this much of the other path
    for (std::size_t i = 0; i < std::min(kMostNodes, parting.cachedPath.size()); ++i) {
        const auto info = cache->describe(parting.cachedPath[i]);
        if (!info)
            break;
        if (i == 0)
            r.cachedTokensBegin = std::uint32_t(info->firstToken);
        r.cachedTokens.insert(r.cachedTokens.end(), info->tokens.begin(), info->tokens.end());
    }
}

backend::StepPlan Engine::Impl::makePlan(const std::vector<sched::PlannedSlice> &run)
{
    backend::StepPlan plan{.slices = {}, .cancel = &interruptFlag};
    std::vector<kv::CopyOrder> copies = tiers->takeCopies();
    for (const sched::PlannedSlice &slice : run) {
        Sequence *s = find(slice.id);
        if (s == nullptr || s->stage != Sequence::Stage::running)
            continue;
        if (!cache->reserve(s->id, slice.first + slice.count, copies))
            continue; // another group ran short: the next decision sees it
        plan.slices.push_back(planSlice(*s, slice));
    }
    for (const kv::CopyOrder &copy : copies)
        program->copyBlock(copy.group, copy.from, copy.to, copy.tokens);
    return plan;
}

backend::PlanSlice Engine::Impl::planSlice(const Sequence &s, const sched::PlannedSlice &slice) const
{
    const std::uint32_t end = slice.first + slice.count;
    const bool tokenUnderWay = end > s.tokens.size(); // the step before chooses it
    std::uint32_t rows = end >= s.tokens.size() ? 1 : 0;
    if (s.request.logitsFrom >= 0 && std::int64_t(end) > s.request.logitsFrom && slice.first < s.promptTokens())
        rows = std::min(slice.count, end - std::uint32_t(s.request.logitsFrom));
    backend::PlanSlice out{.sequence = s.id,
                           .tokens = {},
                           .source = std::nullopt,
                           .firstPosition = std::int32_t(slice.first),
                           .tables = cache->tables(s.id)};
    if (tokenUnderWay)
        out.source = tokenOf(s.id);
    else
        out.tokens = std::span(s.tokens).subspan(slice.first, slice.count);
    out.sampling = rows == 1 ? deviceSampling(s, end) : std::nullopt;
    out.logitRows = out.sampling ? 0 : rows;
    return out;
}

// Where the program chooses tokens itself and nobody else wants to see the logits. `end`: the first position not computed yet.
std::optional<backend::TokenSampling> Engine::Impl::deviceSampling(const Sequence &s, std::uint32_t end) const
{
    const bool wanted = end >= s.tokens.size() && s.choosesByLogitsAlone() &&
                        !(s.request.logitsFrom >= 0 && end <= s.promptTokens());
    if (!wanted || !program->samples(s.request.sampling))
        return std::nullopt;
    return backend::TokenSampling{&s.request.sampling, s.tokens, end - s.promptTokens()};
}

bool Engine::Impl::growStorage(GroupIndex group, std::uint32_t count)
{
    const auto grown = program->reserveBlocks(group, count);
    if (!grown)
        storageProblem = grown.error().message;
    return grown.has_value();
}

void Engine::Impl::end(Sequence &s, api::EventReason reason)
{
    s.restores.clear();
    if (!cache->holds(s.id))
        return;
    tiers->storeSealed(); // before a block may be overwritten
    tiers->setTip(s);
    if (const double rate = meter.prefillRate(); rate > 0)
        s.stats.savedSeconds = double(s.stats.cachedMemory + s.stats.cachedDisk) / rate;
    cache->release(s.id, reason);
}

void Engine::Impl::failStuck()
{
    for (auto &[id, s] : sequences) {
        if (s->stage == Sequence::Stage::finished)
            continue;
        s->finish(api::FinishReason::error,
                  storageProblem.empty() ? "no KV blocks are left for this chat: the others are pinned or too few; "
                                           "unpin some or give the pool more memory"
                                         : "no KV blocks are left for this chat: " + storageProblem);
        end(*s, api::EventReason::dropped);
        return;
    }
}

void Engine::Impl::failAll(const std::string &problem)
{
    for (const Flight &flight : flights)
        (void)program->collect(flight.ticket);
    flights.clear();
    for (auto &[id, s] : sequences) {
        if (s->stage == Sequence::Stage::finished)
            continue;
        s->finish(api::FinishReason::error, problem);
        end(*s, api::EventReason::dropped);
    }
}

} // namespace kvilt

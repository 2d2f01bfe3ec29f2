// SPDX-License-Identifier: Apache-2.0
// Steps under way. Where a program chooses tokens itself, the next decoding step is submitted before the token of the last one
// is read: the device never waits for the host. Who turns out to have ended (an end token, a stop string, a cancel) has then
// run one position too many. Nothing has to be undone for it: KvCache hears of a position only when its step has landed, so
// that row lies in blocks which nobody ever took for filled, and whoever gets them next writes them behind it in the queue.
#include "engine/engine_impl.h"
#include "engine/support/check.h"

#include <algorithm>

namespace kvilt {

const Engine::Impl::Flight::Slice *Engine::Impl::underWay(SequenceId id) const
{
    for (const Flight &flight : flights)
        for (const Flight::Slice &slice : flight.slices)
            if (slice.sequence == id)
                return &slice;
    return nullptr;
}

std::optional<backend::TokenFromTicket> Engine::Impl::tokenOf(SequenceId id) const
{
    for (const Flight &flight : flights)
        for (std::size_t i = 0; i < flight.slices.size(); ++i)
            if (flight.slices[i].sequence == id && flight.slices[i].sampled)
                return backend::TokenFromTicket{flight.ticket, std::uint32_t(i)};
    return std::nullopt;
}

// How the scheduler shall see a sequence with a step under way: as if it had landed without ending it.
void Engine::Impl::foresee(const Sequence &s, const Flight::Slice &slice, sched::SequenceState &out) const
{
    out.computed += slice.count;
    if (slice.sampled && !s.endsWithNextToken(positionLimit()))
        ++out.tokens;
}

bool Engine::Impl::wanted(const Flight::Slice &slice) const
{
    const auto at = sequences.find(slice.sequence.value);
    return at != sequences.end() && at->second->stage == Sequence::Stage::running;
}

// A step whose sequences have all ended meanwhile: waited for, so that its ticket is used up, and forgotten.
Result<void> Engine::Impl::dropUnwanted()
{
    while (!flights.empty() && std::none_of(flights.front().slices.begin(), flights.front().slices.end(),
                                            [this](const Flight::Slice &slice) { return wanted(slice); })) {
        const backend::Ticket ticket = flights.front().ticket;
        flights.pop_front();
        KVILT_TRY_VOID(program->collect(ticket));
    }
    return {};
}

// Only decoding goes ahead. A prompt's step is long and listens for a cancel while it is queued: behind another one the token
// of that would be read late. And to admit or preempt, the outcome of what is under way has to be known.
Result<void> Engine::Impl::runAhead()
{
    const std::uint32_t depth = options.stepsInFlight > 0 ? std::min(options.stepsInFlight, program->stepsInFlight())
                                                          : program->stepsInFlight();
    if (flights.empty() || flights.size() >= depth || flights.back().doubtful || interruptFlag.load(std::memory_order_relaxed))
        return {};
    for (const Flight::Slice &slice : flights.back().slices)
        if (!slice.sampled && wanted(slice))
            return {}; // the host chooses, or a prompt goes on
    const sched::StepDecision decision = scheduler->plan(schedulerState(), meter.cost());
    const auto decodes = [this](const sched::PlannedSlice &slice) {
        return slice.count == 1 && slice.first >= find(slice.id)->promptTokens();
    };
    if (!decision.preempt.empty() || !decision.admit.empty() || !std::all_of(decision.run.begin(), decision.run.end(), decodes))
        return {};
    return launch(makePlan(decision.run));
}

Result<void> Engine::Impl::launch(const backend::StepPlan &plan)
{
    if (plan.slices.empty())
        return {};
    KVILT_TRY(const backend::Ticket ticket, program->submit(plan));
    Flight flight{.ticket = ticket, .slices = {}};
    for (const backend::PlanSlice &slice : plan.slices)
        flight.slices.push_back({.sequence = slice.sequence,
                                 .first = std::uint32_t(slice.firstPosition),
                                 .count = slice.source ? 1 : std::uint32_t(slice.tokens.size()),
                                 .logitRows = slice.logitRows,
                                 .sampled = slice.sampling.has_value()});
    // Set while it was submitted: it may have been abandoned, and what it would give is not to be built upon.
    flight.doubtful = interruptFlag.load(std::memory_order_relaxed);
    flights.push_back(std::move(flight));
    return {};
}

// False: the step was abandoned.
Result<bool> Engine::Impl::land(StepReport &report)
{
    const Flight flight = std::move(flights.front());
    flights.pop_front();
    KVILT_TRY(const backend::StepResult result, program->collect(flight.ticket));
    report.seconds = result.seconds;
    if (result.cancelled) {
        interruptFlag.store(false, std::memory_order_relaxed);
        return false;
    }
    KVILT_CHECK(result.slices.size() == flight.slices.size());
    apply(flight, result, report);
    return true;
}

Result<void> Engine::Impl::landAll()
{
    while (!flights.empty()) {
        StepReport ignored;
        KVILT_TRY_VOID(land(ignored));
    }
    return {};
}

void Engine::Impl::apply(const Flight &flight, const backend::StepResult &result, StepReport &report)
{
    std::uint32_t decoding = 0, prompt = 0;
    for (const Flight::Slice &slice : flight.slices) {
        const Sequence *s = find(slice.sequence);
        const bool decodes = s == nullptr || slice.first >= s->promptTokens();
        decoding += decodes ? 1 : 0;
        prompt += decodes ? 0 : slice.count;
    }
    meter.measured(decoding, prompt, result.seconds);
    report.tokens += decoding + prompt;
    report.sequences = std::uint32_t(flight.slices.size());
    for (std::size_t i = 0; i < flight.slices.size(); ++i)
        if (wanted(flight.slices[i]))
            applySlice(*find(flight.slices[i].sequence), flight.slices[i], result.slices[i], result.seconds);
    tiers->storeSealed();
}

void Engine::Impl::applySlice(Sequence &s, const Flight::Slice &slice, const backend::SliceResult &result, double seconds)
{
    const std::uint32_t first = slice.first, count = slice.count;
    KVILT_CHECK(cache->computedTokens(s.id) == first && first + count <= s.tokens.size());
    cache->append(s.id, std::span(s.tokens).subspan(first, count));
    s.countComputed(first, count, seconds);
    const std::size_t width = slice.logitRows > 0 ? result.logits.size() / slice.logitRows : 0;
    auto row = [&](std::uint32_t i) { return result.logits.subspan(i * width, width); };
    if (s.request.logitSink && s.request.logitsFrom >= 0)
        for (std::uint32_t i = 0; i < slice.logitRows; ++i)
            if (const auto position = first + count - slice.logitRows + i;
                std::int64_t(position) >= s.request.logitsFrom && position < s.promptTokens())
                s.request.logitSink(std::int32_t(position), row(i));
    if (first + count < s.tokens.size())
        return;
    if (slice.sampled)
        s.takeToken(result.token, {}, positionLimit(), options.clockNs());
    else
        s.takeLogits(row(slice.logitRows - 1), positionLimit(), options.clockNs());
    if (s.stage == Sequence::Stage::finished)
        end(s, api::EventReason::finished);
}

} // namespace kvilt

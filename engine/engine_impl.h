// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/engine.h"
#include "engine/kv/kv_cache.h"
#include "engine/kv_tiers.h"
#include "engine/sched/scheduler.h"
#include "engine/sequence.h"
#include "engine/step_cost.h"

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace kvilt {

class NullSink final : public trace::EventSink {
public:
    void emit(const api::CacheEvent &) noexcept override {}
};

// What the engine owns and how one step is made: restore, plan, preempt, admit, launch, land, apply, store.
struct Engine::Impl {
    explicit Impl(EngineOptions o) : options(std::move(o)) {}

    Result<void> settle(); // settings with their zeros replaced, the layout of the KV
    Result<void> choose(); // the same and the pool on the CPU; cheap
    Result<void> prepare();
    Result<void> prepareOnCuda();
    Result<void> prepareOn(std::unique_ptr<backend::Backend> backend);
    Result<std::unique_ptr<backend::Program>> prepareProgram(backend::Backend &backend) const;
    Result<void> choosePool(backend::Backend &device);
    Result<void> makeCache();
    void makeTiers();
    std::uint64_t hostTierBytes() const;
    api::DeviceCounts deviceCounts() const;
    void makeScheduler();

    // The GPU is lost or full: everything it held is forgotten, and what was under way is computed again by the CPU.
    Result<void> takeOverOnCpu(const Error &why);

    Result<SequenceId> submit(Request request);
    Result<void> check(const Request &request) const;

    // A step that was submitted and has not been collected.
    struct Flight {
        struct Slice {
            SequenceId sequence;
            std::uint32_t first = 0, count = 0; // positions
            std::uint32_t logitRows = 0;
            bool sampled = false;               // the program chooses the token after it
        };
        backend::Ticket ticket = 0;
        std::vector<Slice> slices;
        bool doubtful = false; // an interrupt came while it was submitted
    };

    Result<StepReport> step();
    Result<void> planStep(StepReport &report);
    sched::SchedulerState schedulerState();
    void preempt(SequenceId id);
    bool admit(SequenceId id);
    std::optional<backend::TokenSampling> deviceSampling(const Sequence &sequence, std::uint32_t end) const;
    void recordLookup(Sequence &sequence, const kv::Request &request, const kv::Lookup &found);
    // Slices whose blocks could be reserved; copies are done.
    backend::StepPlan makePlan(const std::vector<sched::PlannedSlice> &run);
    backend::PlanSlice planSlice(const Sequence &sequence, const sched::PlannedSlice &slice) const;
    // The program follows the pool: storage for the first `count` blocks. Refused memory ends no turn that has its own.
    bool growStorage(GroupIndex group, std::uint32_t count);

    // --- engine_flight.cpp ---
    const Flight::Slice *underWay(SequenceId id) const; // null: nothing
    std::optional<backend::TokenFromTicket> tokenOf(SequenceId id) const;
    void foresee(const Sequence &sequence, const Flight::Slice &slice, sched::SequenceState &out) const;
    bool wanted(const Flight::Slice &slice) const;
    Result<void> dropUnwanted();
    Result<void> runAhead();
    Result<void> launch(const backend::StepPlan &plan);
    Result<bool> land(StepReport &report); // the oldest; false: abandoned
    Result<void> landAll();
    void apply(const Flight &flight, const backend::StepResult &result, StepReport &report);
    void applySlice(Sequence &sequence, const Flight::Slice &slice, const backend::SliceResult &result, double seconds);

    void end(Sequence &sequence, api::EventReason reason);
    void failStuck(); // nothing can ever run: the head of the queue gets an answer
    void failAll(const std::string &problem);
    Sequence *find(SequenceId id);
    std::uint32_t freeBlocks() const;
    std::uint32_t positionLimit() const; // positions one sequence may have: context and pool

    EngineOptions options;
    api::EngineSettings settings;
    kv::KvLayout layout;
    std::uint32_t blocks = 0; // a group
    std::string deviceNote;
    std::uint32_t maxStepTokens = 0;
    std::unique_ptr<backend::Backend> device;
    std::unique_ptr<backend::Program> program;
    NullSink nullSink;
    SystemClock systemClock;
    std::unique_ptr<kv::KvCache> cache;
    std::unique_ptr<KvTiers> tiers;
    std::unique_ptr<sched::Scheduler> scheduler;
    StepCostMeter meter;
    std::map<std::uint64_t, std::unique_ptr<Sequence>> sequences; // by id: also by arrival
    std::uint64_t nextId = 1;
    std::deque<Flight> flights; // oldest first; at most one outlives step()
    std::atomic<bool> interruptFlag{false};
    std::string storageProblem; // why the pool stopped growing; empty: it did not
};

} // namespace kvilt

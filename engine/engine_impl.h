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
#include <map>
#include <memory>
#include <vector>

namespace kvilt {

class NullSink final : public trace::EventSink {
public:
    void emit(const api::CacheEvent &) noexcept override {}
};

// What the engine owns and how one step is made: restore, plan, preempt, admit, run, apply, store.
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
    void makeScheduler();

    // The GPU is lost or full: everything it held is forgotten, and what was under way is computed again by the CPU.
    Result<void> takeOverOnCpu(const Error &why);

    Result<SequenceId> submit(Request request);
    Result<void> check(const Request &request) const;

    Result<StepReport> step();
    sched::SchedulerState schedulerState();
    void preempt(SequenceId id);
    bool admit(SequenceId id);
    std::optional<backend::TokenSampling> deviceSampling(const Sequence &sequence, std::uint32_t end) const;
    void recordLookup(Sequence &sequence, const kv::Request &request, const kv::Lookup &found);
    // Slices whose blocks could be reserved; copies are done.
    Result<backend::StepPlan> makePlan(const std::vector<sched::PlannedSlice> &run);
    // The program follows the pool: storage for the first `count` blocks. Refused memory ends no turn that has its own.
    bool growStorage(GroupIndex group, std::uint32_t count);
    Result<bool> runPlan(const backend::StepPlan &plan, StepReport &report); // false: interrupted
    void apply(const backend::StepPlan &plan, const backend::StepResult &result);
    void applySlice(Sequence &sequence, const backend::PlanSlice &slice, const backend::SliceResult &result,
                    double seconds);
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
    std::atomic<bool> interruptFlag{false};
    std::string storageProblem; // why the pool stopped growing; empty: it did not
};

} // namespace kvilt

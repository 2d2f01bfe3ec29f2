// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/cli/options.h"
#include "app/cli/profile.h"
#include "engine/engine.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

#include <csignal>
#include <functional>
#include <memory>

namespace kvilt::cli {

// Model and engine of one command. Members close in reverse order: the engine before the stores it writes to.
struct Runtime {
    std::unique_ptr<Profile> profile; // null: nothing is stored
    std::unique_ptr<Engine> engine;
};

// `profile` may be null. The model's fingerprint is taken only when KV can be stored.
Result<std::unique_ptr<Engine>> makeEngine(const LoadedModel &model, const api::EngineSettings &settings,
                                           Profile *profile, const std::function<void(EngineOptions &)> &adjust = {});

// While it lives, the first SIGINT (Ctrl-C) or SIGTERM interrupts the engine's step and is remembered; a second one
// ends the program. One at a time.
class StopSignals {
public:
    explicit StopSignals(Engine &engine);
    ~StopSignals();
    StopSignals(const StopSignals &) = delete;
    StopSignals &operator=(const StopSignals &) = delete;
    bool caught() const;

private:
    struct sigaction m_interrupt {}, m_terminate {}; // as they were
};

// Says on standard error why the CPU computes, where a GPU was wanted or has been lost.
void tellDeviceNote(Engine &engine);

// Steps until nothing waits or runs; each output goes to `consume`. StopSignals cancel what runs.
Result<void> drive(Engine &engine, const std::function<Result<void>(SequenceOutput)> &consume);

double ms(double seconds); // rounded to a microsecond
nlohmann::json usageJson(const SequenceStats &stats);
nlohmann::json timingJson(const SequenceStats &stats);

} // namespace kvilt::cli

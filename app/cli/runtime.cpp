// SPDX-License-Identifier: Apache-2.0
#include "app/cli/runtime.h"

#include "engine/model/fingerprint.h"
#include "engine/model/model.h"

#include <atomic>
#include <cmath>
#include <thread>

namespace kvilt::cli {

namespace {

// A signal handler has no argument, so what it reaches is global; it is set only while StopSignals live.
std::atomic<Engine *> g_running{nullptr};
std::atomic<bool> g_stop{false};

extern "C" void onStop(int)
{
    g_stop.store(true, std::memory_order_relaxed);
    if (Engine *engine = g_running.load(std::memory_order_relaxed))
        engine->interrupt();
}

Result<model::Fingerprint> fingerprintOf(const LoadedModel &loaded, const Profile &profile)
{
    model::FingerprintCache cache(profile.paths.fingerprints().string());
    if (const auto known = cache.find(loaded.path))
        return *known;
    const int threads = int(std::max(1u, std::thread::hardware_concurrency()));
    KVILT_TRY(const model::Fingerprint made, model::computeFingerprint(loaded.model->file(), threads, nullptr));
    if (profile.lock)
        if (auto kept = cache.remember(loaded.path, made); !kept)
            note(kept.error().message);
    return made;
}

} // namespace

StopSignals::StopSignals(Engine &engine)
{
    g_stop = false;
    g_running = &engine;
    struct sigaction action {};
    action.sa_handler = onStop;
    action.sa_flags = int(SA_RESETHAND);
    sigaction(SIGINT, &action, &m_interrupt);
    sigaction(SIGTERM, &action, &m_terminate);
}

StopSignals::~StopSignals()
{
    sigaction(SIGINT, &m_interrupt, nullptr);
    sigaction(SIGTERM, &m_terminate, nullptr);
    g_running = nullptr;
}

bool StopSignals::caught() const
{
    return g_stop.load(std::memory_order_relaxed);
}

Result<std::unique_ptr<Engine>> makeEngine(const LoadedModel &model, const api::EngineSettings &settings,
                                           Profile *profile, const std::function<void(EngineOptions &)> &adjust)
{
    EngineOptions options{.model = model, .settings = settings};
    if (profile != nullptr) {
        options.events = profile->journal.get();
        options.kvStore = settings.cache ? profile->kv.get() : nullptr;
        if (options.kvStore != nullptr) {
            KVILT_TRY(options.fingerprint, fingerprintOf(model, *profile));
        }
    }
    if (adjust)
        adjust(options);
    KVILT_TRY(auto engine, Engine::create(std::move(options)));
    tellDeviceNote(*engine);
    return engine;
}

void tellDeviceNote(Engine &engine)
{
    if (const std::string sentence = engine.takeDeviceNote(); !sentence.empty())
        note(sentence);
}

Result<void> drive(Engine &engine, const std::function<Result<void>(SequenceOutput)> &consume)
{
    const StopSignals signals(engine);
    while (!engine.idle()) {
        auto step = engine.step();
        tellDeviceNote(engine);
        if (step && signals.caught())
            engine.cancelAll();
        for (SequenceOutput &output : engine.takeOutputs())
            KVILT_TRY_VOID(consume(std::move(output)));
        if (!step)
            return tl::unexpected(step.error());
    }
    for (SequenceOutput &output : engine.takeOutputs())
        KVILT_TRY_VOID(consume(std::move(output)));
    return {};
}

double ms(double seconds)
{
    return std::isfinite(seconds) ? std::round(seconds * 1e6) / 1e3 : 0.0;
}

namespace {
double tenth(double rate)
{
    return std::isfinite(rate) ? std::round(rate * 10) / 10 : 0.0;
}
} // namespace

nlohmann::json usageJson(const SequenceStats &stats)
{
    return {{"prompt_tokens", stats.promptTokens},
            {"cached_tokens", stats.cachedMemory + stats.cachedDisk},
            {"computed_tokens", stats.computed},
            {"completion_tokens", stats.completionTokens},
            {"recomputed_tokens", stats.recomputed}};
}

nlohmann::json timingJson(const SequenceStats &stats)
{
    return {{"ttft_ms", ms(stats.ttftSeconds())},
            {"tpot_ms", ms(stats.tpotSeconds())},
            {"prefill_tokens_per_s", tenth(stats.prefillTokensPerSecond())},
            {"decode_tokens_per_s", tenth(stats.decodeTokensPerSecond())},
            {"restore_ms", ms(stats.restoreSeconds)}};
}

} // namespace kvilt::cli

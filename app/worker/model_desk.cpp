// SPDX-License-Identifier: Apache-2.0
#include "app/worker/model_desk.h"

#include "app/worker/model_facts.h"
#include "engine/model/fingerprint.h"
#include "engine/model/model.h"

#include <thread>

namespace kvilt::worker {

namespace {

// Remembered by (device, inode, size, time), so that only a new or changed file is read whole.
Result<model::Fingerprint> fingerprintOf(const model::Model &model, const store::ProfilePaths &paths,
                                         const std::atomic<bool> &cancel)
{
    model::FingerprintCache cache(paths.fingerprints().string());
    const std::string &path = model.file().path();
    if (const auto known = cache.find(path))
        return *known;
    const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    KVILT_TRY(const model::Fingerprint fresh, model::computeFingerprint(model.file(), threads, &cancel));
    (void)cache.remember(path, fresh); // a read-only profile only means computing it again
    return fresh;
}

Result<std::unique_ptr<Engine>> prepare(const api::command::LoadModel &command, const store::ProfilePaths &paths,
                                        store::KvStore *kv, trace::EventSink *events, const std::atomic<bool> &cancel,
                                        const std::function<void(double, const api::ModelFacts &)> &progress)
{
    KVILT_TRY_VOID(settings::validate(command.settings));
    KVILT_TRY(LoadedModel loaded, loadModel(command.path));
    const api::ModelFacts facts = factsOf(*loaded.model, command.settings);
    progress(0.2, facts);
    EngineOptions options;
    options.settings = command.settings;
    options.cpuInstead = true;
    options.events = events;
    if (command.settings.cache && kv) {
        KVILT_TRY(options.fingerprint, fingerprintOf(*loaded.model, paths, cancel));
        options.kvStore = kv;
    }
    progress(0.5, facts);
    options.model = std::move(loaded);
    return Engine::create(std::move(options));
}

} // namespace

ModelDesk::ModelDesk(const store::ProfilePaths &paths, Background &background, Outlet out, Post post)
    : m_paths(paths), m_background(background), m_out(std::move(out)), m_post(std::move(post))
{
}

void ModelDesk::load(const api::command::LoadModel &command, store::KvStore *kv, trace::EventSink *events,
                     std::function<void(Loaded)> done)
{
    const std::uint64_t generation = ++*m_generation;
    api::update::ModelState loading;
    loading.phase = api::update::ModelPhase::loading;
    loading.facts.path = command.path;
    loading.facts.name = std::filesystem::path(command.path).stem().string();
    m_out(loading);
    m_background.post([=, this, current = m_generation](const std::atomic<bool> &cancel) {
        auto engine = prepare(command, m_paths, kv, events, cancel, [&](double fraction, const api::ModelFacts &facts) {
            api::update::ModelState state;
            state.phase = api::update::ModelPhase::loading;
            state.facts = facts;
            state.progress = fraction;
            m_out(std::move(state));
        });
        auto loaded = std::make_shared<Loaded>();
        loaded->state.facts = loading.facts;
        if (engine) {
            loaded->state = stateOf(**engine);
            loaded->engine = std::move(*engine);
        } else {
            loaded->state.phase = api::update::ModelPhase::failed;
            loaded->state.problem = engine.error().message;
        }
        m_post([=] {
            if (*current == generation)
                done(std::move(*loaded));
        });
    });
}

api::update::ModelState ModelDesk::stateOf(const Engine &engine)
{
    api::update::ModelState state;
    state.phase = api::update::ModelPhase::ready;
    state.facts = factsOf(*engine.loaded().model, engine.settings());
    state.settings = engine.settings();
    state.isa = engine.isa();
    state.device = engine.deviceName();
    state.progress = 1;
    return state;
}

void ModelDesk::probe(const std::string &path, const api::EngineSettings &settings)
{
    m_background.post([out = m_out, machine = m_machine, path, settings](const std::atomic<bool> &) {
        api::ModelFacts facts = probeModel(path, settings);
        facts.decodeTokensPerSecond = expectedDecodeRate(facts, machine->readBytesPerSecond);
        out(api::update::ModelProbed{std::move(facts)});
    });
}

void ModelDesk::scan(std::vector<std::string> folders, const api::EngineSettings &settings, bool mayMeasure)
{
    if (folders.empty())
        folders = usualModelFolders();
    folders.push_back(m_paths.models.string());
    m_background.post([out = m_out, machine = m_machine, folders = std::move(folders), settings,
                       mayMeasure](const std::atomic<bool> &cancel) {
        if (mayMeasure && machine->readBytesPerSecond == 0) {
            *machine = probeMachine(settings.threads);
            out(*machine);
        }
        ScanResult found = scanModels(folders, settings, cancel);
        for (api::ModelFacts &facts : found.models)
            facts.decodeTokensPerSecond = expectedDecodeRate(facts, machine->readBytesPerSecond);
        out(api::update::ModelsFound{std::move(found.models), found.places});
    });
}

void ModelDesk::saveSettings(std::function<void(settings::AppSettings &)> change)
{
    m_background.post([out = m_out, file = m_paths.settings, change = std::move(change)](const std::atomic<bool> &) {
        settings::AppSettings now = settings::loadSettings(file).settings;
        change(now);
        if (auto saved = settings::saveSettings(file, now); !saved)
            out(api::update::Notice{api::update::Severity::warning, "storage", saved.error().message});
    });
}

} // namespace kvilt::worker

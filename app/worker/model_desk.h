// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/settings/settings.h"
#include "app/worker/background.h"
#include "app/worker/session_desk.h"
#include "engine/engine.h"
#include "engine/store/profile_paths.h"

#include <memory>

namespace kvilt::worker {

// Opening, hashing and preparing a model takes from a blink to many seconds: it runs on the background thread, and
// only the finished engine comes back to the worker. A newer load() makes an older one's result void.
class ModelDesk {
public:
    using Post = std::function<void(std::function<void()>)>; // to the worker's mailbox, from any thread
    struct Loaded {
        std::unique_ptr<Engine> engine; // null: state says why
        api::update::ModelState state;
    };

    ModelDesk(const store::ProfilePaths &paths, Background &background, Outlet out, Post post);

    void load(const api::command::LoadModel &command, store::KvStore *kv, trace::EventSink *events,
              std::function<void(Loaded)> done);
    void forget() { ++*m_generation; }
    // What the window is told of an engine that is ready.
    static api::update::ModelState stateOf(const Engine &engine);
    void probe(const std::string &path, const api::EngineSettings &settings);
    // `mayMeasure`: nothing runs that measuring this machine's memory would disturb.
    void scan(std::vector<std::string> folders, const api::EngineSettings &settings, bool mayMeasure);
    // Changes the settings file as it is now: others write their own choices into it.
    void saveSettings(std::function<void(settings::AppSettings &)> change);

private:
    store::ProfilePaths m_paths;
    Background &m_background;
    Outlet m_out;
    Post m_post;
    // Background thread only; read rate 0: not measured yet.
    std::shared_ptr<api::update::MachineFacts> m_machine = std::make_shared<api::update::MachineFacts>();
    std::shared_ptr<std::uint64_t> m_generation = std::make_shared<std::uint64_t>(0); // worker thread only
};

} // namespace kvilt::worker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/settings/settings.h"
#include "engine/api/engine_port.h"
#include "engine/store/profile_paths.h"

#include <memory>

// The engine behind the window's port: one thread owns the engine, the turns and the books, and everything else is
// posted to it. Started at once: the profile's files are opened on the thread, so the first window frame waits for
// nothing. The destructor stops what runs, keeps every reply as far as it came, and waits until it is on the disk.
namespace kvilt::worker {

struct WorkerOptions {
    store::ProfilePaths paths;
    settings::AppSettings settings;
    bool keepSettings = true; // false: a run for a picture or a test leaves the settings file alone
};

class EngineWorker final : public api::EnginePort {
public:
    explicit EngineWorker(WorkerOptions options);
    ~EngineWorker() override;

    void post(api::Command command) override;
    std::vector<api::Update> takeUpdates() override;
    std::size_t takeEvents(std::vector<api::CacheEvent> &out, std::size_t limit, std::uint64_t &lost) override;
    void setWakeup(std::function<void()> wakeup) override;

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::worker

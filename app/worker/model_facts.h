// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/engine_port.h"

#include <atomic>
#include <string>
#include <vector>

namespace kvilt::model {
class Model;
}

// What a model costs before it is loaded, from its header alone. Any thread.
namespace kvilt::worker {

// Never fails: a file that cannot be used comes back with `usable` false and the reason in `problem`.
api::ModelFacts probeModel(const std::string &path, const api::EngineSettings &settings);
api::ModelFacts factsOf(const model::Model &model, const api::EngineSettings &settings);

// Files *.gguf below the folders, at most five folders deep; symbolic links to folders are not followed, split files
// after the first part and projector files are left out. At most 500 models; `places` counts folders that held one.
struct ScanResult {
    std::vector<api::ModelFacts> models;
    int places = 0;
};
ScanResult scanModels(const std::vector<std::string> &folders, const api::EngineSettings &settings,
                      const std::atomic<bool> &cancel);

// Where programs of this kind keep models, as far as the folders exist.
std::vector<std::string> usualModelFolders();

// Memory, kernels, and the rate at which all threads together read a large array, measured now (some 0.2 s on every
// core): not while a reply is being written.
api::update::MachineFacts probeMachine(int threads);
// What a decode step has to read is the weights: at `readBytesPerSecond` that sets the pace. 0 when not known.
double expectedDecodeRate(const api::ModelFacts &facts, double readBytesPerSecond);

} // namespace kvilt::worker

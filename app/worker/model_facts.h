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

} // namespace kvilt::worker

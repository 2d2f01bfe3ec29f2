// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/cli/cli.h"
#include "engine/api/settings.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kvilt::cli {

// Options of every command that runs a model.
struct ModelOptions {
    std::string model;
    std::string backend = "auto";
    bool deterministic = false;
    std::int64_t threads = 0;
    std::string kvType = "f16";
    std::int64_t blockSize = 16;
    std::int64_t kvBlocks = 0;
    std::string kvMemory;
    std::string policy = "lru";
    std::int64_t context = 0;
    bool noCache = false;
    bool nearReuse = false;

    // `model`: the positional argument is required.
    void addTo(Command &command, bool required = true);
    Result<api::EngineSettings> resolve() const;
};

struct SamplingOptions {
    api::SamplingSettings settings;
    std::int64_t maxTokens = 512, topK = 0, penaltyWindow = 64, seed = 0;

    void addTo(Command &command);
    Result<api::SamplingSettings> resolve() const;
};

} // namespace kvilt::cli

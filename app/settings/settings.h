// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/settings.h"
#include "engine/support/error.h"

#include <filesystem>
#include <string>
#include <vector>

// What the user set for the whole program, in one JSON file of the profile. Values are checked when they are
// read: one out of range is replaced by its default, alone, and named in `problems`, so that a hand-edited file never
// stops the program and nothing is changed silently.
namespace kvilt::settings {

enum class Theme : std::uint8_t { system, light, dark };

struct AppSettings {
    api::EngineSettings engine;
    api::SessionSettings newSession; // what a new chat starts with
    std::string lastModel;           // path, empty: none yet
    std::vector<std::string> modelFolders;
    Theme theme = Theme::system;
    bool reducedMotion = false;
};

struct LoadedSettings {
    AppSettings settings;
    std::vector<std::string> problems; // one sentence each
};

// A missing file gives the defaults without a problem. One that cannot be read as settings gives them with a problem and
// is renamed to <name>.damaged (.damaged-2 and so on), so that the next save overwrites nothing a user may want back.
LoadedSettings loadSettings(const std::filesystem::path &file);

// Written to a neighbour and renamed over the old one: a crash leaves one or the other whole.
Result<void> saveSettings(const std::filesystem::path &file, const AppSettings &settings);

// "f16", "q8", ...; or "k=q8,v=q4" for the two sides apart.
Result<void> parseKvType(std::string_view text, api::EngineSettings &settings);
// "2GiB", "512 MiB", "1000000": bytes.
Result<std::uint64_t> parseBytes(std::string_view text);
// Every field in its range, or one sentence that names the first that is not.
Result<void> validate(const api::EngineSettings &settings);
Result<void> validate(const api::SamplingSettings &sampling);

} // namespace kvilt::settings

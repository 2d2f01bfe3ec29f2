// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kvilt::store {

// Where a profile keeps its files. Nothing here touches the disk.
struct ProfilePaths {
    std::filesystem::path folder;      // sessions, KV, events, lock
    std::filesystem::path settings;    // settings.json
    std::filesystem::path models;      // downloaded models; the user's own folder, whatever the profile
    std::filesystem::path sessionsDb() const { return folder / "sessions.db"; }
    std::filesystem::path kvDb() const { return folder / "kvcache.db"; }
    std::filesystem::path eventsDb() const { return folder / "events.db"; }
    std::filesystem::path fingerprints() const { return folder / "fingerprints.txt"; }
    std::filesystem::path lock() const { return folder / "profile.lock"; }
};

using Environment = std::function<std::optional<std::string>(const char *name)>;
std::optional<std::string> processEnvironment(const char *name);

// `profile` empty: $XDG_DATA_HOME/kvilt (~/.local/share/kvilt) and $XDG_CONFIG_HOME/kvilt/settings.json; else
// everything but the models lies in that folder. As the XDG rules say, a relative path in a variable is ignored.
// $KVILT_MODELS names another folder of models. badInput: neither a profile nor a home folder is known.
Result<ProfilePaths> profilePaths(std::string_view profile, const Environment &environment = processEnvironment);

} // namespace kvilt::store

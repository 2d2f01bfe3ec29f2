// SPDX-License-Identifier: Apache-2.0
#include "engine/store/profile_paths.h"

#include <cstdlib>

namespace kvilt::store {

namespace fs = std::filesystem;

std::optional<std::string> processEnvironment(const char *name)
{
    const char *value = std::getenv(name);
    return value ? std::optional<std::string>(value) : std::nullopt;
}

namespace {

std::optional<fs::path> absoluteFrom(const Environment &environment, const char *name)
{
    const auto value = environment(name);
    if (!value || value->empty() || !fs::path(*value).is_absolute())
        return std::nullopt;
    return fs::path(*value);
}

std::optional<fs::path> xdgFolder(const Environment &environment, const char *variable, const char *underHome)
{
    if (auto folder = absoluteFrom(environment, variable))
        return folder;
    const auto home = absoluteFrom(environment, "HOME");
    return home ? std::optional<fs::path>(*home / underHome) : std::nullopt;
}

} // namespace

Result<ProfilePaths> profilePaths(std::string_view profile, const Environment &environment)
{
    const auto data = xdgFolder(environment, "XDG_DATA_HOME", ".local/share");
    const auto config = xdgFolder(environment, "XDG_CONFIG_HOME", ".config");
    if (profile.empty() && (!data || !config))
        return fail(ErrorCode::badInput, "No home folder is known; set HOME or name a folder with --profile.");
    ProfilePaths paths;
    if (profile.empty()) {
        paths.folder = *data / "kvilt";
        paths.settings = *config / "kvilt" / "settings.json";
    } else {
        paths.folder = fs::path(profile);
        paths.settings = paths.folder / "settings.json";
    }
    if (auto models = environment("KVILT_MODELS"); models && !models->empty())
        paths.models = *models;
    else
        paths.models = data ? *data / "kvilt" / "models" : paths.folder / "models";
    return paths;
}

} // namespace kvilt::store

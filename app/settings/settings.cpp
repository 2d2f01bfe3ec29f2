// SPDX-License-Identifier: Apache-2.0
#include "app/settings/settings.h"

#include "app/settings/settings_json.h"
#include "engine/support/new_file.h"

#include <nlohmann/json.hpp>

#include <fstream>

namespace kvilt::settings {

using nlohmann::json;

namespace {

constexpr std::uintmax_t kLargestFile = 4u << 20;

std::string_view toString(Theme theme)
{
    switch (theme) {
    case Theme::light: return "light";
    case Theme::dark: return "dark";
    case Theme::system: break;
    }
    return "system";
}

Theme themeFrom(const json &document)
{
    const auto name = document.is_string() ? document.get<std::string>() : std::string();
    return name == "light" ? Theme::light : name == "dark" ? Theme::dark : Theme::system;
}

// Replaces what validate() refuses by the default, so that one bad number does not cost the others.
template <typename Settings>
void keepValid(Settings &settings, const Settings &defaults, std::vector<std::string> &problems)
{
    if (auto valid = validate(settings); !valid) {
        problems.push_back(valid.error().message + " The defaults are used instead.");
        settings = defaults;
    }
}

void readInto(AppSettings &settings, const json &document, std::vector<std::string> &problems)
{
    if (const auto engine = document.find("engine"); engine != document.end())
        settings.engine = engineFromJson(*engine, settings.engine);
    keepValid(settings.engine, api::EngineSettings{}, problems);
    if (const auto session = document.find("new_session"); session != document.end())
        settings.newSession = sessionFromJson(*session, settings.newSession);
    keepValid(settings.newSession.sampling, api::SessionSettings{}.sampling, problems);
    if (const auto model = document.find("last_model"); model != document.end() && model->is_string())
        settings.lastModel = model->get<std::string>();
    if (const auto folders = document.find("model_folders"); folders != document.end() && folders->is_array()) {
        for (const auto &folder : *folders) {
            if (folder.is_string())
                settings.modelFolders.push_back(folder.get<std::string>());
        }
    }
    settings.theme = themeFrom(document.value("theme", json()));
    if (const auto motion = document.find("reduced_motion"); motion != document.end() && motion->is_boolean())
        settings.reducedMotion = motion->get<bool>();
}

json documentOf(const AppSettings &settings)
{
    return json{{"version", 1},
                {"engine", toJson(settings.engine)},
                {"new_session", toJson(settings.newSession)},
                {"last_model", settings.lastModel},
                {"model_folders", settings.modelFolders},
                {"theme", toString(settings.theme)},
                {"reduced_motion", settings.reducedMotion}};
}

} // namespace

LoadedSettings loadSettings(const std::filesystem::path &file)
{
    LoadedSettings loaded;
    std::error_code error;
    if (!std::filesystem::exists(file, error))
        return loaded;
    const auto size = std::filesystem::file_size(file, error);
    if (error || size > kLargestFile) {
        loaded.problems.push_back("The settings file " + file.string() +
                                  " cannot be read as one; the defaults are used until the next change.");
        return loaded;
    }
    std::ifstream stream(file, std::ios::binary);
    const json document = json::parse(stream, nullptr, false);
    if (!document.is_object()) {
        loaded.problems.push_back("The settings file " + file.string() +
                                  " is not a JSON object; the defaults are used until the next change.");
        return loaded;
    }
    readInto(loaded.settings, document, loaded.problems);
    return loaded;
}

Result<void> saveSettings(const std::filesystem::path &file, const AppSettings &settings)
{
    std::error_code error;
    std::filesystem::create_directories(file.parent_path(), error);
    const std::string text = documentOf(settings).dump(2, ' ', false, json::error_handler_t::replace) + '\n';
    const auto written = [&]() -> Result<void> {
        KVILT_TRY(NewFile out, NewFile::create(file, {.mode = 0600, .sync = true}));
        KVILT_TRY_VOID(out.write(text));
        return out.commit();
    }();
    if (!written)
        return fail(written.error().code, "The settings are not saved: " + written.error().message + ".");
    return {};
}

} // namespace kvilt::settings

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

// Takes value after value, and leaves the default where validate() refuses the new one: a bad number costs no other.
template <typename Settings>
Settings eachValid(const json &values, Settings settings, Settings (*read)(const json &, Settings),
                   std::vector<std::string> &problems)
{
    if (!values.is_object())
        return settings;
    for (const auto &[key, value] : values.items()) {
        Settings tried = read(json{{key, value}}, settings);
        if (auto valid = validate(tried); valid)
            settings = std::move(tried);
        else
            problems.push_back("In the settings file, " + valid.error().message + " The default is used instead.");
    }
    return settings;
}

void readInto(AppSettings &settings, const json &document, std::vector<std::string> &problems)
{
    settings.engine = eachValid(document.value("engine", json()), settings.engine, &engineFromJson, problems);
    if (const auto session = document.find("new_session"); session != document.end() && session->is_object()) {
        const api::SamplingSettings defaults = settings.newSession.sampling;
        settings.newSession = sessionFromJson(*session, settings.newSession);
        settings.newSession.sampling = eachValid(session->value("sampling", json()), defaults, &samplingFromJson, problems);
    }
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

// Null: missing, too large, or no JSON object.
json documentIn(const std::filesystem::path &file)
{
    std::error_code error;
    const auto size = std::filesystem::file_size(file, error);
    if (error || size > kLargestFile)
        return {};
    std::ifstream stream(file, std::ios::binary);
    json document = json::parse(stream, nullptr, false);
    return document.is_object() ? document : json();
}

// Where the file lies now, and what became of it, in one sentence.
std::string setAside(const std::filesystem::path &file)
{
    constexpr int kMostKept = 9;
    std::error_code error;
    std::filesystem::path aside = file;
    aside += ".damaged";
    for (int n = 2; n <= kMostKept && std::filesystem::exists(aside, error); ++n) {
        aside = file;
        aside += ".damaged-" + std::to_string(n);
    }
    std::filesystem::rename(file, aside, error);
    const std::string what = "The settings file " + file.string() + " is not a JSON object";
    if (error)
        return what + " and cannot be set aside (" + error.message() + "); the defaults are used until the next change.";
    return what + "; the defaults are used, and the file lies in " + aside.filename().string() + " beside it.";
}

} // namespace

LoadedSettings loadSettings(const std::filesystem::path &file)
{
    LoadedSettings loaded;
    std::error_code error;
    if (!std::filesystem::exists(file, error))
        return loaded;
    const json document = documentIn(file);
    if (document.is_object())
        readInto(loaded.settings, document, loaded.problems);
    else
        loaded.problems.push_back(setAside(file));
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

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/settings.h"

#include <nlohmann/json_fwd.hpp>

// JSON form of the settings, for settings.json and for a session's row. Reading takes what has the right type and
// keeps `defaults` for the rest; ranges are validate()'s business (settings.h).
namespace kvilt::settings {

nlohmann::json toJson(const api::EngineSettings &settings);
nlohmann::json toJson(const api::SamplingSettings &sampling);
nlohmann::json toJson(const api::SessionSettings &settings);

api::EngineSettings engineFromJson(const nlohmann::json &document, api::EngineSettings defaults);
api::SamplingSettings samplingFromJson(const nlohmann::json &document, api::SamplingSettings defaults);
api::SessionSettings sessionFromJson(const nlohmann::json &document, api::SessionSettings defaults);

} // namespace kvilt::settings

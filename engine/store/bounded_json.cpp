// SPDX-License-Identifier: Apache-2.0
#include "engine/store/bounded_json.h"

#include <nlohmann/json.hpp>

namespace kvilt::store {

using nlohmann::ordered_json;

namespace {
constexpr int kDeepest = 64;
}

ordered_json parseBoundedJson(std::string_view document)
{
    bool tooDeep = false;
    const auto watch = [&](int depth, ordered_json::parse_event_t, ordered_json &) {
        tooDeep = tooDeep || depth > kDeepest;
        return !tooDeep;
    };
    auto value = ordered_json::parse(document.begin(), document.end(), watch, false);
    return tooDeep ? ordered_json(ordered_json::value_t::discarded) : value;
}

} // namespace kvilt::store

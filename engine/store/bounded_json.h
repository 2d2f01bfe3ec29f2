// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string_view>

namespace kvilt::store {

// A document from a file or a row that anybody may have written. The parser keeps its own stack, but values are copied
// and dumped recursively: what is nested deeper than 64, or is no JSON, comes back discarded.
nlohmann::ordered_json parseBoundedJson(std::string_view document);

} // namespace kvilt::store

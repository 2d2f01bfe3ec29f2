// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/jinja/value.h"

#include <functional>
#include <string_view>

namespace kvilt::text::jinja {

// Which source a string of the document gets: `key` is the name it is the value of at the top level ("" deeper down or
// in arrays), `text` the string. Keys of mappings ask with an empty key.
using SourceOf = std::function<SourceId(std::string_view key, std::string_view text)>;

// A JSON document as values, order of keys kept. Throws TemplateError with `what` in the message when it is no JSON,
// nested deeper than 90, or too large for the budget.
Value fromJson(Budget &budget, std::string_view json, std::string_view what, const SourceOf &sourceOf);

// True when the text is one JSON value.
bool isJson(std::string_view text);

} // namespace kvilt::text::jinja

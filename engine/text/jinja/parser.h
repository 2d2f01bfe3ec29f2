// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/jinja/ast.h"

#include <string_view>

namespace kvilt::text::jinja {

// Expressions and statements nest at most this deep, so that neither parsing nor running exhausts the stack.
inline constexpr unsigned kMaxNesting = 200;

// Throws TemplateError with the line.
Program parse(std::string_view source);

} // namespace kvilt::text::jinja

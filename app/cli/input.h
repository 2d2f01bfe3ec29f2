// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/support/error.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Files and numbers from the command line: each is checked, each refusal names the file or the option.
namespace kvilt::cli {

inline constexpr std::uint64_t kMaxInputBytes = 256ull << 20;

// "-" reads standard input. badInput: missing, a folder, unreadable, larger than 256 MiB.
Result<std::string> readFile(const std::string &path);
Result<nlohmann::json> readJson(const std::string &path);
// A JSON array of ids, each in [0, vocabulary).
Result<std::vector<TokenId>> readTokens(const std::string &path, std::uint32_t vocabulary);
Result<std::vector<TokenId>> tokensFrom(const nlohmann::json &array, std::uint32_t vocabulary,
                                        const std::string &where);
// Whole numbers separated by commas, each in [low, high]: "0,4096".
Result<std::vector<std::int64_t>> numberList(std::string_view text, std::int64_t low, std::int64_t high,
                                             const std::string &option);

} // namespace kvilt::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/sqlite.h"

#include <filesystem>

namespace kvilt::store {

struct Salvaged {
    std::uint32_t sessions = 0;
    std::uint32_t messages = 0;
};

// Takes over every row of a damaged sessions.db that can still be read, one row at a time, into `target` (a new file
// with our tables). Messages whose session is lost get one made for them; the text index is made anew.
Result<Salvaged> salvageSessions(const std::filesystem::path &damaged, sql::Database &target);

} // namespace kvilt::store

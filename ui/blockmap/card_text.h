// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"
#include "ui/blockmap/block_card.h"
#include "ui/blockmap/block_map_model.h"

#include <functional>

namespace kvilt::ui {

struct CardRequest {
    const BlockMapModel &model;
    std::size_t group = 0;
    std::uint32_t block = 0;
    std::function<QString(SessionId)> titleOf;
    std::uint32_t sessionTokens = 0;                        // of the owner's chat; 0: not known
    std::int64_t nowMs = 0;                                 // Unix time
    const api::update::BlockDescribed *described = nullptr; // the engine's own words, when they have come
};

// A block in words: owner, tokens, use, who holds it, when it would go.
CardText cardText(const CardRequest &request);

} // namespace kvilt::ui

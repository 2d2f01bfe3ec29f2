// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/pool_view.h"

namespace kvilt::ui {

// Tokens of the prompt before its first message: the system prompt and what the template puts there. 0: not known.
inline std::int32_t systemTokens(const api::Ribbon &ribbon)
{
    std::int32_t first = 0;
    for (const api::Ribbon::MessageSpan &span : ribbon.messages) // the system prompt is in the list, without an id
        if (span.message.value != 0 && span.endToken > span.firstToken && (first == 0 || span.firstToken < first))
            first = span.firstToken;
    return first;
}

} // namespace kvilt::ui

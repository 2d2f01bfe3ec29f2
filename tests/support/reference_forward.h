// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"
#include "engine/model/model.h"

#include <span>
#include <vector>

namespace kvilt::test {

// Logits of every token, [tokens][vocabulary], by the plainest forward pass there is: weights dequantised one by one,
// everything in double precision, no cache, no quantised activations. For tiny models only. Written from the papers
// and the description; it shares no code with the backends.
std::vector<double> referenceLogits(const model::Model &model, std::span<const TokenId> tokens);

} // namespace kvilt::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace kvilt::text {

// Bytes [begin, end) of a text.
struct ByteRange {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    bool operator==(const ByteRange &) const = default;
};

} // namespace kvilt::text

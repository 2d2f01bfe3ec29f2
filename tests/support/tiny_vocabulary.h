// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kvilt::test {

struct TinyBpe {
    std::vector<std::string> pieces;
    std::vector<std::int32_t> types;
    std::vector<std::string> merges;
};
TinyBpe tinyBpe();

struct TinySentencePiece {
    std::vector<std::string> pieces;
    std::vector<float> scores;
    std::vector<std::int32_t> types;
};
TinySentencePiece tinySentencePiece();

} // namespace kvilt::test

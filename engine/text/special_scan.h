// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/text/byte_range.h"
#include "engine/text/vocabulary.h"

#include <array>
#include <span>
#include <string_view>
#include <vector>

namespace kvilt::text {

// Finds control and user-defined pieces spelled in a text, before the rest is tokenised. The longest piece wins
// wherever it stands, then the lower id, then the leftmost; what overlaps a winner is out. Time is linear in the text
// but for a logarithm, whatever the pieces are.
class SpecialScan {
public:
    explicit SpecialScan(const Vocabulary &vocabulary);

    struct Match {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        TokenId id = -1;
    };
    // Ascending. Control pieces only with `parseSpecial` and outside `guarded` (ascending, disjoint).
    std::vector<Match> find(const Vocabulary &vocabulary, std::string_view text, bool parseSpecial,
                            std::span<const ByteRange> guarded) const;

private:
    struct Query;
    Match longestAt(const Query &query, std::uint32_t at, std::uint32_t limit) const;
    bool allowed(const Query &query, TokenId id, ByteRange range) const;

    // Longer spelled specials than this are taken as ordinary text: no real one comes near.
    static constexpr std::size_t kMaxBytes = 256;
    std::vector<TokenId> m_sorted;            // by bytes, so that a common prefix is one range
    std::array<std::uint32_t, 257> m_first{}; // m_sorted[m_first[b] .. m_first[b + 1]) begin with byte b
};

} // namespace kvilt::text

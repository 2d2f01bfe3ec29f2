// SPDX-License-Identifier: Apache-2.0
#include "engine/text/special_scan.h"

#include <algorithm>
#include <map>

namespace kvilt::text {

namespace {

// "<|...|>" and DeepSeek's full-width kin: a marker even where a converter calls it user-defined.
bool looksLikeMarker(std::string_view piece)
{
    return (piece.starts_with("<|") && piece.ends_with("|>")) ||
           (piece.starts_with("<\xEF\xBD\x9C") && piece.ends_with("\xEF\xBD\x9C>"));
}

bool intersects(std::span<const ByteRange> ranges, ByteRange range)
{
    const auto after =
        std::partition_point(ranges.begin(), ranges.end(), [&](const ByteRange &r) { return r.end <= range.begin; });
    return after != ranges.end() && after->begin < range.end;
}

} // namespace

struct SpecialScan::Query {
    const Vocabulary &vocabulary;
    std::string_view text;
    bool parseSpecial;
    std::span<const ByteRange> guarded;
};

SpecialScan::SpecialScan(const Vocabulary &vocabulary)
{
    for (TokenId id = 0; id < static_cast<TokenId>(vocabulary.size()); ++id) {
        const bool special = vocabulary.isControl(id) || vocabulary.type(id) == PieceType::userDefined;
        const std::size_t bytes = vocabulary.piece(id).size();
        if (special && bytes > 0 && bytes <= kMaxBytes)
            m_sorted.push_back(id);
    }
    const auto piece = [&](TokenId id) { return vocabulary.piece(id); };
    std::stable_sort(m_sorted.begin(), m_sorted.end(), [&](TokenId a, TokenId b) { return piece(a) < piece(b); });
    for (std::uint32_t byte = 0; byte <= 256; ++byte) {
        const auto begin = std::partition_point(m_sorted.begin(), m_sorted.end(), [&](TokenId id) {
            return static_cast<std::uint8_t>(piece(id)[0]) < byte;
        });
        m_first[byte] = static_cast<std::uint32_t>(begin - m_sorted.begin());
    }
}

bool SpecialScan::allowed(const Query &q, TokenId id, ByteRange range) const
{
    if (q.vocabulary.isControl(id))
        return q.parseSpecial && !intersects(q.guarded, range);
    return q.guarded.empty() || !looksLikeMarker(q.vocabulary.piece(id)) || !intersects(q.guarded, range);
}

// Narrows the range of pieces that agree with the text byte by byte; a piece that ends is the first of its range.
SpecialScan::Match SpecialScan::longestAt(const Query &q, std::uint32_t at, std::uint32_t limit) const
{
    const auto lead = static_cast<std::uint8_t>(q.text[at]);
    auto low = m_sorted.begin() + m_first[lead];
    auto high = m_sorted.begin() + m_first[lead + 1u];
    Match best{at, at, -1};
    for (std::uint32_t depth = 1; low != high; ++depth) {
        if (q.vocabulary.piece(*low).size() == depth) {
            if (allowed(q, *low, {at, at + depth}))
                best = {at, at + depth, *low};
            while (low != high && q.vocabulary.piece(*low).size() == depth)
                ++low;
        }
        if (at + depth >= limit)
            break;
        const auto next = static_cast<std::uint8_t>(q.text[at + depth]);
        const auto byteOf = [&](TokenId id) { return static_cast<std::uint8_t>(q.vocabulary.piece(id)[depth]); };
        low = std::partition_point(low, high, [&](TokenId id) { return byteOf(id) < next; });
        high = std::partition_point(low, high, [&](TokenId id) { return byteOf(id) <= next; });
    }
    return best;
}

// Candidates by length, longest first: one a position. One that overlaps a winner further right tries again with what
// still fits, so the outcome is that of trying every piece of every length.
std::vector<SpecialScan::Match> SpecialScan::find(const Vocabulary &vocabulary, std::string_view text,
                                                  bool parseSpecial, std::span<const ByteRange> guarded) const
{
    if (m_sorted.empty())
        return {};
    const Query query{vocabulary, text, parseSpecial, guarded};
    std::vector<std::vector<Match>> byLength(kMaxBytes + 1);
    const auto end = static_cast<std::uint32_t>(text.size());
    const auto consider = [&](std::uint32_t at, std::uint32_t limit) {
        if (const Match m = longestAt(query, at, limit); m.id >= 0)
            byLength[m.end - m.begin].push_back(m);
    };
    for (std::uint32_t at = 0; at < end; ++at) {
        const auto lead = static_cast<std::uint8_t>(text[at]);
        if (m_first[lead] != m_first[lead + 1u])
            consider(at, end);
    }
    std::map<std::uint32_t, Match> winners; // by begin
    for (std::size_t length = kMaxBytes; length > 0; --length) {
        auto &candidates = byLength[length];
        std::sort(candidates.begin(), candidates.end(),
                  [](const Match &a, const Match &b) { return a.id != b.id ? a.id < b.id : a.begin < b.begin; });
        for (const Match &m : candidates) {
            const auto after = winners.upper_bound(m.begin);
            if (after != winners.begin() && std::prev(after)->second.end > m.begin)
                continue;
            if (after == winners.end() || after->first >= m.end)
                winners.emplace_hint(after, m.begin, m);
            else
                consider(m.begin, after->first);
        }
        candidates = {};
    }
    std::vector<Match> found;
    found.reserve(winners.size());
    for (const auto &[begin, match] : winners)
        found.push_back(match);
    return found;
}

} // namespace kvilt::text

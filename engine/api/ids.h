// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace kvilt {

// Distinct types for distinct integers, so that a block is never passed where a sequence is meant.
template <typename Tag, typename Rep>
struct StrongId {
    using rep = Rep;
    Rep value{};
    constexpr auto operator<=>(const StrongId &) const = default;
};

using TokenId = std::int32_t; // plain: vocabularies, files and kernels all speak int32

using BlockId = StrongId<struct BlockTag, std::uint32_t>;       // physical block within one layer group
using NodeId = StrongId<struct NodeTag, std::uint64_t>;         // prefix-tree node; never reused; 0 = the root
using SequenceId = StrongId<struct SequenceTag, std::uint64_t>; // one running generation; never reused
using SessionId = StrongId<struct SessionTag, std::int64_t>;    // row in sessions.db
using MessageId = StrongId<struct MessageTag, std::int64_t>;    // row in sessions.db
using TurnId = StrongId<struct TurnTag, std::int64_t>;          // id of the assistant message the turn wrote
using GroupIndex = StrongId<struct GroupTag, std::uint16_t>;    // layer group of a KvLayout
using LayerIndex = StrongId<struct LayerTag, std::uint32_t>;

inline constexpr BlockId kNoBlock{0xffffffffu};
inline constexpr NodeId kRootNode{0};

} // namespace kvilt

template <typename Tag, typename Rep>
struct std::hash<kvilt::StrongId<Tag, Rep>> {
    std::size_t operator()(kvilt::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/cache_event.h"
#include "engine/api/ids.h"
#include "engine/api/pool_view.h"

#include <array>
#include <cstdint>

// The small values the map is made of. No Qt here: model, arithmetic and tests share them.
namespace kvilt::ui {

enum class ColourBy : std::uint8_t { state, owner, age, hits, references, eviction };
inline constexpr int kColourBys = 6;
enum class ArrangeBy : std::uint8_t { block, session, prefixTree };
inline constexpr int kArrangeBys = 3;

// What is known of one block.
struct Cell {
    NodeId node;                    // 0: not sealed
    NodeId parent;                  // 0: child of the root, or not known
    SessionId owner;                // who wrote it; 0: none
    std::uint64_t lastUseNs = 0;
    std::uint32_t uses = 0;
    std::int32_t firstToken = 0;
    std::int32_t evictionRank = -1; // as of the last snapshot; -1: not evictable
    std::uint16_t tokens = 0;
    std::uint16_t references = 0;
    bool pinned = false;
    bool dead = false;
    bool onDisk = false;
    bool inHost = false;            // a copy lies in the host's memory; beside a GPU only
};

// Where it comes back from once it is evicted: the nearest copy; device: from nowhere, it is computed again.
constexpr api::Tier copyOf(const Cell &cell)
{
    return cell.inHost ? api::Tier::host : cell.onDisk ? api::Tier::disk : api::Tier::device;
}

// The one place that derives a state from what is known.
constexpr api::BlockState stateOf(const Cell &cell, std::uint16_t blockSize)
{
    using enum api::BlockState;
    if (cell.references == 0 && cell.node.value == 0)
        return free;
    if (cell.pinned)
        return pinned;
    if (cell.references == 0)
        return cell.dead ? deadBranch : cached;
    if (cell.references > 1)
        return shared;
    return cell.node.value == 0 && cell.tokens < blockSize ? writing : inUse;
}

using StateCounts = std::array<std::uint32_t, api::kBlockStates>;

// What a cell looks like, as one byte: an index into a colour table that the view makes for the ColourBy in force.
namespace code {
inline constexpr std::uint8_t kFree = 0;
inline constexpr std::uint8_t kFirst = 1;    // ColourBy::state: the other BlockStates; else the ramp or the owners
inline constexpr int kLevels = 30;           // 1..30
inline constexpr std::uint8_t kDimmed = 31;  // hidden by the filter
inline constexpr int kFadeSteps = 16;        // just restored: 32 + state × 16 + step; evicted: 144 + the same
inline constexpr int kRestored = 32;
inline constexpr int kEvicted = 144;
} // namespace code

enum class Trace : std::uint8_t { none, restored, evicted };
inline constexpr std::int64_t kTraceMs = 2000; // how long a restored or evicted cell shows it

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/blockmap/cell.h"

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace kvilt::ui {

// Folds snapshots and cache events into cells, one list a layer group. Knows no widget and no clock: whoever feeds
// it says what time it is (milliseconds of any monotonic clock). Not thread-safe.
//
// Complete means: every event since the last snapshot was seen. A gap in the sequence numbers makes the model
// incomplete; it goes on folding, keeps what it folds, and needsSnapshot() turns true. The snapshot that
// answers is laid below the events kept with greater numbers, so nothing is folded twice or lost.
class BlockMapModel {
public:
    struct Options {
        std::size_t keptEvents = 65536; // while a snapshot is under way; more of them and it is asked for again
        bool traces = true;             // false under reduced motion: neither flashes nor ghosts
    };

    BlockMapModel() : BlockMapModel(Options{}) {}
    explicit BlockMapModel(Options options) : m_options(options) {}

    // --- Feeding ---
    void clear();                                             // no model loaded
    void apply(const api::PoolSnapshot &snapshot, std::int64_t nowMs);
    void fold(std::span<const api::CacheEvent> events, std::int64_t nowMs);
    void setTraces(bool traces, std::int64_t nowMs);
    // Expires traces and advances fades. True while any is left, so that the caller keeps its timer.
    bool advance(std::int64_t nowMs);
    // Asked once: true when a snapshot has to be requested now; the caller requests it.
    bool takeSnapshotRequest();
    // The caller requested one for its own reasons (fresh ranks): events are kept from now on.
    void expectSnapshot();
    // The feeder dropped events on purpose (pause) or knows of a loss.
    void noteGap();
    bool complete() const { return m_complete; }

    // --- The pool ---
    bool empty() const { return m_groups.empty(); }
    std::size_t groupCount() const { return m_groups.size(); }
    const std::string &groupName(std::size_t group) const { return m_groups[group].name; }
    std::uint32_t bytesPerBlock(std::size_t group) const { return m_groups[group].bytesPerBlock; }
    std::uint64_t bytesOfAllGroups() const; // one block of each group
    std::uint32_t capacity(std::size_t group) const { return std::uint32_t(m_groups[group].cells.size()); }
    std::uint16_t blockSize() const { return m_blockSize; }
    const std::string &policy() const { return m_policy; }
    const Cell &cell(std::size_t group, std::uint32_t block) const { return m_groups[group].cells[block]; }
    api::BlockState state(std::size_t group, std::uint32_t block) const
    {
        return api::BlockState(m_groups[group].states[block]);
    }
    const StateCounts &counts(std::size_t group) const { return m_groups[group].counts; }
    std::optional<std::uint32_t> blockOf(std::size_t group, NodeId node) const;
    std::uint64_t lastSequenceNumber() const { return m_last; }
    // Grows with every change that can move a cell in an arrangement other than by block.
    std::uint64_t structureVersion(std::size_t group) const { return m_groups[group].structureVersion; }

    // --- Looks ---
    ColourBy colourBy() const { return m_colourBy; }
    void setColourBy(ColourBy by);
    // Whether idle blocks wear the texture of the tier that they come back from. Worth it where a device has memory of its
    // own and the host's is a tier beside it; else nearly all would be hatched.
    void setTiersShown(bool shown);
    api::Tier shownTier(std::size_t group, std::uint32_t block) const;
    bool shown(api::BlockState state) const { return (m_shown >> int(state)) & 1u; }
    bool filtered() const { return m_shown != kAllShown; }
    void setShown(api::BlockState state, bool shown);
    void showOnly(api::BlockState state);
    void showAll();
    // The look of every cell of a group, by block id; valid until the next change.
    std::span<const std::uint8_t> codes(std::size_t group) const { return m_groups[group].codes; }
    std::span<const std::uint8_t> states(std::size_t group) const { return m_groups[group].states; }
    // Ages and the scale of hits drift without events: looks of all cells are made anew (cheap; once a second).
    void refreshLooks(std::uint64_t nowNs);
    std::uint32_t mostUses(std::size_t group) const { return m_groups[group].mostUses; }
    // Who owns most of the blocks, most first.
    std::vector<SessionId> owners(std::size_t group) const;

    // Blocks whose look changed since the last take, each once. `all` set: everything changed.
    struct Dirty {
        bool all = false;
        std::vector<std::uint32_t> blocks;
    };
    Dirty takeDirty(std::size_t group);
    bool dirty(std::size_t group) const { return m_groups[group].allDirty || !m_groups[group].dirty.empty(); }

    // Blocks in display order. Free blocks come last when not arranged by block.
    std::vector<std::uint32_t> arranged(std::size_t group, ArrangeBy by) const;

private:
    struct Mark {
        Trace trace = Trace::none;
        std::int64_t sinceMs = 0;
        int step = 0;
    };
    struct Group {
        std::string name;
        std::uint32_t bytesPerBlock = 0;
        std::vector<Cell> cells;
        std::vector<std::uint8_t> states, codes, isDirty;
        std::vector<std::uint32_t> dirty;
        std::unordered_map<std::uint32_t, Mark> marks; // by block: few at a time
        std::unordered_map<std::uint64_t, std::uint32_t> byNode;
        StateCounts counts{};
        std::uint64_t structureVersion = 0;
        std::uint32_t mostUses = 0;
        std::int32_t lastRank = 0; // of the snapshot: who goes last
        bool allDirty = true;
    };
    static constexpr std::uint32_t kAllShown = (1u << api::kBlockStates) - 1;

    void load(Group &group, const api::GroupView &view);
    void foldOne(const api::CacheEvent &event, std::int64_t nowMs);
    void foldNode(const api::CacheEvent &event);
    void replayKept(std::uint64_t after, std::int64_t nowMs);
    void change(Group &group, std::uint32_t block, const api::CacheEvent &event);
    void own(Cell &cell, const api::CacheEvent &event);
    void empty(Group &group, Cell &cell);
    void nameNode(Group &group, std::uint32_t block, NodeId node);
    void settle(Group &group, std::uint32_t block);
    void mark(Group &group, std::uint32_t block, Trace trace, std::int64_t nowMs);
    void touch(Group &group, std::uint32_t block);
    void recode(Group &group, std::uint32_t block);
    void recodeAll();
    std::uint8_t look(const Group &group, std::uint32_t block) const;

    Options m_options;
    std::vector<Group> m_groups;
    std::unordered_map<std::uint64_t, NodeId> m_lastNode; // of each live sequence: parent of what it seals next
    std::vector<api::CacheEvent> m_kept;
    std::string m_policy;
    std::uint64_t m_last = 0;
    std::uint64_t m_nowNs = 0;
    std::int64_t m_nowMs = 0;
    std::uint32_t m_shown = kAllShown;
    std::uint16_t m_blockSize = 16;
    ColourBy m_colourBy = ColourBy::state;
    bool m_tiersShown = false;
    bool m_complete = false;
    bool m_wantSnapshot = false;
    bool m_expecting = false;
    bool m_seenAny = false;
};

// Owners get their colour by id, so that a chat keeps it; neighbours in the list of chats differ.
int ownerLevel(SessionId owner); // 0..kLevels-1

} // namespace kvilt::ui

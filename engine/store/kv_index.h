// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/kv_store.h"

#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace kvilt::store {

// What kvcache.db holds, without the bytes: names, rows, the order of eviction, and where each session's branches
// end. Pure and not thread-safe.
// Invariant: m_rows, m_order and the payloads of m_nodes name the same rows; a node has at least one payload.
class KvIndex {
public:
    struct Row {
        std::int64_t id = 0;
        kv::BlockName name, parent;
        GroupIndex group;
        std::string numerics;
        std::int32_t firstToken = 0;
        std::uint64_t bytes = 0;
        std::uint64_t used = 0;   // value of a counter, not a time: clocks go backwards
        bool dead = false;
        std::int64_t session = 0; // who wrote it
    };
    using Tips = std::map<std::int64_t, std::map<std::int64_t, kv::BlockName>>; // session -> branch -> node

    bool add(Row row);                              // false: the key is there already
    std::optional<Row> remove(std::int64_t id);
    const Row *find(std::int64_t id) const;
    const Row *find(const PayloadKey &key) const;
    const std::unordered_map<std::int64_t, Row> &rows() const { return m_rows; }
    std::vector<std::int64_t> rowsOf(const kv::BlockName &name) const;
    std::uint64_t bytes() const { return m_bytes; }
    std::uint64_t useCounter() const { return m_use; }
    std::int64_t nextRowId() { return m_nextRow++; }

    // The row that goes next: dead branches, then the longest unused, of equals the tail before the head.
    const Row *victim() const;
    // Would a new row like this be the victim itself?
    bool wouldGoFirst(std::int32_t firstToken) const;

    std::vector<std::int64_t> touch(std::span<const std::int64_t> ids); // those that are known
    const Tips &tips() const { return m_tips; }
    void setTip(std::int64_t session, std::int64_t branch, const kv::BlockName &node);
    void removeTip(std::int64_t session, std::int64_t branch);
    void removeSession(std::int64_t session);
    void disown(); // no session has tips or rows any more
    // From `node` to its root, as far as it is stored; child first.
    std::vector<kv::BlockName> chain(const kv::BlockName &node) const;
    std::unordered_set<kv::BlockName> nodesOf(std::int64_t session) const;
    std::vector<std::int64_t> rowsOfSession(std::int64_t session) const; // of its nodes, and what it wrote
    std::unordered_set<kv::BlockName> neededNodes() const;               // of all tips
    void setDead(std::int64_t id, bool dead);
    const kv::BlockName *parentOf(const kv::BlockName &name) const;

private:
    // Sorts as the eviction goes.
    struct Place {
        bool live;
        std::uint64_t used;
        std::int64_t fromTail; // −firstToken
        std::int64_t id;
        auto operator<=>(const Place &) const = default;
    };
    static Place placeOf(const Row &row) { return {!row.dead, row.used, -std::int64_t(row.firstToken), row.id}; }
    void walk(const kv::BlockName &from, std::unordered_set<kv::BlockName> &seen) const;

    std::unordered_map<std::int64_t, Row> m_rows;
    std::unordered_map<kv::BlockName, std::vector<std::int64_t>> m_nodes;
    std::set<Place> m_order;
    Tips m_tips;
    std::uint64_t m_bytes = 0;
    std::uint64_t m_use = 1;
    std::int64_t m_nextRow = 1;
};

} // namespace kvilt::store

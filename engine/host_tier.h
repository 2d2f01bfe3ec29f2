// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/kv/block_hash.h"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <span>
#include <vector>

namespace kvilt {

// Payloads of a GPU's blocks in the host's memory: sealed blocks are copied here, so that one which the pool evicts comes back
// over the bus and not from the disk or by computing. Bounded; the payload unused for longest goes first. Not thread-safe.
class HostTier {
public:
    struct Key {
        kv::BlockName name;
        GroupIndex group;
        auto operator<=>(const Key &) const = default;
    };
    struct Entry {
        Key key;
        std::vector<std::byte> bytes;
    };

    explicit HostTier(std::uint64_t budget = 0) : m_budget(budget) {}
    bool enabled() const { return m_budget > 0; }
    std::uint64_t bytes() const { return m_bytes; }

    // Takes a copy; what had to go for it. Nothing happens when it is there already or larger than everything.
    std::vector<Key> put(const Key &key, std::span<const std::byte> bytes);
    // Null: not there. Counts as a use.
    const Entry *find(const Key &key);
    bool holds(const Key &key) const { return m_places.contains(key); }
    std::vector<Key> clear(); // what was there

private:
    std::uint64_t m_budget, m_bytes = 0;
    std::list<Entry> m_entries; // used last in front
    std::map<Key, std::list<Entry>::iterator> m_places;
};

} // namespace kvilt

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvilt::kv {

// What a policy may know about an unreferenced cached block.
struct BlockUse {
    std::uint64_t admission = 0; // number of the admission that brought it in; one request, one number
    std::uint32_t uses = 0;      // hits since then
};

// Orders unreferenced blocks: the lowest rank goes first, and of equal ranks the one that became idle first. A
// request's tail becomes idle before its head, so every policy keeps heads longer than their tails. Blocks of dead
// branches go before all others, whatever the policy.
class EvictionPolicy {
public:
    virtual ~EvictionPolicy() = default;
    virtual std::uint64_t rank(const BlockUse &use) const noexcept = 0;
    virtual api::EventReason reason() const noexcept = 0;
};

// The one list of policies: their names, the default first. Null for any other name.
std::vector<std::string_view> evictionPolicyNames();
std::string evictionPolicyList(); // "lru, fifo, lfu", for people
std::unique_ptr<EvictionPolicy> makeEvictionPolicy(std::string_view name);

} // namespace kvilt::kv

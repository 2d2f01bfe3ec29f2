// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/eviction_policy.h"

namespace kvilt::kv {
namespace {

// All ranks equal: the queue's own order is the order of the last use.
class Lru final : public EvictionPolicy {
public:
    std::uint64_t rank(const BlockUse &) const noexcept override { return 0; }
    api::EventReason reason() const noexcept override { return api::EventReason::lru; }
};

class Fifo final : public EvictionPolicy {
public:
    std::uint64_t rank(const BlockUse &use) const noexcept override { return use.admission; }
    api::EventReason reason() const noexcept override { return api::EventReason::fifo; }
};

// Counts since admission, ties by recency: a count kept for ever would let yesterday's favourites block the pool.
class Lfu final : public EvictionPolicy {
public:
    std::uint64_t rank(const BlockUse &use) const noexcept override { return use.uses; }
    api::EventReason reason() const noexcept override { return api::EventReason::lfu; }
};

} // namespace

std::unique_ptr<EvictionPolicy> makeEvictionPolicy(std::string_view name)
{
    if (name == "lru")
        return std::make_unique<Lru>();
    if (name == "fifo")
        return std::make_unique<Fifo>();
    if (name == "lfu")
        return std::make_unique<Lfu>();
    return nullptr;
}

} // namespace kvilt::kv

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

struct Named {
    std::string_view name;
    std::unique_ptr<EvictionPolicy> (*make)();
};

template <typename Policy>
std::unique_ptr<EvictionPolicy> make()
{
    return std::make_unique<Policy>();
}

constexpr Named kPolicies[] = {{"lru", make<Lru>}, {"fifo", make<Fifo>}, {"lfu", make<Lfu>}};

} // namespace

std::vector<std::string_view> evictionPolicyNames()
{
    std::vector<std::string_view> names;
    for (const Named &policy : kPolicies)
        names.push_back(policy.name);
    return names;
}

std::string evictionPolicyList()
{
    std::string list;
    for (const Named &policy : kPolicies)
        list += (list.empty() ? "" : ", ") + std::string(policy.name);
    return list;
}

std::unique_ptr<EvictionPolicy> makeEvictionPolicy(std::string_view name)
{
    for (const Named &policy : kPolicies)
        if (policy.name == name)
            return policy.make();
    return nullptr;
}

} // namespace kvilt::kv

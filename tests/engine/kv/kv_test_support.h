// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <QTest>
#undef emit // Qt's keyword; EventSink has a function of that name

#include "engine/kv/kv_cache.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

// QCOMPARE finds api::toString() by its argument and cannot use what it returns.
#define COMPARE_ENUM(a, b) QCOMPARE(int(a), int(b))

namespace kvilt::test {

class EventLog final : public trace::EventSink {
public:
    void emit(const api::CacheEvent &event) noexcept override { events.push_back(event); }
    std::vector<api::CacheEvent> of(api::EventKind kind) const
    {
        std::vector<api::CacheEvent> out;
        std::copy_if(events.begin(), events.end(), std::back_inserter(out), [&](auto &e) { return e.kind == kind; });
        return out;
    }
    std::vector<api::CacheEvent> events;
};

// A cache with its event log and clock; block size 4 unless the test says otherwise.
struct CacheBench {
    explicit CacheBench(std::uint32_t blocks, auto &&...edits)
    {
        kv::KvCacheConfig config;
        config.blocks = blocks;
        config.layout.blockSize = 4;
        config.layout.groups.resize(1);
        config.identity = {.modelFingerprint = "model", .tokenizer = "bpe", .rope = "base=10000", .kvTypes = "f16"};
        (edits(config), ...);
        clock.ns = 1'000'000'000;
        auto made = kv::KvCache::create(std::move(config), log, clock);
        if (!made)
            qFatal("%s", made.error().message.c_str());
        cache = std::move(*made);
    }

    kv::Request request(std::uint64_t id, const std::vector<TokenId> &tokens, std::string_view salt = {})
    {
        return {.sequence = SequenceId{id},
                .session = SessionId{std::int64_t(id)},
                .turn = TurnId{std::int64_t(id) + 100},
                .tokens = tokens,
                .salt = salt};
    }
    // Admits a prompt and computes all of it. The hit, or -1 when it does not fit.
    int run(std::uint64_t id, const std::vector<TokenId> &tokens, std::string_view salt = {})
    {
        const kv::Request r = request(id, tokens, salt);
        const auto allocation = cache->allocate(r, cache->lookup(r), tokens.size());
        if (!allocation)
            return -1;
        cache->append(r.sequence, std::span(tokens).subspan(allocation->hitTokens));
        return int(allocation->hitTokens);
    }
    void end(std::uint64_t id) { cache->release(SequenceId{id}, api::EventReason::finished); }
    int runAndEnd(std::uint64_t id, const std::vector<TokenId> &tokens, std::string_view salt = {})
    {
        const int hit = run(id, tokens, salt);
        if (hit >= 0)
            end(id);
        return hit;
    }
    kv::Lookup find(const std::vector<TokenId> &tokens, std::string_view salt = {})
    {
        return cache->lookup(request(999'999, tokens, salt));
    }
    std::vector<std::uint32_t> order(std::uint16_t group = 0) const
    {
        std::vector<std::uint32_t> out;
        for (const BlockId block : cache->evictionOrder(GroupIndex{group}))
            out.push_back(block.value);
        return out;
    }
    std::vector<std::uint32_t> table(std::uint64_t id, std::size_t group = 0) const
    {
        std::vector<std::uint32_t> out;
        for (const BlockId block : cache->tables(SequenceId{id})[group]->blocks())
            out.push_back(block.value);
        return out;
    }

    EventLog log;
    ManualClock clock;
    std::unique_ptr<kv::KvCache> cache;
};

inline std::vector<TokenId> iota(std::size_t count, TokenId first = 1)
{
    std::vector<TokenId> out(count);
    for (std::size_t i = 0; i < count; ++i)
        out[i] = first + TokenId(i);
    return out;
}

inline std::vector<TokenId> operator+(std::vector<TokenId> a, const std::vector<TokenId> &b)
{
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

inline auto windowGroup(std::uint32_t window)
{
    return [window](kv::KvCacheConfig &config) {
        config.layout.groups.push_back({.name = "window", .kind = kv::GroupKind::window, .window = window});
    };
}

} // namespace kvilt::test

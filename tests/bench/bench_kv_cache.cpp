// SPDX-License-Identifier: Apache-2.0
// What the cache's bookkeeping costs: one JSON line a case, nanoseconds a block, median of the rounds.
#include "engine/kv/kv_cache.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

using namespace kvilt;

namespace {

constexpr std::size_t kBlockSize = 16, kPromptTokens = 4096, kBlocks = kPromptTokens / kBlockSize;

class NoEvents final : public trace::EventSink {
public:
    void emit(const api::CacheEvent &event) noexcept override { m_sum += event.a; } // read, as a journal would
    std::uint64_t m_sum = 0;
};

std::vector<TokenId> prompt(TokenId chat)
{
    std::vector<TokenId> tokens(kPromptTokens + 1);
    for (std::size_t i = 0; i < tokens.size(); ++i)
        tokens[i] = TokenId((i * 2654435761u + std::size_t(chat) * 40503u) % 49152u);
    return tokens;
}

double nowNs()
{
    return double(std::chrono::steady_clock::now().time_since_epoch().count());
}

struct Times {
    std::vector<double> lookup, hit, seal, release;
};

void print(const char *test, std::uint32_t pool, std::vector<double> nsPerBlock)
{
    std::sort(nsPerBlock.begin(), nsPerBlock.end());
    const auto at = [&](double share) { return nsPerBlock[std::size_t(share * double(nsPerBlock.size() - 1))]; };
    std::printf("{\"test\":\"%s\",\"pool_blocks\":%u,\"tokens\":%zu,\"ns_per_block\":{\"median\":%.1f,\"p10\":%.1f,"
                "\"p90\":%.1f},\"target\":200}\n",
                test, pool, kPromptTokens, at(0.5), at(0.1), at(0.9));
}

// `chats` prompts go round and round. With room for all each one hits; with less, LRU has evicted the next one.
void measure(std::uint32_t pool, TokenId chats, bool hits)
{
    NoEvents sink;
    const SystemClock clock;
    kv::KvCacheConfig config;
    config.blocks = pool;
    config.layout.blockSize = kBlockSize;
    config.layout.groups.resize(1);
    const auto cache = std::move(*kv::KvCache::create(std::move(config), sink, clock));
    Times times;
    std::uint64_t id = 0;
    for (int round = 0; round < 12; ++round)
        for (TokenId chat = 0; chat < chats; ++chat) {
            const auto tokens = prompt(chat);
            const kv::Request request{.sequence = SequenceId{++id}, .session = SessionId{chat + 1}, .tokens = tokens};
            const double t0 = nowNs();
            const kv::Lookup found = cache->lookup(request);
            const double t1 = nowNs();
            const auto start = cache->allocate(request, found, tokens.size());
            const double t2 = nowNs();
            cache->append(request.sequence, std::span(tokens).subspan(start->hitTokens));
            const double t3 = nowNs();
            cache->release(request.sequence, api::EventReason::finished);
            const double t4 = nowNs();
            if (round < 2)
                continue;
            times.lookup.push_back((t1 - t0) / kBlocks);
            times.hit.push_back((t2 - t1) / kBlocks);
            times.seal.push_back((t3 - t2) / kBlocks);
            times.release.push_back((t4 - t3) / kBlocks);
        }
    if (hits) {
        print("lookup, all hits", pool, times.lookup);
        print("allocate, all hits", pool, times.hit);
    } else {
        print("allocate, evicting", pool, times.hit);
        print("append and seal", pool, times.seal);
    }
    print(hits ? "release, cached" : "release", pool, times.release);
}

} // namespace

int main()
{
    measure(16 * kBlocks, 8, true);
    measure(256 * kBlocks, 200, true); // 51,200 blocks in use: the nodes no longer fit the cache
    measure(2 * kBlocks, 8, false);
    measure(64 * kBlocks, 100, false);
    return 0;
}

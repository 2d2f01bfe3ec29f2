// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <cstdint>
#include <string>
#include <vector>

// A small pool in the middle of its life, made up: every state occurs, and the numbers add up.
namespace kvilt::test {

inline constexpr std::uint64_t kSampleTimeNs = 1'795'262'591'204'000'000; // the time of the newest event

inline void fill(api::GroupView &group, std::uint32_t begin, std::uint32_t end, api::BlockState state,
                 std::int64_t owner, std::int32_t firstToken = 0)
{
    for (std::uint32_t b = begin; b < end; ++b) {
        api::BlockInfo &info = group.blocks[b];
        info.state = state;
        info.node = NodeId{state == api::BlockState::writing ? 0 : std::uint64_t(1000 + b)};
        info.parent = NodeId{b > begin ? std::uint64_t(999 + b) : 0};
        info.owner = SessionId{owner};
        info.firstToken = firstToken + std::int32_t(b - begin) * 16;
        info.tokens = state == api::BlockState::writing ? 4 : 16;
        info.references = state == api::BlockState::shared ? 2
                          : state == api::BlockState::inUse || state == api::BlockState::writing || state == api::BlockState::pinned ? 1 : 0;
        info.uses = 1 + b % 5;
        info.lastUseNs = kSampleTimeNs - std::uint64_t(b % 90) * 1'000'000'000;
        info.evictionRank = info.references == 0 ? std::int32_t(b % 60) : -1;
        info.onDisk = state != api::BlockState::writing;
    }
}

// 4 pinned, 2 shared, 73 in use, 1 being written, 38 cached, 6 dead, 388 free of 512.
inline api::PoolSnapshot samplePool(std::uint64_t number = 100)
{
    api::PoolSnapshot snapshot{.sequenceNumber = number, .blockSize = 16, .policy = "lru"};
    snapshot.groups.push_back({.name = "all layers", .capacity = 512, .bytesPerBlock = 368640});
    api::GroupView &g = snapshot.groups.back();
    g.blocks.resize(512);
    using enum api::BlockState;
    fill(g, 0, 4, pinned, 1);
    fill(g, 4, 6, shared, 1, 64);
    fill(g, 6, 46, inUse, 1, 96);
    fill(g, 48, 72, cached, 2);
    fill(g, 74, 107, inUse, 1, 736);
    fill(g, 107, 108, writing, 1, 1200);
    fill(g, 112, 118, deadBranch, 1, 300);
    fill(g, 120, 134, cached, 3);
    return snapshot;
}

inline api::update::Sessions sampleSessions()
{
    api::update::Sessions sessions;
    const auto add = [&](std::int64_t id, const char *title, std::uint32_t tokens, std::uint64_t kv) {
        api::SessionSummary s;
        s.id = SessionId{id};
        s.title = title;
        s.tokens = tokens;
        s.kvBytes = kv;
        s.blocksOnDisk = std::uint32_t(kv / 368640);
        sessions.sessions.push_back(s);
    };
    add(1, "Why is the sky blue?", 1204, 28'000'000);
    add(2, "A dust storm on Mars", 412, 9'500'000);
    add(3, "Heap sort, step by step", 224, 5'100'000);
    return sessions;
}

inline api::CacheEvent sampleEvent(std::uint64_t number, api::EventKind kind, std::uint32_t block, std::uint32_t session,
                                   api::EventReason reason, std::uint32_t a, std::uint32_t b, std::int64_t msBefore = 0)
{
    api::CacheEvent e;
    e.sequenceNumber = number;
    e.timeNs = kSampleTimeNs - std::uint64_t(msBefore) * 1'000'000;
    e.kind = kind;
    e.block = block;
    e.session = session;
    e.reason = reason;
    e.a = a;
    e.b = b;
    e.sequence = session;
    e.turn = 9;
    return e;
}

// The last minute of that pool, oldest first. Numbers 101...
inline std::vector<api::CacheEvent> sampleEvents()
{
    using api::EventKind;
    using api::EventReason;
    std::vector<api::CacheEvent> events;
    std::uint64_t n = 101;
    for (std::uint32_t i = 0; i < 24; ++i)
        events.push_back(sampleEvent(n++, EventKind::restore, 48 + i, 2, EventReason::none, 368640, 375, 72894));
    for (std::uint32_t i = 0; i < 6; ++i)
        events.push_back(sampleEvent(n++, EventKind::deadBranch, 112 + i, 1, EventReason::regenerated, 0, 0, 30174));
    events.push_back(sampleEvent(n++, EventKind::miss, kNoBlock.value, 1, EventReason::neverStored, 1088, 17, 1333));
    events.push_back(sampleEvent(n++, EventKind::hit, kNoBlock.value, 1, EventReason::none, 1088, 1105, 1333));
    events.push_back(sampleEvent(n++, EventKind::evict, 118, 3, EventReason::lru, 84000, 3, 1));
    events.push_back(sampleEvent(n++, EventKind::allocate, 107, 1, EventReason::none, 75, 16, 0));
    events.back().references = 1;
    return events;
}

inline api::PoolCounts sampleCounts(double share) // 0: three minutes ago, 1: now
{
    api::PoolCounts c;
    c.timeNs = kSampleTimeNs - std::uint64_t((1 - share) * 180e9);
    c.capacity = 512;
    c.inUse = std::uint32_t(20 + 59 * share);
    c.partlyFilled = 1;
    c.cachedIdle = std::uint32_t(50 - 6 * share);
    c.free = c.capacity - c.inUse - c.partlyFilled - c.cachedIdle;
    c.lookupTokens = std::uint64_t(200 + 4000 * share);
    c.hitTokensMemory = std::uint64_t(100 + 3480 * share);
    c.evictions = std::uint64_t(30 * share);
    c.regretted = std::uint64_t(4 * share);
    c.bytesInMemory = 45'700'000;
    return c;
}

inline api::Ribbon sampleRibbon()
{
    api::Ribbon ribbon{.session = SessionId{1}, .contextTokens = 8192, .usedTokens = 1204, .blockSize = 16};
    for (std::uint32_t i = 0; i < 76; ++i) {
        api::RibbonCell cell;
        cell.state = i < 2 ? api::RibbonState::shared : i == 75 ? api::RibbonState::writing : api::RibbonState::memory;
        cell.firstToken = std::int32_t(i * 16);
        cell.tokens = i == 75 ? 4 : 16;
        cell.block = BlockId{4 + i};
        cell.node = NodeId{1004 + i};
        ribbon.cells.push_back(cell);
    }
    return ribbon;
}

// An edit of the system prompt: 16 of 428 tokens matched, 26 blocks left behind.
inline api::update::TurnInspected sampleMiss()
{
    api::update::TurnInspected turn;
    turn.session = SessionId{1};
    turn.turnNumber = turn.turns = 2;
    api::TurnReceipt &r = turn.receipt;
    r.turn = TurnId{9};
    r.promptTokens = 428;
    r.fromMemory = 16;
    r.computed = 412;
    r.prefillTokensPerSecond = 1300;
    r.miss = {.promptTokens = 428, .matchedTokens = 16, .reason = api::EventReason::neverStored, .firstDifference = 19,
              .cachedText = "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
              .askedText = "You are a helpful AI assistant who answers briefly and in plain words",
              .cachedBegin = 31, .cachedEnd = 36, .askedBegin = 31, .askedEnd = 34, .evictedAtNs = kSampleTimeNs,
              .evictedBy = "lru, for Heap sort", .deadBlocks = 26, .deadInMemory = 20, .deadEvicted = 6,
              .deadOnDisk = 26, .lostSeconds = 0.31};
    for (std::uint32_t i = 0; i < 27; ++i) {
        api::RibbonCell cell;
        cell.firstToken = std::int32_t(i * 16);
        cell.tokens = i == 26 ? 12 : 16;
        cell.state = i == 0 ? api::RibbonState::shared : i == 26 ? api::RibbonState::writing : api::RibbonState::memory;
        cell.node = NodeId{i == 0 ? 1u : 5000u + i};
        turn.asked.push_back(cell);
        if (i == 26)
            break;
        cell.state = i == 0 ? api::RibbonState::shared : i < 20 ? api::RibbonState::memory : i < 23 ? api::RibbonState::disk : api::RibbonState::evicted;
        cell.node = NodeId{i == 0 ? 1u : 1006u + i};
        turn.cached.push_back(cell);
        if (i > 0)
            r.miss.cachedPath.push_back(cell.node);
    }
    return turn;
}

} // namespace kvilt::test

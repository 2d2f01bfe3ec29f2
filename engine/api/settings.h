// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kvilt::api {

// How a token is chosen. Defaults are greedy: every sampler is off until asked for.
struct SamplingSettings {
    double temperature = 0.0;      // 0: greedy, ties to the lowest id
    int topK = 0;                  // 0: off
    double topP = 1.0;             // 1: off
    double minP = 0.0;             // 0: off
    double repeatPenalty = 1.0;    // 1: off; over the last `penaltyWindow` tokens
    double presencePenalty = 0.0;
    double frequencyPenalty = 0.0;
    int penaltyWindow = 64;
    std::uint64_t seed = 0;
    int maxTokens = 512;
    bool ignoreEos = false;
    std::vector<std::string> stop;
};

enum class ThinkingInPrompt : std::uint8_t { keep, strip };
enum class ContextFull : std::uint8_t { ask, dropOldest, stop };

struct SessionSettings {
    std::string systemPrompt;
    SamplingSettings sampling{.temperature = 0.7, .topK = 40, .topP = 0.95, .minP = 0.05, .repeatPenalty = 1.1};
    ThinkingInPrompt thinking = ThinkingInPrompt::strip;
    ContextFull contextFull = ContextFull::ask;
};

enum class KvType : std::uint8_t { f32, f16, bf16, q8, q4, fp8 };

// What a loaded model runs with. Zero means "choose".
struct EngineSettings {
    std::string backend = "auto";  // auto, cpu, cuda
    int threads = 0;
    KvType kType = KvType::f16;
    KvType vType = KvType::f16;
    int blockSize = 16;            // tokens a block, a power of two from 16 to 512
    std::uint64_t kvBlocks = 0;    // blocks per layer group; wins over kvMemory
    std::uint64_t kvMemory = 0;    // bytes
    int contextLength = 0;         // 0: the model's own
    std::string policy = "lru";
    bool cache = true;             // false: neither looks up nor stores
    bool nearReuse = false;        // stored KV of another processor or GPU will do: nearly the same numbers, never stored as exact
    std::uint64_t diskQuota = 4ull << 30; // bytes of kvcache.db
};

} // namespace kvilt::api

// SPDX-License-Identifier: Apache-2.0
#include "app/cli/options.h"

#include "app/settings/settings.h"
#include "engine/kv/eviction_policy.h"
#include "engine/sched/sampler.h"

#include <cstdlib>

namespace kvilt::cli {

namespace {

// CLI11 turns "-1" into 2^64 − 1 for unsigned numbers, so all are read signed and checked here.
Result<void> inRange(const char *option, std::int64_t value, std::int64_t low, std::int64_t high)
{
    if (value >= low && value <= high)
        return {};
    return fail(ErrorCode::badInput, std::string(option) + " must be between " + std::to_string(low) + " and " +
                                         std::to_string(high) + ", not " + std::to_string(value));
}

} // namespace

void ModelOptions::addTo(Command &command, bool required)
{
    Option file = command.option("model", model, "GGUF file");
    if (required)
        file.required();
    command.option("--backend", backend, "cpu, cuda or auto: the GPU where there is one").showDefault();
    command.flag("--deterministic", deterministic, "On a GPU: own kernels only, so that no bit depends on the batch");
    command.option("--threads", threads, "Threads that compute (default: one a core)");
    command.option("--kv-type", kvType, "f16, bf16, f32, q8, q4, fp8; or k=q8,v=q4").showDefault();
    command.option("--block-size", blockSize, "Tokens a block: 16, 32, ... 512").showDefault();
    command.option("--kv-blocks", kvBlocks, "Blocks of the pool");
    command.option("--kv-memory", kvMemory, "Memory of the pool, such as 2GiB");
    command.option("--policy", policy, "Eviction policy: " + kv::evictionPolicyList()).showDefault();
    command.option("--ctx-size", context, "Context length (default: the model's)");
    command.flag("--no-cache", noCache, "Use and store no cached KV at all");
    command.flag("--near-reuse", nearReuse, "Stored KV of another processor or GPU will do: nearly, not exactly, the same numbers");
}

Result<api::EngineSettings> ModelOptions::resolve() const
{
    KVILT_TRY_VOID(inRange("--threads", threads, 0, 1024));
    KVILT_TRY_VOID(inRange("--block-size", blockSize, 16, 512));
    KVILT_TRY_VOID(inRange("--kv-blocks", kvBlocks, 0, std::int64_t(1) << 31));
    KVILT_TRY_VOID(inRange("--ctx-size", context, 0, 1 << 30));
    if (kvBlocks > 0 && !kvMemory.empty())
        return fail(ErrorCode::badInput, "--kv-blocks and --kv-memory both say how large the pool is; give one of them");
    api::EngineSettings settings;
    settings.backend = backend;
    if (deterministic)
        ::setenv("KVILT_CUDA_DETERMINISTIC", "1", 1);
    settings.threads = int(threads);
    settings.blockSize = int(blockSize);
    settings.kvBlocks = std::uint64_t(kvBlocks);
    settings.policy = policy;
    settings.contextLength = int(context);
    settings.cache = !noCache;
    settings.nearReuse = nearReuse;
    KVILT_TRY_VOID(settings::parseKvType(kvType, settings));
    if (!kvMemory.empty()) {
        KVILT_TRY(settings.kvMemory, settings::parseBytes(kvMemory));
        if (settings.kvMemory == 0)
            return fail(ErrorCode::badInput, "--kv-memory must be more than 0 bytes");
    }
    KVILT_TRY_VOID(settings::validate(settings));
    return settings;
}

void SamplingOptions::addTo(Command &command)
{
    command.option("--max-tokens", maxTokens, "Tokens to make at most").showDefault();
    command.option("--temp", settings.temperature, "Temperature; 0: greedy").showDefault();
    command.option("--top-k", topK, "Only the K most probable tokens; 0: off");
    command.option("--top-p", settings.topP, "Only the most probable tokens that reach P; 1: off");
    command.option("--min-p", settings.minP, "Only tokens with at least P times the best probability; 0: off");
    command.option("--repeat-penalty", settings.repeatPenalty, "1: off");
    command.option("--presence-penalty", settings.presencePenalty, "0: off");
    command.option("--frequency-penalty", settings.frequencyPenalty, "0: off");
    command.option("--penalty-window", penaltyWindow, "Tokens that the penalties look back").showDefault();
    command.option("--seed", seed, "Seed of the draw").showDefault();
    // One value an occurrence: a stop string may look like anything, and what follows may be the model.
    command.option("--stop", settings.stop, "Ends the reply before this text (repeatable)")
        .repeatable();
    command.flag("--ignore-eos", settings.ignoreEos, "Go on after an end token");
}

Result<api::SamplingSettings> SamplingOptions::resolve() const
{
    KVILT_TRY_VOID(inRange("--max-tokens", maxTokens, 0, 1 << 30));
    KVILT_TRY_VOID(inRange("--top-k", topK, 0, 1 << 30));
    KVILT_TRY_VOID(inRange("--penalty-window", penaltyWindow, 0, 1 << 30));
    api::SamplingSettings out = settings;
    out.maxTokens = int(maxTokens);
    out.topK = int(topK);
    out.penaltyWindow = int(penaltyWindow);
    out.seed = std::uint64_t(seed);
    KVILT_TRY_VOID(sched::checkSampling(out));
    return out;
}

} // namespace kvilt::cli

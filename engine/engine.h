// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/conversation.h"
#include "engine/api/pool_view.h"
#include "engine/api/settings.h"
#include "engine/kv/kv_layout.h"
#include "engine/support/clock.h"
#include "engine/support/error.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kvilt::gguf {
class GgufFile;
}
namespace kvilt::model {
class Model;
}
namespace kvilt::text {
class Tokenizer;
class ChatTemplate;
} // namespace kvilt::text
namespace kvilt::kv {
class KvCache;
}
namespace kvilt::store {
class KvStore;
}
namespace kvilt::trace {
class EventSink;
}
namespace kvilt::backend {
class Backend;
}

namespace kvilt {

// A model file opened for use: weights (mapped), vocabulary, template. Immutable, shared by value.
struct LoadedModel {
    std::string path;
    std::shared_ptr<const model::Model> model;
    std::shared_ptr<const text::Tokenizer> tokenizer;
    std::shared_ptr<const text::ChatTemplate> chatTemplate; // null: the file has none
    std::string templateProblem;                            // one sentence when a template is there but unusable
};
Result<LoadedModel> loadModel(const std::string &path);

// Called on the engine's thread, in ascending order of position: the raw logits after the token at `position`.
using LogitSink = std::function<void(std::int32_t position, std::span<const float> logits)>;

// One generation. The prompt is token ids: text is the caller's business (engine/chat).
struct Request {
    std::vector<TokenId> tokens;         // the whole prompt, at least one
    api::SamplingSettings sampling;      // maxTokens 0: the prompt is only computed
    std::string salt;                    // who may share cached blocks: part of each block's identity
    SessionId session;                   // for events and per-session accounts; 0: none
    TurnId turn;
    MessageId branch;                    // which branch of the session this is; its KV tip is kept under it; 0: no tip
    // What the session held after the point where this prompt parts from it is not needed any more (edited,
    // regenerated, ...): those blocks go first. none: leave them alone (side prompts, forks).
    api::EventReason supersedes = api::EventReason::none;
    int priority = 0;                    // greater goes first where a policy looks at it
    double weight = 1;                   // share of the machine, for schedulers that divide it; first come first served does not
    bool useCache = true;                // false: neither looks up nor stores
    // What the caller knows to have changed since this session's last turn (differentModel, differentTemplate).
    api::EventReason knownChange = api::EventReason::none;
    std::uint32_t logprobs = 0;          // this many most probable tokens for each token made
    std::int32_t logitsFrom = -1;        // prompt rows from this position on go to `logitSink`; -1: none
    LogitSink logitSink;
    std::vector<TokenId> forcedReply;    // these tokens are taken instead of sampling (tests, benchmarks)
};

struct TokenLogprob {
    TokenId id = 0;
    float logprob = 0; // ln softmax of the raw logits, before penalties and temperature
};

enum class SequencePhase : std::uint8_t { queued, restoring, prefill, decode, finished };

// Counts of one sequence; prompt = cachedMemory + cachedDisk + computed once the prompt is done.
struct SequenceStats {
    SequencePhase phase = SequencePhase::queued;
    std::uint32_t promptTokens = 0;
    std::uint32_t cachedMemory = 0, cachedDisk = 0; // tokens
    std::uint32_t cachedHost = 0;                   // of cachedDisk, from the host's memory beside a GPU
    std::uint32_t computed = 0;                     // prompt tokens run, each counted once
    std::uint32_t recomputed = 0;                   // run again after a preemption
    std::uint32_t completionTokens = 0;
    std::uint32_t restoredBlocks = 0, evictedBlocks = 0;
    std::uint32_t preemptions = 0;
    std::uint64_t submittedNs = 0, startedNs = 0, firstTokenNs = 0, lastTokenNs = 0; // the engine's clock
    double prefillSeconds = 0, decodeSeconds = 0, restoreSeconds = 0;                // time of the steps it was in
    double savedSeconds = 0;                        // what the cached part would have cost at the measured rate
    std::vector<std::uint32_t> gapsUs;              // ITL: each gap between two tokens

    double ttftSeconds() const { return firstTokenNs ? double(firstTokenNs - submittedNs) * 1e-9 : 0.0; }
    double tpotSeconds() const; // (last − first) / (n − 1)
    double prefillTokensPerSecond() const;
    double decodeTokensPerSecond() const;
};

// What a lookup found, in tokens and nodes; engine/chat turns it into an api::MissReport with both texts.
struct LookupRecord {
    std::uint32_t promptTokens = 0, matchedTokens = 0;
    std::uint32_t firstMissing = 0;                   // position
    api::EventReason reason = api::EventReason::none; // of what was not matched
    std::int32_t firstDifference = -1;                // position where the cache held other tokens; -1: nothing
    std::vector<TokenId> cachedTokens;                // these, from the end of the last matched block on
    std::uint32_t cachedTokensBegin = 0;              // their first position
    std::vector<NodeId> cachedPath;                   // their nodes, in order
    std::uint32_t pathInMemory = 0, pathEvicted = 0, pathOnDisk = 0;
    std::uint32_t wantedGhosts = 0;                   // blocks of this prompt that had been evicted
    std::uint64_t evictedAtNs = 0;                    // of the first missing block, if that was the reason
    api::EventReason evictedFor = api::EventReason::none; // the policy's reason
    SessionId evictedBy;                              // whose allocation needed the room
};

// What one sequence gained since the last takeOutputs(). Text is valid UTF-8 and never contains a stop string
// or the beginning of one that may still complete.
struct SequenceOutput {
    SequenceId sequence;
    std::vector<TokenId> tokens; // without the end token
    std::string text;
    std::vector<std::vector<TokenLogprob>> logprobs; // best first, one list a token
    bool finished = false;
    api::FinishReason reason = api::FinishReason::stop;
    std::string problem;         // one sentence when reason is error
    SequenceStats stats;
    LookupRecord lookup;         // set once finished
};

struct StepReport {
    bool worked = false;      // something ran: call step() again
    bool interrupted = false; // interrupt() came: commands may wait
    double seconds = 0;
    std::uint32_t tokens = 0, sequences = 0;
    std::uint32_t underWay = 0; // further steps that the device computes already
};

struct EngineOptions {
    LoadedModel model;
    api::EngineSettings settings;
    std::array<std::uint8_t, 32> fingerprint{}; // of the model file; all zero: nothing is stored or restored
    store::KvStore *kvStore = nullptr;          // not owned; null: nothing is stored or restored
    trace::EventSink *events = nullptr;         // not owned; null: events are dropped
    std::function<std::uint64_t()> clockNs;     // monotonic, for durations; default: steady_clock
    const Clock *wallClock = nullptr;           // for events; null: the system's
    double stepSeconds = 0.1;                   // aim for the longest step
    std::uint32_t chunk = 0;                    // fixed prefill chunk (tests, `logits --chunk`); 0: by measured rate
    std::uint32_t stepsInFlight = 0;            // at most; 0: as many as the program takes
    bool contiguous = false;                    // benchmark aid, see PrepareOptions
    bool cpuInstead = false;                    // backend cuda: a GPU that cannot be used is no error, see takeDeviceNote()
    std::optional<std::uint64_t> hostTierBytes; // beside a GPU: blocks it evicts stay in so much of the host's memory
    // Opens the GPU where settings.backend is auto or cuda; empty: the first one there is (tests bring their own).
    std::function<Result<std::unique_ptr<backend::Backend>>()> openCuda;
};

// The facade: one model on one backend, its block pool, its scheduler and the generations in flight.
// All methods belong to one thread, except interrupt(). Outputs are pulled after each step.
class Engine {
public:
    static Result<std::unique_ptr<Engine>> create(EngineOptions options);
    ~Engine();
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    // What create() and then submit() would refuse: settings, memory, prompt. Reads nothing but the header, so that a
    // program can refuse before it writes anything. `request` may be null.
    static Result<void> checkBefore(const LoadedModel &model, const api::EngineSettings &settings, const Request *request);
    // What submit() would refuse.
    Result<void> check(const Request &request) const;

    // badInput: no tokens, an id out of range, longer than the context, sampling values out of range.
    Result<SequenceId> submit(Request request);
    // A second generation that shares all blocks of `from` (copy on write) and samples with its own settings.
    Result<SequenceId> fork(SequenceId from, const api::SamplingSettings &sampling);
    // Ends a generation: its computed blocks stay cached, the output says `cancelled`.
    void cancel(SequenceId sequence);
    void cancelAll();

    // One scheduler step: at most about `stepSeconds`, less when interrupted.
    Result<StepReport> step();
    std::vector<SequenceOutput> takeOutputs();
    bool idle() const; // nothing waits or runs

    // Thread-safe, never blocks: abandons the step that runs now, or the next one, at the next layer. What was
    // abandoned is computed again by the following step.
    void interrupt();

    std::optional<SequenceStats> stats(SequenceId sequence) const;
    // Tokens of these that a lookup would find now: in memory, then on disk. Changes nothing.
    struct Peek {
        std::uint32_t memoryTokens = 0, diskTokens = 0;
    };
    Peek peek(std::span<const TokenId> tokens, const std::string &salt);

    // Notes what the store has written or dropped since; step() does so too.
    void takeStored();
    // Waits until every sealed block that was handed to the store is committed.
    Result<void> flush();
    // Frees every cached block; false, and nothing changed, while a sequence runs.
    bool clearCache(api::EventReason reason = api::EventReason::dropped);

    api::PoolSnapshot snapshot() const;
    api::PoolCounts counts() const;
    kv::KvCache &cache();
    const kv::KvCache &cache() const;

    const LoadedModel &loaded() const;
    const kv::KvLayout &layout() const;
    const api::EngineSettings &settings() const; // zeros replaced by what was chosen
    std::uint32_t contextLength() const;
    std::string isa() const;
    std::string numerics() const;
    std::string deviceName() const;
    std::uint64_t hostTierBytes() const; // payloads of a GPU's blocks in the host's memory
    // Why the CPU computes although a GPU was wanted or lost: one sentence, once; empty when there is nothing to say.
    std::string takeDeviceNote();
    double prefillTokensPerSecond() const; // measured, 0 before the first prompt
    double decodeTokensPerSecond() const;

private:
    struct Impl;
    explicit Engine(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt

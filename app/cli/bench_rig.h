// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/engine.h"
#include "engine/kv/kv_cache.h"
#include "engine/trace/event_sink.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace kvilt::cli {

// Program and block tables without scheduler or sampler: what a benchmark measures is the computing alone, as
// llama-bench does. Sequences stand at a depth that is computed once; each measurement goes on from there and is
// taken back.
class BenchRig {
public:
    struct Shape {
        std::uint32_t batch = 1, depth = 0, longest = 0; // tokens measured at most beyond the depth
    };
    static Result<std::unique_ptr<BenchRig>> create(const LoadedModel &model, const api::EngineSettings &settings,
                                                    const Shape &shape, bool contiguous);
    // `contiguous`: each sequence's blocks lie one after the other in one piece of memory; else in pages, shuffled.

    const backend::Backend &device() const { return *m_device; }
    const backend::Program &program() const { return *m_program; }

    // One sequence twice in one piece of memory: the first one's blocks lie one after the other, the second one's where chance (by
    // `seed`) put them. All that differs between decoding the two is where KV lies.
    static Result<std::unique_ptr<BenchRig>> createTwin(const LoadedModel &model, const api::EngineSettings &settings,
                                                        std::uint32_t depth, std::uint32_t longest, std::uint64_t seed);
    // Seconds of token `index` beyond the depth of sequence `sequence` alone; indices ascend.
    Result<double> decodeAlone(std::uint32_t sequence, std::uint32_t index);
    // Where the time of all measured steps since the last call went; all zero where the device cannot tell.
    backend::PhaseSeconds takePhases() { return std::exchange(m_phases, {}); }

    // Seconds to compute `tokens` more of every sequence, in chunks of the step size that the device likes best.
    Result<double> prefill(std::uint32_t tokens);
    // Seconds to make `tokens` more of every sequence, one at a time, all sequences in one step.
    Result<double> decode(std::uint32_t tokens);

private:
    class Quiet final : public trace::EventSink {
    public:
        void emit(const api::CacheEvent &) noexcept override {}
    };
    enum class Placing { paged, contiguous, twin };
    BenchRig() = default;
    static Result<std::unique_ptr<BenchRig>> make(const LoadedModel &model, const api::EngineSettings &settings, const Shape &shape,
                                                  Placing placing, std::uint64_t seed = 43);
    // Computes [first, first + count) of sequences [from, to); logits for the last token only.
    Result<double> step(std::uint32_t from, std::uint32_t to, std::uint32_t first, std::uint32_t count);
    struct InFlight {
        bool sampled = false;                  // the device chooses the tokens
        std::optional<backend::Ticket> before; // the step whose tokens are this one's
    };
    Result<backend::Ticket> submit(std::uint32_t from, std::uint32_t to, std::uint32_t first, std::uint32_t count,
                                   const InFlight &inFlight);
    Result<double> decodeInFlight(std::uint32_t tokens);
    // Blocks are handed out in an order of chance from here on, as after a long day.
    void shufflePool(std::uint32_t blocks, std::uint64_t seed);
    // `atOnce`: tokens whose blocks are taken before the first is computed.
    Result<void> startSequence(std::uint32_t sequence, std::uint64_t atOnce = 1);
    Result<double> advance(std::uint32_t sequence, std::uint32_t first, std::uint32_t tokens);
    Result<void> takeBack();

    kv::KvLayout m_layout;
    std::uint32_t m_maxStep = 512;
    std::unique_ptr<backend::Backend> m_device;
    std::unique_ptr<backend::Program> m_program;
    Quiet m_sink;
    SystemClock m_clock;
    std::unique_ptr<kv::KvCache> m_cache;
    Shape m_shape;
    backend::PhaseSeconds m_phases;
    std::vector<std::vector<TokenId>> m_tokens; // of each sequence: fixed, pseudo-random
};

} // namespace kvilt::cli

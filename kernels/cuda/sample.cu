// SPDX-License-Identifier: Apache-2.0
// Tokens from logits, as sched::Sampler chooses them (ops.h, SampleSlot).
#include "kernels/cuda/device/vocabulary.cuh"
#include "kernels/cuda/params.h"

namespace kvilt::kernels::cuda::device {
namespace {

constexpr std::uint32_t kSampleThreads = 1024;

// Larger for better tokens: the logit's order, then the lower id. 0: NaN, never chosen.
KV_DEVICE std::uint64_t rankOf(float logit, std::uint32_t id)
{
    if (!(logit == logit))
        return 0;
    const std::uint32_t bits = bitsOf(logit + 0.0f); // -0 counts as 0
    const std::uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return std::uint64_t(ordered) << 32 | (0xffffffffu - id);
}
KV_DEVICE std::uint32_t idOf(std::uint64_t rank) { return 0xffffffffu - std::uint32_t(rank); }
KV_DEVICE float logitOf(std::uint64_t rank)
{
    const auto ordered = std::uint32_t(rank >> 32);
    return floatOf(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

KV_DEVICE std::uint64_t warpBest(std::uint64_t v)
{
    for (std::uint32_t mask = 16; mask > 0; mask /= 2) {
        const std::uint64_t other = std::uint64_t(shuffleXor(std::uint32_t(v >> 32), mask)) << 32 | shuffleXor(std::uint32_t(v), mask);
        v = other > v ? other : v;
    }
    return v;
}

// exp(x), x <= 0, by the steps of sched::Sampler.
KV_DEVICE double drawExp(double x)
{
    if (!(x > -700.0))
        return 0.0;
    const double n = roundToEven(x * 1.4426950408889634074);
    const double r = fma(-n, 1.9082149292705877e-10, fma(-n, 0.693147180369123816490, x));
    double sum = 1.0;
    KV_NO_UNROLL for (int k = 13; k >= 1; --k)
        sum = fma(sum, r / double(k), 1.0);
    return timesPowerOf2(sum, int(n));
}

KV_DEVICE double unitAt(std::uint64_t seed, std::uint64_t position)
{
    std::uint64_t z = seed + (position + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return double((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

// Shared memory of sample_draw.
struct DrawShared {
    std::uint32_t bins[256];
    std::uint64_t chosen[kMaxTopK];
    std::uint64_t sorted[kMaxTopK];
    double weights[kMaxTopK];
    std::uint64_t prefix; // of the rank of the last one chosen, as far as it is known
    std::uint32_t wanted; // still, among those with the prefix
    std::uint32_t count;
    std::uint32_t done;
};

struct DrawBlock {
    const SampleParams &p;
    const SampleSlot &slot;
    const float *logits;
    DrawShared &shared;

    KV_DEVICE explicit DrawBlock(const SampleParams &params)
        : p(params), slot(params.slots[blockX()]), logits(params.penalised + std::uint64_t(blockX()) * params.vocabulary),
          shared(*reinterpret_cast<DrawShared *>(sharedMemory()))
    {
    }

    // The digit of the k-th best rank, best digits first; then how many of that digit are wanted.
    KV_DEVICE void chooseDigit(std::uint32_t shift)
    {
        std::uint32_t above = 0;
        for (std::uint32_t digit = 256; digit-- > 0;) {
            if (above + shared.bins[digit] >= shared.wanted || digit == 0) {
                shared.prefix |= std::uint64_t(digit) << shift;
                shared.wanted -= above;
                shared.done = shared.bins[digit] <= shared.wanted; // all of them: what is left of the rank is not needed
                return;
            }
            above += shared.bins[digit];
        }
    }

    // Radix selection: afterwards ranks >= prefix are the best `wanted`. Returns how many low bits of prefix stayed open.
    KV_DEVICE std::uint32_t select(std::uint32_t wanted)
    {
        if (threadIndex() == 0) {
            shared.prefix = 0;
            shared.wanted = wanted;
            shared.done = 0;
            shared.count = 0;
        }
        std::uint32_t shift = 64;
        do {
            shift -= 8;
            if (threadIndex() < 256)
                shared.bins[threadIndex()] = 0;
            syncBlock();
            for (std::uint32_t id = threadIndex(); id < p.vocabulary; id += kSampleThreads) {
                const std::uint64_t rank = rankOf(logits[id], id);
                if (shift == 56 || rank >> (shift + 8) == shared.prefix >> (shift + 8))
                    addToShared(&shared.bins[rank >> shift & 255u], 1);
            }
            syncBlock();
            if (threadIndex() == 0)
                chooseDigit(shift);
            syncBlock();
        } while (shift > 0 && !shared.done);
        return shift;
    }

    // The best min(wanted, ...) ranks, descending, to `sorted`; their number.
    KV_DEVICE std::uint32_t gather(std::uint32_t wanted)
    {
        select(wanted);
        for (std::uint32_t id = threadIndex(); id < p.vocabulary; id += kSampleThreads) {
            const std::uint64_t rank = rankOf(logits[id], id);
            if (rank == 0 || rank < shared.prefix)
                continue;
            const std::uint32_t at = countShared(&shared.count);
            if (at < kMaxTopK)
                shared.chosen[at] = rank;
        }
        syncBlock();
        const std::uint32_t count = minOf(shared.count, wanted);
        if (threadIndex() < count) {
            const std::uint64_t own = shared.chosen[threadIndex()];
            std::uint32_t better = 0;
            for (std::uint32_t i = 0; i < count; ++i)
                better += shared.chosen[i] > own ? 1u : 0u;
            shared.sorted[better] = own;
        }
        syncBlock();
        return count;
    }

    // Candidate i's weight at a temperature, all at once; thread 0 adds them up in order.
    KV_DEVICE void weigh(std::uint32_t count, double temperature)
    {
        syncBlock();
        if (threadIndex() < count)
            shared.weights[threadIndex()] =
                drawExp((double(logitOf(shared.sorted[threadIndex()])) - double(logitOf(shared.sorted[0]))) / temperature);
        syncBlock();
    }

    KV_DEVICE std::uint32_t keepTopP(std::uint32_t count) const
    {
        double total = 0, sum = 0;
        for (std::uint32_t i = 0; i < count; ++i)
            total += shared.weights[i];
        std::uint32_t keep = 0;
        while (keep < count && (keep == 0 || sum < slot.topP * total))
            sum += shared.weights[keep++];
        return keep;
    }
    KV_DEVICE std::uint32_t keepMinP(std::uint32_t count) const
    {
        std::uint32_t keep = 1;
        while (keep < count && shared.weights[keep] >= slot.minP)
            ++keep;
        return keep;
    }
    KV_DEVICE std::uint32_t draw(std::uint32_t count) const
    {
        double total = 0;
        for (std::uint32_t i = 0; i < count; ++i)
            total += shared.weights[i];
        double left = unitAt(slot.seed, slot.position) * total;
        for (std::uint32_t i = 0; i < count; ++i) {
            left -= shared.weights[i];
            if (left < 0)
                return i;
        }
        return count - 1;
    }

    KV_DEVICE void run()
    {
        const bool greedy = !(slot.temperature > 0);
        std::uint32_t count = gather(greedy ? 1 : minOf(maxOf(slot.topK, 1u), kMaxTopK));
        if (greedy || count == 0) {
            if (threadIndex() == 0)
                p.sampled[slot.outSlot] = count == 0 ? 0 : std::int32_t(idOf(shared.sorted[0]));
            return;
        }
        weigh(count, 1.0);
        if (threadIndex() == 0) {
            shared.count = slot.topP < 1.0 ? keepTopP(count) : count;
            shared.count = slot.minP > 0.0 ? keepMinP(shared.count) : shared.count;
        }
        syncBlock();
        count = shared.count;
        weigh(count, slot.temperature);
        if (threadIndex() == 0)
            p.sampled[slot.outSlot] = std::int32_t(idOf(shared.sorted[draw(count)]));
    }
};

} // namespace
} // namespace kvilt::kernels::cuda::device

namespace kc = kvilt::kernels::cuda;
namespace kd = kvilt::kernels::cuda::device;

KV_KERNEL(sample_greedy, kc::SampleParams, 1024, 1)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const kc::SampleSlot &slot = p.slots[kd::blockX()];
    const float *logits = p.logits + std::uint64_t(slot.logitRow) * p.vocabulary;
    std::uint64_t best = 0;
    for (std::uint32_t id = kd::threadIndex(); id < p.vocabulary; id += kd::kSampleThreads) {
        const std::uint64_t rank = kd::rankOf(logits[id], id);
        best = rank > best ? rank : best;
    }
    auto *warps = reinterpret_cast<std::uint64_t *>(kd::sharedMemory());
    best = kd::warpBest(best);
    if (kd::lane() == 0)
        warps[kd::warp()] = best;
    kd::syncBlock();
    if (kd::warp() == 0) {
        best = kd::warpBest(warps[kd::lane()]);
        if (kd::lane() == 0)
            p.sampled[slot.outSlot] = best == 0 ? 0 : std::int32_t(kd::idOf(best));
    }
}

// A copy of the logits in which each token of the history is penalised once.
KV_KERNEL(sample_penalise, kc::SampleParams, 1024, 1)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const kc::SampleSlot &slot = p.slots[kd::blockX()];
    const float *from = p.logits + std::uint64_t(slot.logitRow) * p.vocabulary;
    float *to = p.penalised + std::uint64_t(kd::blockX()) * p.vocabulary;
    for (std::uint32_t id = kd::threadIndex(); id < p.vocabulary; id += kd::kSampleThreads)
        to[id] = from[id];
    const std::uint32_t count = slot.historyCount + (slot.historyLast < 0 ? 1 : 0);
    const auto tokenAt = [&](std::uint32_t i) {
        return i < slot.historyCount ? p.history[slot.historyBegin + i] : p.sampled[-1 - slot.historyLast];
    };
    kd::syncBlock();
    for (std::uint32_t i = kd::threadIndex(); i < count; i += kd::kSampleThreads) {
        const std::int32_t token = tokenAt(i);
        std::uint32_t times = 0;
        bool firstOfIts = true;
        for (std::uint32_t j = 0; j < count; ++j)
            if (tokenAt(j) == token) {
                ++times;
                firstOfIts = firstOfIts && j >= i;
            }
        if (!firstOfIts || token < 0 || std::uint32_t(token) >= p.vocabulary)
            continue;
        float logit = to[token];
        logit = logit > 0 ? kd::divideExact(logit, slot.repeatPenalty) : logit * slot.repeatPenalty;
        to[token] = logit - (float(times) * slot.frequencyPenalty + slot.presencePenalty);
    }
}

KV_KERNEL(sample_draw, kc::SampleParams, 1024, 1)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    kd::DrawBlock block(p);
    block.run();
}

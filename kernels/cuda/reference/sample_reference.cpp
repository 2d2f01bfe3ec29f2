// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/reference/kv_reference.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

namespace kvilt::kernels::cuda::reference {
namespace {

struct Candidate {
    float logit;
    std::int32_t id;
};

// exp(x), x <= 0, by the same steps as sched::Sampler: x = n ln 2 + r, Taylor to r^13.
double drawExp(double x)
{
    if (!(x > -700.0))
        return 0.0;
    const double n = std::nearbyint(x * 1.4426950408889634074);
    const double r = std::fma(-n, 1.9082149292705877e-10, std::fma(-n, 0.693147180369123816490, x));
    double sum = 1.0;
    for (int k = 13; k >= 1; --k)
        sum = std::fma(sum, r / k, 1.0);
    return std::ldexp(sum, int(n));
}

// SplitMix64's output at state seed + (position + 1) * golden ratio, as [0, 1).
double unitAt(std::uint64_t seed, std::uint64_t position)
{
    std::uint64_t z = seed + (position + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return double((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

void penalise(const SampleOp &op, const SampleSlot &slot, std::vector<float> &logits)
{
    std::map<std::int32_t, int> counts;
    for (std::uint32_t i = 0; i < slot.historyCount; ++i)
        ++counts[op.history[slot.historyBegin + i]];
    if (slot.historyLast < 0)
        ++counts[op.sampled[-1 - slot.historyLast]];
    for (const auto &[id, count] : counts) {
        if (id < 0 || std::size_t(id) >= logits.size())
            continue;
        float &logit = logits[std::size_t(id)];
        logit = logit > 0 ? logit / slot.repeatPenalty : logit * slot.repeatPenalty;
        logit -= float(count) * slot.frequencyPenalty + slot.presencePenalty;
    }
}

// The first of equals; NaN never wins.
std::int32_t best(const std::vector<float> &logits)
{
    std::size_t at = 0;
    for (std::size_t i = 1; i < logits.size(); ++i)
        if (logits[i] > logits[at] || (std::isnan(logits[at]) && !std::isnan(logits[i])))
            at = i;
    return static_cast<std::int32_t>(at);
}

std::int32_t draw(const SampleSlot &slot, std::vector<Candidate> &c)
{
    const auto better = [](const Candidate &a, const Candidate &b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; };
    const std::size_t count = std::min<std::size_t>(slot.topK, c.size());
    std::partial_sort(c.begin(), c.begin() + static_cast<std::ptrdiff_t>(count), c.end(), better);
    c.resize(count);
    const double top = c.front().logit;
    const auto weight = [&](const Candidate &x, double temperature) { return drawExp((double(x.logit) - top) / temperature); };
    if (slot.topP < 1.0) {
        double total = 0, sum = 0;
        for (const Candidate &x : c)
            total += weight(x, 1.0);
        std::size_t keep = 0;
        while (keep < c.size() && (keep == 0 || sum < slot.topP * total))
            sum += weight(c[keep++], 1.0);
        c.resize(keep);
    }
    if (slot.minP > 0.0) {
        std::size_t keep = 1;
        while (keep < c.size() && weight(c[keep], 1.0) >= slot.minP)
            ++keep;
        c.resize(keep);
    }
    double total = 0;
    for (const Candidate &x : c)
        total += weight(x, slot.temperature);
    double left = unitAt(slot.seed, slot.position) * total;
    for (const Candidate &x : c) {
        left -= weight(x, slot.temperature);
        if (left < 0)
            return x.id;
    }
    return c.back().id;
}

} // namespace

void sample(const SampleOp &op)
{
    for (std::uint32_t i = 0; i < op.count; ++i) {
        const SampleSlot &slot = op.slots[i];
        const float *from = op.logits + std::size_t(slot.logitRow) * op.vocabulary;
        std::vector<float> logits(from, from + op.vocabulary);
        if (!op.greedyOnly)
            penalise(op, slot, logits);
        std::vector<Candidate> candidates;
        if (!op.greedyOnly && slot.temperature > 0)
            for (std::uint32_t id = 0; id < op.vocabulary; ++id)
                if (!std::isnan(logits[id]))
                    candidates.push_back({logits[id], static_cast<std::int32_t>(id)});
        op.sampled[slot.outSlot] = candidates.empty() ? best(logits) : draw(slot, candidates);
    }
}

} // namespace kvilt::kernels::cuda::reference

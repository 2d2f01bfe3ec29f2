// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/probe.h"

#include "kernels/api/buffer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

namespace kvilt::kernels {
namespace {

constexpr int kPasses = 7;

double seconds()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

using Loop = std::uint64_t (*)(std::uint64_t) noexcept;

// Operations a second of a loop on all threads; rounds are doubled until a pass takes 20 ms.
double probeLoop(Loop loop, int threads, const RunOnThreads &run)
{
    std::uint64_t rounds = 1 << 14;
    std::vector<double> rates;
    while (rates.size() < kPasses) {
        std::atomic<std::uint64_t> operations{0};
        const double start = seconds();
        run(threads, [&](int) { operations += loop(rounds); });
        const double taken = seconds() - start;
        if (taken < 0.02 && rounds < (std::uint64_t(1) << 40))
            rounds *= 2;
        else
            rates.push_back(double(operations) / taken);
    }
    return median(rates);
}

} // namespace

double probeReadBandwidth(const KernelTable &kernels, std::size_t bytes, int threads, const RunOnThreads &run)
{
    const std::size_t part = bytes / std::size_t(threads) / 1024 * 1024;
    auto buffer = Buffer::allocate(part * std::size_t(threads));
    if (!buffer || part == 0)
        return 0;
    std::memset(buffer->data(), 1, buffer->size());
    const int repeats = int(std::max<std::size_t>(1, (std::size_t(256) << 20) / bytes));
    std::atomic<std::uint64_t> sum{0}; // keeps the reading alive
    std::vector<double> rates;
    for (int pass = 0; pass < kPasses; ++pass) {
        const double start = seconds();
        run(threads, [&](int thread) {
            for (int i = 0; i < repeats; ++i)
                sum += kernels.readMemory(buffer->data() + part * std::size_t(thread), part);
        });
        rates.push_back(double(part) * threads * repeats / (seconds() - start));
    }
    return median(rates);
}

double probeInt8(const KernelTable &kernels, int threads, const RunOnThreads &run)
{
    return probeLoop(kernels.int8Peak, threads, run);
}

double probeF32(const KernelTable &kernels, int threads, const RunOnThreads &run)
{
    return probeLoop(kernels.f32Peak, threads, run);
}

} // namespace kvilt::kernels

// SPDX-License-Identifier: Apache-2.0
#include "app/cli/limits.h"

#include "kernels/api/probe.h"

#include <algorithm>
#include <cmath>
#include <thread>

namespace kvilt::cli {

double Limits::readFor(std::uint64_t bytes) const
{
    double best = 0, distance = HUGE_VAL;
    for (const auto &[size, rate] : readBytesPerSecond) {
        const double d = std::abs(std::log(double(size) / double(std::max<std::uint64_t>(bytes, 1))));
        if (d < distance) {
            distance = d;
            best = rate;
        }
    }
    return best;
}

Limits Limits::between(const Limits &a, const Limits &b)
{
    Limits out = a;
    for (auto &[size, rate] : out.readBytesPerSecond)
        rate = 0.5 * (rate + b.readFor(size));
    out.int8PerSecond = 0.5 * (a.int8PerSecond + b.int8PerSecond);
    out.f32PerSecond = 0.5 * (a.f32PerSecond + b.f32PerSecond);
    out.barrierNs = 0.5 * (a.barrierNs + b.barrierNs);
    return out;
}

std::string sizeName(std::uint64_t bytes)
{
    return bytes >= (1ull << 30) && bytes % (1ull << 30) == 0 ? std::to_string(bytes >> 30) + "GiB"
                                                             : std::to_string((bytes + (1 << 19)) >> 20) + "MiB";
}

nlohmann::json toJson(const Limits &limits)
{
    auto rounded = [](double value, double unit) { return std::round(value / unit * 1000) / 1000; };
    nlohmann::json read = nlohmann::json::object();
    for (const auto &[size, rate] : limits.readBytesPerSecond)
        read[sizeName(size)] = rounded(rate, 1e9);
    return {{"read_gb_s", read},
            {"int8_top_s", rounded(limits.int8PerSecond, 1e12)},
            {"f32_gf_s", rounded(limits.f32PerSecond, 1e9)},
            {"barrier_ns", std::round(limits.barrierNs)},
            {"threads", limits.threads},
            {"isa", limits.isa}};
}

Result<LimitsProbe> LimitsProbe::create(std::int64_t threads)
{
    if (threads < 0 || threads > 1024)
        return fail(ErrorCode::badInput, "--threads must be between 1 and 1024, not " + std::to_string(threads));
    const auto selected = kernels::selectKernelsFromEnvironment();
    if (const auto *problem = std::get_if<std::string>(&selected))
        return fail(ErrorCode::badInput, *problem);
    LimitsProbe probe;
    probe.m_kernels = std::get<const kernels::KernelTable *>(selected);
    const int chosen = threads > 0 ? int(threads) : int(std::max(1u, std::thread::hardware_concurrency()));
    probe.m_pool = std::make_unique<ThreadPool>(chosen);
    return probe;
}

Limits LimitsProbe::measure(const std::vector<std::uint64_t> &sizes)
{
    Limits limits{.threads = m_pool->threads(), .isa = m_kernels->name};
    const kernels::RunOnThreads run = [this](int threads, const std::function<void(int)> &task) {
        m_pool->parallelFor(std::uint32_t(threads), [&](std::uint32_t i, int) { task(int(i)); });
    };
    for (std::uint64_t size : sizes)
        limits.readBytesPerSecond[size] = kernels::probeReadBandwidth(*m_kernels, size, limits.threads, run);
    limits.int8PerSecond = kernels::probeInt8(*m_kernels, limits.threads, run);
    limits.f32PerSecond = kernels::probeF32(*m_kernels, limits.threads, run);
    limits.barrierNs = m_pool->measureBarrierNs();
    return limits;
}

} // namespace kvilt::cli

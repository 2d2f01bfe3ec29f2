// SPDX-License-Identifier: Apache-2.0
#include "app/cli/limits.h"
#include "engine/backend/cuda/plugin.h"

#include <cstdio>
#include <memory>

namespace kvilt::cli {

namespace {

nlohmann::json toJson(const backend::cuda::CudaSurvey &survey)
{
    nlohmann::json devices = nlohmann::json::array();
    for (const backend::cuda::FoundDevice &device : survey.devices)
        devices.push_back({{"ordinal", device.ordinal}, {"name", device.name}, {"architecture", "sm_" + std::to_string(device.sm)},
                           {"memory_bytes", device.totalMemory}});
    nlohmann::json out = {{"usable", survey.problem.empty()}, {"devices", devices}};
    if (!survey.driver.empty())
        out["driver"] = survey.driver;
    if (!survey.plugin.empty())
        out["plugin"] = survey.plugin;
    if (!survey.problem.empty())
        out["problem"] = survey.problem;
    return out;
}

void print(const backend::cuda::CudaSurvey &survey)
{
    for (const backend::cuda::FoundDevice &device : survey.devices)
        std::printf("GPU %d        %s, sm_%u, %.1f GiB\n", device.ordinal, device.name.c_str(), device.sm,
                    double(device.totalMemory) / double(1ull << 30));
    std::printf("CUDA         %s\n", survey.problem.empty() ? ("driver " + survey.driver + ", kernels for " + survey.plugin).c_str()
                                                           : survey.problem.c_str());
}

} // namespace

void addProbe(Cli &cli)
{
    auto threads = std::make_shared<std::int64_t>(0);
    Command command = cli.add("probe", "Measure what this machine can do at most", [&cli, threads]() -> Result<void> {
        KVILT_TRY(LimitsProbe probe, LimitsProbe::create(*threads));
        const Limits limits = probe.measure({16ull << 20, 96ull << 20, 2ull << 30});
        if (cli.json) {
            nlohmann::json out = toJson(limits);
            out["cuda"] = toJson(backend::cuda::surveyCuda());
            printJson(out);
            return {};
        }
        std::printf("%s, %d threads\n", limits.isa.c_str(), limits.threads);
        for (const auto &[bytes, rate] : limits.readBytesPerSecond)
            std::printf("read %-7s %8.1f GB/s\n", sizeName(bytes).c_str(), rate / 1e9);
        std::printf("int8         %8.3f Top/s\nf32          %8.1f GF/s\nbarrier      %8.0f ns\n",
                    limits.int8PerSecond / 1e12, limits.f32PerSecond / 1e9, limits.barrierNs);
        print(backend::cuda::surveyCuda());
        return {};
    });
    command.option("--threads", *threads, "Threads (default: one a core)");
}

} // namespace kvilt::cli

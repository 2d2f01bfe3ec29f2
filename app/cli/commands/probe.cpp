// SPDX-License-Identifier: Apache-2.0
#include "app/cli/limits.h"

#include <cstdio>
#include <memory>

namespace kvilt::cli {

void addProbe(Cli &cli)
{
    auto threads = std::make_shared<std::int64_t>(0);
    Command command = cli.add("probe", "Measure what this machine can do at most", [&cli, threads]() -> Result<void> {
        KVILT_TRY(LimitsProbe probe, LimitsProbe::create(*threads));
        const Limits limits = probe.measure({16ull << 20, 96ull << 20, 2ull << 30});
        if (cli.json) {
            printJson(toJson(limits));
            return {};
        }
        std::printf("%s, %d threads\n", limits.isa.c_str(), limits.threads);
        for (const auto &[bytes, rate] : limits.readBytesPerSecond)
            std::printf("read %-7s %8.1f GB/s\n", sizeName(bytes).c_str(), rate / 1e9);
        std::printf("int8         %8.3f Top/s\nf32          %8.1f GF/s\nbarrier      %8.0f ns\n",
                    limits.int8PerSecond / 1e12, limits.f32PerSecond / 1e9, limits.barrierNs);
        return {};
    });
    command.option("--threads", *threads, "Threads (default: one a core)");
}

} // namespace kvilt::cli

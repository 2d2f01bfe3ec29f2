// SPDX-License-Identifier: Apache-2.0
// kvilt-cuda-check [--quick] [--fast] [--bench] [--only TEXT] [--gpu N]: every kernel against the reference on a GPU, then the same
// rows in different company bit for bit; --fast: what runs instead where bits may depend on the path (cuBLASLt, warpgroups);
// --bench times them. Exit code 0: all passed; 1: some failed; 2: not understood; 77: no GPU.
#include "engine/backend/cuda/driver_device.h"
#include "tests/cuda/bench.h"
#include "tests/cuda/runner.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

struct Options {
    bool quick = false, fast = false, bench = false;
    std::string only;
    int gpu = 0;
};

bool parse(int argc, char **argv, Options &options)
{
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--quick")
            options.quick = true;
        else if (argument == "--fast")
            options.fast = true;
        else if (argument == "--bench")
            options.bench = true;
        else if (argument == "--only" && i + 1 < argc)
            options.only = argv[++i];
        else if (argument == "--gpu" && i + 1 < argc)
            options.gpu = std::atoi(argv[++i]);
        else
            return false;
    }
    return true;
}

kvilt::Result<std::unique_ptr<kvilt::backend::cuda::Device>> open(const Options &options)
{
    using namespace kvilt::backend::cuda;
    KVILT_TRY(auto driver, openDriver());
    KVILT_TRY(auto plugin, openPlugin());
    return openDevice(std::move(driver), std::move(plugin), options.gpu, !options.bench && !options.fast);
}

void printLine(const std::string &line)
{
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

} // namespace

int main(int argc, char **argv)
{
    Options options;
    if (!parse(argc, argv, options)) {
        std::fprintf(stderr, "usage: kvilt-cuda-check [--quick] [--fast] [--bench] [--only TEXT] [--gpu N]\n");
        return 2;
    }
    auto device = open(options);
    if (!device) {
        std::fprintf(stderr, "%s\n", device.error().message.c_str());
        return 77;
    }
    const auto &info = (*device)->info();
    std::printf("%s, sm_%u, cuBLASLt %s, %s\n", info.name.c_str(), info.facts.sm, info.blas.c_str(),
                info.facts.warpgroups ? "warpgroups" : "portable kernels");
    if (options.bench) {
        const auto done = kvilt::cudacheck::runBench(**device, printLine);
        if (!done)
            std::fprintf(stderr, "%s\n", done.error().message.c_str());
        return done ? 0 : 1;
    }
    kvilt::cudacheck::Report report;
    report.print = printLine;
    kvilt::cudacheck::runCases(**device, options.quick, options.only, report);
    std::printf("%d passed, %d failed\n", report.passed, report.failed);
    return report.failed == 0 && report.passed > 0 ? 0 : 1;
}

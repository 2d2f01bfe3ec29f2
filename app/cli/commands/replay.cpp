// SPDX-License-Identifier: Apache-2.0
#include "app/cli/cli.h"
#include "app/cli/input.h"
#include "engine/sim/replay.h"

#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>

namespace kvilt::cli {

namespace {

struct ReplayOptions {
    std::string script, trace, policy = "lru";
    std::int64_t blocks = 0;
};

Result<void> replay(const Cli &cli, const ReplayOptions &options)
{
    KVILT_TRY(std::string text, readFile(options.script.empty() ? options.trace : options.script));
    std::istringstream input(std::move(text));
    if (!options.script.empty())
        return sim::runBlockScript(input, [](std::string_view line) { std::cout << line << '\n'; });
    if (options.blocks < 1 || options.blocks > (1 << 30))
        return fail(ErrorCode::badInput, "--blocks must be between 1 and 2^30, not " + std::to_string(options.blocks));
    KVILT_TRY(const sim::TraceResult result, sim::runTrace(input, std::uint64_t(options.blocks), options.policy));
    if (cli.json) {
        std::cout << sim::toJson(result) << '\n';
        return {};
    }
    std::printf("%llu requests, %llu blocks referenced\nhit ratio %.4f (no limit %.4f, optimum %.4f)\n"
                "%llu evictions, %llu regretted\n%.0f ns a block\n",
                (unsigned long long)result.requests, (unsigned long long)result.blocksReferenced, result.hitRatio,
                result.infiniteHitRatio, result.optimalHitRatio, (unsigned long long)result.evictions,
                (unsigned long long)result.regrettedEvictions, result.nsPerBlock);
    return {};
}

} // namespace

void addReplay(Cli &cli)
{
    auto options = std::make_shared<ReplayOptions>();
    Command command = cli.add("replay", "Step through the block manager, or measure a policy on a trace",
                                [&cli, options] { return replay(cli, *options); });
    Command input = command.oneOf("input");
    input.option("--script", options->script, "Block script, JSON lines");
    input.option("--trace", options->trace, "Trace of requests, JSON lines");
    command.option("--blocks", options->blocks, "Blocks of the pool (trace)");
    command.option("--policy", options->policy, "lru, fifo, lfu or belady (trace)").showDefault();
}

} // namespace kvilt::cli

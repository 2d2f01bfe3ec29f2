// SPDX-License-Identifier: Apache-2.0
#include "app/cli/cli.h"

#include <csignal>
#include <cstdio>
#include <new>
#include <optional>

namespace {

using kvilt::cli::Cli;

void addCommands(Cli &cli)
{
    using namespace kvilt::cli;
    for (auto add : {addChat, addProbe, addInfo, addTokenize, addDetokenize, addTemplate, addGenerate, addLogits,
                     addPerplexity, addBench, addReplay, addRun, addSession, addEvents})
        add(cli);
}

int runChosen(Cli &cli)
{
    const kvilt::Result<void> result = cli.run();
    std::fflush(stdout);
    if (result)
        return std::ferror(stdout) ? 1 : 0;
    kvilt::cli::note(result.error().message);
    return kvilt::cli::exitCode(result.error().code);
}

} // namespace

int main(int argc, char **argv)
{
    std::signal(SIGXFSZ, SIG_IGN); // a file that may not grow is told like a full disk, and ends nothing
    Cli cli;
    addCommands(cli);
    if (const std::optional<int> code = cli.parse(argc, argv))
        return *code;
    // The libraries under us may throw when memory runs out: a fault, not an abort.
    try {
        return runChosen(cli);
    } catch (const std::bad_alloc &) {
        kvilt::cli::note("out of memory; close other programs or ask for less");
        return 1;
    }
}

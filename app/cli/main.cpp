// SPDX-License-Identifier: Apache-2.0
#include "app/cli/cli.h"
#include "engine/support/version.h"

#include <cstdio>
#include <new>

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
    Cli cli;
    cli.app.set_version_flag("--version", std::string("kvilt-cli ") + std::string(kvilt::version()));
    cli.app.require_subcommand(1);
    addCommands(cli);
    try {
        cli.app.parse(argc, argv);
    } catch (const CLI::Success &success) { // --help, --version
        return cli.app.exit(success);
    } catch (const CLI::ParseError &error) {
        kvilt::cli::note(error.what());
        return 2;
    }
    // The libraries under us may throw when memory runs out: a fault, not an abort.
    try {
        return runChosen(cli);
    } catch (const std::bad_alloc &) {
        kvilt::cli::note("out of memory; close other programs or ask for less");
        return 1;
    }
}

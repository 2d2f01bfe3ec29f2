// SPDX-License-Identifier: Apache-2.0
#include "app/cli/cli.h"

#include <cstdio>
#include <iostream>

namespace kvilt::cli {

CLI::App *Cli::add(const std::string &name, const std::string &help, std::function<Result<void>()> action)
{
    CLI::App *command = app.add_subcommand(name, help);
    command->add_flag("--json", json, "Print JSON");
    command->add_option("--profile", profile, "Folder of sessions and KV (default: the user's XDG directories)");
    if (action)
        command->callback([this, action] { run = action; });
    return command;
}

void printJson(const nlohmann::json &document)
{
    std::cout << document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

void note(const std::string &sentence)
{
    std::string line = sentence;
    for (char &c : line)
        if (c == '\n' || c == '\r')
            c = ' ';
    std::fprintf(stderr, "kvilt-cli: %s\n", line.c_str());
}

int exitCode(ErrorCode code)
{
    switch (code) {
    case ErrorCode::badInput:
    case ErrorCode::notFound:
    case ErrorCode::unsupported: return 2;
    default: return 1;
    }
}

} // namespace kvilt::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/cli/command.h"
#include "engine/support/error.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

// kvilt-cli: the engine without a window. Each file of commands/ adds one command; main.cpp runs the chosen one.
// Results go to standard output, everything else to standard error.
namespace kvilt::cli {

class Cli {
public:
    Cli();
    ~Cli();
    Cli(const Cli &) = delete;

    bool json = false;
    std::string profile;                       // folder; empty: the user's XDG directories
    std::function<Result<void>()> run;         // of the chosen command

    // A command with the options that every command has.
    Command add(const std::string &name, const std::string &help, std::function<Result<void>()> action);
    // The same below a command.
    Command addTo(Command &parent, const std::string &name, const std::string &help,
                  std::function<Result<void>()> action);
    // A command that only holds others.
    Command addFamily(const std::string &name, const std::string &help);

    // Reads the command line and sets `run`. An exit code: nothing is to be run, --help or a complaint is written.
    std::optional<int> parse(int argc, char **argv);

private:
    std::unique_ptr<CLI::App> m_app;
};

// Text of chats and models is anybody's: what steers a terminal or turns the direction of writing becomes ⟨U+001B⟩; line
// breaks and tabs stay, unless it is to be one line.
std::string forTerminal(std::string_view given, bool oneLine = false);
void printText(std::string_view given);         // to standard output; as it is unless that is a terminal
void printJson(const nlohmann::json &document); // one line; invalid UTF-8 becomes U+FFFD
void note(const std::string &sentence);         // one line on standard error

// The exit code that a failure stands for: 2 for what the user gave (arguments, files), 1 for a fault while running.
int exitCode(ErrorCode code);

void addProbe(Cli &cli);
void addInfo(Cli &cli);
void addTokenize(Cli &cli);
void addDetokenize(Cli &cli);
void addTemplate(Cli &cli);
void addGenerate(Cli &cli);
void addLogits(Cli &cli);
void addPerplexity(Cli &cli);
void addBench(Cli &cli);
void addReplay(Cli &cli);
void addRun(Cli &cli);
void addSession(Cli &cli);
void addEvents(Cli &cli);
void addChat(Cli &cli);

} // namespace kvilt::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
} // namespace CLI

// What a command takes. CLI11 does the work behind this header and is read in command.cpp and cli.cpp only: its own
// header costs every file that reads it five seconds of compiling.
namespace kvilt::cli {

// A handle; the command line owns the option.
class Option {
public:
    explicit Option(CLI::Option *option) : m_option(option) {}

    Option &required();
    Option &showDefault(); // in --help
    Option &repeatable();  // one value each time; all are kept
    Option &notEmpty();    // an empty value is a forgotten one (--profile "$UNSET"), never the default
    bool given() const;    // once the command line is read

private:
    CLI::Option *m_option;
};

// A command, or a group of options of one. A handle; the command line owns it. What an option writes to must live until
// the command has run.
class Command {
public:
    explicit Command(CLI::App *app) : m_app(app) {}

    Option option(const std::string &name, std::string &to, const std::string &help = {});
    Option option(const std::string &name, std::int64_t &to, const std::string &help = {}); // refuses what does not fit
    Option option(const std::string &name, float &to, const std::string &help = {});
    Option option(const std::string &name, double &to, const std::string &help = {});
    Option option(const std::string &name, std::vector<std::string> &to, const std::string &help = {});
    void flag(const std::string &name, bool &to, const std::string &help);

    Command oneOf(const std::string &name); // a group: exactly one of its options must be given
    Command subcommand(const std::string &name, const std::string &help);
    void needSubcommand();
    void onChosen(std::function<void()> action);

private:
    CLI::App *m_app;
};

} // namespace kvilt::cli

// SPDX-License-Identifier: Apache-2.0
#include "app/cli/cli.h"
#include "engine/support/version.h"
#include "engine/text/utf8.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <iostream>
#include <unistd.h>
#include <utility>

namespace kvilt::cli {

Cli::Cli() : m_app(std::make_unique<CLI::App>("Kvilt's engine without a window", "kvilt-cli"))
{
    m_app->set_version_flag("--version", "kvilt-cli " + std::string(version()));
    m_app->require_subcommand(1);
}

Cli::~Cli() = default;

Command Cli::add(const std::string &name, const std::string &help, std::function<Result<void>()> action)
{
    Command root(m_app.get());
    return addTo(root, name, help, std::move(action));
}

Command Cli::addTo(Command &parent, const std::string &name, const std::string &help,
                   std::function<Result<void>()> action)
{
    Command command = parent.subcommand(name, help);
    command.flag("--json", json, "Print JSON");
    command.option("--profile", profile, "Folder of sessions and KV (default: the user's XDG directories)")
        .notEmpty();
    command.onChosen([this, action = std::move(action)] { run = action; });
    return command;
}

Command Cli::addFamily(const std::string &name, const std::string &help)
{
    Command family = Command(m_app.get()).subcommand(name, help);
    family.needSubcommand();
    return family;
}

std::optional<int> Cli::parse(int argc, char **argv)
{
    try {
        m_app->parse(argc, argv);
    } catch (const CLI::Success &success) { // --help, --version
        return m_app->exit(success);
    } catch (const CLI::ParseError &error) {
        note(error.what());
        return 2;
    }
    return std::nullopt;
}

std::string forTerminal(std::string_view given, bool oneLine)
{
    std::string out;
    for (std::size_t at = 0; at < given.size();) {
        const text::utf8::Decoded c = text::utf8::decode(given, at);
        const auto code = std::uint32_t(c.codePoint);
        const bool layout = code == '\n' || code == '\t';
        const bool control = (code < 0x20 && (oneLine || !layout)) || (code >= 0x7f && code < 0xa0);
        const bool turns = code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
                           (code >= 0x2066 && code <= 0x2069);
        if (layout && oneLine) {
            out += ' ';
        } else if (c.valid && (control || turns)) {
            char shown[24];
            std::snprintf(shown, sizeof shown, "\xE2\x9F\xA8U+%04X\xE2\x9F\xA9", unsigned(code)); // between ⟨ and ⟩
            out += shown;
        } else {
            out.append(given, at, c.bytes);
        }
        at += c.bytes;
    }
    return out;
}

void printText(std::string_view given)
{
    static const bool terminal = isatty(STDOUT_FILENO) != 0;
    const std::string shown = terminal ? forTerminal(given) : std::string(given);
    std::fwrite(shown.data(), 1, shown.size(), stdout);
}

void printJson(const nlohmann::json &document)
{
    std::cout << document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

void note(const std::string &sentence)
{
    std::string line = isatty(STDERR_FILENO) ? forTerminal(sentence, true) : sentence; // it may name what a file says
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

// SPDX-License-Identifier: Apache-2.0
#include "app/cli/command.h"

#include <CLI/CLI.hpp>

#include <charconv>
#include <utility>

namespace kvilt::cli {

namespace {

// CLI11 cuts a number off at the limits of its type; one that does not fit is refused as it was written.
std::string wholeNumberProblem(const std::string &text)
{
    std::int64_t value = 0;
    const char *begin = text.data() + (text.starts_with('+') ? 1 : 0), *end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (error == std::errc() && stop == end)
        return {};
    return (error == std::errc::result_out_of_range ? "this number is too large: " : "this is no whole number: ") +
           text.substr(0, 40);
}

} // namespace

Option &Option::required()
{
    m_option->required();
    return *this;
}

Option &Option::showDefault()
{
    m_option->capture_default_str();
    return *this;
}

Option &Option::repeatable()
{
    m_option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    return *this;
}

Option &Option::notEmpty()
{
    m_option->check([](const std::string &text) { return text.empty() ? std::string("a value is missing") : std::string(); },
                    "", "");
    return *this;
}

bool Option::given() const { return m_option->count() > 0; }

Option Command::option(const std::string &name, std::string &to, const std::string &help)
{
    return Option(m_app->add_option(name, to, help));
}

Option Command::option(const std::string &name, std::int64_t &to, const std::string &help)
{
    CLI::Option *option = m_app->add_option(name, to, help);
    option->check(wholeNumberProblem, "", "");
    return Option(option);
}

Option Command::option(const std::string &name, float &to, const std::string &help)
{
    return Option(m_app->add_option(name, to, help));
}

Option Command::option(const std::string &name, double &to, const std::string &help)
{
    return Option(m_app->add_option(name, to, help));
}

Option Command::option(const std::string &name, std::vector<std::string> &to, const std::string &help)
{
    return Option(m_app->add_option(name, to, help));
}

void Command::flag(const std::string &name, bool &to, const std::string &help) { m_app->add_flag(name, to, help); }

Command Command::oneOf(const std::string &name)
{
    CLI::Option_group *group = m_app->add_option_group(name);
    group->require_option(1);
    return Command(group);
}

Command Command::subcommand(const std::string &name, const std::string &help)
{
    return Command(m_app->add_subcommand(name, help));
}

void Command::needSubcommand() { m_app->require_subcommand(1); }

void Command::onChosen(std::function<void()> action) { m_app->callback(std::move(action)); }

} // namespace kvilt::cli

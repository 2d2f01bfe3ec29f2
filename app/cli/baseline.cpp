// SPDX-License-Identifier: Apache-2.0
#include "app/cli/baseline.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern char **environ;

namespace kvilt::cli {

namespace {

struct Output {
    int status = 0;
    std::string text;
};

// No shell: paths and arguments go over as they are. Standard error is left out of the document.
Result<Output> runProgram(const std::vector<std::string> &arguments)
{
    std::array<int, 2> pipeEnds{};
    if (pipe2(pipeEnds.data(), O_CLOEXEC) != 0)
        return fail(ErrorCode::io, std::string("cannot open a pipe: ") + std::strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipeEnds[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    std::vector<char *> argv;
    for (const std::string &argument : arguments)
        argv.push_back(const_cast<char *>(argument.c_str()));
    argv.push_back(nullptr);
    pid_t child = 0;
    const int error = posix_spawn(&child, arguments[0].c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipeEnds[1]);
    Output output;
    if (error == 0) {
        std::array<char, 4096> buffer{};
        for (ssize_t n = 0; (n = read(pipeEnds[0], buffer.data(), buffer.size())) > 0;)
            if (output.text.size() < (4u << 20))
                output.text.append(buffer.data(), std::size_t(n));
        waitpid(child, &output.status, 0);
    }
    close(pipeEnds[0]);
    if (error != 0)
        return fail(ErrorCode::badInput, "cannot run " + arguments[0] + ": " + std::strerror(error));
    return output;
}

} // namespace

Result<Baseline> Baseline::create(const std::string &program, const std::string &model)
{
    if (access(program.c_str(), X_OK) != 0)
        return fail(ErrorCode::badInput, "--baseline " + program + " is not a program that can be run");
    Baseline baseline;
    baseline.m_program = program;
    baseline.m_model = model;
    return baseline;
}

Result<double> Baseline::run(const BaselineTest &test) const
{
    std::vector<std::string> arguments{m_program, "-m", m_model,
                                       "-p", std::to_string(test.prompt), "-n", std::to_string(test.generate),
                                       "-t", std::to_string(test.threads), "-r", "1", "-o", "json",
                                       "-ctk", test.kType, "-ctv", test.vType};
    if (test.depth > 0) {
        arguments.push_back("-d");
        arguments.push_back(std::to_string(test.depth));
    }
    KVILT_TRY(const Output output, runProgram(arguments));
    const nlohmann::json document = nlohmann::json::parse(output.text, nullptr, false);
    if (!WIFEXITED(output.status) || WEXITSTATUS(output.status) != 0 || !document.is_array() || document.empty() ||
        !document[0].is_object() || !document[0].contains("avg_ts") || !document[0]["avg_ts"].is_number())
        return fail(ErrorCode::io, m_program + " gave no result for this test");
    return document[0]["avg_ts"].get<double>();
}

} // namespace kvilt::cli

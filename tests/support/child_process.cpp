// SPDX-License-Identifier: Apache-2.0
#include "tests/support/child_process.h"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace kvilt::test {

namespace {

constexpr int kReadyDescriptor = 3;

void tellReady() { (void)!write(kReadyDescriptor, "x", 1); }

} // namespace

std::vector<ChildRole> &childRoles()
{
    static std::vector<ChildRole> roles;
    return roles;
}

int runAsChild(int argc, char **argv)
{
    if (argc != 4 || std::strcmp(argv[1], "--child") != 0)
        return -1;
    for (const ChildRole &role : childRoles())
        if (role.name == argv[2]) {
            role.run(argv[3], tellReady);
            return 0;
        }
    return 2;
}

ChildProcess::ChildProcess(const std::string &role, const std::string &argument)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    // The child's end lies above the number it gets, so that the copy is made and loses close-on-exec.
    const int writeEnd = fcntl(ends[1], F_DUPFD_CLOEXEC, kReadyDescriptor + 1);
    close(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, writeEnd, kReadyDescriptor);
    std::string program = "/proc/self/exe", option = "--child", name = role, text = argument;
    char *argv[] = {program.data(), option.data(), name.data(), text.data(), nullptr};
    if (posix_spawn(&m_pid, program.c_str(), &actions, nullptr, argv, environ) != 0)
        m_pid = -1;
    posix_spawn_file_actions_destroy(&actions);
    close(writeEnd); // so that the child's end is the only one: its death ends the wait
    m_ready = ends[0];
}

ChildProcess::~ChildProcess()
{
    kill();
    if (m_ready >= 0)
        close(m_ready);
}

bool ChildProcess::waitUntilReady()
{
    char byte = 0;
    return m_pid > 0 && read(m_ready, &byte, 1) == 1;
}

void ChildProcess::kill()
{
    if (m_pid <= 0)
        return;
    ::kill(m_pid, SIGKILL);
    waitpid(m_pid, nullptr, 0);
    m_pid = -1;
}

} // namespace kvilt::test

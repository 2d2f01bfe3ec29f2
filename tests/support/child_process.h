// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

// A second process of the test program, for tests of what a process leaves behind when it is killed. It starts anew
// instead of going on from a fork: after a fork of a program with threads their locks may be held by nobody, and
// ThreadSanitizer refuses to start threads there.
namespace kvilt::test {

// What the second process does: begins its work, calls ready(), goes on until it is killed.
struct ChildRole {
    std::string name;
    void (*run)(const std::string &argument, void (*ready)());
};

std::vector<ChildRole> &childRoles();
struct ChildRegistrar {
    ChildRegistrar(const char *name, void (*run)(const std::string &, void (*)())) { childRoles().push_back({name, run}); }
};

// The exit code of the role, when the arguments of the program ask for one; -1 when not.
int runAsChild(int argc, char **argv);

class ChildProcess {
public:
    ChildProcess(const std::string &role, const std::string &argument);
    ~ChildProcess(); // kills it
    ChildProcess(const ChildProcess &) = delete;

    bool waitUntilReady(); // false: it could not be started, or ended before
    void kill();           // SIGKILL, and waits for its end

private:
    pid_t m_pid = -1;
    int m_ready = -1;
};

} // namespace kvilt::test

#define KVILT_CHILD_ROLE(function) static const kvilt::test::ChildRegistrar s_role_##function(#function, function);

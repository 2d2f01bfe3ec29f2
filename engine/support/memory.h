// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace kvilt {

// Bytes that this process may still take without making the system swap or being killed: what the kernel calls
// available, or what the control groups around the process leave, where that is less (a container). Page cache counts
// as free: it gives way. Where the system says nothing, what is physically free. The folders are arguments for tests.
std::uint64_t availableMemory(const std::filesystem::path &proc = "/proc",
                              const std::filesystem::path &cgroups = "/sys/fs/cgroup");

std::uint64_t physicalMemory(); // of the machine; 0: the system does not say

} // namespace kvilt

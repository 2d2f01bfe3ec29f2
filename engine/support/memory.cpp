// SPDX-License-Identifier: Apache-2.0
#include "engine/support/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <unistd.h>

namespace kvilt {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

// A file that holds one number; "max" is no limit.
std::optional<std::uint64_t> numberIn(const fs::path &file)
{
    std::ifstream in(file);
    std::string word;
    if (!(in >> word))
        return std::nullopt;
    if (word == "max")
        return kNoLimit;
    std::uint64_t value = 0;
    for (const char c : word) {
        if (c < '0' || c > '9' || value > (kNoLimit - 9) / 10)
            return std::nullopt;
        value = value * 10 + std::uint64_t(c - '0');
    }
    return value;
}

// The value of a line "KEY NUMBER ..."; 0: there is none.
std::uint64_t valueOf(const fs::path &file, const std::string &key)
{
    std::ifstream in(file);
    std::string word, rest;
    for (std::uint64_t value = 0; in >> word >> value; std::getline(in, rest))
        if (word == key)
            return value;
    return 0;
}

// What one group leaves. Version 2 names its files memory.max and memory.current, version 1 otherwise.
std::uint64_t leftIn(const fs::path &group)
{
    auto most = numberIn(group / "memory.max"), used = numberIn(group / "memory.current");
    std::string cache = "inactive_file";
    if (!most || !used) {
        most = numberIn(group / "memory.limit_in_bytes");
        used = numberIn(group / "memory.usage_in_bytes");
        cache = "total_inactive_file";
    }
    if (!most || !used || *most == kNoLimit)
        return kNoLimit;
    const std::uint64_t held = *used - std::min(*used, valueOf(group / "memory.stat", cache));
    return *most - std::min(*most, held);
}

// A group's limit holds for all below it. Seen from inside a container, the path may not be there: then its own group
// is the root of what is mounted.
std::uint64_t leftInGroups(const fs::path &root, const fs::path &path)
{
    std::uint64_t left = leftIn(root);
    fs::path group = root;
    for (const fs::path &part : path.relative_path()) {
        group /= part;
        left = std::min(left, leftIn(group));
    }
    return left;
}

std::uint64_t leftByGroups(const fs::path &proc, const fs::path &cgroups)
{
    std::uint64_t left = kNoLimit;
    std::ifstream in(proc / "self" / "cgroup");
    for (std::string line; std::getline(in, line);) { // "ID:CONTROLLERS:PATH"; version 2 has no controllers
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos)
            continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const fs::path path = line.substr(second + 1);
        if (controllers.empty())
            left = std::min(left, leftInGroups(cgroups, path));
        else if (("," + controllers + ",").find(",memory,") != std::string::npos)
            left = std::min(left, leftInGroups(cgroups / "memory", path));
    }
    return left;
}

} // namespace

std::uint64_t availableMemory(const fs::path &proc, const fs::path &cgroups)
{
    std::uint64_t free = valueOf(proc / "meminfo", "MemAvailable:") * 1024;
    if (free == 0)
        free = std::uint64_t(std::max(0l, ::sysconf(_SC_AVPHYS_PAGES))) * std::uint64_t(std::max(0l, ::sysconf(_SC_PAGESIZE)));
    return std::min(free, leftByGroups(proc, cgroups));
}

std::uint64_t physicalMemory()
{
    const long pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? std::uint64_t(pages) * std::uint64_t(size) : 0;
}

} // namespace kvilt

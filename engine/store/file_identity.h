// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include <sys/stat.h>

namespace kvilt::store {

// Which file lies at a path, to notice that somebody deleted or replaced it while it was open: a connection goes on
// writing into what no name leads to any more. An open file keeps its number, so no later one can have it.
struct FileIdentity {
    std::uint64_t device = 0, inode = 0;
    bool exists = false;

    static FileIdentity of(const std::filesystem::path &file)
    {
        struct stat info {};
        if (::stat(file.c_str(), &info) != 0)
            return {};
        return {std::uint64_t(info.st_dev), std::uint64_t(info.st_ino), true};
    }
    bool operator==(const FileIdentity &) const = default;
};

} // namespace kvilt::store

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace kvilt::test {

// A disk of a given size, for tests: an SQLite VFS under its own name whose files may grow by `room` bytes in all
// before writes fail as on a full disk. While `reserve` exists its size counts as used.
class FullDisk {
public:
    explicit FullDisk(std::filesystem::path reserve = {});
    ~FullDisk();
    FullDisk(const FullDisk &) = delete;
    FullDisk &operator=(const FullDisk &) = delete;

    const char *name() const;
    void setRoom(std::int64_t bytes);
};

} // namespace kvilt::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"

#include <cstdio>
#include <filesystem>
#include <string_view>

namespace kvilt {

struct NewFileOptions {
    unsigned mode = 0666; // of a file that is made, less the user's umask; one that is replaced keeps its own
    bool sync = false;    // on the disk when commit() returns
    bool stream = false;  // a device or a pipe is written straight into; otherwise it is refused
};

// A file that appears as a whole or not at all: written beside its place and renamed over it by commit(). The one way
// in which Kvilt writes a file that a user names. Only a regular file is ever replaced (a device, a pipe or a socket
// never is), a symbolic link stays and its target is replaced. Not thread-safe.
class NewFile {
public:
    // badInput: a folder, a place that cannot be written, a device or pipe without `stream`.
    static Result<NewFile> create(const std::filesystem::path &file, const NewFileOptions &options = {});
    NewFile(NewFile &&other) noexcept;
    NewFile &operator=(NewFile &&other) noexcept;
    ~NewFile(); // removes what was not committed

    // full: the disk is; io: anything else. The first failure stays: every later call returns it too.
    Result<void> write(const void *data, std::size_t bytes);
    Result<void> write(std::string_view text) { return write(text.data(), text.size()); }
    Result<void> commit();

    // Where the bytes lie until then, for a writer that opens its file itself (SQLite). Empty for a stream.
    const std::filesystem::path &temporary() const { return m_temporary; }

private:
    NewFile() = default;
    Result<void> openTemporary(unsigned mode);
    Error failure(int why) const;

    std::filesystem::path m_file, m_target, m_temporary; // as named; with links followed; beside it
    std::FILE *m_out = nullptr;
    int m_error = 0;
    bool m_sync = false;
};

} // namespace kvilt

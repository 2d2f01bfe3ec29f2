// SPDX-License-Identifier: Apache-2.0
#include "engine/support/new_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace kvilt {

namespace fs = std::filesystem;

namespace {

tl::unexpected<Error> refuse(const fs::path &file, const std::string &why)
{
    return fail(ErrorCode::badInput, "cannot write " + file.string() + ": " + why);
}

// What stands behind links, whether it exists or not.
Result<fs::path> targetOf(const fs::path &file)
{
    std::error_code problem;
    fs::path target = fs::is_symlink(file, problem) ? fs::weakly_canonical(file, problem) : file;
    if (problem && problem != std::errc::no_such_file_or_directory)
        return refuse(file, problem.message());
    for (int links = 0; fs::is_symlink(target, problem); ++links) { // a link to what is not there yet
        if (links == 40)
            return refuse(file, std::strerror(ELOOP));
        const fs::path next = fs::read_symlink(target, problem);
        target = next.is_absolute() ? next : target.parent_path() / next;
    }
    return target;
}

} // namespace

Result<NewFile> NewFile::create(const fs::path &file, const NewFileOptions &options)
{
    NewFile out;
    out.m_file = file;
    out.m_sync = options.sync;
    if (file.empty())
        return fail(ErrorCode::badInput, "cannot write a file without a name");
    struct stat found {};
    const bool exists = ::stat(file.c_str(), &found) == 0;
    if (!exists && errno != ENOENT)
        return refuse(file, std::strerror(errno));
    if (exists && S_ISDIR(found.st_mode))
        return refuse(file, "it is a folder");
    if (exists && !S_ISREG(found.st_mode)) {
        if (!options.stream || S_ISBLK(found.st_mode) || S_ISSOCK(found.st_mode))
            return refuse(file, "it is a device or a pipe, not a file");
        const int descriptor = ::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (descriptor < 0)
            return refuse(file, std::strerror(errno));
        out.m_out = ::fdopen(descriptor, "wb");
        return out;
    }
    if (exists && ::access(file.c_str(), W_OK) != 0)
        return refuse(file, std::strerror(errno));
    KVILT_TRY(out.m_target, targetOf(file));
    KVILT_TRY_VOID(out.openTemporary(exists ? found.st_mode & 07777 : options.mode));
    if (exists)
        (void)::fchmod(::fileno(out.m_out), found.st_mode & 07777); // what the umask took
    return out;
}

Result<void> NewFile::openTemporary(unsigned mode)
{
    int descriptor = -1;
    for (int n = 0; descriptor < 0 && n < 1000; ++n) {
        m_temporary = m_target.string() + ".part" + std::to_string(::getpid()) + (n ? "-" + std::to_string(n) : "");
        descriptor = ::open(m_temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (descriptor < 0 && errno != EEXIST)
            break;
    }
    if (descriptor >= 0)
        m_out = ::fdopen(descriptor, "wb");
    return m_out ? Result<void>() : refuse(m_file, std::strerror(errno));
}

NewFile::NewFile(NewFile &&other) noexcept
    : m_file(std::move(other.m_file)), m_target(std::move(other.m_target)), m_temporary(std::move(other.m_temporary)),
      m_out(std::exchange(other.m_out, nullptr)), m_error(other.m_error), m_sync(other.m_sync)
{
}

NewFile &NewFile::operator=(NewFile &&other) noexcept
{
    std::swap(m_file, other.m_file);
    std::swap(m_target, other.m_target);
    std::swap(m_temporary, other.m_temporary);
    std::swap(m_out, other.m_out);
    std::swap(m_error, other.m_error);
    std::swap(m_sync, other.m_sync);
    return *this;
}

NewFile::~NewFile()
{
    if (m_out == nullptr)
        return;
    std::fclose(m_out);
    if (!m_temporary.empty())
        ::unlink(m_temporary.c_str());
}

Error NewFile::failure(int why) const
{
    const bool full = why == ENOSPC || why == EDQUOT || why == EFBIG;
    return {full ? ErrorCode::full : ErrorCode::io,
            "cannot write " + m_file.string() + ": " + std::strerror(why) + (full ? "; free some space" : "")};
}

Result<void> NewFile::write(const void *data, std::size_t bytes)
{
    if (m_error == 0 && bytes > 0 && std::fwrite(data, 1, bytes, m_out) != bytes)
        m_error = errno;
    return m_error == 0 ? Result<void>() : tl::unexpected(failure(m_error));
}

Result<void> NewFile::commit()
{
    if (std::fflush(m_out) != 0 && m_error == 0)
        m_error = errno;
    if (m_sync && m_error == 0 && ::fsync(::fileno(m_out)) != 0)
        m_error = errno;
    if (m_error != 0)
        return tl::unexpected(failure(m_error)); // the destructor clears away
    if (std::fclose(std::exchange(m_out, nullptr)) != 0)
        m_error = errno;
    if (m_temporary.empty())
        return m_error == 0 ? Result<void>() : tl::unexpected(failure(m_error));
    if (m_error == 0 && ::rename(m_temporary.c_str(), m_target.c_str()) != 0)
        m_error = errno;
    if (m_error == 0)
        return {};
    ::unlink(m_temporary.c_str());
    return tl::unexpected(failure(m_error));
}

} // namespace kvilt

// SPDX-License-Identifier: Apache-2.0
#include "engine/store/profile_lock.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace kvilt::store {

namespace {

Result<void> makePrivateFolder(const std::filesystem::path &folder)
{
    std::error_code problem;
    const bool made = std::filesystem::create_directories(folder, problem);
    if (problem || !std::filesystem::is_directory(folder))
        return fail(ErrorCode::full, "The folder " + folder.string() + " cannot be made (" +
                                         (problem ? problem.message() : "a file stands there") +
                                         "); choose another with --profile.");
    if (made) // chats are nobody else's business
        ::chmod(folder.c_str(), 0700);
    return {};
}

} // namespace

Result<std::optional<ProfileLock>> ProfileLock::tryAcquire(const std::filesystem::path &lockFile)
{
    KVILT_TRY_VOID(makePrivateFolder(lockFile.parent_path()));
    const int descriptor = ::open(lockFile.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return fail(ErrorCode::full, lockFile.string() + " cannot be written (" + std::strerror(errno) +
                                         "); check the permissions of its folder.");
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        return std::optional<ProfileLock>(ProfileLock(descriptor));
    const int why = errno;
    ::close(descriptor);
    if (why == EWOULDBLOCK)
        return std::optional<ProfileLock>();
    return fail(ErrorCode::io, lockFile.string() + " cannot be locked (" + std::strerror(why) + ").");
}

ProfileLock::ProfileLock(ProfileLock &&other) noexcept : m_descriptor(std::exchange(other.m_descriptor, -1)) {}

ProfileLock &ProfileLock::operator=(ProfileLock &&other) noexcept
{
    std::swap(m_descriptor, other.m_descriptor);
    return *this;
}

ProfileLock::~ProfileLock()
{
    if (m_descriptor >= 0)
        ::close(m_descriptor); // and the lock with it
}

} // namespace kvilt::store

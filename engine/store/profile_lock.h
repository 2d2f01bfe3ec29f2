// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"

#include <filesystem>
#include <optional>

namespace kvilt::store {

// The first process of a profile holds this lock and is the only one that writes its files; a later one restores
// read-only and stores nothing. The lock is the kernel's (flock), so it ends with the process, however that ends.
class ProfileLock {
public:
    // Makes the folder (mode 0700) if it is missing. nullopt: another process holds the lock. An error: the folder
    // cannot be made or written (full: read-only or no space).
    static Result<std::optional<ProfileLock>> tryAcquire(const std::filesystem::path &lockFile);

    ProfileLock(ProfileLock &&other) noexcept;
    ProfileLock &operator=(ProfileLock &&other) noexcept;
    ~ProfileLock();

private:
    explicit ProfileLock(int descriptor) : m_descriptor(descriptor) {}
    int m_descriptor = -1;
};

} // namespace kvilt::store

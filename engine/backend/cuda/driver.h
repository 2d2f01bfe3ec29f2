// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/driver_api.h"
#include "engine/support/error.h"

#include <memory>
#include <string>

namespace kvilt::backend::cuda {

// A shared library that stays open as long as somebody uses what came out of it.
class Library {
public:
    // notFound: there is none of that name; the message says what the loader said.
    static Result<std::shared_ptr<Library>> open(const std::string &name);
    explicit Library(void *handle) : m_handle(handle) {}
    ~Library();
    Library(const Library &) = delete;
    Library &operator=(const Library &) = delete;
    void *symbol(const char *name) const; // null: not there

private:
    void *m_handle;
};

// The driver's library, opened and initialised. libcuda.so.1 unless a test names another.
// notFound: no NVIDIA driver here; unsupported: too old, or it sees no device; device: it does not start.
struct DriverLibrary {
    std::shared_ptr<Library> shared;
    api::Driver driver;
    std::uint32_t version = 0; // 13000: CUDA 13.0
};
Result<DriverLibrary> openDriver(const std::string &name = "libcuda.so.1");

// Fills the table from a library; the name of the first function that is missing, or "".
std::string bindDriver(const Library &library, api::Driver &driver);

// What a status means for a user: which error it is, and a sentence with `what` was being done.
Error driverError(const api::Driver &driver, api::Status status, const std::string &what);

// "12.4" of 12040.
std::string versionText(std::uint32_t version);

inline constexpr std::uint32_t kOldestDriver = 12000;

} // namespace kvilt::backend::cuda

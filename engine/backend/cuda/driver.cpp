// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/driver.h"

#include <dlfcn.h>

namespace kvilt::backend::cuda {

Result<std::shared_ptr<Library>> Library::open(const std::string &name)
{
    // Never taken out of the process again: a driver has threads and handlers of its own that may still run then.
    if (void *handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE))
        return std::make_shared<Library>(handle);
    const char *why = ::dlerror();
    return fail(ErrorCode::notFound, why ? why : name + " cannot be opened");
}

Library::~Library()
{
    if (m_handle)
        ::dlclose(m_handle);
}

void *Library::symbol(const char *name) const
{
    return ::dlsym(m_handle, name);
}

std::string bindDriver(const Library &library, api::Driver &driver)
{
#define KVILT_CUDA_BIND(name, symbolName, parameters)                                                                       \
    driver.name = reinterpret_cast<decltype(driver.name)>(library.symbol(symbolName));                                      \
    if (!driver.name)                                                                                                       \
        return symbolName;
    KVILT_CUDA_FUNCTIONS(KVILT_CUDA_BIND)
#undef KVILT_CUDA_BIND
    return {};
}

std::string versionText(std::uint32_t version)
{
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Error driverError(const api::Driver &driver, api::Status status, const std::string &what)
{
    const char *name = nullptr, *text = nullptr;
    if (driver.errorName)
        driver.errorName(status, &name);
    if (driver.errorText)
        driver.errorText(status, &text);
    const std::string said = std::string(text ? text : "unknown error") + " (" + (name ? name : std::to_string(status)) + ")";
    switch (status) {
    case api::kOutOfMemory:
        return {ErrorCode::outOfMemory, "The GPU has no memory for " + what + "; close other programs that use it, or ask for less."};
    case api::kNoBinaryForGpu:
        return {ErrorCode::unsupported, "The CUDA plug-in holds no kernels for this GPU: " + said + "."};
    case api::kUnsupportedPtx:
    case api::kSystemDriverMismatch:
    case api::kCompatNotSupported:
        return {ErrorCode::unsupported, "The NVIDIA driver is too old for the CUDA plug-in: " + said + "; update it."};
    default: return {ErrorCode::device, "The GPU failed during " + what + ": " + said + "."};
    }
}

Result<DriverLibrary> openDriver(const std::string &name)
{
    DriverLibrary out;
    auto library = Library::open(name);
    if (!library)
        return fail(ErrorCode::notFound, "There is no NVIDIA driver here (" + library.error().message + ").");
    out.shared = std::move(*library);
    // The version first: an old driver lacks functions, and its age is what the user can do something about.
    using VersionOf = api::Status (*)(int *);
    int version = 0;
    if (const auto versionOf = reinterpret_cast<VersionOf>(out.shared->symbol("cuDriverGetVersion")))
        if (versionOf(&version) == api::kStubLibrary) // what a toolkit has for linking: it knows no version either
            return fail(ErrorCode::notFound, "There is no NVIDIA driver here (" + name + " is a toolkit's stand-in for it).");
    out.version = static_cast<std::uint32_t>(version);
    const std::string missing = bindDriver(*out.shared, out.driver);
    if (out.version < kOldestDriver || !missing.empty())
        return fail(ErrorCode::unsupported, "The NVIDIA driver is too old: it speaks CUDA " + versionText(out.version) + ", " +
                                                versionText(kOldestDriver) + " or later is needed" +
                                                (missing.empty() ? "" : " (" + missing + " is missing)") + "; update it.");
    if (const api::Status status = out.driver.init(0); status != api::kOk) {
        if (status == api::kNoDevice)
            return fail(ErrorCode::unsupported, "The NVIDIA driver sees no GPU here.");
        return tl::unexpected(driverError(out.driver, status, "the start of the driver"));
    }
    return out;
}

} // namespace kvilt::backend::cuda

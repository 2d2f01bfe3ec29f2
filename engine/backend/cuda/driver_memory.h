// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "engine/backend/cuda/driver.h"

#include <array>
#include <map>
#include <memory>
#include <span>

namespace kvilt::backend::cuda {

// The driver's answers as results. Once the device has failed it stays failed: the driver gives the same answer to every
// further call, and nobody should wait for another.
class DriverCalls {
public:
    explicit DriverCalls(const api::Driver &driver) : m_driver(driver) {}
    // A call goes to the context that is current on the calling thread: a model is prepared on one thread and runs on another.
    const api::Driver &driver() const
    {
        if (m_context && s_current != m_instance)
            enter();
        return m_driver;
    }
    // ok, or what the status means while `what` was being done.
    Result<void> check(api::Status status, const std::string &what);
    void useContext(api::Context context) { m_context = context; }

    static api::Address address(const void *pointer) { return static_cast<api::Address>(reinterpret_cast<std::uintptr_t>(pointer)); }
    static std::byte *pointer(api::Address address) { return reinterpret_cast<std::byte *>(static_cast<std::uintptr_t>(address)); }

private:
    void enter() const;
    static std::uint64_t nextInstance();

    // Which device's context the thread has entered last: a number, because a new context may get an old one's address.
    static thread_local std::uint64_t s_current;
    api::Driver m_driver;
    api::Context m_context = nullptr;
    std::uint64_t m_instance = nextInstance();
    Error m_lost{ErrorCode::device, {}};
};

// Device and pinned memory.
class DriverMemory final : private Memory::Owner {
public:
    explicit DriverMemory(DriverCalls &calls) : m_calls(calls) {}
    void open(api::DeviceId device, bool virtualMemory, std::span<const api::Stream> streams);

    Result<Memory> allocate(std::size_t bytes);
    Result<Memory> allocatePinned(std::size_t bytes);
    // By virtual memory management, so that it grows in place; where the device lacks it, all of it at the first grow().
    Result<std::unique_ptr<GrowingMemory>> reserve(std::uint64_t capacity);

private:
    void release(std::byte *data) noexcept override;

    DriverCalls &m_calls;
    api::DeviceId m_device = 0;
    bool m_virtualMemory = false;
    std::array<api::Stream, 2> m_streams{};
    std::map<std::byte *, bool> m_pinned; // what was handed out: is it host memory
};

} // namespace kvilt::backend::cuda

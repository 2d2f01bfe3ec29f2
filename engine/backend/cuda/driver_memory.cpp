// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/driver_memory.h"

#include <algorithm>
#include <atomic>
#include <vector>

namespace kvilt::backend::cuda {
namespace {

constexpr std::uint64_t kGrowStep = 32u << 20; // of large ranges: few handles, little waste

std::uint64_t roundedUp(std::uint64_t bytes, std::uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

// A range of addresses whose front is backed by memory.
class MappedMemory final : public GrowingMemory {
public:
    MappedMemory(DriverCalls &calls, api::DeviceId device) : m_calls(calls)
    {
        m_properties.type = api::kAllocationPinned;
        m_properties.location = {api::kLocationDevice, device};
    }
    ~MappedMemory() override
    {
        const api::Driver &driver = m_calls.driver();
        for (const Part &part : m_parts) {
            driver.memoryUnmap(m_base + part.offset, part.bytes);
            driver.memoryRelease(part.handle);
        }
        if (m_base)
            driver.addressFree(m_base, m_reserved);
    }

    Result<void> reserve(std::uint64_t capacity)
    {
        const api::Driver &driver = m_calls.driver();
        std::size_t unit = 0;
        KVILT_TRY_VOID(m_calls.check(driver.granularity(&unit, &m_properties, api::kGranularityMinimum), "the reservation of memory"));
        m_unit = capacity > 8 * kGrowStep ? roundedUp(kGrowStep, unit) : unit;
        m_capacity = capacity;
        m_reserved = roundedUp(std::max<std::uint64_t>(capacity, 1), m_unit);
        return m_calls.check(driver.addressReserve(&m_base, m_reserved, 0, 0, 0), "the reservation of memory");
    }

    Result<void> grow(std::uint64_t bytes) override
    {
        const std::uint64_t wanted = std::min(roundedUp(bytes, m_unit), m_reserved);
        if (wanted <= m_size)
            return {};
        const api::Driver &driver = m_calls.driver();
        const std::uint64_t more = wanted - m_size;
        api::AllocationHandle handle = 0;
        KVILT_TRY_VOID(m_calls.check(driver.memoryCreate(&handle, more, &m_properties, 0), "KV blocks"));
        const api::AccessDescription access{m_properties.location, api::kReadWrite};
        Result<void> usable = m_calls.check(driver.memoryMap(m_base + m_size, more, 0, handle, 0), "KV blocks");
        const bool mapped = usable.has_value();
        if (mapped)
            usable = m_calls.check(driver.memorySetAccess(m_base + m_size, more, &access, 1), "KV blocks");
        if (!usable) { // as if it had not been asked for: it may be tried again
            if (mapped)
                driver.memoryUnmap(m_base + m_size, more);
            driver.memoryRelease(handle);
            return usable;
        }
        m_parts.push_back({handle, m_size, more});
        m_size = wanted;
        return {};
    }
    std::byte *data() const override { return DriverCalls::pointer(m_base); }
    std::uint64_t size() const override { return m_size; }
    std::uint64_t capacity() const override { return m_capacity; }

private:
    struct Part {
        api::AllocationHandle handle;
        std::uint64_t offset, bytes;
    };
    DriverCalls &m_calls;
    api::AllocationProperties m_properties{};
    api::Address m_base = 0;
    std::uint64_t m_unit = 0, m_capacity = 0, m_reserved = 0, m_size = 0;
    std::vector<Part> m_parts;
};

// Where a device has no such ranges: everything at once.
class WholeMemory final : public GrowingMemory {
public:
    WholeMemory(Memory memory, std::uint64_t capacity) : m_memory(std::move(memory)), m_capacity(capacity) {}
    Result<void> grow(std::uint64_t) override { return {}; }
    std::byte *data() const override { return m_memory.data(); }
    std::uint64_t size() const override { return m_memory.size(); }
    std::uint64_t capacity() const override { return m_capacity; }

private:
    Memory m_memory;
    std::uint64_t m_capacity;
};

} // namespace

thread_local std::uint64_t DriverCalls::s_current = 0;

void DriverCalls::enter() const
{
    m_driver.contextSetCurrent(m_context);
    s_current = m_instance;
}

std::uint64_t DriverCalls::nextInstance()
{
    static std::atomic<std::uint64_t> count{0};
    return ++count;
}

Result<void> DriverCalls::check(api::Status status, const std::string &what)
{
    if (!m_lost.message.empty())
        return tl::unexpected(m_lost);
    if (status == api::kOk)
        return {};
    Error error = driverError(m_driver, status, what);
    if (error.code == ErrorCode::device)
        m_lost = error;
    return tl::unexpected(std::move(error));
}

void DriverMemory::open(api::DeviceId device, bool virtualMemory, std::span<const api::Stream> streams)
{
    m_device = device;
    m_virtualMemory = virtualMemory;
    std::copy(streams.begin(), streams.end(), m_streams.begin());
}

Result<Memory> DriverMemory::allocate(std::size_t bytes)
{
    api::Address at = 0;
    KVILT_TRY_VOID(m_calls.check(m_calls.driver().memoryAllocate(&at, std::max<std::size_t>(bytes, 1)), "the model's working memory"));
    std::byte *data = DriverCalls::pointer(at);
    m_pinned[data] = false;
    return Memory(*this, data, bytes);
}

Result<Memory> DriverMemory::allocatePinned(std::size_t bytes)
{
    void *data = nullptr;
    KVILT_TRY_VOID(m_calls.check(m_calls.driver().hostAllocate(&data, std::max<std::size_t>(bytes, 1), 0), "copies to and from the host"));
    m_pinned[static_cast<std::byte *>(data)] = true;
    return Memory(*this, static_cast<std::byte *>(data), bytes);
}

Result<std::unique_ptr<GrowingMemory>> DriverMemory::reserve(std::uint64_t capacity)
{
    if (!m_virtualMemory) {
        KVILT_TRY(Memory memory, allocate(capacity));
        return std::make_unique<WholeMemory>(std::move(memory), capacity);
    }
    auto memory = std::make_unique<MappedMemory>(m_calls, m_device);
    KVILT_TRY_VOID(memory->reserve(capacity));
    return memory;
}

// Queued work may still use it: it runs first.
void DriverMemory::release(std::byte *data) noexcept
{
    const auto at = m_pinned.find(data);
    for (const api::Stream stream : m_streams)
        if (stream)
            m_calls.driver().streamSynchronize(stream);
    if (at->second)
        m_calls.driver().hostFree(data);
    else
        m_calls.driver().memoryFree(DriverCalls::address(data));
    m_pinned.erase(at);
}

} // namespace kvilt::backend::cuda

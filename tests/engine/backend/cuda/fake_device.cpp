// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/fake_device.h"

#include "kernels/cuda/reference/ops_reference.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>

namespace kvilt::test {

using backend::cuda::Event;
using backend::cuda::Graph;
using backend::cuda::GrowingMemory;
using backend::cuda::Memory;
using backend::cuda::Queue;
using kernels::cuda::Op;

namespace {

constexpr std::align_val_t kAlignment{256};
constexpr std::uint64_t kPage = 1u << 16;
constexpr int kPoison = 0xff; // NaN in every float type

struct FakeEvent final : Event {
    std::size_t queue = 0;
    std::uint64_t end = 0; // tasks of the queue that must be done
};

struct FakeGraph final : Graph {
    std::vector<Op> ops;
};

const FakeEvent &fake(const Event &event)
{
    return static_cast<const FakeEvent &>(event);
}

} // namespace

class FakeGrowingMemory final : public GrowingMemory {
public:
    FakeGrowingMemory(FakeDevice &device, std::shared_ptr<FakeDevice::State> state, std::uint64_t capacity)
        : m_device(device), m_state(std::move(state)), m_capacity(capacity)
    {
        void *at = ::mmap(nullptr, m_capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        m_data = at == MAP_FAILED ? nullptr : static_cast<std::byte *>(at);
    }
    ~FakeGrowingMemory() override
    {
        m_state->allocated -= m_size;
        if (m_data)
            ::munmap(m_data, m_capacity);
    }
    Result<void> grow(std::uint64_t bytes) override
    {
        KVILT_TRY_VOID(m_device.call());
        const std::uint64_t size = std::min(m_capacity, (bytes + kPage - 1) / kPage * kPage);
        if (size <= m_size)
            return {};
        KVILT_TRY_VOID(m_device.admit(size - m_size));
        if (!m_data || ::mprotect(m_data, size, PROT_READ | PROT_WRITE) != 0)
            return fail(ErrorCode::outOfMemory, "The fake device has no address space left.");
        std::memset(m_data + m_size, kPoison, size - m_size);
        m_size = size;
        return {};
    }
    std::byte *data() const override { return m_data; }
    std::uint64_t size() const override { return m_size; }
    std::uint64_t capacity() const override { return m_capacity; }

private:
    FakeDevice &m_device;
    std::shared_ptr<FakeDevice::State> m_state;
    std::uint64_t m_capacity, m_size = 0;
    std::byte *m_data = nullptr;
};

FakeDevice::FakeDevice(FakeDeviceOptions options) : m_options(std::move(options))
{
    m_info.name = "Fake GPU";
    m_info.totalMemory = m_options.memory;
    m_info.driverVersion = 13000;
    m_info.facts = {.sm = m_options.sm, .multiprocessors = 132, .sharedPerBlock = 227 * 1024, .l2Bytes = 50u << 20,
                    .deterministic = m_options.deterministic, .blas = false};
}

FakeDevice::~FakeDevice()
{
    for (const auto &[data, block] : m_blocks)
        ::operator delete(data, kAlignment);
}

Result<void> FakeDevice::call()
{
    ++m_state->calls;
    if (m_state->beforeCall)
        m_state->beforeCall();
    if (m_state->loseAtCall > 0 && m_state->calls >= m_state->loseAtCall)
        m_state->lost = true;
    if (m_state->lost)
        return fail(ErrorCode::device, "The GPU stopped answering.");
    return {};
}

Result<void> FakeDevice::admit(std::size_t bytes)
{
    const bool refused = m_state->refuseMemory > 0 && --m_state->refuseMemory == 0;
    if (refused)
        m_state->refuseMemory = 1; // and every later one
    if (refused || bytes > m_options.memory - m_state->allocated)
        return fail(ErrorCode::outOfMemory, "The GPU has no memory left.");
    m_state->allocated += bytes;
    return {};
}

Result<Memory> FakeDevice::allocate(std::size_t bytes)
{
    KVILT_TRY_VOID(call());
    KVILT_TRY_VOID(admit(bytes));
    auto *data = static_cast<std::byte *>(::operator new(bytes, kAlignment));
    std::memset(data, kPoison, bytes);
    m_blocks[data] = {bytes, true};
    return Memory(*this, data, bytes);
}

Result<Memory> FakeDevice::allocatePinned(std::size_t bytes)
{
    KVILT_TRY_VOID(call());
    auto *data = static_cast<std::byte *>(::operator new(bytes, kAlignment));
    std::memset(data, kPoison, bytes);
    m_blocks[data] = {bytes, false};
    return Memory(*this, data, bytes);
}

// As on a GPU, memory is not given back while queued work may still use it.
void FakeDevice::release(std::byte *data) noexcept
{
    for (std::size_t queue = 0; queue < 2; ++queue)
        drain(queue, m_work[queue].queued);
    const auto at = m_blocks.find(data);
    m_state->allocated -= at->second.second ? at->second.first : 0;
    ::operator delete(data, kAlignment);
    m_blocks.erase(at);
}

Result<std::unique_ptr<GrowingMemory>> FakeDevice::reserve(std::uint64_t capacity)
{
    KVILT_TRY_VOID(call());
    return std::make_unique<FakeGrowingMemory>(*this, m_state, (capacity + kPage - 1) / kPage * kPage);
}

void FakeDevice::push(Queue queue, Task task)
{
    Work &work = m_work[static_cast<std::size_t>(queue)];
    work.tasks.push_back(std::move(task));
    ++work.queued;
    if (m_options.copyQueueFirst && queue == Queue::copy)
        drain(1, work.queued);
}

void FakeDevice::drain(std::size_t queue, std::uint64_t end)
{
    Work &work = m_work[queue];
    while (work.done < end) {
        const Task task = std::move(work.tasks.front());
        work.tasks.pop_front();
        if (!task.work)
            drain(task.otherQueue, task.otherEnd);
        else if (!m_state->lost)
            task.work();
        ++work.done;
    }
}

void FakeDevice::transfer(Queue queue, void *to, const void *from, std::size_t bytes)
{
    ++m_state->transfers;
    push(queue, {[=] { std::memcpy(to, from, bytes); }});
}

Result<void> FakeDevice::upload(Queue queue, void *to, const void *from, std::size_t bytes)
{
    KVILT_TRY_VOID(call());
    transfer(queue, to, from, bytes);
    return {};
}

Result<void> FakeDevice::download(Queue queue, void *to, const void *from, std::size_t bytes)
{
    return upload(queue, to, from, bytes);
}

Result<void> FakeDevice::copy(Queue queue, void *to, const void *from, std::size_t bytes)
{
    return upload(queue, to, from, bytes);
}

void FakeDevice::execute(const Op &op)
{
    ++m_state->operations;
    if (m_state->beforeOperation)
        m_state->beforeOperation();
    m_options.runOp ? m_options.runOp(op) : kernels::cuda::reference::run(op);
}

Result<void> FakeDevice::run(Queue queue, const Op &op)
{
    KVILT_TRY_VOID(call());
    if (m_recording && queue == Queue::compute)
        m_recording->push_back(op);
    else
        push(queue, {[this, op] { execute(op); }});
    return {};
}

Result<std::unique_ptr<Event>> FakeDevice::makeEvent()
{
    return std::make_unique<FakeEvent>();
}

Result<void> FakeDevice::record(Event &event, Queue queue)
{
    KVILT_TRY_VOID(call());
    static_cast<FakeEvent &>(event).queue = static_cast<std::size_t>(queue);
    static_cast<FakeEvent &>(event).end = m_work[static_cast<std::size_t>(queue)].queued;
    return {};
}

Result<void> FakeDevice::waitFor(Queue queue, const Event &event)
{
    KVILT_TRY_VOID(call());
    push(queue, {{}, fake(event).queue, fake(event).end});
    return {};
}

Result<bool> FakeDevice::reached(const Event &event)
{
    KVILT_TRY_VOID(call());
    drain(fake(event).queue, fake(event).end);
    return true;
}

Result<void> FakeDevice::synchronize(const Event &event)
{
    KVILT_TRY_VOID(call());
    drain(fake(event).queue, fake(event).end);
    return m_state->lost ? call() : Result<void>{};
}

Result<double> FakeDevice::secondsBetween(const Event &, const Event &)
{
    return 0.0;
}

Result<void> FakeDevice::beginGraph()
{
    KVILT_TRY_VOID(call());
    m_recording = std::make_unique<std::vector<Op>>();
    return {};
}

Result<std::unique_ptr<Graph>> FakeDevice::endGraph()
{
    auto graph = std::make_unique<FakeGraph>();
    graph->ops = std::move(*m_recording);
    m_recording.reset();
    KVILT_TRY_VOID(call());
    ++m_state->graphs;
    return graph;
}

Result<void> FakeDevice::launch(const Graph &graph)
{
    KVILT_TRY_VOID(call());
    ++m_state->graphLaunches;
    push(Queue::compute, {[this, ops = static_cast<const FakeGraph &>(graph).ops] {
             for (const Op &op : ops)
                 execute(op);
         }});
    return {};
}

Result<void> FakeDevice::ensureScratch(const Op &)
{
    return call();
}

} // namespace kvilt::test

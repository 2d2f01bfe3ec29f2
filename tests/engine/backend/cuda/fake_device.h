// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace kvilt::test {

// A GPU in host memory: operations run as their reference on the host. It is a hostile one. Work lies in its queue until
// somebody waits for it, so that a host which reuses a staging buffer too early, or a queue that does not wait for the other,
// computes with wrong bytes; fresh memory is full of NaN; memory beyond the budget is refused; the device can be lost at any
// call.
struct FakeDeviceOptions {
    std::uint64_t memory = 1u << 30;
    bool copyQueueFirst = false;  // the copy queue runs as soon as its waits allow; else as late as possible
    bool deterministic = true;
    std::uint32_t sm = 90;
    std::function<void(const kernels::cuda::Op &)> runOp; // default: the reference
};

class FakeDevice final : public backend::cuda::Device, private backend::cuda::Memory::Owner {
public:
    // What a test may look at and set while a program owns the device.
    struct State {
        std::uint64_t allocated = 0, calls = 0, operations = 0, graphs = 0, graphLaunches = 0, transfers = 0;
        std::uint64_t loseAtCall = 0;    // > 0: this call, and every later one, says that the device is lost
        std::uint64_t refuseMemory = 0;  // > 0: so many more allocations, then out of memory
        bool lost = false;
        std::function<void()> beforeOperation, beforeCall;
    };

    explicit FakeDevice(FakeDeviceOptions options = {});
    ~FakeDevice() override;
    std::shared_ptr<State> state() const { return m_state; }

    const backend::cuda::DeviceInfo &info() const override { return m_info; }
    std::uint64_t freeMemory() const override { return m_options.memory - m_state->allocated; }
    Result<backend::cuda::Memory> allocate(std::size_t bytes) override;
    Result<backend::cuda::Memory> allocatePinned(std::size_t bytes) override;
    Result<std::unique_ptr<backend::cuda::GrowingMemory>> reserve(std::uint64_t capacity) override;
    Result<void> upload(backend::cuda::Queue queue, void *to, const void *from, std::size_t bytes) override;
    Result<void> download(backend::cuda::Queue queue, void *to, const void *from, std::size_t bytes) override;
    Result<void> copy(backend::cuda::Queue queue, void *to, const void *from, std::size_t bytes) override;
    Result<void> run(backend::cuda::Queue queue, const kernels::cuda::Op &op) override;
    Result<std::unique_ptr<backend::cuda::Event>> makeEvent() override;
    Result<void> record(backend::cuda::Event &event, backend::cuda::Queue queue) override;
    Result<void> waitFor(backend::cuda::Queue queue, const backend::cuda::Event &event) override;
    Result<bool> reached(const backend::cuda::Event &event) override;
    Result<void> synchronize(const backend::cuda::Event &event) override;
    Result<double> secondsBetween(const backend::cuda::Event &from, const backend::cuda::Event &to) override;
    Result<void> beginGraph() override;
    Result<std::unique_ptr<backend::cuda::Graph>> endGraph() override;
    Result<void> launch(const backend::cuda::Graph &graph) override;
    Result<void> ensureScratch(const kernels::cuda::Op &op) override;
    std::uint64_t scratchGeneration() const override { return m_scratchGeneration; }

private:
    struct Task {
        std::function<void()> work; // empty: a wait for another queue
        std::size_t otherQueue = 0;
        std::uint64_t otherEnd = 0;
    };
    struct Work {
        std::deque<Task> tasks;
        std::uint64_t queued = 0, done = 0; // tasks
    };

    Result<void> call();
    Result<void> admit(std::size_t bytes);
    void release(std::byte *data) noexcept override;
    void push(backend::cuda::Queue queue, Task task);
    void drain(std::size_t queue, std::uint64_t end);
    void transfer(backend::cuda::Queue queue, void *to, const void *from, std::size_t bytes);
    void execute(const kernels::cuda::Op &op);

    friend class FakeGrowingMemory;
    FakeDeviceOptions m_options;
    backend::cuda::DeviceInfo m_info;
    std::shared_ptr<State> m_state = std::make_shared<State>();
    std::map<std::byte *, std::pair<std::size_t, bool>> m_blocks; // size, and whether it counts against the budget
    Work m_work[2];
    std::unique_ptr<std::vector<kernels::cuda::Op>> m_recording;
    std::uint64_t m_scratchGeneration = 0;
};

} // namespace kvilt::test

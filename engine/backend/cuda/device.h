// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"
#include "kernels/cuda/api/emit.h"
#include "kernels/cuda/api/ops.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace kvilt::backend::cuda {

// Two queues of work: what lies in one runs in order, the two run beside each other and meet only at events.
enum class Queue : std::uint8_t { compute, copy };

struct DeviceInfo {
    std::string name;                  // as the driver gives it: "NVIDIA H200"
    std::uint64_t totalMemory = 0;
    std::uint32_t driverVersion = 0;   // 13000: CUDA 13.0
    std::string blas = "none";         // cuBLASLt's version, part of the numerics tag
    kernels::cuda::DeviceFacts facts;
};

// A piece of memory that its device takes back; pinned host memory alike. Movable, not copyable.
class Memory {
public:
    struct Owner {
        virtual ~Owner() = default;
        virtual void release(std::byte *data) noexcept = 0;
    };
    Memory() = default;
    Memory(Owner &owner, std::byte *data, std::size_t size) : m_owner(&owner), m_data(data), m_size(size) {}
    Memory(Memory &&other) noexcept { swap(other); }
    Memory &operator=(Memory &&other) noexcept
    {
        Memory(std::move(other)).swap(*this);
        return *this;
    }
    ~Memory()
    {
        if (m_data)
            m_owner->release(m_data);
    }
    void swap(Memory &other) noexcept
    {
        std::swap(m_owner, other.m_owner);
        std::swap(m_data, other.m_data);
        std::swap(m_size, other.m_size);
    }
    std::byte *data() const { return m_data; }
    std::size_t size() const { return m_size; }
    template <typename T>
    T *as(std::size_t offset = 0) const
    {
        return reinterpret_cast<T *>(m_data + offset);
    }

private:
    Owner *m_owner = nullptr;
    std::byte *m_data = nullptr;
    std::size_t m_size = 0;
};

// Device memory that grows in place up to a capacity: addresses never move, so graphs and block tables keep them. Grows in
// pages of the device's choice.
class GrowingMemory {
public:
    virtual ~GrowingMemory() = default;
    virtual Result<void> grow(std::uint64_t bytes) = 0; // at least so many are usable; outOfMemory: the device refused
    virtual std::byte *data() const = 0;
    virtual std::uint64_t size() const = 0;             // usable now
    virtual std::uint64_t capacity() const = 0;
};

// A point in a queue, reused by recording it again.
class Event {
public:
    virtual ~Event() = default;
};

// Operations recorded once and run again with one call.
class Graph {
public:
    virtual ~Graph() = default;
};

// One GPU as the program sees it. Everything but memory calls only queues work; what goes wrong later is reported by a later
// call. ErrorCode::device: the GPU is gone, and every further call says so; outOfMemory: it may be tried with less.
// One thread calls.
class Device {
public:
    virtual ~Device() = default;
    virtual const DeviceInfo &info() const = 0;
    virtual std::uint64_t freeMemory() const = 0;

    virtual Result<Memory> allocate(std::size_t bytes) = 0;       // aligned to 256, content undefined
    virtual Result<Memory> allocatePinned(std::size_t bytes) = 0; // host memory that copies run to and from
    virtual Result<std::unique_ptr<GrowingMemory>> reserve(std::uint64_t capacity) = 0;

    // Host sides must be pinned and stay as they are until the copy has run.
    virtual Result<void> upload(Queue queue, void *to, const void *from, std::size_t bytes) = 0;
    virtual Result<void> download(Queue queue, void *to, const void *from, std::size_t bytes) = 0;
    virtual Result<void> copy(Queue queue, void *to, const void *from, std::size_t bytes) = 0;
    virtual Result<void> run(Queue queue, const kernels::cuda::Op &op) = 0;

    virtual Result<std::unique_ptr<Event>> makeEvent() = 0;
    virtual Result<void> record(Event &event, Queue queue) = 0;
    virtual Result<void> waitFor(Queue queue, const Event &event) = 0; // the queue waits, the caller does not
    virtual Result<bool> reached(const Event &event) = 0;              // of its last record()
    virtual Result<void> synchronize(const Event &event) = 0;          // the caller waits
    virtual Result<double> secondsBetween(const Event &from, const Event &to) = 0; // both reached

    // Between the two, what is queued on Queue::compute (operations only) is recorded and does not run.
    virtual Result<void> beginGraph() = 0;
    virtual Result<std::unique_ptr<Graph>> endGraph() = 0;
    virtual Result<void> launch(const Graph &graph) = 0; // on Queue::compute

    // Scratch for operations, kept until another size is asked for; graphs that were recorded before are void then: the
    // number changes. run() never grows it while a graph is recorded.
    virtual Result<void> ensureScratch(const kernels::cuda::Op &op) = 0;
    virtual std::uint64_t scratchGeneration() const = 0;
};

} // namespace kvilt::backend::cuda

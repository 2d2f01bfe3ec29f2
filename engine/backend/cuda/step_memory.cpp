// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/step_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace kvilt::backend::cuda {
namespace {

template <typename T>
std::size_t place(std::size_t &end, const std::vector<T> &items)
{
    const std::size_t at = end;
    end = (end + items.size() * sizeof(T) + 255) / 256 * 256;
    return at;
}

template <typename T>
void fill(std::byte *to, const std::vector<T> &items)
{
    if (!items.empty())
        std::memcpy(to, items.data(), items.size() * sizeof(T));
}

} // namespace

StepMemory::Layout::Layout(const StepImage &image)
{
    size = 0;
    rows = place(size, image.rows);
    slices = place(size, image.slices);
    finalSlices = place(size, image.finalSlices);
    tiles = place(size, image.tiles);
    finalTiles = place(size, image.finalTiles);
    finalRows = place(size, image.finalRows);
    samples = place(size, image.samples);
    words = place(size, image.words); // last: its length alone follows from more than the counts
}

Result<StepMemory> StepMemory::make(Device &device, std::uint32_t maxSlices)
{
    StepMemory out;
    KVILT_TRY(out.m_sampled, device.allocate(std::size_t(maxSlices) * kRememberedTickets * sizeof(std::int32_t)));
    for (Staging &staging : out.m_staging) {
        KVILT_TRY(staging.uploaded, device.makeEvent());
    }
    return out;
}

Result<void> StepMemory::grow(Device &device, std::size_t bytes)
{
    if (m_memory.size() >= bytes)
        return {};
    // Steps that still read the old memory must be done before it goes.
    for (Staging &staging : m_staging) {
        KVILT_TRY_VOID(device.record(*staging.uploaded, Queue::compute));
        KVILT_TRY_VOID(device.synchronize(*staging.uploaded));
        staging.used = false;
    }
    const std::size_t size = std::bit_ceil(std::max<std::size_t>(bytes, 64 << 10));
    m_memory = {};
    ++m_generation;
    KVILT_TRY(m_memory, device.allocate(size));
    for (Staging &staging : m_staging) {
        staging.memory = {};
        KVILT_TRY(staging.memory, device.allocatePinned(size));
    }
    return {};
}

Result<StepPointers> StepMemory::upload(Device &device, const StepImage &image)
{
    const Layout at(image);
    KVILT_TRY_VOID(grow(device, at.size));
    Staging &staging = m_staging[m_turn ^= 1];
    if (staging.used)
        KVILT_TRY_VOID(device.synchronize(*staging.uploaded));
    staging.used = true;
    std::byte *to = staging.memory.data();
    fill(to + at.rows, image.rows);
    fill(to + at.slices, image.slices);
    fill(to + at.finalSlices, image.finalSlices);
    fill(to + at.tiles, image.tiles);
    fill(to + at.finalTiles, image.finalTiles);
    fill(to + at.finalRows, image.finalRows);
    fill(to + at.samples, image.samples);
    fill(to + at.words, image.words);
    KVILT_TRY_VOID(device.upload(Queue::compute, m_memory.data(), to, at.size));
    KVILT_TRY_VOID(device.record(*staging.uploaded, Queue::compute));

    StepPointers out;
    out.view.rows = m_memory.as<kernels::cuda::StepRow>(at.rows);
    out.view.slices = m_memory.as<kernels::cuda::StepSlice>(at.slices);
    out.view.tables = m_memory.as<std::uint32_t>(at.words);
    out.view.sampled = sampled();
    out.finalSlices = m_memory.as<kernels::cuda::StepSlice>(at.finalSlices);
    out.tiles = m_memory.as<kernels::cuda::AttentionTile>(at.tiles);
    out.finalTiles = m_memory.as<kernels::cuda::AttentionTile>(at.finalTiles);
    out.finalRows = m_memory.as<std::uint32_t>(at.finalRows);
    out.samples = m_memory.as<kernels::cuda::SampleSlot>(at.samples);
    out.history = m_memory.as<std::int32_t>(at.words);
    return out;
}

} // namespace kvilt::backend::cuda

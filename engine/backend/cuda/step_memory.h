// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "engine/backend/cuda/step_image.h"

#include <array>
#include <memory>

namespace kvilt::backend::cuda {

// Where the parts of a step's image lie on the device. They follow from the counts alone, so that a graph which was recorded
// for those counts finds the next step's image in the same places.
struct StepPointers {
    kernels::cuda::StepView view;
    const kernels::cuda::StepSlice *finalSlices = nullptr;
    const kernels::cuda::AttentionTile *tiles = nullptr;
    const kernels::cuda::AttentionTile *finalTiles = nullptr;
    const std::uint32_t *finalRows = nullptr;
    const kernels::cuda::SampleSlot *samples = nullptr;
    const std::int32_t *history = nullptr;
};

// The device's copy of the image of the step under way. Two host copies take turns: one is filled while the other's upload may
// still wait behind an earlier step.
class StepMemory {
public:
    static Result<StepMemory> make(Device &device, std::uint32_t maxSlices);

    // Queues the upload on Queue::compute.
    Result<StepPointers> upload(Device &device, const StepImage &image);
    std::int32_t *sampled() const { return m_sampled.as<std::int32_t>(); }
    std::uint64_t generation() const { return m_generation; } // another one: addresses have moved

private:
    struct Layout {
        std::size_t rows, slices, finalSlices, tiles, finalTiles, finalRows, samples, words, size;
        explicit Layout(const StepImage &image);
    };
    struct Staging {
        Memory memory;
        std::unique_ptr<Event> uploaded;
        bool used = false;
    };
    Result<void> grow(Device &device, std::size_t bytes);

    Memory m_memory, m_sampled;
    std::array<Staging, 2> m_staging;
    unsigned m_turn = 0;
    std::uint64_t m_generation = 0;
};

} // namespace kvilt::backend::cuda

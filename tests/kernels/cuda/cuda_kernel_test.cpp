// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/cuda/cuda_kernel_test.h"

#include "kernels/cuda/emulator/emulator.h"
#include "kernels/cuda/reference/ops_reference.h"

namespace kvilt::kernels::cuda::test {

DeviceMatrix packMatrix(WeightType type, std::uint32_t rows, std::uint32_t cols, const std::vector<std::byte> &weights)
{
    DeviceMatrix out;
    out.bytes = std::make_shared<AlignedBytes>(deviceWeightBytes(type, rows, cols));
    out.matrix = {type, rows, cols, out.bytes->data()};
    const WeightView view{type, rows, cols, weights.data()};
    for (std::uint32_t run = 0; run * deviceWeightRun(type, cols) < rows; ++run)
        packDeviceRun(view, run, out.bytes->data() + deviceWeightOffset(type, rows, cols, run));
    return out;
}

DeviceMatrix randomMatrix(Random &random, WeightType type, std::uint32_t rows, std::uint32_t cols)
{
    return packMatrix(type, rows, cols, kernels::test::randomWeights(random, type, rows, cols));
}

ProjectOp projectOp(const DeviceMatrix &w, DeviceArray<float> &in, DeviceArray<float> &out, std::uint32_t tokens)
{
    ProjectOp op;
    op.rows = tokens;
    op.x = {in.data(), Element::f32, w.matrix.cols};
    op.weights = w.matrix;
    op.out = out.data();
    op.ldOut = w.matrix.rows;
    return op;
}

DeviceFacts hopper()
{
    return {.sm = 90, .multiprocessors = 132, .sharedPerBlock = 227 * 1024, .l2Bytes = 50u << 20, .deterministic = true};
}

DeviceFacts hopperFast()
{
    DeviceFacts facts = hopper();
    facts.deterministic = false;
    facts.warpgroups = true;
    return facts;
}

DeviceFacts turing()
{
    return {.sm = 75, .multiprocessors = 40, .sharedPerBlock = 64 * 1024, .l2Bytes = 4u << 20, .deterministic = true};
}

std::vector<Launch> launchesOf(const Op &op, const DeviceFacts &device, std::byte *scratch)
{
    std::vector<Launch> launches;
    emit(op, device, scratch, launches);
    return launches;
}

std::string emulate(const Op &op, const DeviceFacts &device, std::uint32_t seed)
{
    AlignedBytes scratch(scratchBytes(op, device) + 256);
    std::byte *base = scratch.data() + (256 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 256) % 256;
    for (const Launch &launch : launchesOf(op, device, base)) {
        if (launch.sharedBytes > device.sharedPerBlock)
            return std::string(launch.kernel) + " wants more shared memory than the device has";
        if (std::string error = emulator::run(launch, seed); !error.empty())
            return error;
    }
    return {};
}

bool isFloat(WeightType type)
{
    return type == WeightType::F32 || type == WeightType::F16 || type == WeightType::BF16;
}

std::vector<std::int32_t> sampleTokens(const std::vector<SampleSlot> &places, const std::vector<float> &logits,
                                       const std::vector<std::int32_t> &history, std::uint32_t vocabulary, bool greedyOnly, bool reference)
{
    DeviceArray<SampleSlot> devicePlaces(places);
    DeviceArray<float> deviceLogits(logits);
    DeviceArray<std::int32_t> deviceHistory(history), sampled(std::vector<std::int32_t>(places.size() + 1, 17));
    SampleOp op;
    op.count = static_cast<std::uint32_t>(places.size());
    op.greedyOnly = greedyOnly;
    op.slots = devicePlaces.data();
    op.history = deviceHistory.data();
    op.logits = deviceLogits.data();
    op.vocabulary = vocabulary;
    op.sampled = sampled.data();
    if (reference)
        reference::run(op);
    else if (!emulate(op, hopper()).empty())
        return {};
    return sampled.values();
}

std::uint32_t colsFor(WeightType type, std::uint32_t cols)
{
    const std::uint32_t block = info(type).blockElements;
    return (cols + block - 1) / block * block;
}

} // namespace kvilt::kernels::cuda::test

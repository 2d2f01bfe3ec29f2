// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/backend.h"

#include "engine/backend/cuda/program.h"

#include <cstdio>

namespace kvilt::backend::cuda {
namespace {

constexpr std::uint64_t kSmallDevice = 12ull << 30; // below, a step's workspace stays small

std::string gib(std::uint64_t bytes)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GiB", double(bytes) / double(1ull << 30));
    return text;
}

class CudaBackend final : public Backend {
public:
    explicit CudaBackend(std::unique_ptr<Device> device) : m_device(std::move(device)) {}

    std::string name() const override { return "cuda"; }
    std::string deviceName() const override { return m_device->info().name + " (" + gib(m_device->info().totalMemory) + ")"; }
    std::uint64_t freeMemory() const override { return m_device->freeMemory(); }
    std::uint64_t totalMemory() const override { return m_device->info().totalMemory; }
    std::uint32_t preferredStepTokens() const override { return m_device->info().totalMemory < kSmallDevice ? 512 : 2048; }

    // What weights, workspace and logits leave, less a twentieth of the device for graphs, scratch and the desktop.
    KvBudget kvBudget(const model::Model &model, std::uint32_t maxStepTokens) const override
    {
        const std::uint64_t taken = needed(model, maxStepTokens) + m_device->info().totalMemory / 20;
        const std::uint64_t free = freeMemory();
        const std::uint64_t left = free > taken ? free - taken : 0;
        return {left / 10 * 9, left};
    }

    Result<std::unique_ptr<Program>> prepare(std::shared_ptr<const model::Model> model, const kv::KvLayout &layout,
                                             const PrepareOptions &options) override
    {
        const std::uint64_t bytes = needed(*model, options.maxStepTokens), free = freeMemory();
        if (bytes > free)
            return fail(ErrorCode::outOfMemory, "The weights of " + model->file().path() + " need " + gib(bytes) + " on " +
                                                    deviceName() + ", which has " + gib(free) +
                                                    " free; close other programs that use it, or run on the CPU.");
        return CudaProgram::make(*m_device, std::move(model), layout, options);
    }

private:
    static std::uint64_t needed(const model::Model &model, std::uint32_t maxStepTokens)
    {
        const std::uint64_t logits = std::uint64_t(model.description().vocabulary) * sizeof(float) * 64;
        return Weights::bytesNeeded(model) + Workspace::bytesNeeded(model.description(), maxStepTokens) + logits;
    }

    std::unique_ptr<Device> m_device;
};

} // namespace

std::unique_ptr<Backend> backendOn(std::unique_ptr<Device> device)
{
    return std::make_unique<CudaBackend>(std::move(device));
}

} // namespace kvilt::backend::cuda

// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/backend.h"
#include "engine/backend/cpu_program.h"
#include "engine/support/memory.h"

#include <chrono>
#include <fstream>
#include <optional>
#include <string>

namespace kvilt::backend {
namespace {

// The processor's name as the system gives it, for people.
std::string processorName()
{
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("model name"))
            if (const std::size_t colon = line.find(": "); colon != std::string::npos)
                return line.substr(colon + 2);
    return "CPU";
}

class CpuBackend final : public Backend {
public:
    explicit CpuBackend(const kernels::KernelTable &kernels) : m_kernels(kernels) {}

    std::string name() const override { return "cpu"; }
    // Both are shown many times a second, and the system may take milliseconds over either answer.
    std::string deviceName() const override
    {
        if (m_deviceName.empty())
            m_deviceName = processorName();
        return m_deviceName;
    }
    std::uint64_t freeMemory() const override
    {
        const auto now = std::chrono::steady_clock::now();
        if (!m_freeMemory || now - m_freeMemoryAsked >= std::chrono::seconds(1)) {
            m_freeMemory = availableMemory();
            m_freeMemoryAsked = now;
        }
        return *m_freeMemory;
    }

    // A quarter of what is free: the user's other programs live in the same memory.
    KvBudget kvBudget(const model::Model &, std::uint32_t) const override
    {
        const std::uint64_t free = availableMemory();
        return {free / 4, free};
    }

    Result<std::unique_ptr<Program>> prepare(std::shared_ptr<const model::Model> model, const kv::KvLayout &layout,
                                             const PrepareOptions &options) override
    {
        return CpuProgram::make(m_kernels, std::move(model), layout, options);
    }

private:
    const kernels::KernelTable &m_kernels;
    mutable std::string m_deviceName;
    mutable std::optional<std::uint64_t> m_freeMemory; // as it was at most a second ago
    mutable std::chrono::steady_clock::time_point m_freeMemoryAsked;
};

} // namespace

Result<std::unique_ptr<Backend>> makeCpuBackend()
{
    const auto choice = kernels::selectKernelsFromEnvironment();
    if (const auto *problem = std::get_if<std::string>(&choice))
        return fail(ErrorCode::badInput, *problem);
    return std::make_unique<CpuBackend>(*std::get<const kernels::KernelTable *>(choice));
}

} // namespace kvilt::backend

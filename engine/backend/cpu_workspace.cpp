// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu_workspace.h"

#include <algorithm>

namespace kvilt::backend {
namespace {

constexpr std::size_t kLine = 64;

std::size_t rounded(std::size_t bytes)
{
    return (bytes + kLine - 1) / kLine * kLine;
}

// Hands out parts of one allocation: once to count, once for real.
class Carver {
public:
    explicit Carver(std::byte *memory) : m_memory(memory) {}
    std::byte *take(std::size_t bytes)
    {
        std::byte *part = m_memory ? m_memory + m_used : nullptr;
        m_used += rounded(bytes);
        return part;
    }
    Rows rows(std::size_t count, std::size_t columns)
    {
        const std::size_t stride = rounded(columns * sizeof(float)) / sizeof(float);
        return {reinterpret_cast<float *>(take(count * stride * sizeof(float))), stride};
    }
    std::size_t used() const { return m_used; }

private:
    std::byte *m_memory;
    std::size_t m_used = 0;
};

} // namespace

bool growBuffer(kernels::Buffer &buffer, std::size_t bytes)
{
    if (buffer.size() >= bytes)
        return true;
    auto bigger = kernels::Buffer::allocate(std::max(bytes, buffer.size() * 3 / 2));
    if (!bigger)
        return false;
    buffer = std::move(*bigger);
    return true;
}

Result<CpuWorkspace> CpuWorkspace::make(const model::ModelDescription &d, std::uint32_t maxTokens, int threads,
                                        std::size_t scratchBytes)
{
    CpuWorkspace out;
    out.keyColumn = d.queryWidth();
    out.valueColumn = d.queryWidth() + d.keyWidth();
    out.m_scratchBytes = rounded(scratchBytes);
    const std::uint32_t widest = std::max({d.width, d.attentionWidth(), d.feedForward});
    const auto carve = [&](std::byte *memory) {
        Carver carver(memory);
        out.hidden = carver.rows(maxTokens, d.width);
        out.delta = carver.rows(maxTokens, d.width);
        out.query = carver.rows(maxTokens, std::size_t(out.valueColumn) + d.valueWidth());
        out.attended = carver.rows(maxTokens, d.attentionWidth());
        out.gate = carver.rows(maxTokens, d.feedForward);
        out.up = carver.rows(maxTokens, d.feedForward);
        out.rope = carver.rows(maxTokens, std::size_t(d.rotated) * 2);
        for (const auto format : {kernels::ActivationFormat::f32, kernels::ActivationFormat::int8})
            out.m_activations[static_cast<std::size_t>(format)] =
                carver.take(kernels::activationRowBytes(format, widest) * maxTokens);
        out.m_scratch = carver.take(out.m_scratchBytes * static_cast<std::size_t>(threads));
        return carver.used();
    };
    auto memory = kernels::Buffer::allocate(carve(nullptr));
    if (!memory)
        return fail(ErrorCode::outOfMemory, "The system refused the memory for steps of " + std::to_string(maxTokens) + " tokens.");
    out.m_memory = std::move(*memory);
    carve(out.m_memory.data());
    return out;
}

} // namespace kvilt::backend

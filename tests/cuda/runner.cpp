// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda/runner.h"

#include "kernels/cuda/reference/ops_reference.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace kvilt::cudacheck {

using backend::cuda::Queue;

namespace {

// Mean square error over mean square of `want`; infinite where `got` has a NaN.
double normalisedError(const std::vector<float> &got, const std::vector<float> &want)
{
    double error = 0, power = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        error += (double(got[i]) - want[i]) * (double(got[i]) - want[i]);
        power += double(want[i]) * want[i];
    }
    return got.size() != want.size() || std::isnan(error) ? HUGE_VAL : error / (power > 0 ? power : 1);
}

// Host memory, aligned as device memory is.
class HostArena final : public Arena {
public:
    std::byte *place(std::vector<std::byte> content) override
    {
        const std::size_t bytes = (content.size() + 511) / 256 * 256;
        m_memory.emplace_back(static_cast<std::byte *>(std::aligned_alloc(256, bytes)), std::free);
        std::memcpy(m_memory.back().get(), content.data(), content.size());
        return m_memory.back().get();
    }

private:
    std::vector<std::unique_ptr<std::byte, void (*)(void *)>> m_memory;
};

std::vector<float> asFloats(const std::vector<std::byte> &bytes)
{
    std::vector<float> floats(bytes.size() / sizeof(float));
    std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
    return floats;
}

using Build = std::function<Built(Arena &, std::mt19937 &)>;

Result<std::vector<std::byte>> onDevice(backend::cuda::Device &device, const Build &build, std::uint32_t seed)
{
    DeviceArena arena(device);
    std::mt19937 random(seed);
    const Built built = build(arena, random);
    KVILT_TRY_VOID(arena.status());
    KVILT_TRY_VOID(device.ensureScratch(built.op));
    KVILT_TRY_VOID(device.run(Queue::compute, built.op));
    return arena.fetch(built.out);
}

std::vector<std::byte> onHost(const Build &build, std::uint32_t seed)
{
    HostArena arena;
    std::mt19937 random(seed);
    const Built built = build(arena, random);
    cuda::reference::run(built.op);
    return {built.out.data, built.out.data + built.out.bytes};
}

void runCase(backend::cuda::Device &device, const Case &c, std::uint32_t seed, Report &report)
{
    const auto got = onDevice(device, c.build, seed);
    if (!got)
        return report.add(false, c.name, got.error().message);
    const auto want = onHost(c.build, seed);
    if (c.limit == 0)
        return report.add(*got == want, c.name, *got == want ? "same bytes" : "other bytes");
    const double error = normalisedError(asFloats(*got), asFloats(want));
    char text[64];
    std::snprintf(text, sizeof text, "NMSE %.1e, limit %.0e", error, c.limit);
    report.add(error <= c.limit, c.name, text);
}

void runTwin(backend::cuda::Device &device, const TwinCase &c, std::uint32_t seed, Report &report)
{
    const auto alone = onDevice(device, c.alone, seed), together = onDevice(device, c.together, seed);
    if (!alone || !together)
        return report.add(false, c.name, (alone ? together : alone).error().message);
    const std::size_t common = std::min(alone->size(), together->size());
    const bool same = std::memcmp(alone->data(), together->data(), common) == 0;
    report.add(same, c.name, same ? "same bits" : "other bits");
}

} // namespace

void Report::add(bool good, const std::string &name, const std::string &detail)
{
    ++(good ? passed : failed);
    if (print)
        print((good ? "PASS  " : "FAIL  ") + name + "  (" + detail + ")");
}

DeviceArena::~DeviceArena()
{
    (void)wait();
}

Result<void> DeviceArena::wait()
{
    KVILT_TRY(auto event, m_device.makeEvent());
    KVILT_TRY_VOID(m_device.record(*event, Queue::compute));
    return m_device.synchronize(*event);
}

std::byte *DeviceArena::place(std::vector<std::byte> content)
{
    const auto put = [&]() -> Result<std::byte *> {
        KVILT_TRY(auto memory, m_device.allocate(content.size()));
        KVILT_TRY(auto pinned, m_device.allocatePinned(content.size()));
        std::memcpy(pinned.data(), content.data(), content.size());
        KVILT_TRY_VOID(m_device.upload(Queue::compute, memory.data(), pinned.data(), content.size()));
        KVILT_TRY_VOID(wait()); // before the pinned memory goes
        m_memory.push_back(std::move(memory));
        return m_memory.back().data();
    };
    auto at = put();
    if (at)
        return *at;
    if (m_status)
        m_status = tl::unexpected(at.error());
    return nullptr;
}

Result<std::vector<std::byte>> DeviceArena::fetch(const Output &output)
{
    KVILT_TRY(auto pinned, m_device.allocatePinned(output.bytes));
    KVILT_TRY_VOID(m_device.download(Queue::compute, pinned.data(), output.data, output.bytes));
    KVILT_TRY_VOID(wait());
    return std::vector<std::byte>(pinned.data(), pinned.data() + output.bytes);
}

void runCases(backend::cuda::Device &device, bool quick, const std::string &filter, Report &report)
{
    const auto wanted = [&](const std::string &name) { return name.find(filter) != std::string::npos; };
    const cuda::DeviceFacts &facts = device.info().facts;
    std::uint32_t seed = 1;
    for (const Case &c : facts.deterministic ? kernelCases(facts, quick) : fastCases(facts, quick))
        if (++seed; wanted(c.name))
            runCase(device, c, seed, report);
    if (!facts.deterministic)
        return;
    for (const TwinCase &c : exactnessCases(facts, quick))
        if (++seed; wanted(c.name))
            runTwin(device, c, seed, report);
}

} // namespace kvilt::cudacheck

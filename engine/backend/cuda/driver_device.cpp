// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/driver_device.h"

#include "engine/backend/cuda/blas.h"
#include "engine/backend/cuda/driver_memory.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <unordered_map>

namespace kvilt::backend::cuda {

using kernels::cuda::Launch;
using kernels::cuda::Op;

namespace {

constexpr std::uint32_t kOldestSm = 75;
constexpr std::uint32_t kWarpgroupSm = 90; // what their instructions need is in no other architecture
constexpr std::uint32_t kDriverWithGraphEdges = 12030; // programmatic launches may be recorded from here on
constexpr std::uint32_t kSharedWithoutAsking = 48u << 10;

std::uint32_t architectureOf(const api::Driver &driver, api::DeviceId device)
{
    int major = 0, minor = 0;
    driver.deviceAttribute(&major, api::kComputeMajor, device);
    driver.deviceAttribute(&minor, api::kComputeMinor, device);
    return static_cast<std::uint32_t>(major * 10 + minor);
}

struct DriverEvent final : Event {
    DriverEvent(const DriverCalls &c, api::EventHandle h) : calls(c), handle(h) {}
    ~DriverEvent() override { calls.driver().eventDestroy(handle); }
    const DriverCalls &calls;
    api::EventHandle handle;
};

struct DriverGraph final : Graph {
    DriverGraph(const DriverCalls &c, api::GraphExec e) : calls(c), exec(e) {}
    ~DriverGraph() override { calls.driver().graphExecDestroy(exec); } // one that runs is freed by the driver when it ends
    const DriverCalls &calls;
    api::GraphExec exec;
};

class DriverDevice final : public Device, private DriverCalls {
public:
    DriverDevice(DriverLibrary driver, KernelPlugin plugin, bool deterministic)
        : DriverCalls(driver.driver), m_library(std::move(driver)), m_plugin(std::move(plugin)), m_memory(*this)
    {
        m_info.driverVersion = m_library.version;
        m_info.facts.deterministic = deterministic;
    }
    ~DriverDevice() override { close(); }

    Result<void> open(int ordinal)
    {
        KVILT_TRY_VOID(checkVersions());
        KVILT_TRY_VOID(readDevice(ordinal));
        KVILT_TRY_VOID(check(driver().contextRetain(&m_context, m_device), "the start of the GPU"));
        useContext(m_context);
        for (api::Stream &stream : m_streams)
            KVILT_TRY_VOID(check(driver().streamCreate(&stream, api::kStreamNonBlocking), "the start of the GPU"));
        int virtualMemory = 0;
        driver().deviceAttribute(&virtualMemory, api::kVirtualMemory, m_device);
        m_memory.open(m_device, virtualMemory != 0, m_streams);
        KVILT_TRY_VOID(loadKernels());
        openBlas();
        return {};
    }

    const DeviceInfo &info() const override { return m_info; }
    std::uint64_t freeMemory() const override
    {
        std::size_t free = 0, total = 0;
        return driver().memoryInfo(&free, &total) == api::kOk ? free : 0;
    }
    Result<Memory> allocate(std::size_t bytes) override { return m_memory.allocate(bytes); }
    Result<Memory> allocatePinned(std::size_t bytes) override { return m_memory.allocatePinned(bytes); }
    Result<std::unique_ptr<GrowingMemory>> reserve(std::uint64_t capacity) override { return m_memory.reserve(capacity); }

    Result<void> upload(Queue queue, void *to, const void *from, std::size_t bytes) override
    {
        return check(driver().copyToDevice(address(to), from, bytes, stream(queue)), "a copy to the GPU");
    }
    Result<void> download(Queue queue, void *to, const void *from, std::size_t bytes) override
    {
        return check(driver().copyToHost(to, address(from), bytes, stream(queue)), "a copy from the GPU");
    }
    Result<void> copy(Queue queue, void *to, const void *from, std::size_t bytes) override
    {
        return check(driver().copyOnDevice(address(to), address(from), bytes, stream(queue)), "a copy on the GPU");
    }

    Result<void> run(Queue queue, const Op &op) override
    {
        emitFor(op, m_info.facts, queue);
        // A shape that cuBLASLt has no way for is multiplied here.
        const auto refused = [this](const Launch &l) { return !l.kernel && !(m_blas && m_blas->multiplies(l.gemm)); };
        if (std::any_of(m_launches.begin(), m_launches.end(), refused))
            emitFor(op, withoutBlas(), queue);
        for (Launch &launch : m_launches)
            KVILT_TRY_VOID(launch.kernel ? launchKernel(launch, stream(queue)) : multiply(launch.gemm, stream(queue)));
        return {};
    }

    Result<std::unique_ptr<Event>> makeEvent() override
    {
        api::EventHandle handle = nullptr;
        KVILT_TRY_VOID(check(driver().eventCreate(&handle, api::kEventBlockingSync), "the start of the GPU"));
        return std::make_unique<DriverEvent>(calls(), handle);
    }
    Result<void> record(Event &event, Queue queue) override
    {
        return check(driver().eventRecord(handleOf(event), stream(queue)), "a step");
    }
    Result<void> waitFor(Queue queue, const Event &event) override
    {
        return check(driver().streamWaitEvent(stream(queue), handleOf(event), 0), "a step");
    }
    Result<bool> reached(const Event &event) override
    {
        const api::Status status = driver().eventQuery(handleOf(event));
        if (status == api::kNotReady)
            return false;
        KVILT_TRY_VOID(check(status, "a step"));
        return true;
    }
    // A decode step is over in less than a thread takes to wake: look for a while, then sleep.
    Result<void> synchronize(const Event &event) override
    {
        const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(500);
        do {
            KVILT_TRY(const bool there, reached(event));
            if (there)
                return {};
        } while (std::chrono::steady_clock::now() < until);
        return check(driver().eventSynchronize(handleOf(event)), "a step");
    }
    Result<double> secondsBetween(const Event &from, const Event &to) override
    {
        float milliseconds = 0;
        KVILT_TRY_VOID(check(driver().eventElapsed(&milliseconds, handleOf(from), handleOf(to)), "a step"));
        return double(milliseconds) * 1e-3;
    }

    Result<void> beginGraph() override
    {
        return check(driver().captureBegin(stream(Queue::compute), api::kCaptureThreadLocal), "the recording of a step");
    }
    Result<std::unique_ptr<Graph>> endGraph() override
    {
        api::GraphHandle graph = nullptr;
        KVILT_TRY_VOID(check(driver().captureEnd(stream(Queue::compute), &graph), "the recording of a step"));
        api::GraphExec exec = nullptr;
        const api::Status status = driver().graphInstantiate(&exec, graph, 0);
        driver().graphDestroy(graph);
        KVILT_TRY_VOID(check(status, "the recording of a step"));
        return std::make_unique<DriverGraph>(calls(), exec);
    }
    Result<void> launch(const Graph &graph) override
    {
        return check(driver().graphLaunch(static_cast<const DriverGraph &>(graph).exec, stream(Queue::compute)), "a step");
    }

    Result<void> ensureScratch(const Op &op) override
    {
        const std::uint64_t bytes = std::max(kernels::cuda::scratchBytes(op, m_info.facts), kernels::cuda::scratchBytes(op, withoutBlas()));
        if (bytes <= m_scratch.size())
            return {};
        m_scratch = {}; // waits for what still uses it
        ++m_scratchGeneration;
        KVILT_TRY(m_scratch, allocate(bytes + bytes / 2));
        return {};
    }
    std::uint64_t scratchGeneration() const override { return m_scratchGeneration; }

private:
    struct Kernel {
        api::Function function = nullptr;
        std::uint32_t sharedBytes = kSharedWithoutAsking; // it may use
    };

    api::Stream stream(Queue queue) const { return m_streams[static_cast<std::size_t>(queue)]; }
    static api::EventHandle handleOf(const Event &event) { return static_cast<const DriverEvent &>(event).handle; }

    const DriverCalls &calls() const { return *this; }
    kernels::cuda::DeviceFacts withoutBlas() const
    {
        kernels::cuda::DeviceFacts facts = m_info.facts;
        facts.blas = false;
        return facts;
    }
    void emitFor(const Op &op, const kernels::cuda::DeviceFacts &facts, Queue queue)
    {
        m_launches.clear();
        kernels::cuda::emit(op, facts, queue == Queue::compute ? m_scratch.data() : nullptr, m_launches);
    }

    Result<void> checkVersions() const
    {
        const std::uint32_t needed = m_plugin.list->toolkit / 1000 * 1000; // a driver runs all of its major version's code
        if (m_library.version >= needed)
            return {};
        return fail(ErrorCode::unsupported, "The NVIDIA driver is too old: it speaks CUDA " + versionText(m_library.version) +
                                                ", the kernels of this program need " + versionText(needed) + "; update it.");
    }

    Result<void> readDevice(int ordinal)
    {
        int count = 0;
        KVILT_TRY_VOID(check(driver().deviceCount(&count), "the search for GPUs"));
        if (ordinal < 0 || ordinal >= count)
            return fail(ErrorCode::unsupported, count == 0 ? "The NVIDIA driver sees no GPU here."
                                                           : "There is no GPU " + std::to_string(ordinal) + "; the driver sees " +
                                                                 std::to_string(count) + ", counted from 0.");
        KVILT_TRY_VOID(check(driver().deviceGet(&m_device, ordinal), "the search for GPUs"));
        const FoundDevice found = listDevices(driver())[static_cast<std::size_t>(ordinal)];
        m_info.name = found.name;
        m_info.totalMemory = found.totalMemory;
        kernels::cuda::DeviceFacts &facts = m_info.facts;
        facts.sm = found.sm;
        if (facts.sm < kOldestSm)
            return fail(ErrorCode::unsupported, found.name + " is too old for the CUDA kernels: it is of architecture " +
                                                    std::to_string(facts.sm) + ", " + std::to_string(kOldestSm) + " is needed.");
        int value = 0;
        driver().deviceAttribute(&value, api::kMultiprocessorCount, m_device);
        facts.multiprocessors = static_cast<std::uint32_t>(value);
        driver().deviceAttribute(&value, api::kSharedPerBlockOptIn, m_device);
        facts.sharedPerBlock = static_cast<std::uint32_t>(value);
        driver().deviceAttribute(&value, api::kL2CacheSize, m_device);
        facts.l2Bytes = static_cast<std::uint64_t>(value);
        return {};
    }

    Result<void> loadKernels()
    {
        for (std::uint32_t i = 0; i < m_plugin.list->imageCount; ++i) {
            const KviltCudaImage &image = m_plugin.list->images[i];
            api::Module module = nullptr;
            const api::Status status = driver().moduleLoad(&module, image.data, 0, nullptr, nullptr);
            if (status == api::kNoBinaryForGpu) // a source for other architectures only
                continue;
            KVILT_TRY_VOID(check(status, "the loading of the kernels '" + std::string(image.name) + "'"));
            m_modules.push_back(module);
        }
        for (const std::string_view name : kernels::cuda::kernelNames(m_info.facts)) {
            const std::string text(name);
            api::Function function = nullptr;
            for (const api::Module module : m_modules)
                if (!function && driver().moduleFunction(&function, module, text.c_str()) != api::kOk)
                    function = nullptr;
            if (!function)
                return fail(ErrorCode::unsupported, "The CUDA plug-in (architectures " + std::string(m_plugin.list->architectures) +
                                                        ") holds no kernel '" + text + "' for " + m_info.name +
                                                        "; install the whole program again.");
            m_kernels[text] = {function};
        }
        findWarpgroupKernels();
        return {};
    }

    // A plug-in that was built without them still runs: the portable kernels do the same work.
    void findWarpgroupKernels()
    {
        kernels::cuda::DeviceFacts &facts = m_info.facts;
        if (facts.sm != kWarpgroupSm || facts.deterministic)
            return;
        std::unordered_map<std::string, Kernel> found;
        for (const std::string_view name : kernels::cuda::warpgroupKernelNames()) {
            Kernel kernel;
            for (const api::Module module : m_modules)
                if (!kernel.function && driver().moduleFunction(&kernel.function, module, std::string(name).c_str()) != api::kOk)
                    kernel.function = nullptr;
            if (!kernel.function)
                return;
            found.emplace(name, kernel);
        }
        m_kernels.merge(found);
        facts.warpgroups = true;
    }

    // Puts the driver's form of a launch's tensor views into its parameters.
    Result<void> encodeTensors(Launch &launch)
    {
        constexpr std::uint64_t kAnyBlock = 1ull << 31; // block tables name only blocks that are there
        for (std::uint32_t i = 0; i < launch.tensorCount; ++i) {
            const kernels::cuda::TensorView &view = launch.tensors[i].view;
            const std::uint64_t row = std::uint64_t(view.dim) * 2;
            const std::uint64_t sizes[4] = {view.dim, view.tokens, view.heads, kAnyBlock};
            const std::uint64_t strides[3] = {row, row * view.tokens, view.blockStride};
            const std::uint32_t box[4] = {64, view.boxTokens, 1, 1}, steps[4] = {1, 1, 1, 1};
            KVILT_TRY_VOID(check(driver().tensorEncode(launch.params.data() + launch.tensors[i].offset, api::kTensorFloat16, 4,
                                                       const_cast<std::byte *>(view.base), sizes, strides, box, steps, 0,
                                                       api::kTensorSwizzle128, api::kTensorPromotion128, 0),
                                 "the launch of " + std::string(launch.kernel)));
        }
        return {};
    }

    void openBlas()
    {
        if (m_info.facts.deterministic)
            return;
        auto workspace = allocate(Blas::kWorkspaceBytes);
        m_blas = workspace ? Blas::open(std::move(*workspace)) : nullptr;
        m_info.facts.blas = m_blas != nullptr;
        if (m_blas)
            m_info.blas = m_blas->version();
    }

    Result<void> launchKernel(Launch &launch, api::Stream on)
    {
        KVILT_TRY_VOID(encodeTensors(launch));
        const auto at = m_kernels.find(launch.kernel);
        if (at == m_kernels.end())
            return check(api::kNotFound, "the launch of " + std::string(launch.kernel));
        Kernel &kernel = at->second;
        if (launch.sharedBytes > kernel.sharedBytes) {
            KVILT_TRY_VOID(check(driver().functionSetAttribute(kernel.function, api::kFunctionMaxDynamicShared, int(launch.sharedBytes)),
                                 "the launch of " + at->first));
            kernel.sharedBytes = launch.sharedBytes;
        }
        std::array<api::LaunchAttribute, 2> attributes{};
        unsigned count = 0;
        if (launch.cluster > 1) {
            attributes[count].id = api::kAttributeClusterDimension;
            attributes[count++].value.cluster = {launch.cluster, 1, 1};
        }
        if (launch.programmatic && m_info.facts.sm >= 90 && m_library.version >= kDriverWithGraphEdges) {
            attributes[count].id = api::kAttributeProgrammaticSerialization;
            attributes[count++].value.programmaticSerialization = 1;
        }
        const api::LaunchConfig config{launch.grid[0],  launch.grid[1],     launch.grid[2], launch.block[0],   launch.block[1],
                                       launch.block[2], launch.sharedBytes, on,             attributes.data(), count};
        void *parameters[] = {launch.params.data()};
        return check(driver().launchKernel(&config, kernel.function, parameters, nullptr), "the launch of " + at->first);
    }

    Result<void> multiply(const Launch::Gemm &gemm, api::Stream on)
    {
        if (m_blas && m_blas->multiply(gemm, on))
            return {};
        return fail(ErrorCode::device, "cuBLASLt cannot multiply " + std::to_string(gemm.m) + "x" + std::to_string(gemm.k) + " by " +
                                           std::to_string(gemm.n) + " on this GPU; run with --deterministic, which does without it.");
    }

    void close()
    {
        if (!m_context)
            return;
        for (api::Stream s : m_streams)
            if (s)
                driver().streamSynchronize(s);
        m_blas.reset();
        m_scratch = {};
        for (api::Module module : m_modules)
            driver().moduleUnload(module);
        for (api::Stream s : m_streams)
            if (s)
                driver().streamDestroy(s);
        driver().contextRelease(m_device);
    }

    DriverLibrary m_library;
    KernelPlugin m_plugin;
    DriverMemory m_memory;
    DeviceInfo m_info;
    api::DeviceId m_device = 0;
    api::Context m_context = nullptr;
    std::array<api::Stream, 2> m_streams{};
    std::vector<api::Module> m_modules;
    std::unordered_map<std::string, Kernel> m_kernels;
    std::vector<Launch> m_launches;
    std::unique_ptr<Blas> m_blas;
    Memory m_scratch;
    std::uint64_t m_scratchGeneration = 0;
};

} // namespace

std::vector<FoundDevice> listDevices(const api::Driver &driver)
{
    std::vector<FoundDevice> devices;
    int count = 0;
    if (driver.deviceCount(&count) != api::kOk)
        return devices;
    for (int i = 0; i < count; ++i) {
        api::DeviceId device = 0;
        char name[128] = {};
        std::size_t bytes = 0;
        if (driver.deviceGet(&device, i) != api::kOk)
            continue;
        driver.deviceName(name, sizeof name - 1, device);
        driver.deviceTotalMemory(&bytes, device);
        devices.push_back({i, name, architectureOf(driver, device), bytes});
    }
    return devices;
}

Result<std::unique_ptr<Device>> openDevice(DriverLibrary driver, KernelPlugin plugin, int ordinal, bool deterministic)
{
    auto device = std::make_unique<DriverDevice>(std::move(driver), std::move(plugin), deterministic);
    KVILT_TRY_VOID(device->open(ordinal));
    return std::unique_ptr<Device>(std::move(device));
}

} // namespace kvilt::backend::cuda

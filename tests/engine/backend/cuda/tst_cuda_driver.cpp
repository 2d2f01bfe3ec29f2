// SPDX-License-Identifier: Apache-2.0
// The way to a GPU: plug-in, driver, device; each missing, old, foreign or failing. The driver is a table of functions here.
#include "engine/backend/cuda/driver_device.h"
#include "engine/backend/cuda/backend.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/test_registry.h"

#include <QFile>
#include <QTest>

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <set>
#include <vector>

using namespace kvilt::backend::cuda; // whose `api` is the driver's
using kvilt::ErrorCode;
using kvilt::Result;
namespace ops = kvilt::kernels::cuda;

namespace {

// What the driver of these tests does; functions without context need a global.
struct World {
    int devices = 1, major = 9, minor = 0;
    std::string missingKernel;
    api::Status allocateStatus = 0, launchStatus = 0, loadStatus = 0, initStatus = 0, accessStatus = 0;
    std::size_t freeBytes = 5u << 20;
    int contexts = 0, modules = 0, streams = 0, events = 0, graphs = 0, launches = 0, mapped = 0, reserved = 0, handles = 0;
    unsigned largestShared = 0, allowedShared = 48 << 10;
    int driverFormsLaunched = 0;
    std::vector<std::array<std::uint64_t, 8>> tensors; // dims, tokens, heads; two strides, the block stride; box rows; address
    std::set<void *> allocated, spaces;

    // A lost device is never asked to free again, so its memory goes with the world.
    void end()
    {
        for (void *data : allocated)
            std::free(data);
        for (void *data : spaces)
            std::free(data);
        *this = {};
    }
};
World g_world;

template <typename Handle>
Handle numbered(int n)
{
    return reinterpret_cast<Handle>(static_cast<std::uintptr_t>(n + 1));
}

api::Status copyBytes(void *to, const void *from, std::size_t bytes)
{
    std::memcpy(to, from, bytes);
    return 0;
}

void *pointer(api::Address at)
{
    return reinterpret_cast<void *>(static_cast<std::uintptr_t>(at));
}

api::Status allocateBytes(std::size_t bytes, void **out)
{
    if (g_world.allocateStatus != 0)
        return g_world.allocateStatus;
    *out = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    g_world.allocated.insert(*out);
    return 0;
}

api::Status freeBytes(void *data)
{
    g_world.allocated.erase(data);
    std::free(data);
    return 0;
}

void bindMemory(api::Driver &d)
{
    d.memoryInfo = [](std::size_t *free, std::size_t *total) { return *free = g_world.freeBytes, *total = 8u << 20, 0; };
    d.memoryAllocate = [](api::Address *at, std::size_t bytes) {
        void *data = nullptr;
        const api::Status status = allocateBytes(bytes, &data);
        *at = reinterpret_cast<std::uintptr_t>(data);
        return status;
    };
    d.memoryFree = [](api::Address at) { return freeBytes(pointer(at)); };
    d.hostAllocate = [](void **data, std::size_t bytes, unsigned) { return allocateBytes(bytes, data); };
    d.hostFree = [](void *data) { return freeBytes(data); };
    d.granularity = [](std::size_t *bytes, const api::AllocationProperties *, int) { return *bytes = 1 << 16, 0; };
    d.addressReserve = [](api::Address *at, std::size_t bytes, std::size_t, api::Address, std::uint64_t) {
        ++g_world.reserved;
        *at = reinterpret_cast<std::uintptr_t>(*g_world.spaces.insert(std::aligned_alloc(1 << 16, bytes)).first);
        return 0;
    };
    d.addressFree = [](api::Address at, std::size_t) {
        return --g_world.reserved, g_world.spaces.erase(pointer(at)), std::free(pointer(at)), 0;
    };
    d.memoryCreate = [](api::AllocationHandle *handle, std::size_t, const api::AllocationProperties *, std::uint64_t) {
        *handle = 1;
        return g_world.allocateStatus != 0 ? g_world.allocateStatus : (++g_world.handles, 0);
    };
    d.memoryRelease = [](api::AllocationHandle) { return --g_world.handles, 0; };
    d.memoryMap = [](api::Address, std::size_t, std::size_t, api::AllocationHandle, std::uint64_t) { return ++g_world.mapped, 0; };
    d.memoryUnmap = [](api::Address, std::size_t) { return --g_world.mapped, 0; };
    d.memorySetAccess = [](api::Address, std::size_t, const api::AccessDescription *, std::size_t) { return g_world.accessStatus; };
    d.copyToDevice = [](api::Address to, const void *from, std::size_t n, api::Stream) { return copyBytes(pointer(to), from, n); };
    d.copyToHost = [](void *to, api::Address from, std::size_t n, api::Stream) { return copyBytes(to, pointer(from), n); };
    d.copyOnDevice = [](api::Address to, api::Address from, std::size_t n, api::Stream) { return copyBytes(pointer(to), pointer(from), n); };
}

void bindQueues(api::Driver &d)
{
    d.streamCreate = [](api::Stream *s, unsigned) { return *s = numbered<api::Stream>(g_world.streams++), 0; };
    d.streamDestroy = [](api::Stream) { return --g_world.streams, 0; };
    d.streamSynchronize = [](api::Stream) { return 0; };
    d.streamWaitEvent = [](api::Stream, api::EventHandle, unsigned) { return 0; };
    d.eventCreate = [](api::EventHandle *e, unsigned) { return *e = numbered<api::EventHandle>(g_world.events++), 0; };
    d.eventDestroy = [](api::EventHandle) { return --g_world.events, 0; };
    d.eventRecord = [](api::EventHandle, api::Stream) { return 0; };
    d.eventQuery = [](api::EventHandle) { return 0; };
    d.eventSynchronize = [](api::EventHandle) { return 0; };
    d.eventElapsed = [](float *ms, api::EventHandle, api::EventHandle) { return *ms = 2, 0; };
    d.captureBegin = [](api::Stream, unsigned) { return 0; };
    d.captureEnd = [](api::Stream, api::GraphHandle *g) { return *g = numbered<api::GraphHandle>(0), 0; };
    d.graphInstantiate = [](api::GraphExec *e, api::GraphHandle, unsigned long long) { return *e = numbered<api::GraphExec>(g_world.graphs++), 0; };
    d.graphLaunch = [](api::GraphExec, api::Stream) { return 0; };
    d.graphExecDestroy = [](api::GraphExec) { return --g_world.graphs, 0; };
    d.graphDestroy = [](api::GraphHandle) { return 0; };
}

void bindKernels(api::Driver &d)
{
    d.moduleLoad = [](api::Module *m, const void *, unsigned, int *, void **) {
        return g_world.loadStatus != 0 ? g_world.loadStatus : (*m = numbered<api::Module>(g_world.modules++), 0);
    };
    d.moduleUnload = [](api::Module) { return --g_world.modules, 0; };
    d.moduleFunction = [](api::Function *f, api::Module, const char *name) {
        return g_world.missingKernel == name ? api::kNotFound : (*f = numbered<api::Function>(0), 0);
    };
    d.functionSetAttribute = [](api::Function, int attribute, int value) {
        if (attribute == api::kFunctionMaxDynamicShared)
            g_world.allowedShared = static_cast<unsigned>(value);
        return 0;
    };
    d.tensorEncode = [](void *map, int type, unsigned rank, void *base, const std::uint64_t *sizes, const std::uint64_t *strides,
                        const std::uint32_t *box, const std::uint32_t *, int, int swizzle, int, int) {
        if (type != api::kTensorFloat16 || rank != 4 || swizzle != api::kTensorSwizzle128 || box[0] != 64 || box[2] != 1 || box[3] != 1 ||
            reinterpret_cast<std::uintptr_t>(map) % 128 != 0)
            return 1;
        g_world.tensors.push_back({sizes[0], sizes[1], sizes[2], strides[0], strides[1], strides[2], box[1],
                                   reinterpret_cast<std::uintptr_t>(base)});
        std::memset(map, 0x5a, 128);
        return 0;
    };
    d.launchKernel = [](const api::LaunchConfig *c, api::Function, void **parameters, void **) {
        for (std::size_t at = 0; g_world.tensors.size() == 2 && at < ops::Launch::kMaxParams; at += 128)
            g_world.driverFormsLaunched += static_cast<const char *>(parameters[0])[at] == 0x5a && static_cast<const char *>(parameters[0])[at + 127] == 0x5a;
        g_world.launches += c->gridX > 0 && c->gridY > 0 && c->gridZ > 0 && c->blockX * c->blockY * c->blockZ <= 1024 ? 1 : 1000000;
        g_world.largestShared = std::max(g_world.largestShared, c->sharedBytes);
        return g_world.launchStatus;
    };
}

DriverLibrary driver(std::uint32_t version = 13000)
{
    DriverLibrary out;
    out.version = version;
    api::Driver &d = out.driver;
    d.errorName = [](api::Status, const char **name) { return *name = "CUDA_ERROR_TEST", 0; };
    d.errorText = [](api::Status, const char **text) { return *text = "a test's error", 0; };
    d.deviceCount = [](int *count) { return *count = g_world.devices, 0; };
    d.deviceGet = [](api::DeviceId *device, int ordinal) { return *device = ordinal, 0; };
    d.deviceName = [](char *name, int, api::DeviceId) { return std::strcpy(name, "Table GPU"), 0; };
    d.deviceTotalMemory = [](std::size_t *bytes, api::DeviceId) { return *bytes = 8u << 20, 0; };
    d.deviceAttribute = [](int *value, int attribute, api::DeviceId) {
        *value = attribute == api::kComputeMajor ? g_world.major : attribute == api::kComputeMinor ? g_world.minor
                 : attribute == api::kSharedPerBlockOptIn ? 227 << 10 : attribute == api::kMultiprocessorCount ? 132 : 1;
        return 0;
    };
    d.contextRetain = [](api::Context *c, api::DeviceId) { return *c = numbered<api::Context>(g_world.contexts++), 0; };
    d.contextRelease = [](api::DeviceId) { return --g_world.contexts, 0; };
    d.contextSetCurrent = [](api::Context) { return 0; };
    bindMemory(d);
    bindQueues(d);
    bindKernels(d);
    return out;
}

const char kImageBytes[4] = {};
const KviltCudaImage kImage{"image", kImageBytes, 4};

KviltCudaPlugin list()
{
    return {KVILT_CUDA_PLUGIN_MAGIC, KVILT_CUDA_PLUGIN_ABI, ops::kKernelVersion, 13000, "0", "90+ptx", &kImage, 1};
}

Result<std::unique_ptr<Device>> openOn(DriverLibrary library, int ordinal = 0, bool deterministic = true)
{
    static const KviltCudaPlugin kList = list();
    return openDevice(std::move(library), {nullptr, &kList}, ordinal, deterministic);
}

} // namespace

class CudaDriverTest : public QObject {
    Q_OBJECT

private slots:
    void init() { g_world = {}; }
    void cleanup() { g_world.end(); }

    void aMachineWithoutDriverSaysSo()
    {
        const auto none = openDriver("libkvilt-no-such-driver.so.1");
        QVERIFY(!none && none.error().code == ErrorCode::notFound);
        QVERIFY(none.error().message.starts_with("There is no NVIDIA driver here"));
        // A library that is no driver is an old one at best.
        const auto foreign = openDriver("libm.so.6");
        QVERIFY(!foreign && foreign.error().code == ErrorCode::unsupported);
        QVERIFY(foreign.error().message.find("too old") != std::string::npos);
        const auto stub = openDriver(KVILT_STUB_DRIVER);
        QVERIFY(!stub && stub.error().code == ErrorCode::notFound);
        QVERIFY(stub.error().message.find("stand-in") != std::string::npos);
        const CudaSurvey survey = surveyCuda();
        QVERIFY(survey.problem.empty() ? !survey.devices.empty() : survey.problem.ends_with("."));
    }

    void aForeignPluginIsRefused()
    {
        QCOMPARE(openPlugin("/nonexistent/libkvilt_cuda.so").error().code, ErrorCode::notFound);
        const auto other = openPlugin(KVILT_FOREIGN_PLUGIN); // the right entry point, another interface
        QVERIFY(!other && other.error().code == ErrorCode::unsupported);
        QVERIFY(other.error().message.find("another version of Kvilt") != std::string::npos);
        QVERIFY(!openPlugin(KVILT_SOURCE_DIR "/CMakeLists.txt").has_value()); // no library at all
        KviltCudaPlugin wrong = list();
        QVERIFY(pluginProblem(&wrong).empty());
        wrong.imageCount = 0;
        QVERIFY(!pluginProblem(&wrong).empty());
        wrong = list();
        wrong.kernelVersion += 1;
        QVERIFY(!pluginProblem(&wrong).empty());
        wrong = list();
        wrong.magic = 1;
        QVERIFY(!pluginProblem(&wrong).empty());
        QVERIFY(!pluginProblem(nullptr).empty());
    }

    void ourOwnPluginFits()
    {
        const QString file = QStringLiteral(KVILT_BIN_DIR "/libkvilt_cuda.so");
        if (!QFile::exists(file))
            QSKIP("built without the CUDA toolkit");
        const auto plugin = openPlugin(file.toStdString());
        QVERIFY2(plugin.has_value(), plugin ? "" : plugin.error().message.c_str());
        for (std::uint32_t i = 0; i < plugin->list->imageCount; ++i) {
            const KviltCudaImage &image = plugin->list->images[i];
            std::uint32_t magic = 0;
            QVERIFY(image.bytes > 64);
            std::memcpy(&magic, image.data, 4);
            QCOMPARE(magic, 0xba55ed50u); // a fat binary's first word
        }
    }

    void opensADeviceAndGivesEverythingBack()
    {
        {
            const auto device = openOn(driver());
            QVERIFY2(device.has_value(), device ? "" : device.error().message.c_str());
            QCOMPARE((*device)->info().name, std::string("Table GPU"));
            QCOMPARE((*device)->info().facts.sm, 90u);
            QCOMPARE((*device)->freeMemory(), std::uint64_t(5) << 20);
            auto memory = *(*device)->allocate(1000);
            auto pinned = *(*device)->allocatePinned(1000);
            std::memset(pinned.data(), 7, 1000);
            QVERIFY((*device)->upload(Queue::copy, memory.data(), pinned.data(), 1000).has_value());
            QCOMPARE(memory.data()[999], std::byte(7));
            auto growing = *(*device)->reserve(1 << 20);
            const std::byte *at = growing->data();
            QVERIFY(growing->grow(1).has_value() && growing->grow(200000).has_value() && growing->grow(5).has_value());
            QVERIFY(growing->size() >= 200000 && growing->data() == at);
            QCOMPARE(g_world.mapped, 2);
            const auto event = *(*device)->makeEvent();
            QVERIFY((*device)->record(*event, Queue::compute).has_value() && *(*device)->reached(*event));
            QVERIFY((*device)->beginGraph().has_value());
            const auto graph = *(*device)->endGraph();
            QVERIFY((*device)->launch(*graph).has_value());
        }
        QCOMPARE(g_world.contexts + g_world.modules + g_world.streams + g_world.events + g_world.graphs, 0);
        QCOMPARE(g_world.mapped + g_world.reserved + g_world.handles, 0);
        QVERIFY(g_world.allocated.empty());
    }

    void oldDriversAndDevicesAreNamed()
    {
        const auto old = openOn(driver(12040));
        QVERIFY(!old && old.error().code == ErrorCode::unsupported);
        QVERIFY(old.error().message.find("12.4") != std::string::npos && old.error().message.find("13.0") != std::string::npos);
        QVERIFY(openOn(driver(13020)).has_value());
        QCOMPARE(openOn(driver(), 3).error().code, ErrorCode::unsupported);
        g_world.devices = 0;
        QCOMPARE(openOn(driver()).error().message, std::string("The NVIDIA driver sees no GPU here."));
        g_world = {.major = 6, .minor = 1};
        const auto pascal = openOn(driver());
        QVERIFY(!pascal && pascal.error().message.find("Table GPU is too old") != std::string::npos);
    }

    void missingKernelsAreNamed()
    {
        const auto names = ops::kernelNames({.sm = 90, .multiprocessors = 132, .sharedPerBlock = 227 << 10, .deterministic = true});
        QVERIFY(!names.empty());
        g_world.missingKernel = std::string(names.back());
        const auto lacking = openOn(driver());
        QVERIFY(!lacking && lacking.error().code == ErrorCode::unsupported);
        QVERIFY(lacking.error().message.find(g_world.missingKernel) != std::string::npos);
        QCOMPARE(g_world.contexts + g_world.streams + g_world.modules, 0);
        g_world.loadStatus = api::kUnsupportedPtx;
        QVERIFY(openOn(driver()).error().message.find("too old") != std::string::npos);
    }

    void warpgroupKernelsAreUsedWhereThereAreAll()
    {
        QVERIFY((*openOn(driver(), 0, false))->info().facts.warpgroups);
        QVERIFY(!(*openOn(driver(), 0, true))->info().facts.warpgroups);
        g_world.missingKernel = std::string(ops::warpgroupKernelNames().back());
        QVERIFY(!(*openOn(driver(), 0, false))->info().facts.warpgroups);
        g_world = {.major = 10};
        QVERIFY(!(*openOn(driver(), 0, false))->info().facts.warpgroups);
    }

    void tensorViewsGoToTheKernelInTheDriversForm()
    {
        const auto device = *openOn(driver(), 0, false);
        auto pool = *device->allocate(4096);
        ops::AttentionOp op;
        op.rows = 64;
        op.slices = op.tileCount = 1;
        op.longest = 128;
        op.heads = 4;
        op.kv.keyShape = op.kv.valueShape = {kvilt::kernels::KvElement::f16, 2, 128, 32};
        op.kv.keys = pool.data();
        op.kv.values = pool.data() + 2048;
        op.kv.blockStride = 1 << 16;
        QVERIFY(device->ensureScratch(op).has_value());
        QVERIFY(device->run(Queue::compute, op).has_value());
        QCOMPARE(g_world.tensors.size(), std::size_t(2));
        const std::array<std::uint64_t, 8> keys{128, 32, 2, 256, 8192, 1 << 16, 32, reinterpret_cast<std::uintptr_t>(pool.data())};
        QCOMPARE(g_world.tensors[0], keys);
        QCOMPARE(g_world.tensors[1].back(), keys.back() + 2048);
        QCOMPARE(g_world.driverFormsLaunched, 2);
    }

    // Whatever is missing: one sentence, and the CPU has the chat. Who asked for no GPU on a machine that has none hears nothing.
    void everyFailureLeavesTheChatToTheCpu()
    {
        using Opened = Result<std::unique_ptr<kvilt::backend::Backend>>;
        const auto withDevice = [](Result<std::unique_ptr<Device>> device) -> Opened {
            return device ? Opened(backendOn(std::move(*device))) : Opened(tl::unexpected(device.error()));
        };
        struct Failure {
            std::function<Opened()> open;
            std::string says;
            bool news = true;
        };
        const std::vector<Failure> failures{
            {[] { return Opened(tl::unexpected(openDriver("libkvilt-no-such-driver.so.1").error())); }, "no NVIDIA driver", false},
            {[] { return Opened(tl::unexpected(openDriver("libm.so.6").error())); }, "driver is too old"},
            {[&] { return withDevice(openOn(driver(12040))); }, "12.4"},
            {[&] { return g_world.devices = 0, withDevice(openOn(driver())); }, "sees no GPU"},
            {[&] { return g_world.major = 6, withDevice(openOn(driver())); }, "Table GPU is too old"},
            {[] { return makeCudaBackend(driver(), {.plugin = "/nonexistent/libkvilt_cuda.so"}); }, "has no CUDA plug-in"},
            {[] { return makeCudaBackend(driver(), {.plugin = KVILT_FOREIGN_PLUGIN}); }, "another version of Kvilt"},
            {[&] { return g_world.loadStatus = api::kUnsupportedPtx, withDevice(openOn(driver())); }, "too old for the CUDA plug-in"},
            {[&] { return g_world.loadStatus = 999, withDevice(openOn(driver())); }, "a test's error"},
            {[&] { return g_world.freeBytes = 4096, withDevice(openOn(driver())); }, "are free on Table GPU"},
            {[&] { return g_world.freeBytes = 1ull << 40, g_world.allocateStatus = api::kOutOfMemory, withDevice(openOn(driver())); }, "no memory for"},
        };
        const kvilt::test::EngineFixture fixture;
        for (const Failure &failure : failures) {
            for (const std::string wanted : {"auto", "cuda"}) {
                g_world = {};
                kvilt::EngineOptions options = fixture.options();
                options.settings.backend = wanted;
                options.cpuInstead = true;
                options.openCuda = failure.open;
                auto engine = kvilt::test::EngineFixture::make(options);
                QCOMPARE(engine->settings().backend, std::string("cpu"));
                const std::string note = engine->takeDeviceNote();
                if (wanted == "auto" && !failure.news) {
                    QVERIFY(note.empty());
                } else {
                    QVERIFY2(note.find(failure.says) != std::string::npos, note.c_str());
                    QVERIFY2(note.ends_with("; the CPU computes.") && note.find('\n') == std::string::npos, note.c_str());
                }
                kvilt::Request request{.tokens = fixture.randomTokens(20, 1)};
                request.sampling.maxTokens = 4;
                request.sampling.ignoreEos = true;
                QCOMPARE(kvilt::test::runOne(*engine, request).tokens.size(), std::size_t(4));
            }
            g_world = {};
            kvilt::EngineOptions options = fixture.options();
            options.settings.backend = "cuda"; // who insists, as the command line does, is told and gets none
            options.openCuda = failure.open;
            const auto refused = kvilt::Engine::create(options);
            QVERIFY(!refused && refused.error().message.find(failure.says) != std::string::npos);
            QVERIFY(g_world.allocated.empty());
        }
    }

    // A range that the driver maps but gives no access to is given back, and asked for again.
    void memoryWithoutAccessIsNotUsed()
    {
        const auto device = *openOn(driver());
        auto growing = *device->reserve(1 << 20);
        g_world.accessStatus = api::kOutOfMemory;
        QCOMPARE(growing->grow(100).error().code, ErrorCode::outOfMemory);
        QCOMPARE(growing->size(), std::uint64_t(0));
        QCOMPARE(g_world.mapped + g_world.handles, 0);
        g_world.accessStatus = 0;
        QVERIFY(growing->grow(100).has_value() && growing->size() >= 100);
    }

    void outOfMemoryIsNotTheEnd()
    {
        const auto device = *openOn(driver());
        g_world.allocateStatus = api::kOutOfMemory;
        QCOMPARE(device->allocate(100).error().code, ErrorCode::outOfMemory);
        auto growing = *device->reserve(1 << 20);
        QCOMPARE(growing->grow(100).error().code, ErrorCode::outOfMemory);
        g_world.allocateStatus = 0;
        QVERIFY(device->allocate(100).has_value());
        QVERIFY(growing->grow(100).has_value());
    }

    void aLostDeviceStaysLost()
    {
        const auto device = *openOn(driver());
        ops::GatherOp gather;
        gather.rows = 4;
        gather.cols = 64;
        QVERIFY(device->ensureScratch(gather).has_value());
        QVERIFY(device->run(Queue::compute, gather).has_value());
        QVERIFY(g_world.launches >= 1 && g_world.launches < 1000000);
        QVERIFY(g_world.largestShared <= g_world.allowedShared);
        g_world.launchStatus = 700;
        const auto lost = device->run(Queue::compute, gather);
        QVERIFY(!lost && lost.error().code == ErrorCode::device);
        QVERIFY(lost.error().message.find("a test's error (CUDA_ERROR_TEST)") != std::string::npos);
        g_world.launchStatus = 0;
        QCOMPARE(device->run(Queue::compute, gather).error().message, lost.error().message);
        QVERIFY(!device->allocate(1).has_value());
    }
};

KVILT_TEST_CLASS(CudaDriverTest)
#include "tst_cuda_driver.moc"

// SPDX-License-Identifier: Apache-2.0
// The engine on a GPU that is not there, full, or gone in the middle of a reply: the CPU goes on, and no chat is lost.
#include "engine/backend/cuda/backend.h"
#include "engine/backend/numerics.h"
#include "tests/engine/backend/cuda/fake_device.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/test_registry.h"

#include <QTest>

#undef emit // Qt's keyword; here it is the name of EventSink's function

using namespace kvilt;
using test::FakeDevice;
using test::FakeDeviceOptions;

class CudaEngineTest : public QObject {
    Q_OBJECT

    test::EngineFixture m_fixture;

    // Options for an engine on a fake device; `state` is filled when the engine opens it.
    EngineOptions onFake(std::shared_ptr<FakeDevice::State> *state = nullptr, FakeDeviceOptions fake = {}) const
    {
        EngineOptions options = m_fixture.options();
        options.settings.backend = "auto";
        options.openCuda = [fake, state]() -> Result<std::unique_ptr<backend::Backend>> {
            auto device = std::make_unique<FakeDevice>(fake);
            if (state)
                *state = device->state();
            return backend::cuda::backendOn(std::move(device));
        };
        return options;
    }
    EngineOptions onCpu() const
    {
        EngineOptions options = m_fixture.options();
        options.settings.backend = "cpu";
        return options;
    }
    Request request(std::uint32_t tokens, std::uint64_t seed, int reply = 12) const
    {
        Request r{.tokens = m_fixture.randomTokens(tokens, seed)};
        r.sampling.maxTokens = reply;
        r.sampling.ignoreEos = true;
        return r;
    }

private slots:
    void choosesTheGpuByItself()
    {
        auto engine = test::EngineFixture::make(onFake());
        QCOMPARE(engine->settings().backend, std::string("cuda"));
        QCOMPARE(engine->deviceName(), std::string("Fake GPU (1.0 GiB)"));
        QCOMPARE(engine->isa(), std::string("sm_90"));
        QVERIFY(engine->takeDeviceNote().empty());
    }

    // Whole turns with hits, a restore from the disk, a fork of work and a batch: on the device the tokens are those that the
    // same engine makes when the host samples.
    void repliesDoNotDependOnWhereTokensAreChosen()
    {
        auto engine = test::EngineFixture::make(onFake());
        Request sampled = request(60, 1, 20);
        sampled.sampling.temperature = 0.9;
        sampled.sampling.topK = 30;
        sampled.sampling.repeatPenalty = 1.15;
        sampled.sampling.seed = 4;
        Request byHost = sampled;
        byHost.logprobs = 2; // wants logits, so the host chooses
        const auto a = test::runOne(*engine, sampled), b = test::runOne(*engine, byHost);
        QCOMPARE(a.tokens.size(), std::size_t(20));
        QVERIFY(a.tokens == b.tokens);
        QVERIFY(b.stats.cachedMemory > 0);
        Request all = sampled;
        all.sampling.topK = 0; // not on the device
        QCOMPARE(test::runOne(*engine, all).tokens.size(), std::size_t(20));
    }

    void storedBlocksAreReadBack()
    {
        const Request first = request(100, 3), again = request(100, 3);
        EngineOptions options = onFake();
        options.fingerprint.fill(7);
        const auto store = m_fixture.openStore("cuda.db");
        options.kvStore = store.get();
        std::vector<TokenId> wanted;
        {
            auto engine = test::EngineFixture::make(options);
            wanted = test::runOne(*engine, first).tokens;
            QVERIFY(engine->flush().has_value());
        }
        {
            auto engine = test::EngineFixture::make(options);
            const auto restored = test::runOne(*engine, again);
            QVERIFY(restored.tokens == wanted);
            QVERIFY(restored.stats.cachedDisk >= 80);
        }
        // Made by another arithmetic: a miss, with its reason.
        EngineOptions cpu = onCpu();
        cpu.fingerprint = options.fingerprint;
        cpu.kvStore = store.get();
        auto engine = test::EngineFixture::make(cpu);
        const auto missed = test::runOne(*engine, again);
        QCOMPARE(missed.stats.cachedDisk, 0u);
        QVERIFY(missed.lookup.reason == api::EventReason::numerics);
    }

    // No disk: what the pool evicts comes back from the host's memory, bit for bit, and the events say so.
    void evictedBlocksComeBackFromTheHost()
    {
        struct Counter final : trace::EventSink {
            std::map<std::pair<api::EventKind, api::Tier>, int> counts;
            void emit(const api::CacheEvent &e) noexcept override { ++counts[{e.kind, e.tier}]; }
        } events;
        for (const std::uint64_t budget : {std::uint64_t(64) << 20, std::uint64_t(0)}) {
            EngineOptions options = onFake();
            options.settings.kvBlocks = 12; // one chat's worth
            options.hostTierBytes = budget;
            options.events = &events;
            events.counts.clear();
            auto engine = test::EngineFixture::make(options);
            const auto wanted = test::runOne(*engine, request(150, 1)).tokens;
            test::runOne(*engine, request(150, 2));
            const auto again = test::runOne(*engine, request(150, 1));
            QVERIFY(again.tokens == wanted);
            const int promoted = events.counts[{api::EventKind::promote, api::Tier::device}];
            QCOMPARE(again.stats.cachedDisk > 100, budget > 0);
            QCOMPARE(promoted > 6, budget > 0);
            const int demoted = events.counts[{api::EventKind::demote, api::Tier::host}];
            QCOMPARE(demoted > 16, budget > 0);
            QCOMPARE(engine->hostTierBytes() > 0, budget > 0);
        }
    }

    // Bounded: what does not fit goes, longest unused first, and is a miss again.
    void theHostKeepsWhatFits()
    {
        EngineOptions options = onFake();
        options.settings.kvBlocks = 12;
        auto engine = test::EngineFixture::make(options);
        const std::uint64_t block = engine->layout().bytesPerBlock(0);
        options.hostTierBytes = 10 * block;
        engine = test::EngineFixture::make(options);
        const auto wanted = test::runOne(*engine, request(150, 1)).tokens;
        test::runOne(*engine, request(150, 2));
        QVERIFY(engine->hostTierBytes() <= 10 * block && engine->hostTierBytes() > 0);
        const auto again = test::runOne(*engine, request(150, 1));
        QVERIFY(again.tokens == wanted);
        QCOMPARE(again.stats.cachedDisk, 0u);
    }

    // f16 says the same whoever computes it, q8 and q4 only where both turn their rows or neither does.
    void nearReuseTakesOnlyWhatMeansTheSame_data()
    {
        QTest::addColumn<int>("type");
        QTest::addColumn<bool>("fromGpu");
        for (const auto type : {api::KvType::f16, api::KvType::q8, api::KvType::q4, api::KvType::fp8})
            for (const bool fromGpu : {true, false})
                QTest::addRow("%s %d", api::toString(type).data(), int(fromGpu)) << int(type) << fromGpu;
    }
    void nearReuseTakesOnlyWhatMeansTheSame()
    {
        QFETCH(int, type);
        QFETCH(bool, fromGpu);
        const auto store = m_fixture.openStore(QString("near%1%2.db").arg(type).arg(int(fromGpu)));
        const auto options = [&](bool onGpu, bool near) {
            EngineOptions o = onGpu ? onFake() : onCpu();
            o.settings.kType = o.settings.vType = api::KvType(type);
            o.settings.nearReuse = near;
            o.fingerprint.fill(9);
            o.kvStore = store.get();
            return o;
        };
        const Request made = request(100, 3);
        {
            auto engine = test::EngineFixture::make(options(fromGpu, false));
            test::runOne(*engine, made);
            QVERIFY(engine->flush().has_value());
        }
        QCOMPARE(test::EngineFixture::make(options(!fromGpu, false))->peek(made.tokens, {}).diskTokens, 0u);

        const bool turned = type == int(api::KvType::q8) || type == int(api::KvType::q4);
        const bool same = !turned || kernels::cuda::kKernelVersion >= backend::kCudaTurnsSince;
        auto engine = test::EngineFixture::make(options(!fromGpu, true));
        Request again = request(100, 3);
        again.useCache = false;
        const auto exact = test::logitsOf(*engine, again, 99);
        again.useCache = true;
        std::vector<float> near;
        again.sampling.maxTokens = 0;
        again.logitsFrom = 99;
        again.logitSink = [&](std::int32_t, std::span<const float> row) { near.assign(row.begin(), row.end()); };
        const auto done = test::runOne(*engine, again);
        QCOMPARE(done.stats.cachedDisk > 0, same);
        QVERIFY(same || done.lookup.reason == api::EventReason::numerics);
        QCOMPARE(test::sameBits(near, exact), !same); // computed, or on nearly the same numbers
        double wrong = 0, all = 0;
        for (std::size_t i = 0; i < exact.size(); ++i) {
            wrong += double(near[i] - exact[i]) * double(near[i] - exact[i]);
            all += double(exact[i]) * double(exact[i]);
        }
        QVERIFY2(wrong / all < 0.05, qPrintable(QString::number(wrong / all)));
    }

    void numericsSayWhatTheyMean()
    {
        using backend::meansTheSame;
        QVERIFY(meansTheSame("cpu:2", "cpu:3", api::KvType::q4));
        QVERIFY(!meansTheSame("cpu:1", "cpu:2", api::KvType::q8));
        QVERIFY(meansTheSame("cpu:1", "cpu:2", api::KvType::f16));
        QVERIFY(meansTheSame("cuda:sm_90:1:none", "cuda:sm_80:1:120304", api::KvType::q8));
        QVERIFY(meansTheSame("cuda:sm_90:1:none", "cpu:1", api::KvType::q4));
        QVERIFY(!meansTheSame("cuda:sm_90:1:none", "cpu:2", api::KvType::q4));
        QVERIFY(meansTheSame("cuda:sm_90:1:none", "cpu:2", api::KvType::fp8));
        for (const char *unknown : {"", "cpu", "cpu:", "cpu:x", "cpu:2x", "rocm:gfx90:1:none", "cuda:sm_90", "cuda:sm_90:"})
            QVERIFY(!meansTheSame(unknown, "cpu:2", api::KvType::f16));
    }

    // What the window shows of the device and the tiers, filled while a step is under way and without a call to its queues.
    void countsTellTheDeviceAndItsTiers()
    {
        std::shared_ptr<FakeDevice::State> state;
        EngineOptions options = onFake(&state);
        options.settings.kvBlocks = 12;
        options.hostTierBytes = 64u << 20;
        auto engine = test::EngineFixture::make(options);
        test::runOne(*engine, request(150, 1));
        QVERIFY(engine->submit(request(100, 2, 20)).has_value());
        while (engine->step()->underWay == 0)
            QVERIFY(!engine->idle());
        const std::uint64_t calls = state->calls, operations = state->operations;
        const api::PoolCounts counts = engine->counts();
        QCOMPARE(state->calls, calls);
        QCOMPARE(state->operations, operations);
        QVERIFY(counts.device.gpu);
        QCOMPARE(counts.device.name, std::string("Fake GPU (1.0 GiB)"));
        QCOMPARE(counts.device.totalBytes, std::uint64_t(1) << 30);
        QCOMPARE(counts.device.usedBytes(), state->allocated);
        QVERIFY(counts.device.poolBytes >= 12 * engine->layout().bytesPerBlock(0));
        QVERIFY(counts.host.blocks >= 15 && counts.host.inPool >= 6 && counts.host.inPool <= 12);
        QCOMPARE(counts.host.bytes, counts.host.blocks * engine->layout().bytesPerBlock(0));
        QVERIFY(counts.host.onlyHere() > 3);
        QCOMPARE(counts.disk.blocks, std::uint64_t(0));
        engine->cancelAll();
        // They come back from there, and the numbers of the turn say so.
        const auto again = test::runOne(*engine, request(150, 1));
        QVERIFY(again.stats.cachedHost > 0 && again.stats.cachedHost == again.stats.cachedDisk);

        const api::PoolCounts cpu = test::EngineFixture::make(onCpu())->counts();
        QVERIFY(!cpu.device.gpu && !cpu.device.name.empty());
        QVERIFY(cpu.device.totalBytes > cpu.device.freeBytes && cpu.device.freeBytes > 0);
        QCOMPARE(cpu.host.blocks, std::uint64_t(0));
    }

    void withoutAGpuTheCpuComputes()
    {
        EngineOptions options = onFake();
        options.openCuda = [] { return fail(ErrorCode::notFound, "There is no NVIDIA driver here."); };
        auto engine = test::EngineFixture::make(options);
        QCOMPARE(engine->settings().backend, std::string("cpu"));
        QVERIFY(engine->takeDeviceNote().empty()); // the usual machine: no news
        options.openCuda = [] { return fail(ErrorCode::unsupported, "The NVIDIA driver is too old: update it."); };
        engine = test::EngineFixture::make(options);
        QCOMPARE(engine->settings().backend, std::string("cpu"));
        QCOMPARE(engine->takeDeviceNote(), std::string("The NVIDIA driver is too old: update it; the CPU computes."));
        QVERIFY(engine->takeDeviceNote().empty());
        options.settings.backend = "cuda"; // who insists is told
        QCOMPARE(Engine::create(options).error().code, ErrorCode::unsupported);
        options.cpuInstead = true;
        QCOMPARE(test::EngineFixture::make(options)->settings().backend, std::string("cpu"));
        options.settings.backend = "abacus";
        QCOMPARE(Engine::create(options).error().code, ErrorCode::badInput);
    }

    void aFullGpuLeavesTheModelToTheCpu()
    {
        auto engine = test::EngineFixture::make(onFake(nullptr, {.memory = 100 << 10}));
        QCOMPARE(engine->settings().backend, std::string("cpu"));
        QVERIFY(engine->takeDeviceNote().find("memory") != std::string::npos);
        QCOMPARE(test::runOne(*engine, request(40, 2)).tokens.size(), std::size_t(12));
    }

    // At whatever call the device goes: what the user sees is whole replies.
    void aLostDeviceEndsNoReply()
    {
        const Request one = request(70, 5, 10), two = request(33, 6, 10);
        std::vector<TokenId> byCpu;
        {
            auto engine = test::EngineFixture::make(onCpu());
            byCpu = test::runOne(*engine, one).tokens;
        }
        int taken = 0;
        for (const std::uint64_t later : {1, 20, 60, 120, 200, 300}) {
            std::shared_ptr<FakeDevice::State> state;
            auto engine = test::EngineFixture::make(onFake(&state));
            state->loseAtCall = state->calls + later;
            const auto a = *engine->submit(one), b = *engine->submit(two);
            const auto done = test::runAll(*engine);
            for (const SequenceId id : {a, b}) {
                QCOMPARE(done.at(id.value).tokens.size(), std::size_t(10));
                QVERIFY(done.at(id.value).reason == api::FinishReason::length);
                QVERIFY(done.at(id.value).problem.empty());
            }
            if (!state->lost)
                continue;
            ++taken;
            QCOMPARE(engine->settings().backend, std::string("cpu"));
            QVERIFY(engine->takeDeviceNote().find("the CPU goes on") != std::string::npos);
            QCOMPARE(engine->numerics().substr(0, 4), std::string("cpu:"));
            if (later == 1) // nothing had been computed: these are the CPU's own
                QVERIFY(done.at(a.value).tokens == byCpu);
            // What it computes now it finds again.
            const auto again = test::runOne(*engine, one);
            QVERIFY(again.stats.cachedMemory > 0);
        }
        QVERIFY(taken >= 4);
    }

    void memoryThatIsGoneLaterIsTheCpusTask()
    {
        std::shared_ptr<FakeDevice::State> state;
        auto engine = test::EngineFixture::make(onFake(&state));
        state->refuseMemory = 1;
        QCOMPARE(test::runOne(*engine, request(90, 8)).tokens.size(), std::size_t(12));
        QCOMPARE(engine->settings().backend, std::string("cpu"));
        QVERIFY(engine->takeDeviceNote().find("memory") != std::string::npos);
    }
};

KVILT_TEST_CLASS(CudaEngineTest)
#include "tst_cuda_engine.moc"

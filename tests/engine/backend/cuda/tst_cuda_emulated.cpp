// SPDX-License-Identifier: Apache-2.0
// Whole models on the real kernels without a GPU: the fake device turns each operation into its launches, as the driver's does, and
// the emulator runs them block by block on the host.
#include "engine/backend/cuda/backend.h"
#include "kernels/cuda/emulator/emulator.h"
#include "tests/engine/backend/cuda/fake_device.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/program_runner.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTest>
#undef emit // Qt's keyword; here it turns an operation into launches

#include <cstring>

using namespace kvilt;
using test::FakeDevice;
using test::FakeDeviceOptions;
using test::ProgramRunner;
using test::RunnerOptions;

namespace {

void runEmulated(const kernels::cuda::Op &op)
{
    const kernels::cuda::DeviceFacts facts{.sm = 90, .multiprocessors = 132, .sharedPerBlock = 227 << 10, .l2Bytes = 50u << 20,
                                           .deterministic = true};
    std::vector<std::byte> scratch(kernels::cuda::scratchBytes(op, facts) + 256);
    auto *at = scratch.data() + (256 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 256) % 256;
    std::vector<kernels::cuda::Launch> launches;
    kernels::cuda::emit(op, facts, at, launches);
    for (const kernels::cuda::Launch &launch : launches)
        if (const std::string problem = kernels::cuda::emulator::run(launch); !problem.empty())
            qFatal("%s", problem.c_str());
}

RunnerOptions on(std::function<void(const kernels::cuda::Op &)> run, RunnerOptions options = {})
{
    options.backend = [run] { return backend::cuda::backendOn(std::make_unique<FakeDevice>(FakeDeviceOptions{.runOp = run})); };
    options.contextTokens = 256;
    return options;
}

double nmse(std::span<const float> got, std::span<const float> wanted)
{
    double wrong = 0, all = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        wrong += (double(got[i]) - wanted[i]) * (double(got[i]) - wanted[i]);
        all += double(wanted[i]) * wanted[i];
    }
    return wrong / all;
}

bool equalBits(std::span<const float> a, std::span<const float> b)
{
    return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

} // namespace

class CudaEmulatedTest : public QObject {
    Q_OBJECT

private slots:
    void initTestCase()
    {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        QSKIP("the emulator's threads are fibers, which sanitizers take for a broken stack");
#endif
    }

    // The engine with two steps under way, sampling included.
    void repliesInFlightAreTheSame()
    {
        const test::EngineFixture fixture;
        std::vector<std::vector<TokenId>> replies;
        for (const std::uint32_t depth : {1u, 2u}) {
            EngineOptions options = fixture.options();
            options.settings.backend = "cuda";
            options.stepsInFlight = depth;
            options.openCuda = []() -> Result<std::unique_ptr<backend::Backend>> {
                return backend::cuda::backendOn(std::make_unique<FakeDevice>(FakeDeviceOptions{.runOp = runEmulated}));
            };
            auto engine = test::EngineFixture::make(options);
            for (const std::uint32_t length : {9u, 18u}) {
                Request request{.tokens = fixture.randomTokens(length, length)};
                request.sampling = {.temperature = 0.8, .topK = 20, .repeatPenalty = 1.2, .seed = 5, .maxTokens = int(length) / 2, .ignoreEos = true};
                QVERIFY(engine->submit(request).has_value());
            }
            for (const auto &[id, done] : test::runAll(*engine))
                replies.push_back(done.tokens);
        }
        QCOMPARE(replies.size(), std::size_t(4));
        QCOMPARE(replies[3].size(), std::size_t(9));
        QVERIFY(replies[0] == replies[2] && replies[1] == replies[3]);
    }

    void modelsComeOutAsOnTheReference_data()
    {
        QTest::addColumn<QString>("architecture");
        QTest::addColumn<quint32>("type");
        QTest::addColumn<int>("kv");
        QTest::addRow("llama q4_0 f16") << "llama" << quint32(gguf::TensorType::q4_0) << int(api::KvType::f16);
        QTest::addRow("llama bf16 q8") << "llama" << quint32(gguf::TensorType::bf16) << int(api::KvType::q8);
        QTest::addRow("gemma3 q8_0 bf16") << "gemma3" << quint32(gguf::TensorType::q8_0) << int(api::KvType::bf16);
    }
    void modelsComeOutAsOnTheReference()
    {
        QFETCH(QString, architecture);
        QFETCH(quint32, type);
        QFETCH(int, kv);
        test::TinyModelOptions tiny;
        tiny.architecture = architecture.toStdString();
        tiny.weights = gguf::TensorType(type);
        tiny.layers = tiny.architecture == "gemma3" ? 6 : 2;
        tiny.window = 16;
        const auto bytes = test::tinyModelBytes(tiny);
        const auto model = *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
        const auto tokens = test::randomTokens(24, model->description().vocabulary, 9);
        RunnerOptions types{.kType = api::KvType(kv), .vType = api::KvType(kv)};
        const auto wanted = ProgramRunner(model, on({}, types)).allLogits(tokens, 24);

        ProgramRunner runner(model, on(runEmulated, types));
        const auto whole = runner.allLogits(tokens, 24);
        QVERIFY2(nmse(whole, wanted) < 5e-4, qPrintable(QString::number(nmse(whole, wanted))));
        // Token by token, as graphs; then a restored session: not a bit differs.
        QVERIFY(equalBits(runner.allLogits(tokens, 1), whole));
        auto sequence = runner.newSequence();
        runner.append(sequence, std::span(tokens).first(16), 0);
        const auto stored = runner.exportKv(sequence);
        auto restored = runner.importKv(stored, 16);
        const auto rest = runner.append(restored, std::span(tokens).subspan(16), 8);
        QVERIFY(equalBits(rest, std::span(whole).last(rest.size())));
        QVERIFY(runner.exportKv(runner.importKv(stored, 16)) == stored);
    }
};

KVILT_TEST_CLASS(CudaEmulatedTest)
#include "tst_cuda_emulated.moc"

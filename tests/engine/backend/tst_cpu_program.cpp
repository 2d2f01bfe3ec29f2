// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "kernels/api/kernel_table.h"
#include "tests/support/program_runner.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTest>

#include <cmath>
#include <cstring>
#include <thread>

using namespace kvilt;
using backend::PlanSlice;
using backend::StepPlan;
using test::ProgramRunner;

namespace {

std::uint64_t fnv1a(std::span<const std::byte> bytes, std::uint64_t hash = 0xcbf29ce484222325ull)
{
    for (const std::byte byte : bytes)
        hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3ull;
    return hash;
}

} // namespace

class CpuProgramTest : public QObject {
    Q_OBJECT

    std::vector<std::byte> m_bytes;
    std::shared_ptr<const model::Model> m_model;
    std::vector<TokenId> m_tokens;

    static PlanSlice sliceOf(std::span<const TokenId> tokens, std::int32_t position, const kv::BlockTable *const &table)
    {
        PlanSlice slice;
        slice.tokens = tokens;
        slice.firstPosition = position;
        slice.tables = std::span(&table, 1);
        slice.logitRows = 1;
        return slice;
    }

private slots:
    void initTestCase()
    {
        m_bytes = test::tinyModelBytes({});
        m_model = *model::Model::load(*gguf::GgufFile::parse(m_bytes, "tiny"));
        m_tokens = test::randomTokens(200, m_model->description().vocabulary, 11);
    }

    // Who changes these bits raises kNumerics in cpu_program.cpp: stored KV of the old arithmetic must not be reused.
    void pinsTheArithmetic_data()
    {
        QTest::addColumn<QString>("architecture");
        QTest::addColumn<quint32>("type");
        QTest::addColumn<int>("kv");
        QTest::addColumn<quint64>("hash");
        using enum gguf::TensorType;
        const auto add = [](const char *architecture, gguf::TensorType type, api::KvType kv, quint64 hash) {
            QTest::addRow("%s %s %d", architecture, gguf::toString(type).data(), int(kv)) << architecture << quint32(type) << int(kv) << hash;
        };
        add("llama", q4_1, api::KvType::f16, 0xd700f446430a06b9ull);
        add("llama", f32, api::KvType::f32, 0x4950819b3b5bebf6ull);
        add("gemma3", q5_0, api::KvType::f16, 0xf668df9dd7155497ull);
        add("gemma3", q6_k, api::KvType::q8, 0x44287f8961966739ull);
    }
    void pinsTheArithmetic()
    {
        QFETCH(QString, architecture);
        QFETCH(quint32, type);
        QFETCH(int, kv);
        QFETCH(quint64, hash);
        test::TinyModelOptions options;
        options.architecture = architecture.toStdString();
        options.weights = static_cast<gguf::TensorType>(type);
        const auto bytes = test::tinyModelBytes(options);
        const auto model = *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
        const auto tokens = test::randomTokens(96, model->description().vocabulary, 1);
        for (const kernels::KernelTable *table : kernels::availableKernels()) {
            test::RunnerOptions run;
            run.isa = table->name;
            run.kType = run.vType = static_cast<api::KvType>(kv);
            ProgramRunner runner(model, run);
            auto sequence = runner.newSequence();
            const auto logits = runner.append(sequence, tokens, 96);
            QCOMPARE(runner.program().numerics(), std::string("cpu:2"));
            const quint64 got = fnv1a(runner.exportKv(sequence), fnv1a(std::as_bytes(std::span(logits))));
            QVERIFY2(got == hash, qPrintable(QString("%1: 0x%2").arg(table->name).arg(got, 16, 16, QChar('0'))));
        }
    }

    void choosesTheLargestLogitAndFeedsItOn()
    {
        ProgramRunner runner(m_model, {.threads = 2});
        auto sequence = runner.newSequence();
        runner.cover(sequence, 64);
        const kv::BlockTable *table = &sequence.tables[0];
        StepPlan plan;
        plan.slices.push_back(sliceOf(std::span(m_tokens).first(20), 0, table));
        plan.slices[0].sampleGreedily = true;
        const auto ticket = *runner.program().submit(plan);
        const auto result = *runner.program().collect(ticket);
        const auto &slice = result.slices[0];
        const auto best = std::max_element(slice.logits.begin(), slice.logits.end()) - slice.logits.begin();
        QCOMPARE(slice.token, TokenId(best));

        StepPlan next;
        next.slices.push_back(sliceOf({}, 20, table));
        next.slices[0].source = backend::TokenFromTicket{ticket, 0};
        const auto fed = *runner.program().collect(*runner.program().submit(next));
        const std::vector<float> byTicket(fed.slices[0].logits.begin(), fed.slices[0].logits.end());
        const TokenId token = slice.token;
        next.slices[0] = sliceOf(std::span(&token, 1), 20, table);
        const auto given = *runner.program().collect(*runner.program().submit(next));
        QVERIFY(std::memcmp(byTicket.data(), given.slices[0].logits.data(), byTicket.size() * 4) == 0);

        next.slices[0].source = backend::TokenFromTicket{ticket + 100, 0};
        QVERIFY(!runner.program().submit(next).has_value());
    }

    void refusesPlansThatCannotBe()
    {
        ProgramRunner runner(m_model, {.maxStepTokens = 64});
        auto sequence = runner.newSequence();
        runner.cover(sequence, 32);
        const kv::BlockTable *table = &sequence.tables[0];
        const auto submit = [&](const PlanSlice &slice) {
            StepPlan plan;
            plan.slices.push_back(slice);
            const auto ticket = runner.program().submit(plan);
            if (ticket && !runner.program().collect(*ticket))
                qFatal("a ticket must be collectable");
            return ticket.has_value();
        };
        const std::span<const TokenId> tokens(m_tokens);
        QVERIFY(submit(sliceOf(tokens.first(32), 0, table)));
        QVERIFY(!runner.program().submit({}).has_value());
        QVERIFY(!submit(sliceOf({}, 0, table)));
        QVERIFY(!submit(sliceOf(tokens.first(33), 0, table)));       // beyond the table
        QVERIFY(!submit(sliceOf(tokens.first(1), 32, table)));
        QVERIFY(!submit(sliceOf(tokens.first(65), 0, table)));       // beyond the step
        QVERIFY(!submit(sliceOf(tokens.first(1), -1, table)));
        QVERIFY(!submit(sliceOf(tokens.first(1), std::numeric_limits<std::int32_t>::max(), table)));
        for (const TokenId bad : {-1, static_cast<TokenId>(m_model->description().vocabulary), std::numeric_limits<TokenId>::max()})
            QVERIFY(!submit(sliceOf(std::span(&bad, 1), 0, table)));
        PlanSlice greedyLogits = sliceOf(tokens.first(2), 0, table);
        greedyLogits.logitRows = 3;
        QVERIFY(!submit(greedyLogits));
        kv::BlockTable holes;
        holes.append(kNoBlock);
        QVERIFY(!submit(sliceOf(tokens.first(1), 0, &holes)));
        kv::BlockTable far;
        far.append(BlockId{1u << 20});
        QVERIFY(!submit(sliceOf(tokens.first(1), 0, &far)));
        QVERIFY(!runner.program().collect(9999).has_value());
    }

    void stopsWhenCancelled()
    {
        ProgramRunner runner(m_model, {.threads = 2});
        auto sequence = runner.newSequence();
        const auto wanted = runner.append(sequence, m_tokens);
        const kv::BlockTable *table = &sequence.tables[0];
        std::atomic<bool> cancel = true;
        StepPlan plan;
        plan.slices.push_back(sliceOf(m_tokens, 0, table));
        plan.cancel = &cancel;
        auto result = *runner.program().collect(*runner.program().submit(plan));
        QVERIFY(result.cancelled && result.slices[0].logits.empty());
        // Whenever it comes, the step either ends whole or says so, and the same step can run again.
        for (int delay = 0; delay < 20; ++delay) {
            cancel = false;
            std::jthread later([&] {
                std::this_thread::sleep_for(std::chrono::microseconds(delay * 150));
                cancel = true;
            });
            result = *runner.program().collect(*runner.program().submit(plan));
            later.join();
            if (!result.cancelled)
                QVERIFY(std::memcmp(result.slices[0].logits.data(), wanted.data(), wanted.size() * 4) == 0);
        }
        plan.cancel = nullptr;
        result = *runner.program().collect(*runner.program().submit(plan));
        QVERIFY(std::memcmp(result.slices[0].logits.data(), wanted.data(), wanted.size() * 4) == 0);
    }

    void copiesBlocksForAFork()
    {
        ProgramRunner runner(m_model, {});
        auto sequence = runner.newSequence();
        const std::span<const TokenId> tokens(m_tokens);
        runner.append(sequence, tokens.first(40), 0);
        auto fork = runner.newSequence(); // shares two full blocks, owns a copy of the third
        fork.tables[0].append(sequence.tables[0][0]);
        fork.tables[0].append(sequence.tables[0][1]);
        runner.cover(fork, 40);
        runner.program().copyBlock(GroupIndex{0}, sequence.tables[0][2], fork.tables[0][2], 8);
        fork.position = 40;
        runner.append(sequence, tokens.subspan(100, 5), 0); // writes behind the copy
        const auto forked = runner.append(fork, tokens.subspan(40, 20));
        ProgramRunner fresh(m_model, {});
        auto whole = fresh.newSequence();
        const auto wanted = fresh.append(whole, tokens.first(60));
        QVERIFY(std::memcmp(forked.data(), wanted.data(), wanted.size() * 4) == 0);
    }

    void growsItsPoolOnlyToItsCapacity()
    {
        const auto layout = model::makeKvLayout(m_model->description(), api::KvType::f16, api::KvType::f16, 16);
        backend::PrepareOptions options{.threads = 1, .blockCapacity = {100000}};
        const auto program = *(*backend::makeCpuBackend())->prepare(m_model, layout, options);
        QCOMPARE(program->bytesReserved(), std::uint64_t(0));
        QVERIFY(program->reserveBlocks(GroupIndex{0}, 10).has_value());
        QVERIFY(program->bytesReserved() < 64u << 20);
        QVERIFY(!program->reserveBlocks(GroupIndex{0}, 100001).has_value());
        std::vector<std::byte> bytes(layout.bytesPerBlock(0) - 1);
        QVERIFY(!program->exportBlock(GroupIndex{0}, BlockId{0}, bytes).has_value());
        QVERIFY(!program->importBlock(GroupIndex{0}, BlockId{0}, bytes).has_value());
        bytes.resize(layout.bytesPerBlock(0));
        QVERIFY(!program->exportBlock(GroupIndex{0}, BlockId{50000}, bytes).has_value());
        QVERIFY(program->exportBlock(GroupIndex{0}, BlockId{9}, bytes).has_value());
    }

    // Who writes a vector of n as n x 1 describes the same model.
    void vectorsMayBeWrittenWithTwoDimensions()
    {
        for (const char *architecture : {"llama", "gemma3"}) {
            test::TinyModelOptions options;
            options.architecture = architecture;
            options.ropeFactors = options.architecture == "llama";
            const auto logits = [&](const std::vector<std::byte> &bytes) {
                const auto model = *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
                ProgramRunner runner(model, {});
                auto sequence = runner.newSequence();
                return runner.append(sequence, std::span(m_tokens).first(20));
            };
            auto writer = test::tinyModelWriter(options);
            const auto wanted = logits(writer.build());
            writer.writeVectorsAsColumns();
            const auto got = logits(writer.build());
            QCOMPARE(got.size(), wanted.size());
            QVERIFY(std::memcmp(got.data(), wanted.data(), wanted.size() * sizeof wanted[0]) == 0);
        }
    }

    // More than an address space holds, so that no setting of the system can grant it.
    void aRefusedAllocationIsAResult()
    {
        test::TinyModelOptions wide;
        wide.layers = 1;
        wide.feedForward = 65536;
        const auto bytes = test::tinyModelBytes(wide);
        const auto model = *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
        auto layout = model::makeKvLayout(model->description(), api::KvType::f32, api::KvType::f32, 512);
        const auto backend = *backend::makeCpuBackend();
        backend::PrepareOptions options{.threads = 1, .blockCapacity = {4}, .maxStepTokens = 0xffffffffu};
        const auto refused = backend->prepare(model, layout, options);
        QVERIFY(!refused.has_value());
        QCOMPARE(refused.error().code, ErrorCode::outOfMemory);

        options = {.threads = 1, .blockCapacity = {1u << 31}, .maxStepTokens = 16, .contiguous = true};
        const auto program = *backend->prepare(model, layout, options);
        const auto reserved = program->reserveBlocks(GroupIndex{0}, 1);
        QVERIFY(!reserved.has_value());
        QCOMPARE(reserved.error().code, ErrorCode::outOfMemory);
        QCOMPARE(program->bytesReserved(), std::uint64_t(0));
    }

    void refusesKvTypesThatDoNotFitAndUnknownInstructionSets()
    {
        test::TinyModelOptions tiny;
        tiny.headDim = 16; // q8 packs 32
        const auto bytes = test::tinyModelBytes(tiny);
        const auto model = *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
        const auto layout = model::makeKvLayout(model->description(), api::KvType::q8, api::KvType::f16, 16);
        const auto program = (*backend::makeCpuBackend())->prepare(model, layout, {.threads = 1, .blockCapacity = {4}});
        QCOMPARE(program.error().code, ErrorCode::unsupported);
        const QByteArray before = qgetenv("KVILT_FORCE_ISA");
        qputenv("KVILT_FORCE_ISA", "abacus");
        QCOMPARE(backend::makeCpuBackend().error().code, ErrorCode::badInput);
        before.isNull() ? (void)qunsetenv("KVILT_FORCE_ISA") : (void)qputenv("KVILT_FORCE_ISA", before);
    }

    void tellsWhereTimeWent()
    {
        ProgramRunner runner(m_model, {.threads = 2});
        auto sequence = runner.newSequence();
        runner.append(sequence, m_tokens);
        const auto &phases = runner.lastStep.phases;
        QVERIFY(phases.gemm > 0 && phases.attention > 0 && phases.other > 0);
        QVERIFY(phases.gemm + phases.attention + phases.other <= runner.lastStep.seconds);
    }
};

KVILT_TEST_CLASS(CpuProgramTest)
#include "tst_cpu_program.moc"

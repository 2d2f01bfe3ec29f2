// SPDX-License-Identifier: Apache-2.0
// The CUDA program without a GPU: everything but the kernels runs, on a fake device whose operations are their reference.
#include "engine/api/conversation.h"
#include "engine/backend/cuda/backend.h"
#include "engine/sched/sampler.h"
#include "kernels/cuda/reference/ops_reference.h"
#include "tests/engine/backend/cuda/fake_device.h"
#include "tests/support/program_runner.h"
#include "tests/support/reference_forward.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTest>

#include <cmath>
#include <cstring>
#include <string>
#include <variant>

using namespace kvilt;
using backend::PlanSlice;
using backend::StepPlan;
using test::FakeDevice;
using test::FakeDeviceOptions;
using test::ProgramRunner;
using test::RunnerOptions;

namespace {

bool equalBits(std::span<const float> a, std::span<const float> b)
{
    return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Mean square of the difference over mean square of what is wanted.
template <typename Wanted>
double nmse(std::span<const float> got, const std::vector<Wanted> &wanted)
{
    double wrong = 0, all = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        wrong += (double(got[i]) - double(wanted[i])) * (double(got[i]) - double(wanted[i]));
        all += double(wanted[i]) * double(wanted[i]);
    }
    return wrong / all;
}

struct Subject {
    std::vector<std::byte> bytes;
    std::shared_ptr<const model::Model> model;
    std::vector<TokenId> tokens;

    Subject(const std::string &architecture, gguf::TensorType type, bool tied = true)
    {
        test::TinyModelOptions options;
        options.architecture = architecture;
        options.weights = type;
        options.tied = tied;
        options.window = 24;
        options.layers = architecture == "gemma3" ? 6 : 2;
        bytes = test::tinyModelBytes(options);
        model = *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
        tokens = test::randomTokens(120, model->description().vocabulary, 3);
    }
};

RunnerOptions onFake(RunnerOptions options = {}, FakeDeviceOptions fake = {}, std::shared_ptr<FakeDevice::State> *state = nullptr)
{
    options.backend = [fake, state] {
        auto device = std::make_unique<FakeDevice>(fake);
        if (state)
            *state = device->state();
        return backend::cuda::backendOn(std::move(device));
    };
    options.contextTokens = 512;
    return options;
}

} // namespace

class CudaProgramTest : public QObject {
    Q_OBJECT

    std::vector<std::unique_ptr<Subject>> m_subjects;

    static PlanSlice sliceOf(const ProgramRunner::Sequence &sequence, std::vector<const kv::BlockTable *> &tables,
                             std::span<const TokenId> tokens, std::int32_t position)
    {
        tables.clear();
        for (const kv::BlockTable &table : sequence.tables)
            tables.push_back(&table);
        PlanSlice slice;
        slice.tokens = tokens;
        slice.firstPosition = position;
        slice.tables = tables;
        slice.logitRows = 1;
        return slice;
    }

private slots:
    void initTestCase()
    {
        m_subjects.push_back(std::make_unique<Subject>("llama", gguf::TensorType::q4_1));
        m_subjects.push_back(std::make_unique<Subject>("gemma3", gguf::TensorType::q5_0));
        m_subjects.push_back(std::make_unique<Subject>("llama", gguf::TensorType::bf16, false));
    }

    void agreesWithThePlainForwardPassAndWithTheCpu()
    {
        for (const auto &subject : m_subjects) {
            ProgramRunner runner(subject->model, onFake());
            const auto logits = runner.allLogits(subject->tokens, 50);
            QVERIFY(nmse(logits, test::referenceLogits(*subject->model, subject->tokens)) < 1e-5); // keys and values in f16
            const auto cpu = ProgramRunner(subject->model, {}).allLogits(subject->tokens, 512);
            QVERIFY(nmse(logits, cpu) < 2e-3); // the CPU rounds activations to 8 bits
            QCOMPARE(runner.program().numerics(), std::string("cuda:sm_90:1:none"));
            QCOMPARE(runner.program().isa(), std::string("sm_90"));
        }
    }

    void chunksBlocksAndNeighboursChangeNoBit()
    {
        for (const auto &subject : m_subjects) {
            const auto wanted = ProgramRunner(subject->model, onFake()).allLogits(subject->tokens, 512);
            for (const std::uint32_t chunk : {1u, 7u, 64u})
                QVERIFY(equalBits(ProgramRunner(subject->model, onFake()).allLogits(subject->tokens, chunk), wanted));
            for (const std::uint32_t blockSize : {32u, 128u})
                QVERIFY(equalBits(ProgramRunner(subject->model, onFake({.blockSize = blockSize, .shuffle = blockSize}))
                                      .allLogits(subject->tokens, 30), wanted));
            ProgramRunner together(subject->model, onFake({.shuffle = 7}));
            std::vector<ProgramRunner::Sequence> sequences(3, together.newSequence());
            std::vector<ProgramRunner::Sequence *> pointers{&sequences[0], &sequences[1], &sequences[2]};
            std::size_t at[3] = {};
            const std::size_t vocabulary = subject->model->description().vocabulary;
            for (int step = 0; step < 6; ++step) {
                std::vector<std::vector<TokenId>> runs;
                for (std::size_t i = 0; i < 3; ++i) {
                    const std::size_t length = step % 2 == 0 ? 5 + 7 * i : 1;
                    const auto begin = subject->tokens.begin() + std::ptrdiff_t(at[i]);
                    runs.emplace_back(begin, begin + std::ptrdiff_t(length));
                    at[i] += length;
                }
                const auto logits = together.appendTogether(pointers, runs);
                for (std::size_t i = 0; i < 3; ++i)
                    QVERIFY(equalBits(logits[i], std::span(wanted).subspan((at[i] - 1) * vocabulary, vocabulary)));
            }
        }
    }

    void storedBlocksContinueElsewhere_data()
    {
        QTest::addColumn<int>("type");
        QTest::addColumn<bool>("copyQueueFirst");
        for (const auto type : {api::KvType::f16, api::KvType::bf16, api::KvType::q8, api::KvType::q4, api::KvType::fp8})
            for (const bool first : {false, true})
                QTest::addRow("%s %d", api::toString(type).data(), int(first)) << int(type) << first;
    }
    void storedBlocksContinueElsewhere()
    {
        QFETCH(int, type);
        QFETCH(bool, copyQueueFirst);
        const FakeDeviceOptions fake{.copyQueueFirst = copyQueueFirst};
        for (const auto &subject : m_subjects) {
            RunnerOptions options{.kType = api::KvType(type), .vType = api::KvType(type)};
            ProgramRunner first(subject->model, onFake(options, fake));
            auto sequence = first.newSequence();
            first.append(sequence, std::span(subject->tokens).first(64), 0);
            const auto stored = first.exportKv(sequence);
            const auto wanted = first.append(sequence, std::span(subject->tokens).subspan(64, 10), 10);
            options.shuffle = 5;
            ProgramRunner second(subject->model, onFake(options, fake));
            auto restored = second.importKv(stored, 64);
            // Not exported before it is used: the step itself has to wait for its layers.
            QVERIFY(equalBits(second.append(restored, std::span(subject->tokens).subspan(64, 10), 10), wanted));
            auto again = second.importKv(stored, 64);
            QVERIFY(second.exportKv(again) == stored);
            // The stored form is one for all backends.
            ProgramRunner cpu(subject->model, {.kType = api::KvType(type), .vType = api::KvType(type), .contextTokens = 512});
            auto onCpu = cpu.importKv(stored, 64);
            QVERIFY(cpu.exportKv(onCpu) == stored);
            if (api::KvType(type) == api::KvType::q8 || api::KvType(type) == api::KvType::q4)
                continue; // the CPU turns such rows before it quantises: its numerics keep them apart
            const auto near = cpu.append(onCpu, std::span(subject->tokens).subspan(64, 10), 10);
            QVERIFY(nmse(near, wanted) < 5e-3);
        }
    }

    // What a step waits for before a layer is that layer's blocks and those of the layers before it, of whatever group: on a
    // copy queue that runs as late as it may, copies and layers take turns; on one that runs as early as it may, no copy waits
    // for a layer of the step.
    void layersArriveWhileEarlierOnesCompute()
    {
        for (const auto &subject : m_subjects)
            for (const bool copyFirst : {false, true}) {
                ProgramRunner source(subject->model, onFake());
                auto sequence = source.newSequence();
                source.append(sequence, std::span(subject->tokens).first(64), 0);
                const auto stored = source.exportKv(sequence);
                std::string order; // i: a layer's blocks come in, a: attention of a layer
                const auto watch = [&order](const kernels::cuda::Op &op) {
                    if (const auto *convert = std::get_if<kernels::cuda::KvConvertOp>(&op); convert && !convert->toStored)
                        order += 'i';
                    if (std::holds_alternative<kernels::cuda::AttentionOp>(op))
                        order += 'a';
                    kernels::cuda::reference::run(op);
                };
                ProgramRunner runner(subject->model, onFake({}, {.copyQueueFirst = copyFirst, .runOp = watch}));
                auto restored = runner.importKv(stored, 64);
                runner.append(restored, std::span(subject->tokens).subspan(64, 10), 10);
                std::string wanted;
                const std::uint32_t layers = subject->model->description().layers;
                for (std::uint32_t layer = 0; layer < layers; ++layer)
                    wanted += copyFirst ? "i" : "ia";
                QCOMPARE(order, copyFirst ? wanted + std::string(layers, 'a') : wanted);
            }
    }

    // A decode step comes as a graph from the second time on, and a graph meets the next step's tables and tokens.
    void decodeRunsAsGraph()
    {
        for (const auto &subject : m_subjects) {
            const auto wanted = ProgramRunner(subject->model, onFake()).allLogits(subject->tokens, 512);
            std::shared_ptr<FakeDevice::State> state;
            ProgramRunner runner(subject->model, onFake({}, {}, &state));
            const auto logits = runner.allLogits(subject->tokens, 1);
            QVERIFY(equalBits(logits, wanted));
            QVERIFY(state->graphs >= 1 && state->graphs <= 3);
            QVERIFY(state->graphLaunches >= subject->tokens.size() - 4);
        }
    }

    void samplesLikeTheSampler()
    {
        std::vector<api::SamplingSettings> all(5);
        all[1] = {.temperature = 0.8, .topK = 40, .topP = 0.9, .minP = 0.02, .seed = 5};
        all[2] = {.temperature = 0.0, .repeatPenalty = 1.3, .penaltyWindow = 20};
        all[3] = {.temperature = 1.5, .topK = 256, .repeatPenalty = 1.1, .presencePenalty = 0.4, .frequencyPenalty = 0.2, .seed = 99};
        all[4] = {.temperature = 0.7, .topK = 1, .topP = 0.5};
        const auto &subject = *m_subjects[0];
        for (const api::SamplingSettings &settings : all) {
            ProgramRunner runner(subject.model, onFake());
            QVERIFY(runner.program().samples(settings));
            sched::Sampler sampler(settings, subject.model->description().vocabulary);
            auto sequence = runner.newSequence();
            runner.cover(sequence, 120);
            std::vector<TokenId> tokens(subject.tokens.begin(), subject.tokens.begin() + 40);
            std::vector<const kv::BlockTable *> tables;
            for (std::size_t done = 0; tokens.size() < 60;) {
                PlanSlice slice = sliceOf(sequence, tables, std::span(tokens).subspan(done), std::int32_t(done));
                slice.sampling = backend::TokenSampling{&settings, tokens, tokens.size() - 40};
                StepPlan plan;
                plan.slices.push_back(slice);
                const auto result = *runner.program().collect(*runner.program().submit(plan));
                const TokenId wanted = sampler.sample(result.slices[0].logits, tokens, tokens.size() - 40);
                QCOMPARE(result.slices[0].token, wanted);
                done = tokens.size();
                tokens.push_back(wanted);
            }
        }
        ProgramRunner runner(subject.model, onFake());
        QVERIFY(!runner.program().samples({.temperature = 1.0}));                // all tokens: the host draws
        QVERIFY(!runner.program().samples({.repeatPenalty = 2.0, .penaltyWindow = 5000}));
    }

    // Two steps under way: the second takes the token that the first has not told anybody yet.
    void tokensStayOnTheDevice()
    {
        const api::SamplingSettings settings{.temperature = 0.9, .topK = 50, .repeatPenalty = 1.2, .penaltyWindow = 16, .seed = 3};
        const auto &subject = *m_subjects[1];
        const auto generate = [&](bool ahead) {
            ProgramRunner runner(subject.model, onFake());
            auto sequence = runner.newSequence();
            runner.cover(sequence, 120);
            std::vector<TokenId> tokens(subject.tokens.begin(), subject.tokens.begin() + 30);
            std::vector<const kv::BlockTable *> tables;
            std::optional<backend::Ticket> last;
            for (std::size_t made = 0; made < 25; ++made) {
                PlanSlice slice = sliceOf(sequence, tables, made == 0 ? std::span<const TokenId>(tokens) : std::span<const TokenId>(),
                                          made == 0 ? 0 : std::int32_t(29 + made));
                slice.logitRows = 0;
                slice.sampling = backend::TokenSampling{&settings, tokens, made};
                if (made > 0 && ahead)
                    slice.source = backend::TokenFromTicket{*last, 0};
                else if (made > 0)
                    slice.tokens = std::span(tokens).last(1);
                StepPlan plan;
                plan.slices.push_back(slice);
                const auto ticket = *runner.program().submit(plan);
                if (ahead && last)
                    tokens.push_back((*runner.program().collect(*last)).slices[0].token);
                else if (!ahead)
                    tokens.push_back((*runner.program().collect(ticket)).slices[0].token);
                last = ticket;
            }
            if (ahead)
                tokens.push_back((*runner.program().collect(*last)).slices[0].token);
            return tokens;
        };
        const auto wanted = generate(false);
        QCOMPARE(wanted.size(), std::size_t(55));
        QVERIFY(generate(true) == wanted);
    }

    // A full block goes to the host while the next step waits in its queue, and that step is not waited for.
    void exportsPassStepsUnderWay()
    {
        const auto &subject = *m_subjects[0];
        std::shared_ptr<FakeDevice::State> state;
        ProgramRunner runner(subject.model, onFake({}, {}, &state));
        auto sequence = runner.newSequence();
        runner.append(sequence, std::span(subject.tokens).first(32), 0);
        runner.cover(sequence, 33);
        std::vector<std::byte> before(runner.layout().bytesPerBlock(0)), after(before.size());
        QVERIFY(runner.program().exportBlock(GroupIndex{0}, sequence.tables[0][1], before).has_value());
        std::vector<const kv::BlockTable *> tables;
        StepPlan plan;
        plan.slices.push_back(sliceOf(sequence, tables, std::span(subject.tokens).subspan(32, 1), 32));
        const auto ticket = *runner.program().submit(plan);
        const std::uint64_t operations = state->operations;
        QVERIFY(runner.program().exportBlock(GroupIndex{0}, sequence.tables[0][1], after).has_value());
        QCOMPARE(state->operations, operations + 1); // the conversion alone
        QVERIFY(before == after);
        QVERIFY(runner.program().collect(ticket).has_value());
        QVERIFY(state->operations > operations + 5);
    }

    void copiesBlocksForAFork()
    {
        const auto &subject = *m_subjects[0];
        ProgramRunner runner(subject.model, onFake());
        auto sequence = runner.newSequence();
        const std::span<const TokenId> tokens(subject.tokens);
        runner.append(sequence, tokens.first(40), 0);
        auto fork = runner.newSequence();
        fork.tables[0].append(sequence.tables[0][0]);
        fork.tables[0].append(sequence.tables[0][1]);
        runner.cover(fork, 40);
        runner.program().copyBlock(GroupIndex{0}, sequence.tables[0][2], fork.tables[0][2], 8);
        fork.position = 40;
        runner.append(sequence, tokens.subspan(100, 5), 0);
        const auto forked = runner.append(fork, tokens.subspan(40, 20));
        ProgramRunner fresh(subject.model, onFake());
        auto whole = fresh.newSequence();
        QVERIFY(equalBits(forked, fresh.append(whole, tokens.first(60))));
    }

    void stopsWhenCancelled()
    {
        const auto &subject = *m_subjects[1];
        std::shared_ptr<FakeDevice::State> state;
        ProgramRunner runner(subject.model, onFake({}, {}, &state));
        auto sequence = runner.newSequence();
        const auto wanted = runner.append(sequence, subject.tokens);
        std::vector<const kv::BlockTable *> tables;
        std::atomic<bool> cancel = false;
        StepPlan plan;
        plan.slices.push_back(sliceOf(sequence, tables, subject.tokens, 0));
        plan.cancel = &cancel;
        const std::uint64_t before = state->operations;
        state->beforeOperation = [&] { cancel = state->operations > before + 3; };
        auto result = *runner.program().collect(*runner.program().submit(plan));
        QVERIFY(result.cancelled && result.slices[0].logits.empty());
        QVERIFY(state->operations < before + 30); // not all six layers
        state->beforeOperation = {};
        cancel = false;
        result = *runner.program().collect(*runner.program().submit(plan));
        QVERIFY(equalBits(result.slices[0].logits, wanted));
    }

    void refusesPlansThatCannotBe()
    {
        const auto &subject = *m_subjects[0];
        ProgramRunner runner(subject.model, onFake({.maxStepTokens = 64}));
        auto sequence = runner.newSequence();
        runner.cover(sequence, 32);
        std::vector<const kv::BlockTable *> tables;
        const auto submit = [&](const PlanSlice &slice) {
            StepPlan plan;
            plan.slices.push_back(slice);
            const auto ticket = runner.program().submit(plan);
            return ticket && runner.program().collect(*ticket);
        };
        const std::span<const TokenId> tokens(subject.tokens);
        QVERIFY(submit(sliceOf(sequence, tables, tokens.first(32), 0)));
        QVERIFY(!runner.program().submit({}).has_value());
        QVERIFY(!submit(sliceOf(sequence, tables, {}, 0)));
        QVERIFY(!submit(sliceOf(sequence, tables, tokens.first(33), 0)));
        QVERIFY(!submit(sliceOf(sequence, tables, tokens.first(65), 0)));
        QVERIFY(!submit(sliceOf(sequence, tables, tokens.first(1), -1)));
        QVERIFY(!submit(sliceOf(sequence, tables, tokens.first(1), std::numeric_limits<std::int32_t>::max())));
        for (const TokenId bad : {-1, TokenId(subject.model->description().vocabulary)})
            QVERIFY(!submit(sliceOf(sequence, tables, std::span(&bad, 1), 0)));
        PlanSlice slice = sliceOf(sequence, tables, {}, 5);
        slice.source = backend::TokenFromTicket{77, 0};
        QVERIFY(!submit(slice));
        ProgramRunner::Sequence far = runner.newSequence();
        far.tables[0].append(BlockId{1u << 20});
        QVERIFY(!submit(sliceOf(far, tables, tokens.first(1), 0)));
        QVERIFY(!runner.program().collect(9999).has_value());
        std::vector<std::byte> wrong(3);
        QVERIFY(!runner.program().exportBlock(GroupIndex{0}, BlockId{0}, wrong).has_value());
        QVERIFY(!runner.program().importBlock(GroupIndex{0}, BlockId{0}, wrong).has_value());
    }

    void refusedMemoryIsAResult()
    {
        const auto &subject = *m_subjects[0];
        const auto layout = model::makeKvLayout(subject.model->description(), api::KvType::f16, api::KvType::f16, 16);
        for (std::uint64_t at = 1; at < 5; ++at) {
            auto device = std::make_unique<FakeDevice>();
            const auto state = device->state();
            state->refuseMemory = at;
            const auto backend = backend::cuda::backendOn(std::move(device));
            auto program = backend->prepare(subject.model, layout, {.threads = 1, .blockCapacity = {64}});
            if (program) { // memory for blocks is asked for when they are
                const auto reserved = (*program)->reserveBlocks(GroupIndex{0}, 64);
                if (reserved)
                    continue;
                QCOMPARE(reserved.error().code, ErrorCode::outOfMemory);
            } else {
                QCOMPARE(program.error().code, ErrorCode::outOfMemory);
            }
        }
        const auto small = backend::cuda::backendOn(std::make_unique<FakeDevice>(FakeDeviceOptions{.memory = 4096}));
        const auto refused = small->prepare(subject.model, layout, {.threads = 1, .blockCapacity = {64}});
        QVERIFY(!refused && refused.error().code == ErrorCode::outOfMemory);
        QVERIFY(refused.error().message.find("Fake GPU") != std::string::npos);
        QCOMPARE(small->kvBudget(*subject.model, 512).most, std::uint64_t(0));
    }

    // Whichever call the device is lost at, the answer is an error and never a token.
    void aLostDeviceIsAResult()
    {
        const auto &subject = *m_subjects[0];
        const auto layout = model::makeKvLayout(subject.model->description(), api::KvType::f16, api::KvType::f16, 16);
        int lost = 0, prepared = 0, whole = 0;
        for (std::uint64_t at = 1; at < 400; at += 3) {
            auto device = std::make_unique<FakeDevice>();
            device->state()->loseAtCall = at;
            const auto backend = backend::cuda::backendOn(std::move(device));
            auto program = backend->prepare(subject.model, layout, {.threads = 1, .blockCapacity = {64}});
            if (!program) {
                QCOMPARE(program.error().code, ErrorCode::device);
                ++lost;
                continue;
            }
            ++prepared;
            kv::BlockTable table;
            for (std::uint32_t i = 0; i < 8; ++i)
                table.append(BlockId{i});
            const kv::BlockTable *tables[] = {&table};
            if (!(*program)->reserveBlocks(GroupIndex{0}, 8))
                continue;
            bool failed = false;
            for (int i = 0; i < 4 && !failed; ++i) {
                PlanSlice slice;
                slice.tokens = std::span(subject.tokens).subspan(std::size_t(i), 1);
                slice.firstPosition = i;
                slice.tables = tables;
                slice.logitRows = 1;
                StepPlan plan;
                plan.slices.push_back(slice);
                const auto ticket = (*program)->submit(plan);
                const auto result = ticket ? (*program)->collect(*ticket) : Result<backend::StepResult>(tl::unexpected(ticket.error()));
                failed = !result;
                if (failed)
                    QCOMPARE(result.error().code, ErrorCode::device);
            }
            whole += failed ? 0 : 1;
        }
        QVERIFY(lost > 5 && prepared > 5 && whole > 0);
    }
};

KVILT_TEST_CLASS(CudaProgramTest)
#include "tst_cuda_program.moc"

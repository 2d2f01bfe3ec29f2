// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
// The first promise: nothing about scheduling or memory changes a bit of a logit. Every comparison is memcmp.
#include "engine/api/conversation.h"
#include "kernels/api/kernel_table.h"
#include "tests/support/program_runner.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTest>

#include <cstring>

using namespace kvilt;
using test::ProgramRunner;
using test::RunnerOptions;

namespace {

constexpr std::size_t kTokens = 700; // past one split of 512 and many windows of 32

bool equalBits(std::span<const float> a, std::span<const float> b)
{
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

struct Subject {
    std::vector<std::byte> bytes;
    std::shared_ptr<const model::Model> model;
    std::vector<TokenId> tokens;
    std::vector<float> logits; // of all tokens: one thread, blocks of 16, chunks of 512

    Subject(const std::string &architecture, gguf::TensorType type)
    {
        test::TinyModelOptions options;
        options.architecture = architecture;
        options.weights = type;
        options.layers = architecture == "gemma3" ? 6 : 2;
        bytes = test::tinyModelBytes(options);
        model = *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
        tokens = test::randomTokens(kTokens, model->description().vocabulary, 3);
        logits = ProgramRunner(model, {}).allLogits(tokens, 512);
    }
    std::span<const float> row(std::size_t index) const
    {
        return std::span(logits).subspan(index * model->description().vocabulary, model->description().vocabulary);
    }
};

} // namespace

class CpuExactnessTest : public QObject {
    Q_OBJECT

    std::vector<std::unique_ptr<Subject>> m_subjects;

private slots:
    void initTestCase()
    {
        m_subjects.push_back(std::make_unique<Subject>("llama", gguf::TensorType::q4_1));
        m_subjects.push_back(std::make_unique<Subject>("gemma3", gguf::TensorType::q5_0));
        m_subjects.push_back(std::make_unique<Subject>("llama", gguf::TensorType::f32));
    }

    void chunksChangeNoBit()
    {
        for (const auto &subject : m_subjects) {
            ProgramRunner runner(subject->model, {});
            for (const std::uint32_t chunk : {1u, 7u, 64u, 333u})
                QVERIFY2(equalBits(runner.allLogits(subject->tokens, chunk), subject->logits), qPrintable(QString::number(chunk)));
        }
    }

    void threadsChangeNoBit()
    {
        for (const auto &subject : m_subjects)
            for (const int threads : {2, 3}) {
                ProgramRunner runner(subject->model, {.threads = threads});
                QVERIFY(equalBits(runner.allLogits(subject->tokens, 512), subject->logits));
                QVERIFY(equalBits(runner.allLogits(subject->tokens, 100), subject->logits));
            }
    }

    void blocksAndTheirOrderChangeNoBit()
    {
        for (const auto &subject : m_subjects) {
            for (const std::uint32_t blockSize : {32u, 64u, 512u}) {
                ProgramRunner runner(subject->model, {.blockSize = blockSize, .shuffle = blockSize});
                QVERIFY(equalBits(runner.allLogits(subject->tokens, 256), subject->logits));
            }
            ProgramRunner shuffled(subject->model, {.shuffle = 99});
            QVERIFY(equalBits(shuffled.allLogits(subject->tokens, 512), subject->logits));
            ProgramRunner contiguous(subject->model, {.contiguous = true});
            QVERIFY(equalBits(contiguous.allLogits(subject->tokens, 512), subject->logits));
        }
    }

    void instructionSetsChangeNoBit()
    {
        for (const auto &subject : m_subjects)
            for (const kernels::KernelTable *table : kernels::availableKernels()) {
                ProgramRunner runner(subject->model, {.isa = table->name});
                QCOMPARE(runner.program().isa(), std::string(table->name));
                const auto part = std::span(subject->tokens).first(560);
                const auto logits = runner.allLogits(part, 280);
                QVERIFY2(equalBits(logits, std::span(subject->logits).first(logits.size())), table->name);
            }
    }

    void neighboursChangeNoBit()
    {
        for (const auto &subject : m_subjects) {
            ProgramRunner runner(subject->model, {.threads = 2, .contextTokens = 8 * 640});
            std::vector<ProgramRunner::Sequence> sequences(8, runner.newSequence());
            std::vector<ProgramRunner::Sequence *> pointers;
            for (auto &sequence : sequences)
                pointers.push_back(&sequence);
            // Eight runs of the same text, each cut at other places and at another depth.
            std::vector<std::size_t> at(8, 0);
            for (int step = 0; step < 12; ++step) {
                std::vector<std::vector<TokenId>> runs;
                for (std::size_t i = 0; i < 8; ++i) {
                    const std::size_t length = step == 0 ? 60 * i + 1 : (i + static_cast<std::size_t>(step)) % 3 == 0 ? 5 : 1;
                    runs.emplace_back(subject->tokens.begin() + static_cast<std::ptrdiff_t>(at[i]),
                                      subject->tokens.begin() + static_cast<std::ptrdiff_t>(at[i] + length));
                    at[i] += length;
                }
                if (step == 0) { // together they would not fit a step
                    for (std::size_t i = 0; i < 8; ++i)
                        QVERIFY(equalBits(runner.append(sequences[i], runs[i]), subject->row(at[i] - 1)));
                    continue;
                }
                const auto logits = runner.appendTogether(pointers, runs);
                for (std::size_t i = 0; i < 8; ++i)
                    QVERIFY(equalBits(logits[i], subject->row(at[i] - 1)));
            }
        }
    }

    void storedKvContinuesInAFreshProgram_data()
    {
        QTest::addColumn<int>("type");
        for (const auto type : {api::KvType::f32, api::KvType::f16, api::KvType::bf16, api::KvType::q8, api::KvType::q4, api::KvType::fp8})
            QTest::addRow("%s", api::toString(type).data()) << int(type);
    }
    void storedKvContinuesInAFreshProgram()
    {
        QFETCH(int, type);
        for (const auto &subject : m_subjects) {
            RunnerOptions options{.kType = static_cast<api::KvType>(type), .vType = static_cast<api::KvType>(type)};
            const auto head = std::span(subject->tokens).first(600);
            const auto tail = std::span(subject->tokens).subspan(600, 40);
            ProgramRunner first(subject->model, options);
            auto sequence = first.newSequence();
            first.append(sequence, head.first(400), 0);
            first.append(sequence, head.subspan(400), 0);
            const auto stored = first.exportKv(sequence);
            const auto wanted = first.append(sequence, tail, 40);

            options.shuffle = 5;
            options.threads = 2;
            ProgramRunner second(subject->model, options);
            auto restored = second.importKv(stored, 600);
            QVERIFY(second.exportKv(restored) == stored);
            QVERIFY(equalBits(second.append(restored, tail, 40), wanted));
        }
    }

    // A window's passed blocks may be holes, and the memory of free slots may hold anything.
    void whatIsNotVisibleIsNotRead()
    {
        for (const auto &subject : m_subjects) {
            ProgramRunner runner(subject->model, {});
            auto sequence = runner.newSequence();
            runner.cover(sequence, kTokens);
            for (std::uint16_t g = 0; g < sequence.tables.size(); ++g) {
                const std::vector<std::byte> bytes(runner.layout().bytesPerBlock(g), std::byte(0xff)); // NaN in float types
                for (const BlockId block : sequence.tables[g].blocks())
                    QVERIFY(runner.program().importBlock(GroupIndex{g}, block, bytes).has_value());
            }
            runner.append(sequence, std::span(subject->tokens).first(500), 0);
            for (std::size_t g = 0; g < sequence.tables.size(); ++g)
                if (runner.layout().groups[g].kind == kv::GroupKind::window)
                    sequence.tables[g].dropFront((500 - runner.layout().groups[g].window) / 16);
            const auto logits = runner.append(sequence, std::span(subject->tokens).subspan(500), 200);
            QVERIFY(equalBits(logits, std::span(subject->logits).last(logits.size())));
        }
    }
};

KVILT_TEST_CLASS(CpuExactnessTest)
#include "tst_cpu_exactness.moc"

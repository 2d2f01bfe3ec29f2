// SPDX-License-Identifier: Apache-2.0
// Whole tiny models against the double-precision forward pass.
#include "kernels/api/kernel_table.h"
#include "tests/support/program_runner.h"
#include "tests/support/reference_forward.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTest>

#include <cmath>

using namespace kvilt;

namespace {

std::shared_ptr<const model::Model> tinyModel(std::vector<std::byte> &bytes, const test::TinyModelOptions &options)
{
    bytes = test::tinyModelBytes(options);
    return *model::Model::load(*gguf::GgufFile::parse(bytes, "tiny"));
}

// Root mean square of the difference over that of the reference.
double relativeError(const std::vector<float> &got, const std::vector<double> &wanted)
{
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        difference += (got[i] - wanted[i]) * (got[i] - wanted[i]);
        size += wanted[i] * wanted[i];
    }
    return std::sqrt(difference / size);
}

} // namespace

class CpuAccuracyTest : public QObject {
    Q_OBJECT
private slots:
    void followsTheReference_data()
    {
        QTest::addColumn<QString>("architecture");
        QTest::addColumn<quint32>("type");
        QTest::addColumn<int>("kv");
        QTest::addColumn<double>("limit");
        using enum gguf::TensorType;
        for (const char *architecture : {"llama", "gemma3"}) {
            // Exact products: only float32 rounding is left.
            for (const auto type : {f32, f16, bf16})
                QTest::addRow("%s %s f32", architecture, gguf::toString(type).data())
                    << architecture << quint32(type) << int(api::KvType::f32) << 2e-5;
            // Activations in 8 bits.
            for (const auto type : {q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s,
                                    iq3_xxs, iq3_s, iq4_nl, iq4_xs, tq1_0, tq2_0, mxfp4})
                QTest::addRow("%s %s f32", architecture, gguf::toString(type).data())
                    << architecture << quint32(type) << int(api::KvType::f32) << 0.03;
            QTest::addRow("%s F32 f16", architecture) << architecture << quint32(f32) << int(api::KvType::f16) << 2e-3;
            QTest::addRow("%s F32 bf16", architecture) << architecture << quint32(f32) << int(api::KvType::bf16) << 1e-2;
            QTest::addRow("%s F32 q8", architecture) << architecture << quint32(f32) << int(api::KvType::q8) << 2e-2;
            QTest::addRow("%s F32 q4", architecture) << architecture << quint32(f32) << int(api::KvType::q4) << 0.2;
            QTest::addRow("%s F32 fp8", architecture) << architecture << quint32(f32) << int(api::KvType::fp8) << 0.1;
        }
    }
    void followsTheReference()
    {
        QFETCH(QString, architecture);
        QFETCH(quint32, type);
        QFETCH(int, kv);
        QFETCH(double, limit);
        test::TinyModelOptions options;
        options.architecture = architecture.toStdString();
        options.weights = options.embedding = static_cast<gguf::TensorType>(type);
        options.ropeFactors = architecture == "llama";
        options.ropeScaling = type == 0 ? 2.0f : 0.0f;
        options.tied = type != 1;
        std::vector<std::byte> bytes;
        const auto model = tinyModel(bytes, options);
        // Longer than the window of 32 and than three blocks.
        const auto tokens = test::randomTokens(60, model->description().vocabulary, 7);
        const auto wanted = test::referenceLogits(*model, tokens);
        for (const kernels::KernelTable *table : kernels::availableKernels()) {
            test::RunnerOptions run;
            run.isa = table->name;
            run.kType = run.vType = static_cast<api::KvType>(kv);
            test::ProgramRunner runner(model, run);
            const double error = relativeError(runner.allLogits(tokens, 17), wanted);
            QVERIFY2(error < limit, qPrintable(QString("%1: %2").arg(table->name).arg(error)));
        }
    }
};

KVILT_TEST_CLASS(CpuAccuracyTest)
#include "tst_cpu_accuracy.moc"

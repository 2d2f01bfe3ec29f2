// SPDX-License-Identifier: Apache-2.0
// Product kernels, thread by thread on the CPU, against the double-precision reference of their operations.
#include "kernels/cuda/emulator/emulator.h"
#include "kernels/cuda/reference/ops_reference.h"
#include "tests/kernels/cuda/cuda_kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt::kernels;
using namespace kvilt::kernels::cuda;
using namespace kvilt::kernels::cuda::test;
using kvilt::kernels::test::randomFloats;

namespace {

struct Shape {
    std::uint32_t rows, cols, tokens;
};

std::vector<WeightTypeInfo> supportedTypes()
{
    std::vector<WeightTypeInfo> types;
    for (const WeightTypeInfo &entry : weightTypes())
        if (weightSupported(entry.type))
            types.push_back(entry);
    return types;
}

} // namespace

class CudaProductsTest : public QObject {
    Q_OBJECT

    static std::vector<float> wanted(const DeviceMatrix &w, const std::vector<float> &x, std::uint32_t tokens)
    {
        DeviceArray<float> in(x), out(std::size_t(tokens) * w.matrix.rows);
        reference::run(projectOp(w, in, out, tokens));
        return out.values();
    }
    // Empty after an error of the emulator, which is printed.
    static std::vector<float> projected(const DeviceMatrix &w, const std::vector<float> &x, std::uint32_t tokens,
                                        const DeviceFacts &device = hopper(), std::uint32_t seed = 0)
    {
        DeviceArray<float> in(x), out(std::size_t(tokens) * w.matrix.rows);
        const std::string error = emulate(projectOp(w, in, out, tokens), device, seed);
        if (error.empty())
            return out.values();
        qWarning("%s", error.c_str());
        return {};
    }

private slots:
    void everyTypeAndShapeEqualsTheReference()
    {
        Random random(1);
        constexpr Shape kShapes[] = {{17, 96, 1}, {40, 544, 5}, {33, 288, 19}, {70, 160, 41}};
        for (const WeightTypeInfo &entry : supportedTypes()) {
            for (const Shape &shape : kShapes) {
                const std::uint32_t cols = colsFor(entry.type, shape.cols);
                const DeviceMatrix w = randomMatrix(random, entry.type, shape.rows, cols);
                const auto x = randomFloats(random, std::size_t(shape.tokens) * cols);
                const double off = nmse(projected(w, x, shape.tokens), wanted(w, x, shape.tokens));
                QVERIFY2(off <= tolerance(entry.type), qPrintable(QString("%1, %2 tokens: NMSE %3").arg(entry.name).arg(shape.tokens).arg(off)));
            }
        }
    }

    void bitsDependNeitherOnTheBatchNorOnTheShapeNorOnTheOrderOfThreads()
    {
        Random random(2);
        for (const WeightTypeInfo &entry : supportedTypes()) {
            const std::uint32_t cols = colsFor(entry.type, 608), rows = 35, tokens = 43;
            const DeviceMatrix w = randomMatrix(random, entry.type, rows, cols);
            const auto x = randomFloats(random, std::size_t(tokens) * cols);
            const auto all = projected(w, x, tokens);
            QCOMPARE(all.size(), std::size_t(tokens) * rows);
            for (const std::uint32_t count : {1u, 3u, 20u}) {
                const std::vector<float> part(x.begin() + cols, x.begin() + (1 + count) * std::ptrdiff_t(cols)); // from token 1 on
                const auto got = projected(w, part, count, count == 20 ? turing() : hopper(), count);
                QCOMPARE(got.size(), std::size_t(count) * rows);
                QVERIFY2(std::memcmp(got.data(), all.data() + rows, got.size() * 4) == 0,
                         qPrintable(QString("%1, %2 tokens alone").arg(entry.name).arg(count)));
            }
        }
    }

    void extremeCodesStayExact()
    {
        for (const WeightTypeInfo &entry : supportedTypes()) {
            if (isFloat(entry.type))
                continue;
            Random random(3);
            const std::uint32_t cols = 256, rows = 16;
            for (const int code : {0x00, 0xff, 0x80, 0x7f}) {
                auto weights = kvilt::kernels::test::randomWeights(random, entry.type, rows, cols);
                for (std::size_t block = 0; block < weights.size(); block += entry.blockBytes) {
                    const std::vector<std::byte> before(weights.begin() + std::ptrdiff_t(block), weights.begin() + std::ptrdiff_t(block + entry.blockBytes));
                    std::memset(&weights[block], code, entry.blockBytes);
                    for (const auto &field : kvilt::kernels::test::scaleFields(entry.type))
                        std::memcpy(&weights[block + field.offset], &before[field.offset], field.bytes);
                }
                if (entry.type == WeightType::IQ1_M)
                    continue; // its scale lies among the codes
                const DeviceMatrix w = packMatrix(entry.type, rows, cols, weights);
                const std::vector<float> x(cols, -1.0f); // every input code is -127
                const double off = nmse(projected(w, x, 1), wanted(w, x, 1));
                QVERIFY2(off < 1e-10, qPrintable(QString("%1: NMSE %2").arg(entry.name).arg(off)));
            }
        }
    }

    void largeInputsDoNotOverflowSixteenBits()
    {
        Random random(4);
        for (const WeightType type : {WeightType::F16, WeightType::BF16}) {
            const DeviceMatrix w = randomMatrix(random, type, 20, 128);
            const auto x = randomFloats(random, 3 * 128, 1e7f);
            QVERIFY(nmse(projected(w, x, 3), wanted(w, x, 3)) <= kFloatError);
            for (const float v : projected(w, std::vector<float>(128, 0.0f), 1))
                QCOMPARE(v, 0.0f);
        }
    }

    void normedInputsAndResidualsEqualTheReference()
    {
        Random random(5);
        for (const WeightType type : {WeightType::F32, WeightType::F16, WeightType::BF16, WeightType::Q4_1, WeightType::Q6_K}) {
            const std::uint32_t cols = 512, rows = 48, tokens = 9;
            const DeviceMatrix w = randomMatrix(random, type, rows, cols);
            const auto x = randomFloats(random, tokens * cols), delta = randomFloats(random, tokens * cols);
            const auto before = randomFloats(random, tokens * rows);
            DeviceArray<float> norm(randomFloats(random, cols)), deltaNorm(randomFloats(random, cols));
            std::vector<float> outs[2], xs[2];
            for (const int run : {0, 1}) {
                DeviceArray<float> in(x), add(delta), out(before);
                ProjectOp op = projectOp(w, in, out, tokens);
                op.x = {};
                op.in = {in.data(), norm.data(), add.data(), deltaNorm.data(), 1e-5f};
                op.add = true;
                if (run == 0)
                    reference::run(op);
                else
                    QCOMPARE(emulate(op, hopper()), std::string());
                outs[run] = out.values();
                xs[run] = in.values();
            }
            QVERIFY(nmse(xs[1], xs[0]) <= 1e-12);
            QVERIFY2(nmse(outs[1], outs[0]) <= tolerance(type), info(type).name);
        }
    }

    void gatedProductsEqualTheReference()
    {
        Random random(6);
        struct Case {
            WeightType gate, up;
            std::uint32_t rows;
        };
        const Case cases[] = {{WeightType::Q4_K, WeightType::Q4_K, 1}, {WeightType::Q8_0, WeightType::Q8_0, 12},
                              {WeightType::Q4_0, WeightType::Q4_0, 40}, {WeightType::F16, WeightType::F16, 10},
                              {WeightType::Q4_K, WeightType::Q6_K, 3},  {WeightType::F32, WeightType::F32, 2}};
        for (const Gate activation : {Gate::silu, Gate::geluTanh})
            for (const Case &c : cases) {
                const std::uint32_t cols = 256, hidden = 88;
                const DeviceMatrix gate = randomMatrix(random, c.gate, hidden, cols), up = randomMatrix(random, c.up, hidden, cols);
                DeviceArray<float> in(randomFloats(random, c.rows * cols, 3.0f)), norm(randomFloats(random, cols));
                std::vector<float> outs[2];
                for (const int run : {0, 1}) {
                    DeviceArray<float> out(c.rows * hidden);
                    GatedOp op;
                    op.rows = c.rows;
                    op.in = {in.data(), norm.data(), nullptr, nullptr, 1e-6f};
                    op.gate = gate.matrix;
                    op.up = up.matrix;
                    op.activation = activation;
                    op.out = {out.data(), Element::f32, hidden};
                    if (run == 0)
                        reference::run(op);
                    else
                        QCOMPARE(emulate(op, activation == Gate::silu ? hopper() : turing()), std::string());
                    outs[run] = out.values();
                }
                const double off = nmse(outs[1], outs[0]);
                QVERIFY2(off <= tolerance(c.gate), qPrintable(QString("%1: NMSE %2").arg(info(c.gate).name).arg(off)));
            }
    }

    void embeddingsAndGathersAreExact()
    {
        Random random(7);
        for (const WeightTypeInfo &entry : supportedTypes()) {
            const std::uint32_t vocabulary = 70, cols = colsFor(entry.type, 288);
            const DeviceMatrix w = randomMatrix(random, entry.type, vocabulary, cols);
            DeviceArray<StepRow> rows(std::vector<StepRow>{{0, 0, 0, 0}, {69, 1, 0, 0}, {-2, 2, 0, 0}, {33, 3, 0, 0}});
            DeviceArray<std::int32_t> sampled(std::vector<std::int32_t>{5, 41});
            std::vector<float> outs[2];
            for (const int run : {0, 1}) {
                DeviceArray<float> hidden(4 * cols), gathered(2 * cols);
                DeviceArray<std::uint32_t> index(std::vector<std::uint32_t>{3, 1});
                EmbedOp op;
                op.step.rows = rows.data();
                op.step.sampled = sampled.data();
                op.rows = 4;
                op.embedding = w.matrix;
                op.scale = 1.5f;
                op.hidden = hidden.data();
                const GatherOp gather{2, cols, index.data(), hidden.data(), gathered.data()};
                if (run == 0) {
                    reference::run(op);
                    reference::run(gather);
                } else {
                    QCOMPARE(emulate(op, hopper()), std::string());
                    QCOMPARE(emulate(gather, hopper()), std::string());
                }
                outs[run] = gathered.values();
                const auto all = hidden.values();
                outs[run].insert(outs[run].end(), all.begin(), all.end());
            }
            QVERIFY2(kvilt::kernels::test::sameBits(outs[0], outs[1]), entry.name);
        }
    }
};

KVILT_TEST_CLASS(CudaProductsTest)
#include "tst_cuda_products.moc"

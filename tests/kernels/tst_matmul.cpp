// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/panel_layout.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <cstring>

using namespace kvilt::kernels;
using namespace kvilt::kernels::test;

namespace {

struct Shape {
    std::uint32_t rows, cols, tokens;
};

// Odd numbers of rows, panels, tokens and blocks; cols become a multiple of the type's block.
constexpr Shape kShapes[] = {{1, 256, 1}, {16, 32, 2}, {17, 96, 3}, {48, 288, 5}, {33, 512, 7}, {80, 64, 12}, {100, 544, 21}, {20, 2304, 17}};

std::uint32_t colsFor(WeightType type, std::uint32_t cols)
{
    const std::uint32_t block = info(type).blockElements;
    return (cols + block - 1) / block * block;
}

// The product in double of the weights and the activations as they were quantised.
std::vector<double> expected(WeightType type, const Shape &shape, std::uint32_t cols, const std::vector<std::byte> &weights,
                             const std::vector<float> &x, const AlignedBytes &rows)
{
    const bool quantised = activationFormat(type) == ActivationFormat::int8;
    const ActivationLayout layout(cols);
    std::vector<double> out(std::size_t(shape.tokens) * shape.rows);
    for (std::uint32_t r = 0; r < shape.rows; ++r) {
        const auto weightRow = reference::weights(type, weights.data() + r * rowBytes(type, cols), cols);
        for (std::uint32_t t = 0; t < shape.tokens; ++t) {
            const std::byte *row = rows.data() + t * layout.total;
            double sum = 0;
            for (std::uint32_t k = 0; k < cols; ++k) {
                double value = x[t * std::size_t(cols) + k];
                if (quantised) {
                    float scale;
                    std::memcpy(&scale, row + layout.scales + k / 32 * 4, 4);
                    value = double(scale) * static_cast<std::int8_t>(row[layout.quants + k]);
                }
                sum += value * weightRow[k];
            }
            out[std::size_t(t) * shape.rows + r] = sum;
        }
    }
    return out;
}

// Every prefix of `counts` tokens, and each token alone, gives the bits that all tokens together give.
void checkNeighbours(Random &random, const WeightTypeInfo &entry, const Shape &shape, const std::vector<std::uint32_t> &counts)
{
    const std::uint32_t cols = colsFor(entry.type, shape.cols);
    const auto x = randomFloats(random, std::size_t(shape.tokens) * cols);
    const Packed packed = pack(entry.type, shape.rows, cols, randomWeights(random, entry.type, shape.rows, cols));
    const auto prepared = [&](const KernelTable &table, std::uint32_t begin, std::uint32_t count) {
        const auto at = x.begin() + begin * std::ptrdiff_t(cols);
        return prepareRows(table, activationFormat(entry.type), {at, at + count * std::ptrdiff_t(cols)}, cols);
    };
    for (const KernelTable *table : tablesUnderTest()) {
        std::vector<float> alone;
        for (std::uint32_t t = 0; t < shape.tokens; ++t) {
            const auto one = matmul(*table, packed, prepared(*table, t, 1), 1);
            alone.insert(alone.end(), one.begin(), one.end());
        }
        for (const std::uint32_t count : counts) {
            const auto together = matmul(*table, packed, prepared(*table, 0, count), count);
            QVERIFY2(std::memcmp(alone.data(), together.data(), std::size_t(count) * shape.rows * 4) == 0,
                     qPrintable(QString("%1 on %2, %3 tokens").arg(entry.name).arg(table->name).arg(count)));
        }
    }
}

} // namespace

class MatmulTest : public QObject {
    Q_OBJECT
private slots:
    void equalsTheDoubleProductOnEveryInstructionSet()
    {
        Random random(1);
        for (const WeightTypeInfo &entry : weightTypes()) {
            for (const Shape &shape : kShapes) {
                const std::uint32_t cols = colsFor(entry.type, shape.cols);
                const auto weights = randomWeights(random, entry.type, shape.rows, cols);
                const auto x = randomFloats(random, std::size_t(shape.tokens) * cols);
                const Packed packed = pack(entry.type, shape.rows, cols, weights);
                std::vector<float> first;
                for (const KernelTable *table : tablesUnderTest()) {
                    const AlignedBytes rows = prepareRows(*table, activationFormat(entry.type), x, cols);
                    const auto out = matmul(*table, packed, rows, shape.tokens);
                    const double error = worstError(out, expected(entry.type, shape, cols, weights, x, rows));
                    QVERIFY2(error < 2e-5, qPrintable(QString("%1 on %2, %3 x %4: %5").arg(entry.name).arg(table->name)
                                                          .arg(shape.rows).arg(cols).arg(error)));
                    if (first.empty())
                        first = out;
                    QVERIFY2(sameBits(out, first), qPrintable(QString("%1 on %2").arg(entry.name).arg(table->name)));
                }
            }
        }
    }

    void extremeCodesStayExact()
    {
        for (const WeightTypeInfo &entry : weightTypes()) {
            if (activationFormat(entry.type) != ActivationFormat::int8)
                continue;
            const std::uint32_t cols = 512;
            for (const int code : {0x00, 0xff, 0x80, 0x7f}) {
                std::vector<std::byte> weights(rowBytes(entry.type, cols) * 16, std::byte(code));
                Random random(2);
                const auto scales = randomWeights(random, entry.type, 16, cols); // scale fields from here
                for (std::size_t at = 0; at < weights.size(); at += entry.blockBytes)
                    for (const ScaleField field : scaleFields(entry.type))
                        std::memcpy(&weights[at + field.offset], &scales[at + field.offset], field.bytes);
                for (const float sign : {1.0f, -1.0f}) {
                    const std::uint32_t tokens = 21; // more than are multiplied with a panel as it is packed
                    const std::vector<float> x(std::size_t(cols) * tokens, sign); // all quants are +-127
                    const Packed packed = pack(entry.type, 16, cols, weights);
                    for (const KernelTable *table : tablesUnderTest()) {
                        const AlignedBytes rows = prepareRows(*table, ActivationFormat::int8, x, cols);
                        for (const std::uint32_t count : {5u, tokens}) {
                            const auto out = matmul(*table, packed, rows, count);
                            const auto want = expected(entry.type, {16, cols, count}, cols, weights, x, rows);
                            QVERIFY2(worstError(out, want) < 2e-5, qPrintable(QString("%1 on %2").arg(entry.name).arg(table->name)));
                        }
                    }
                }
            }
        }
    }

    // Few tokens read panels as they are packed, many a decoded copy; wide rows are taken in chunks of columns.
    void aRowsBitsDoNotDependOnItsNeighbours()
    {
        Random random(3);
        for (const WeightTypeInfo &entry : weightTypes()) {
            checkNeighbours(random, entry, {.rows = 70, .cols = 288, .tokens = 29}, {2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 29});
            checkNeighbours(random, entry, {.rows = 20, .cols = 2304, .tokens = 17}, {2, 8, 17});
            const bool eachKind = entry.type == WeightType::Q4_0 || entry.type == WeightType::Q6_K || entry.type == WeightType::Q2_K ||
                                  entry.type == WeightType::Q8_0 || entry.type == WeightType::F16 || entry.type == WeightType::F32;
            if (eachKind) // several passes over a panel, the last of one token; the last chunk is short
                checkNeighbours(random, entry, {.rows = 17, .cols = 1056, .tokens = 257}, {193, 256, 257});
        }
    }

    // Memory is measured out for the widest row.
    void widerRowsAreNeverShorter()
    {
        for (const ActivationFormat format : {ActivationFormat::f32, ActivationFormat::int8})
            for (std::uint32_t cols = 32; cols < 20000; cols += 32) {
                QVERIFY(activationRowBytes(format, cols) <= activationRowBytes(format, cols + 32));
                QVERIFY(activationRowBytes(format, cols) >= cols * (format == ActivationFormat::f32 ? 4 : 1));
            }
    }

    void panelsMayBeSplitAndAddToWhatIsThere()
    {
        Random random(4);
        const std::uint32_t rows = 71, ld = 75;
        for (const WeightTypeInfo &entry : weightTypes()) {
            const bool wide = entry.type == WeightType::Q4_K || entry.type == WeightType::Q8_0 || entry.type == WeightType::F16;
            const std::uint32_t cols = wide ? 1280 : 256, tokens = wide ? 9 : 6; // wide: more than one chunk of columns
            const auto x = randomFloats(random, std::size_t(tokens) * cols);
            const Packed packed = pack(entry.type, rows, cols, randomWeights(random, entry.type, rows, cols));
            for (const KernelTable *table : tablesUnderTest()) {
                const AlignedBytes prepared = prepareRows(*table, activationFormat(entry.type), x, cols);
                const auto whole = matmul(*table, packed, prepared, tokens);
                std::vector<float> out(std::size_t(ld) * tokens, 3.0f);
                AlignedBytes scratch(matmulScratchBytes(entry.type, cols));
                for (std::uint32_t panel = 0; panel < packed.matrix.panels(); ++panel) {
                    MatmulArgs args{packed.matrix, {activationFormat(entry.type), cols, tokens, prepared.data()}};
                    args.panelBegin = panel;
                    args.panelEnd = panel + 1;
                    args.out = out.data();
                    args.ldOut = ld;
                    args.addToOut = true;
                    args.scratch = scratch.data();
                    table->matmul(args);
                }
                for (std::uint32_t t = 0; t < tokens; ++t)
                    for (std::uint32_t r = 0; r < ld; ++r)
                        QCOMPARE(out[t * ld + r], r < rows ? 3.0f + whole[t * rows + r] : 3.0f);
            }
        }
    }
};

KVILT_TEST_CLASS(MatmulTest)
#include "tst_matmul.moc"

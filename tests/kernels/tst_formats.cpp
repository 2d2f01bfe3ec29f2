// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/exact_math.h"
#include "kernels/layout/half.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <cmath>
#include <cstring>

using namespace kvilt::kernels;
using namespace kvilt::kernels::test;

class FormatsTest : public QObject {
    Q_OBJECT
private slots:
    void halfFloatsRoundTripAndRoundToEven()
    {
        for (std::uint32_t bits = 0; bits < 65536; ++bits) {
            const auto half = std::uint16_t(bits);
            const std::byte bytes[2] = {std::byte(bits & 255), std::byte(bits >> 8)};
            const double want = reference::half(bytes);
            const float got = f16ToF32(half);
            QVERIFY(std::isnan(want) ? std::isnan(got) : double(got) == want);
            QVERIFY(std::isnan(got) || f32ToF16(got) == half);
            if (bits < 0x7bff) { // half way to the next value goes to the even one, a little more goes up
                const double next = reference::half(bytes) + (f16ToF32(std::uint16_t(half + 1)) - want) / 2;
                QCOMPARE(int(f32ToF16(float(next))), int(bits % 2 ? bits + 1 : bits));
                QCOMPARE(int(f32ToF16(std::nextafter(float(next), 1e9f))), int(bits + 1));
            }
        }
        QCOMPARE(int(f32ToF16(65520.0f)), 0x7c00);
        QCOMPARE(int(f32ToBf16(1.00390625f)), 0x3f80); // tie to even
        QCOMPARE(int(f32ToBf16(1.01171875f)), 0x3f82);
        QVERIFY(std::isnan(bf16ToF32(f32ToBf16(poison()))));
    }

    void fp8RoundTripsAndRoundsToEven()
    {
        for (int bits = 0; bits < 127; ++bits) {
            const float value = fp8ToF32(std::uint8_t(bits));
            QCOMPARE(int(f32ToFp8(value)), bits);
            QCOMPARE(int(f32ToFp8(-value)), bits | 128);
            if (bits < 126) {
                const float middle = (value + fp8ToF32(std::uint8_t(bits + 1))) / 2;
                QCOMPARE(int(f32ToFp8(middle)), bits % 2 ? bits + 1 : bits);
                QCOMPARE(int(f32ToFp8(std::nextafter(middle, 1e9f))), bits + 1);
            }
        }
        QCOMPARE(fp8ToF32(0x7e), 448.0f);
        QCOMPARE(fp8ToF32(0x01), 1.0f / 512);
        QCOMPARE(int(f32ToFp8(1e30f)), 0x7e);
    }

    void elementaryFunctionsAgreeWithTheLibrarys()
    {
        Random random(5);
        std::uniform_real_distribution<double> exponent(-300, 300), angle(0, 1 << 20);
        for (int i = 0; i < 20000; ++i) {
            const double x = exponent(random), a = angle(random);
            QVERIFY(std::fabs(exactExp(x) / std::exp(x) - 1) < 1e-15);
            QVERIFY(std::fabs(exactLog(std::exp(x)) - std::log(std::exp(x))) <= 1e-15 * std::fabs(x) + 1e-16);
            QVERIFY(std::fabs(exactSinCos(a).sine - std::sin(a)) < 4e-16);
            QVERIFY(std::fabs(exactSinCos(a).cosine - std::cos(a)) < 4e-16);
        }
    }

    void blocksAreReadAsTheirFormatSays()
    {
        Random random(6);
        for (const WeightTypeInfo &entry : weightTypes()) {
            const std::uint32_t cols = 512;
            const auto row = randomWeights(random, entry.type, 1, cols);
            std::vector<float> out(cols);
            availableKernels()[0]->dequantiseRow(entry.type, row.data(), cols, out.data());
            for (std::uint32_t k = 0; k < cols; ++k)
                QVERIFY2(std::fabs(out[k] - reference::weight(entry.type, row.data(), k)) < 1e-6, entry.name);
        }
    }

    void packingKeepsEveryWeight()
    {
        Random random(7);
        for (const WeightTypeInfo &entry : weightTypes()) {
            const std::uint32_t cols = 256 * 3, rows = 37;
            const auto weights = randomWeights(random, entry.type, rows, cols);
            const Packed packed = pack(entry.type, rows, cols, weights);
            QVERIFY2(packed.bytes.size() < weights.size() * 48 / 37 * 1.07 + 4096, entry.name);
            for (std::uint32_t row = 0; row < rows; ++row) {
                std::vector<float> fromPacked(cols), fromFile(cols);
                availableKernels()[0]->dequantisePackedRow(packed.matrix, row, fromPacked.data());
                availableKernels()[0]->dequantiseRow(entry.type, weights.data() + row * rowBytes(entry.type, cols), cols,
                                                     fromFile.data());
                QVERIFY2(sameBits(fromPacked, fromFile), entry.name);
            }
        }
    }

    void namesOnlyTypesItCanCompute()
    {
        QCOMPARE(weightTypeFromGguf(3).has_value(), true);
        for (const std::uint32_t id : {4u, 5u, 31u, 36u, 1000u})
            QCOMPARE(weightTypeFromGguf(id).has_value(), false);
        QCOMPARE(rowBytes(WeightType::Q4_K, 512), std::size_t(288));
    }
};

KVILT_TEST_CLASS(FormatsTest)
#include "tst_formats.moc"

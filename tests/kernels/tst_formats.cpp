// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/exact_math.h"
#include "kernels/layout/half.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

using namespace kvilt::kernels;
using namespace kvilt::kernels::test;

namespace {

// `blocks` blocks of bytes from splitmix64, then at `scales` (-1: none) two-byte f16 scales between 2^-5 and 2^-4.
struct GoldenBlocks {
    std::uint32_t type, blocks;
    int scales[2];
    std::uint64_t hash; // FNV-1a over the floats' bits
};
constexpr GoldenBlocks kGoldenBlocks[] = {
#include "tests/kernels/golden_blocks.inc"
};

std::vector<std::byte> goldenBytes(const GoldenBlocks &golden)
{
    std::uint64_t state = golden.type;
    const auto next = [&state] {
        std::uint64_t z = (state += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    };
    const WeightTypeInfo &entry = info(static_cast<WeightType>(golden.type));
    std::vector<std::byte> bytes(std::size_t(entry.blockBytes) * golden.blocks);
    for (std::byte &byte : bytes)
        byte = std::byte(next() >> 56);
    for (std::size_t at = 0; at < bytes.size(); at += entry.blockBytes) {
        for (const int scale : golden.scales)
            if (scale >= 0)
                bytes[at + std::size_t(scale) + 1] = std::byte(0x28) | (bytes[at + std::size_t(scale) + 1] & std::byte(0x83));
        if (entry.type == WeightType::MXFP4)
            bytes[at] = std::byte(110 + std::to_integer<int>(bytes[at]) % 16);
        if (entry.type == WeightType::IQ1_M)
            bytes[at + 55] = std::byte(0x20) | (bytes[at + 55] & std::byte(0x8f));
    }
    return bytes;
}

} // namespace

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
            const auto want = reference::weights(entry.type, row.data(), cols);
            for (std::uint32_t k = 0; k < cols; ++k)
                QVERIFY2(std::fabs(out[k] - want[k]) < 1e-6, entry.name);
        }
    }

    // The floats of fixed blocks, bit for bit as the `gguf` Python package gives them.
    void dequantisesAsTheReferenceImplementation()
    {
        std::size_t checked = 0;
        for (const GoldenBlocks &golden : kGoldenBlocks) {
            const auto type = static_cast<WeightType>(golden.type);
            const auto bytes = goldenBytes(golden);
            const auto cols = std::uint32_t(bytes.size() / info(type).blockBytes * info(type).blockElements);
            std::vector<float> out(cols);
            availableKernels()[0]->dequantiseRow(type, bytes.data(), cols, out.data());
            std::uint64_t hash = 0xcbf29ce484222325;
            for (const float value : out)
                hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3;
            QVERIFY2(hash == golden.hash, info(type).name);
            ++checked;
        }
        QCOMPARE(checked, weightTypes().size() - 2); // F32 and F16 need none
    }

    void packingKeepsEveryWeight()
    {
        Random random(7);
        for (const WeightTypeInfo &entry : weightTypes()) {
            const std::uint32_t cols = 256 * 3, rows = 37;
            const auto weights = randomWeights(random, entry.type, rows, cols);
            const Packed packed = pack(entry.type, rows, cols, weights);
            const double bits = std::max(8.0 * entry.blockBytes / entry.blockElements, 4.5); // nothing is packed below 4 bits
            QVERIFY2(double(packed.bytes.size()) < 48 * cols * bits / 8 * 1.07 + 4096, entry.name);
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

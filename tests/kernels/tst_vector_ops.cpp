// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/panel_layout.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <cmath>
#include <cstring>

using namespace kvilt::kernels;
using namespace kvilt::kernels::test;

namespace {

constexpr std::uint32_t kLengths[] = {1, 2, 15, 16, 17, 31, 33, 64, 100, 577};

// Runs `call(table, out)` for every table, checks that memory past n is untouched, that all tables agree bit for
// bit and that the result is near `want`.
template <typename Call>
void checkEverywhere(const std::vector<double> &want, double tolerance, Call call)
{
    std::vector<float> first;
    for (const KernelTable *table : tablesUnderTest()) {
        std::vector<float> out(want.size() + 16, 77.0f);
        call(*table, out.data());
        for (std::size_t i = want.size(); i < out.size(); ++i)
            QCOMPARE(out[i], 77.0f);
        out.resize(want.size());
        QVERIFY2(worstError(out, want) < tolerance, table->name);
        if (first.empty())
            first = out;
        QVERIFY2(sameBits(out, first), table->name);
    }
}

template <typename Function>
std::vector<double> map(const std::vector<float> &x, Function function)
{
    std::vector<double> out;
    for (const float v : x)
        out.push_back(function(double(v)));
    return out;
}

} // namespace

class VectorOpsTest : public QObject {
    Q_OBJECT
private slots:
    void normsActivationsAndSums()
    {
        Random random(10);
        for (const std::uint32_t n : kLengths) {
            const auto x = randomFloats(random, n, 2.0f), y = randomFloats(random, n);
            checkEverywhere(reference::rmsNorm(x, y, 1e-5), 1e-6, [&](const KernelTable &t, float *out) {
                t.rmsNorm(x.data(), y.data(), n, 1e-5f, out);
            });
            std::vector<double> silu, gelu, sum;
            for (std::uint32_t i = 0; i < n; ++i) {
                silu.push_back(reference::silu(x[i]) * y[i]);
                gelu.push_back(reference::gelu(x[i]) * y[i]);
                sum.push_back(double(x[i]) + y[i]);
            }
            checkEverywhere(silu, 1e-6, [&](const KernelTable &t, float *out) { t.siluMul(x.data(), y.data(), n, out); });
            checkEverywhere(gelu, 1e-6, [&](const KernelTable &t, float *out) { t.geluMul(x.data(), y.data(), n, out); });
            checkEverywhere(sum, 1e-6, [&](const KernelTable &t, float *out) { t.add(x.data(), y.data(), n, out); });
        }
    }

    void inPlaceOperations()
    {
        Random random(11);
        for (const std::uint32_t n : kLengths) {
            const auto x = randomFloats(random, n, 20.0f);
            checkEverywhere(map(x, [](double v) { return v * 0.125; }), 1e-7, [&](const KernelTable &t, float *out) {
                std::memcpy(out, x.data(), n * 4);
                t.scale(0.125f, n, out);
            });
        }
    }

    void activationsAtTheEndsOfTheRange()
    {
        const std::vector<float> x{-1e30f, -200, -90, -88, -87, -86.6f, -86.4f, -20, -1e-30f, 0, 1e-30f, 20, 86, 88, 90, 200, 1e30f};
        const std::vector<float> ones(x.size(), 1.0f);
        const auto n = std::uint32_t(x.size());
        checkEverywhere(map(x, reference::silu), 1e-6, [&](const KernelTable &t, float *out) { t.siluMul(x.data(), ones.data(), n, out); });
        const std::vector<float> y(x.begin() + 1, x.end() - 1); // 1e30 cubed overflows a float
        checkEverywhere(map(y, reference::gelu), 1e-6, [&](const KernelTable &t, float *out) { t.geluMul(y.data(), ones.data(), n - 2, out); });
    }

    void argmaxTakesTheFirstOfEquals()
    {
        for (const KernelTable *table : tablesUnderTest()) {
            std::vector<float> x(100, -5.0f);
            QCOMPARE(table->argmax(x.data(), 100), 0u);
            x[99] = 3;
            QCOMPARE(table->argmax(x.data(), 100), 99u);
            x[40] = x[41] = 3;
            x[10] = poison();
            QCOMPARE(table->argmax(x.data(), 100), 40u);
            QCOMPARE(table->argmax(x.data() + 41, 5), 0u);
        }
    }

    void ropeTurnsPairs()
    {
        Random random(12);
        for (const RopeKind kind : {RopeKind::norm, RopeKind::neox})
            for (const std::uint32_t rotated : {2u, 32u, 48u, 64u})
                for (const std::uint32_t position : {0u, 1u, 4095u, 131071u}) {
                    const auto head = randomFloats(random, 64), other = randomFloats(random, 64);
                    RopeSettings settings;
                    settings.rotated = rotated;
                    std::vector<float> row(rotated), both(head);
                    both.insert(both.end(), other.begin(), other.end());
                    ropeRow(settings, position, row.data());
                    auto want = reference::rope(kind, head, rotated, 10000, position);
                    const auto more = reference::rope(kind, other, rotated, 10000, position);
                    want.insert(want.end(), more.begin(), more.end());
                    checkEverywhere(want, 1e-6, [&](const KernelTable &t, float *out) {
                        std::memcpy(out, both.data(), both.size() * 4);
                        t.rope(kind, row.data(), rotated, 2, 64, out);
                    });
                }
    }

    void ropeScalesLinearlyAndByFactors()
    {
        RopeSettings settings;
        settings.rotated = 4;
        settings.freqScale = 0.25;
        std::vector<float> row(4), want(4);
        ropeRow(settings, 8, row.data());
        settings.freqScale = 1;
        ropeRow(settings, 2, want.data());
        QVERIFY(sameBits(row, want));
        const std::vector<float> factors{4, 4};
        settings.freqFactors = factors;
        ropeRow(settings, 8, row.data());
        QVERIFY(sameBits(row, want));
    }

    void rowsAreQuantisedToTheNearest()
    {
        Random random(13);
        const std::uint32_t cols = 96;
        auto x = randomFloats(random, cols);
        std::fill(x.begin() + 32, x.begin() + 64, 0.0f);
        const ActivationLayout layout(cols);
        const AlignedBytes first = prepareRows(*tablesUnderTest()[0], ActivationFormat::int8, x, cols);
        for (const KernelTable *table : tablesUnderTest())
            QVERIFY2(prepareRows(*table, ActivationFormat::int8, x, cols) == first, table->name);
        for (std::uint32_t block = 0; block < 3; ++block) {
            float scale, scaledSum;
            std::memcpy(&scale, first.data() + layout.scales + 4 * block, 4);
            std::memcpy(&scaledSum, first.data() + layout.scaledSums + 4 * block, 4);
            int sum = 0;
            for (std::uint32_t k = 32 * block; k < 32 * block + 32; ++k) {
                const int quant = static_cast<std::int8_t>(first.data()[layout.quants + k]);
                sum += quant;
                QVERIFY(std::fabs(double(scale) * quant - x[k]) <= scale * 0.50001);
            }
            QCOMPARE(scaledSum, scale * float(sum));
        }
    }

    void magnitudesTooSmallForAnInverseBecomeZeros()
    {
        std::vector<float> x(64, 0.0f);
        for (std::uint32_t k = 0; k < 32; k += 3)
            x[k] = k % 2 ? 3e-37f : -1e-40f;
        x[40] = 2e-36f; // of the second block, which is large enough
        const ActivationLayout layout(64);
        for (const KernelTable *table : tablesUnderTest()) {
            const AlignedBytes row = prepareRows(*table, ActivationFormat::int8, x, 64);
            for (std::uint32_t k = 0; k < 64; ++k)
                QCOMPARE(int(static_cast<std::int8_t>(row.data()[layout.quants + k])), k == 40 ? 127 : 0);
        }
    }

    void fusedRowsEqualTheSeparateSteps()
    {
        Random random(14);
        const std::uint32_t cols = 160;
        const auto x = randomFloats(random, cols), y = randomFloats(random, cols);
        for (const KernelTable *table : tablesUnderTest())
            for (const ActivationFormat format : {ActivationFormat::f32, ActivationFormat::int8}) {
                const std::size_t bytes = activationRowBytes(format, cols);
                const auto check = [&](auto separate, auto fused) {
                    std::vector<float> middle(cols);
                    separate(middle.data());
                    AlignedBytes got(bytes), want(bytes);
                    fused(got.data());
                    table->prepareRow(format, middle.data(), cols, want.data());
                    QVERIFY2(got == want, table->name);
                };
                check([&](float *out) { table->rmsNorm(x.data(), y.data(), cols, 1e-6f, out); },
                      [&](std::byte *row) { table->rmsNormPrepare(format, x.data(), y.data(), cols, 1e-6f, row); });
            }
    }

    void notANumberDoesNotDependOnTheInstructionSet()
    {
        std::vector<float> x(32, 1.0f);
        x[3] = poison();
        x[20] = HUGE_VALF;
        const AlignedBytes first = prepareRows(*tablesUnderTest()[0], ActivationFormat::int8, x, 32);
        for (const KernelTable *table : tablesUnderTest()) {
            const AlignedBytes row = prepareRows(*table, ActivationFormat::int8, x, 32);
            QVERIFY2(std::memcmp(row.data(), first.data(), 32) == 0, table->name);
        }
    }
};

KVILT_TEST_CLASS(VectorOpsTest)
#include "tst_vector_ops.moc"

// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/dequantise.h"
#include "tests/kernels/cuda/cuda_kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt::kernels;
using namespace kvilt::kernels::cuda;
using namespace kvilt::kernels::cuda::test;

class DeviceWeightsTest : public QObject {
    Q_OBJECT
private slots:
    void everyWeightSurvivesPacking()
    {
        Random random(1);
        for (const WeightTypeInfo &entry : weightTypes()) {
            if (!weightSupported(entry.type))
                continue;
            for (const std::uint32_t rows : {1u, 16u, 37u}) {
                const std::uint32_t cols = colsFor(entry.type, 288);
                const auto weights = kvilt::kernels::test::randomWeights(random, entry.type, rows, cols);
                const DeviceMatrix packed = packMatrix(entry.type, rows, cols, weights);
                std::vector<float> got(cols), want(cols);
                for (std::uint32_t row = 0; row < rows; ++row) {
                    dequantiseDeviceRow(entry.type, rows, cols, packed.bytes->data(), row, got.data());
                    dequantiseGgufRow(entry.type, weights.data() + row * rowBytes(entry.type, cols), cols, want.data());
                    QVERIFY2(std::memcmp(got.data(), want.data(), cols * 4) == 0, entry.name);
                }
            }
        }
    }

    // Types below four bits are kept as four-bit codes with a scale of every 16 or 32, as on the CPU.
    void packingCostsThreePercentAtMost()
    {
        for (const WeightTypeInfo &entry : weightTypes()) {
            const double weights = 4096.0 * 4096.0;
            const double bits = 8.0 * double(deviceWeightBytes(entry.type, 4096, 4096)) / weights;
            const double gguf = 8.0 * double(rowBytes(entry.type, 4096)) / 4096;
            const double most = entry.type == WeightType::MXFP4 ? 4.5 : gguf < 4 ? 5.2 : gguf * 1.03;
            QVERIFY2(bits >= gguf && bits <= most, qPrintable(QString("%1: %2 bits a weight").arg(entry.name).arg(bits)));
        }
    }

    void runsFollowEachOther()
    {
        for (const WeightTypeInfo &entry : weightTypes()) {
            if (!weightSupported(entry.type))
                continue;
            const std::uint32_t rows = 50, cols = colsFor(entry.type, 96), run = deviceWeightRun(entry.type, cols);
            const std::uint32_t runs = (rows + run - 1) / run;
            QVERIFY(deviceWeightOffset(entry.type, rows, cols, runs) <= deviceWeightBytes(entry.type, rows, cols));
            QCOMPARE(deviceWeightBytes(entry.type, rows, cols) % 256, std::uint64_t(0));
            QCOMPARE(deviceWeightOffset(entry.type, rows, cols, 1) % 16, std::uint64_t(0)); // 16-byte copies
        }
    }
};

KVILT_TEST_CLASS(DeviceWeightsTest)
#include "tst_device_weights.moc"

// SPDX-License-Identifier: Apache-2.0
// Launch rules for real models' shapes on every kind of device: grids, shared memory and scratch within limits, kernels there.
// And the emulator itself: what it must notice.
#include "kernels/cuda/emulator/emulator.h"
#include "tests/kernels/cuda/cuda_kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <algorithm>

using namespace kvilt::kernels;
using namespace kvilt::kernels::cuda;
using namespace kvilt::kernels::cuda::test;

namespace {

// Shared memory that a block may have: Turing, A100, consumer Ampere and Ada, Hopper and Blackwell.
std::vector<DeviceFacts> devices()
{
    std::vector<DeviceFacts> out;
    const std::pair<std::uint32_t, std::uint32_t> kinds[] = {{75, 64}, {80, 163}, {86, 99}, {89, 99}, {90, 227}, {100, 227}, {120, 99}};
    for (const auto &[sm, kilobytes] : kinds)
        for (const bool blas : {false, true})
            out.push_back({sm, 100, kilobytes * 1024, 40u << 20, !blas, blas});
    return out;
}

struct Emitted {
    std::vector<Launch> launches;
    std::uint64_t scratch = 0;
};

std::byte *const kScratch = reinterpret_cast<std::byte *>(std::uintptr_t(1) << 40);

Emitted emitted(const Op &op, const DeviceFacts &device)
{
    return {launchesOf(op, device, kScratch), scratchBytes(op, device)};
}

// Empty, or what is wrong.
QString check(const Emitted &e, const DeviceFacts &device)
{
    const auto names = kernelNames(device);
    for (const Launch &l : e.launches) {
        if (!l.kernel) {
            if (!device.blas || l.gemm.m == 0 || l.gemm.n == 0 || l.gemm.k == 0 || l.gemm.lda % 8 || l.gemm.ldb % 8)
                return "a product for cuBLASLt that it cannot compute";
            continue;
        }
        const QString where = QString("%1 on sm_%2").arg(l.kernel).arg(device.sm);
        if (std::find(names.begin(), names.end(), l.kernel) == names.end())
            return where + " is not announced";
        if (l.sharedBytes > device.sharedPerBlock)
            return where + QString(" wants %1 bytes of shared memory").arg(l.sharedBytes);
        if (l.grid[0] == 0 || l.grid[1] == 0 || l.grid[2] == 0 || l.grid[1] > 65535 || l.grid[2] > 65535)
            return where + QString(" has a grid of %1 x %2 x %3").arg(l.grid[0]).arg(l.grid[1]).arg(l.grid[2]);
    }
    return {};
}

Matrix matrix(WeightType type, std::uint32_t rows, std::uint32_t cols)
{
    return {type, rows, cols, kScratch};
}

} // namespace

class CudaEmitTest : public QObject {
    Q_OBJECT
private slots:
    void everyAnnouncedKernelIsCompiled()
    {
        for (const std::string_view name : kernelNames(hopper()))
            QVERIFY2(emulator::hasKernel(name), std::string(name).c_str());
    }

    void everyTypeOfTheCpuHasAKernel()
    {
        for (const WeightTypeInfo &entry : weightTypes())
            QVERIFY2(weightSupported(entry.type), entry.name);
    }

    void productsOfAnySizeStayWithinLimits()
    {
        for (const DeviceFacts &device : devices())
            for (const WeightTypeInfo &entry : weightTypes())
                for (const std::uint32_t rows : {1u, 8u, 9u, 33u, 512u, 8192u}) {
                    ProjectOp head;
                    head.rows = rows;
                    head.in.x = reinterpret_cast<float *>(kScratch);
                    head.weights = matrix(entry.type, 262144, 5376);
                    head.out = reinterpret_cast<float *>(kScratch);
                    head.ldOut = 262144;
                    GatedOp gated;
                    gated.rows = rows;
                    gated.in.x = reinterpret_cast<float *>(kScratch);
                    gated.gate = gated.up = matrix(entry.type, 28672, 8192);
                    gated.out = {kScratch, Element::f32, 28672};
                    for (const Op &op : {Op(head), Op(gated)})
                        QCOMPARE(check(emitted(op, device), device), QString());
                }
    }

    void attentionOfSupportedShapesStaysWithinLimits()
    {
        int supported = 0;
        for (const DeviceFacts &device : devices())
            for (const KvElement type : {KvElement::f16, KvElement::bf16, KvElement::q8, KvElement::q4, KvElement::fp8})
                for (const std::uint32_t dim : {64u, 96u, 128u, 256u, 512u}) {
                    const KvShape side{type, 8, dim, 16};
                    if (!kvSupported(side, side, device))
                        continue;
                    ++supported;
                    AttentionOp op;
                    op.rows = op.slices = 256;
                    op.longest = 131072;
                    op.tileCount = 100;
                    op.heads = 64;
                    op.kv = {kScratch, kScratch, 1 << 20, side, side, 0};
                    op.queries = op.out = {kScratch, Element::f32, 64 * dim};
                    for (const bool single : {true, false}) {
                        op.singleRows = single;
                        QCOMPARE(check(emitted(op, device), device), QString());
                    }
                }
        QVERIFY(supported > 200);
        QVERIFY(!kvSupported({KvElement::f32, 8, 64, 16}, {KvElement::f32, 8, 64, 16}, hopper()));
        QVERIFY(!kvSupported({KvElement::f16, 8, 40, 16}, {KvElement::f16, 8, 64, 16}, hopper()));
        QVERIFY(kvSupported({KvElement::f16, 8, 128, 16}, {KvElement::f16, 8, 128, 16}, turing()));
    }

    void emptyShapesAndUnknownKernelsAreErrorsOfTheEmulator()
    {
        Launch launch;
        launch.kernel = "no_such_kernel";
        QVERIFY(emulator::run(launch).find("no_such_kernel") != std::string::npos);
        launch.kernel = "gather";
        launch.block = {64, 1, 1};
        QVERIFY(!emulator::run(launch).empty());
    }
};

KVILT_TEST_CLASS(CudaEmitTest)
#include "tst_cuda_emit.moc"

// SPDX-License-Identifier: Apache-2.0
// What sm_90a runs instead of the portable kernels when bits may depend on the path: products and attention by warpgroups, fed by
// the copy engine, thread by thread on the CPU against the double-precision reference; and the emulated instructions themselves.
#include "kernels/cuda/emulator/emulator.h"
#include "kernels/cuda/matmul_shape.h"
#include "kernels/cuda/reference/ops_reference.h"
#include "tests/kernels/cuda/attention_rig.h"
#include "tests/kernels/cuda/cuda_kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <algorithm>

using namespace kvilt::kernels;
using namespace kvilt::kernels::cuda;
using namespace kvilt::kernels::cuda::test;
using kvilt::kernels::test::randomFloats;

namespace {

// One rounding of the input to 8 (bf16) or 11 bits, and, quantised, one of each weight.
double groupTolerance(WeightType type) { return type == WeightType::BF16 ? 1e-5 : 1e-6; }

std::vector<WeightTypeInfo> groupTypes()
{
    std::vector<WeightTypeInfo> types;
    for (const WeightTypeInfo &entry : weightTypes())
        if (groupType(entry.type))
            types.push_back(entry);
    return types;
}

bool launches(const Op &op, const DeviceFacts &device, const std::string &prefix)
{
    const auto all = launchesOf(op, device, nullptr);
    return std::any_of(all.begin(), all.end(), [&](const Launch &l) { return l.kernel && std::string(l.kernel).starts_with(prefix); });
}

} // namespace

class CudaWarpgroupTest : public QObject {
    Q_OBJECT

    static std::vector<float> projected(const DeviceMatrix &w, const std::vector<float> &x, std::uint32_t tokens, bool reference,
                                        std::uint32_t seed = 0)
    {
        DeviceArray<float> in(x), out(std::size_t(tokens) * w.matrix.rows);
        const ProjectOp op = projectOp(w, in, out, tokens);
        if (reference) {
            reference::run(op);
        } else if (const std::string error = emulate(op, hopperFast(), seed); !error.empty()) {
            qWarning("%s", error.c_str());
            return {};
        }
        return out.values();
    }

private slots:
    void theyAreChosenOnSm90WithoutDeterminismOnly()
    {
        Random random(1);
        const DeviceMatrix w = randomMatrix(random, WeightType::Q4_K, 64, 256);
        DeviceArray<float> in(100 * 256), out(100 * 64);
        const ProjectOp op = projectOp(w, in, out, 100), few = projectOp(w, in, out, 64);
        QVERIFY(launches(op, hopperFast(), "matmul_group_Q4_K"));
        QVERIFY(!launches(few, hopperFast(), "matmul_group"));
        QVERIFY(!launches(op, hopper(), "matmul_group"));
        DeviceFacts exact = hopperFast();
        exact.deterministic = true;
        QVERIFY(!launches(op, exact, "matmul_group"));
    }

    void everyTypeEqualsTheReference()
    {
        Random random(2);
        for (const WeightTypeInfo &entry : groupTypes()) {
            const std::uint32_t rows = 283, cols = colsFor(entry.type, 352), tokens = 135; // two blocks each way, odd tails
            const DeviceMatrix w = randomMatrix(random, entry.type, rows, cols);
            const auto x = randomFloats(random, std::size_t(tokens) * cols);
            const double off = nmse(projected(w, x, tokens, false), projected(w, x, tokens, true));
            QVERIFY2(off <= groupTolerance(entry.type), qPrintable(QString("%1: NMSE %2").arg(entry.name).arg(off)));
        }
    }

    void aRowsBitsDependNeitherOnItsNeighboursNorOnTheOrderOfThreads()
    {
        Random random(3);
        for (const WeightType type : {WeightType::Q4_K, WeightType::Q6_K, WeightType::BF16}) {
            const std::uint32_t rows = 70, cols = 512, tokens = 131;
            const DeviceMatrix w = randomMatrix(random, type, rows, cols);
            const auto x = randomFloats(random, std::size_t(tokens) * cols);
            const auto all = projected(w, x, tokens, false, 1);
            const std::vector<float> part(x.begin() + 50 * cols, x.begin() + (50 + 70) * cols);
            const auto got = projected(w, part, 70, false, 2);
            QCOMPARE(got.size(), std::size_t(70) * rows);
            QVERIFY2(std::memcmp(got.data(), all.data() + 50 * rows, got.size() * 4) == 0, info(type).name);
        }
    }

    void largeInputsDoNotOverflowSixteenBits()
    {
        Random random(4);
        const DeviceMatrix w = randomMatrix(random, WeightType::Q8_0, 20, 128);
        const auto x = randomFloats(random, 70 * 128, 1e7f);
        QVERIFY(nmse(projected(w, x, 70, false), projected(w, x, 70, true)) <= 1e-6);
        for (const float v : projected(w, std::vector<float>(70 * 128, 0.0f), 70, false))
            QCOMPARE(v, 0.0f);
    }

    void normsResidualsAndGatesEqualTheReference()
    {
        Random random(5);
        const std::uint32_t cols = 256, hidden = 200, tokens = 70;
        for (const WeightType type : {WeightType::Q5_K, WeightType::F16}) {
            const DeviceMatrix gate = randomMatrix(random, type, hidden, cols), up = randomMatrix(random, type, hidden, cols);
            DeviceArray<float> in(randomFloats(random, tokens * cols, 3.0f)), norm(randomFloats(random, cols));
            const auto before = randomFloats(random, tokens * hidden);
            std::vector<float> outs[2];
            for (const int run : {0, 1}) {
                DeviceArray<float> out(tokens * hidden), sum(before);
                GatedOp op;
                op.rows = tokens;
                op.in = {in.data(), norm.data(), nullptr, nullptr, 1e-6f};
                op.gate = gate.matrix;
                op.up = up.matrix;
                op.out = {out.data(), Element::f32, hidden};
                ProjectOp add;
                add.rows = tokens;
                add.in = op.in;
                add.weights = up.matrix;
                add.add = true;
                add.out = sum.data();
                add.ldOut = hidden;
                for (const Op &o : {Op(op), Op(add)}) {
                    if (run == 0)
                        std::visit([](const auto &exact) { reference::run(exact); }, o);
                    else
                        QCOMPARE(emulate(o, hopperFast()), std::string());
                }
                QVERIFY(run == 0 || launches(op, hopperFast(), "matmul_group"));
                outs[run] = out.values();
                const auto sums = sum.values();
                outs[run].insert(outs[run].end(), sums.begin(), sums.end());
            }
            QVERIFY2(nmse(outs[1], outs[0]) <= 1e-6, info(type).name);
        }
    }

    void attentionEqualsTheReferenceForEachShape()
    {
        const Setup setups[] = {{.keyDim = 64, .valueDim = 64},
                                {.keyDim = 128, .valueDim = 128, .kvHeads = 1, .heads = 4},
                                {.keyDim = 64, .valueDim = 64, .kvHeads = 1, .heads = 1, .blockSize = 128},
                                {.keyDim = 64, .valueDim = 64, .kvHeads = 2, .heads = 4, .blockSize = 512},
                                {.keyDim = 128, .valueDim = 128, .kvHeads = 2, .heads = 2, .blockSize = 32, .window = 50},
                                {.keyDim = 64, .valueDim = 64, .window = 200}};
        for (const Setup &setup : setups)
            for (const std::vector<Piece> &pieces : {std::vector<Piece>{{0, 37}, {130, 3}, {300, 70}}, std::vector<Piece>{{517, 66}}}) {
                Rig rig(setup, pieces);
                DeviceArray<float> out(1);
                QVERIFY(launches(rig.op(out), hopperFast(), "attend_group"));
                const double off = nmse(rig.run(false, hopperFast()), rig.run(true));
                QVERIFY2(off <= kFloatError, qPrintable(QString("dim %1, block %2, window %3: NMSE %4")
                                                            .arg(setup.keyDim)
                                                            .arg(setup.blockSize)
                                                            .arg(setup.window)
                                                            .arg(off)));
            }
    }

    void attentionOfARowDependsOnItsHistoryOnly()
    {
        for (const std::uint32_t window : {0u, 90u}) {
            Rig whole({.window = window}, {{100, 80}});
            const auto all = whole.run(false, hopperFast(), 1);
            for (const Piece &piece : {Piece{150, 30}, Piece{110, 17}}) {
                Rig part = whole.piece(piece, 100);
                const auto got = part.run(false, hopperFast(), piece.rows);
                QCOMPARE(got.size(), piece.rows * whole.outWidth());
                QVERIFY(std::memcmp(got.data(), all.data() + (piece.first - 100) * whole.outWidth(), got.size() * 4) == 0);
            }
        }
    }

    void otherTypesAndShapesKeepThePortableKernels()
    {
        DeviceArray<float> out(1);
        for (const Setup &setup : {Setup{.keys = KvElement::q8, .values = KvElement::q8}, Setup{.keyDim = 96, .valueDim = 96},
                                   Setup{.keys = KvElement::bf16, .values = KvElement::bf16}}) {
            Rig rig(setup, {{0, 10}});
            QVERIFY(launches(rig.op(out), hopperFast(), "attend_tile"));
        }
        Rig single({}, {{10, 1}});
        QVERIFY(launches(single.op(out), hopperFast(), "attend_single"));
    }
};

KVILT_TEST_CLASS(CudaWarpgroupTest)
#include "tst_cuda_warpgroup.moc"

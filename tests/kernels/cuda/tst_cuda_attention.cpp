// SPDX-License-Identifier: Apache-2.0
// Attention kernels and what writes their keys and values, thread by thread on the CPU, against the double-precision reference.
#include "kernels/cuda/emulator/emulator.h"
#include "kernels/cuda/reference/ops_reference.h"
#include "tests/kernels/cuda/attention_rig.h"
#include "tests/kernels/cuda/cuda_kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt::kernels;
using namespace kvilt::kernels::cuda;
using namespace kvilt::kernels::cuda::test;
using kvilt::kernels::test::randomFloats;

namespace {

constexpr KvElement kTypes[] = {KvElement::f16, KvElement::bf16, KvElement::q8, KvElement::q4, KvElement::fp8};

} // namespace

class CudaAttentionTest : public QObject {
    Q_OBJECT
private slots:
    void decodeEqualsTheReferenceForEachTypeOfKeysAndValues()
    {
        for (const KvElement keys : kTypes)
            for (const KvElement values : kTypes) {
                Rig rig({.keys = keys, .values = values}, {{0, 1}, {5, 1}, {127, 1}, {300, 1}});
                const double off = nmse(rig.run(false), rig.run(true));
                QVERIFY2(off <= kFloatError, qPrintable(QString("types %1, %2: NMSE %3").arg(int(keys)).arg(int(values)).arg(off)));
            }
    }

    void prefillEqualsTheReferenceForEachType()
    {
        for (const KvElement type : kTypes) {
            Rig rig({.keys = type, .values = type}, {{0, 37}, {130, 3}, {100, 70}});
            const double off = nmse(rig.run(false), rig.run(true));
            QVERIFY2(off <= kFloatError, qPrintable(QString("type %1: NMSE %2").arg(int(type)).arg(off)));
        }
    }

    void shapesOfHeadsAndBlocksEqualTheReference()
    {
        const Setup setups[] = {{.keyDim = 48, .valueDim = 80, .kvHeads = 1, .heads = 1},
                                {.keyDim = 128, .valueDim = 128, .kvHeads = 1, .heads = 20}, // more heads than a product has rows
                                {.keyDim = 256, .valueDim = 256, .kvHeads = 1, .heads = 4},
                                {.keyDim = 16, .valueDim = 16, .kvHeads = 3, .heads = 3, .blockSize = 128},
                                {.keyDim = 32, .valueDim = 96, .kvHeads = 2, .heads = 4, .blockSize = 512}};
        for (const Setup &setup : setups) {
            for (const std::vector<Piece> &pieces : {std::vector<Piece>{{150, 1}, {3, 1}}, std::vector<Piece>{{0, 21}, {140, 2}}}) {
                Rig rig(setup, pieces);
                const double off = nmse(rig.run(false), rig.run(true));
                QVERIFY2(off <= kFloatError, qPrintable(QString("dim %1, %2 pieces: NMSE %3").arg(setup.keyDim).arg(pieces.size()).arg(off)));
            }
        }
    }

    void windowsNeverReadWhatLiesOutside()
    {
        for (const std::uint32_t window : {1u, 20u, 200u}) {
            for (const std::vector<Piece> &pieces : {std::vector<Piece>{{290, 1}, {10, 1}, {128, 1}}, std::vector<Piece>{{250, 30}, {0, 9}}}) {
                Rig rig({.window = window}, pieces);
                const auto want = rig.run(true);
                const double off = nmse(rig.run(false), want);
                QVERIFY2(off <= kFloatError, qPrintable(QString("window %1: NMSE %2").arg(window).arg(off)));
            }
        }
    }

    // The same row decoded alone, in a prompt's tail, in a long chunk, on a device with less shared memory, in another order.
    void aRowsBitsDependOnItsHistoryOnly()
    {
        for (const KvElement type : {KvElement::f16, KvElement::bf16, KvElement::q8}) {
            for (const std::uint32_t window : {0u, 90u}) {
                Rig whole({.keys = type, .values = type, .window = window}, {{100, 80}});
                const auto all = whole.run(false);
                const std::size_t width = whole.outWidth();
                QCOMPARE(all.size(), 80 * width);
                for (const Piece &piece : {Piece{179, 1}, Piece{150, 1}, Piece{110, 17}, Piece{100, 40}}) {
                    const std::uint32_t skip = piece.first - 100;
                    Rig part = whole.piece(piece, 100);
                    const auto got = part.run(false, piece.rows == 17 ? turing() : hopper(), piece.rows);
                    QCOMPARE(got.size(), piece.rows * width);
                    QVERIFY2(std::memcmp(got.data(), all.data() + skip * width, got.size() * 4) == 0,
                             qPrintable(QString("type %1, window %2, rows %3").arg(int(type)).arg(window).arg(piece.rows)));
                }
            }
        }
    }

    void normedRotatedHeadsAndTheirBlocksEqualTheReference()
    {
        Random random(3);
        for (const KvElement type : kTypes)
            for (const RopeKind rope : {RopeKind::norm, RopeKind::neox}) {
                const std::uint32_t cols = 128, heads = 3, kvHeads = 1, dim = 64, rows = 20;
                Rig rig({.keys = type, .values = type, .kvHeads = kvHeads, .heads = heads}, {{40, rows}});
                const DeviceMatrix q = randomMatrix(random, WeightType::F32, heads * dim, cols);
                const DeviceMatrix k = randomMatrix(random, WeightType::F32, kvHeads * dim, cols);
                const DeviceMatrix v = randomMatrix(random, WeightType::F16, kvHeads * dim, cols);
                DeviceArray<float> x(randomFloats(random, rows * cols)), norm(randomFloats(random, cols));
                DeviceArray<float> headNorm(randomFloats(random, dim)), table(randomFloats(random, 64 * dim));
                std::vector<StepRow> stepRows;
                for (std::uint32_t r = 0; r < rows; ++r)
                    stepRows.push_back({1, 40 + r, 0, 0});
                DeviceArray<StepRow> deviceRows(stepRows);
                DeviceArray<StepSlice> slices(rig.slices);
                DeviceArray<std::uint32_t> tables(rig.tables);
                std::vector<float> outs[2];
                for (const int run : {0, 1}) {
                    const auto memory = copyOf(*rig.pool);
                    AlignedBytes &pool = *memory;
                    DeviceArray<float> queries(rows * heads * dim);
                    QkvOp op;
                    op.step = {deviceRows.data(), slices.data(), tables.data(), nullptr};
                    op.rows = rows;
                    op.slices = 1;
                    op.in = {x.data(), norm.data(), nullptr, nullptr, 1e-5f};
                    op.query = q.matrix;
                    op.key = k.matrix;
                    op.value = v.matrix;
                    op.queryNorm = op.keyNorm = headNorm.data();
                    op.rope = {table.data(), dim - 16, rope};
                    op.heads = heads;
                    op.kv = {pool.data(), pool.data() + kvSideBytes(rig.k), rig.stride, rig.k, rig.v, 0};
                    op.queries = {queries.data(), Element::f32, heads * dim};
                    if (run == 0)
                        reference::run(op);
                    else
                        QCOMPARE(emulate(op, hopper()), std::string());
                    outs[run] = queries.values();
                    std::vector<float> row(dim);
                    for (std::uint32_t r = 0; r < rows; ++r)
                        for (const auto &[shape, offset] : {std::pair(rig.k, std::size_t(0)), std::pair(rig.v, kvSideBytes(rig.k))}) {
                            const std::uint32_t position = 40 + r, block = rig.tables[position / 16];
                            reference::readKvRow(shape, pool.data() + block * rig.stride + offset, 0, position % 16, row.data());
                            outs[run].insert(outs[run].end(), row.begin(), row.end());
                        }
                }
                const double off = nmse(outs[1], outs[0]);
                const bool coarse = type == KvElement::q4 || type == KvElement::fp8 || type == KvElement::q8;
                QVERIFY2(off <= (coarse ? 1e-3 : 1e-5), qPrintable(QString("type %1: NMSE %2").arg(int(type)).arg(off)));
            }
    }

    void blocksConvertToStoredFormAndBackBitForBit()
    {
        for (const KvElement type : {KvElement::f16, KvElement::bf16, KvElement::q8, KvElement::q4, KvElement::fp8, KvElement::f32}) {
            const KvShape k{type, 3, 64, 32}, v{type == KvElement::q8 ? KvElement::q4 : type, 3, 96, 32};
            const std::uint64_t layer = (kvSideBytes(k) + kvSideBytes(v) + 255) / 256 * 256, stride = 2 * layer;
            const std::uint64_t stored = 2 * (kvSideBytes(k) + kvSideBytes(v));
            AlignedBytes pool(5 * stride + 256), back(5 * stride + 256);
            Random random(9);
            for (std::size_t i = 0; i < pool.size(); ++i)
                pool.data()[i] = std::byte(random() & 255);
            std::memcpy(back.data(), pool.data(), pool.size());
            DeviceArray<std::uint32_t> blocks(std::vector<std::uint32_t>{4, 1});
            AlignedBytes outs[2] = {AlignedBytes(2 * stored), AlignedBytes(2 * stored)};
            KvConvertOp op;
            op.firstLayer = {pool.data(), pool.data() + kvSideBytes(k), stride, k, v, 0};
            op.layerStride = layer;
            op.layers = 2;
            op.blocks = blocks.data();
            op.count = 2;
            op.storedStride = stored;
            op.toStored = true;
            op.stored = outs[0].data();
            reference::run(op);
            op.stored = outs[1].data();
            QCOMPARE(emulate(op, hopper()), std::string());
            QVERIFY2(outs[0] == outs[1], qPrintable(QString("type %1").arg(int(type))));
            for (const std::uint32_t block : {1u, 4u})
                std::memset(pool.data() + block * stride, 0, stride);
            op.toStored = false;
            QCOMPARE(emulate(op, hopper()), std::string());
            for (const std::uint32_t block : {1u, 4u})
                for (const std::uint64_t at : {std::uint64_t(0), layer})
                    QVERIFY(std::memcmp(pool.data() + block * stride + at, back.data() + block * stride + at, kvSideBytes(k) + kvSideBytes(v)) == 0);
        }
    }
};

KVILT_TEST_CLASS(CudaAttentionTest)
#include "tst_cuda_attention.moc"

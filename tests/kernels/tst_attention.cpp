// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/half.h"
#include "kernels/layout/kv_tile.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

using namespace kvilt::kernels;
using namespace kvilt::kernels::test;

namespace {

struct Case {
    KvElement keyType = KvElement::f16, valueType = KvElement::f16;
    std::uint32_t heads = 2, queryHeads = 6, keyDim = 64, valueDim = 64;
    std::uint32_t blockSize = 16;
    std::uint32_t context = 100;  // positions with K and V
    std::uint32_t window = 0;
};

// K, V and queries of one sequence, and its paged memory in a shuffled order.
class Sequence {
public:
    Sequence(const Case &c, unsigned seed, const KernelTable &writer) : m_case(c)
    {
        Random random(seed);
        m_keys = randomFloats(random, std::size_t(c.context) * c.heads * c.keyDim);
        m_values = randomFloats(random, std::size_t(c.context) * c.heads * c.valueDim);
        m_queries = randomFloats(random, std::size_t(c.context) * c.queryHeads * c.keyDim, 2.0f);
        const std::uint32_t blocks = (c.context + c.blockSize - 1) / c.blockSize;
        std::vector<std::uint32_t> order(blocks);
        std::iota(order.begin(), order.end(), 0u);
        std::shuffle(order.begin(), order.end(), random);
        m_keyBytes = kvSideBytes(keyShape());
        const std::size_t blockBytes = m_keyBytes + kvSideBytes(valueShape());
        m_memory.emplace_back(blockBytes * blocks); // 0xff: NaN wherever nothing is written
        for (std::uint32_t b = 0; b < blocks; ++b)
            m_table.push_back(m_memory[0].data() + order[b] * blockBytes);
        for (std::uint32_t p = 0; p < c.context; ++p) {
            std::byte *block = const_cast<std::byte *>(m_table[p / c.blockSize]);
            writer.writeKeys(keyShape(), m_keys.data() + std::size_t(p) * c.heads * c.keyDim, p % c.blockSize, block);
            writer.writeValues(valueShape(), m_values.data() + std::size_t(p) * c.heads * c.valueDim, p % c.blockSize,
                               block + m_keyBytes);
        }
    }

    KvShape keyShape() const { return {m_case.keyType, m_case.heads, m_case.keyDim, m_case.blockSize}; }
    KvShape valueShape() const { return {m_case.valueType, m_case.heads, m_case.valueDim, m_case.blockSize}; }
    const AlignedBytes &memory() const { return m_memory[0]; }

    AttentionArgs args(std::uint32_t first, std::uint32_t tokens, std::vector<float> &out) const
    {
        AttentionArgs args;
        args.kv = {m_table.data(), 0, m_keyBytes, keyShape(), valueShape()};
        args.ldQueries = std::size_t(m_case.queryHeads) * m_case.keyDim;
        args.queries = m_queries.data() + first * args.ldQueries;
        args.ldOut = std::size_t(m_case.queryHeads) * m_case.valueDim;
        out.assign(args.ldOut * tokens, poison());
        args.out = out.data();
        args.queryHeads = m_case.queryHeads;
        args.firstPosition = first;
        args.tokens = tokens;
        args.window = m_case.window;
        args.scale = 1 / std::sqrt(float(m_case.keyDim));
        return args;
    }

    // Attention of positions [first, first + tokens), cut into about `wanted` units.
    std::vector<float> run(const KernelTable &table, std::uint32_t first, std::uint32_t tokens, std::uint32_t wanted = 1) const
    {
        std::vector<float> out;
        const AttentionArgs call = args(first, tokens, out);
        const AttentionCut cut = cutAttention(call, wanted);
        std::vector<float> partials(attentionPartialFloats(call, cut), poison());
        AlignedBytes scratch(attentionScratchBytes(m_case.queryHeads, keyShape(), valueShape()));
        for (std::uint32_t unit = cut.units; unit-- > 0;) // any order will do
            table.attentionUnit(call, cut, unit, partials.data(), scratch.data());
        for (std::uint32_t tile = 0; tile < m_case.heads * cut.tiles; ++tile)
            table.mergeAttention(call, cut, tile, partials.data());
        return out;
    }

    // In double, from K and V as they are stored.
    std::vector<double> expected(std::uint32_t first, std::uint32_t tokens) const
    {
        std::vector<std::vector<std::vector<double>>> keys, values; // by KV head
        for (std::uint32_t head = 0; head < m_case.heads; ++head) {
            keys.push_back(stored(true, head));
            values.push_back(stored(false, head));
        }
        std::vector<double> out;
        for (std::uint32_t p = first; p < first + tokens; ++p)
            for (std::uint32_t h = 0; h < m_case.queryHeads; ++h) {
                const std::uint32_t kvHead = h / (m_case.queryHeads / m_case.heads);
                const float *query = m_queries.data() + (std::size_t(p) * m_case.queryHeads + h) * m_case.keyDim;
                const std::size_t begin = m_case.window && p + 1 > m_case.window ? p + 1 - m_case.window : 0;
                const auto row = reference::attention({query, query + m_case.keyDim}, keys[kvHead], values[kvHead], begin,
                                                      p + 1, 1 / std::sqrt(double(m_case.keyDim)));
                out.insert(out.end(), row.begin(), row.end());
            }
        return out;
    }

    static std::vector<double> floats(const KvShape &shape, const std::byte *row);

private:
    // [position][dim] of one head, read back from the canonical form and turned back.
    std::vector<std::vector<double>> stored(bool keys, std::uint32_t head) const
    {
        const KvShape shape = keys ? keyShape() : valueShape();
        const std::size_t row = kvRowBytes(shape.type, shape.dim);
        std::vector<std::byte> canonical(kvSideBytes(shape));
        std::vector<std::vector<double>> result;
        for (std::uint32_t p = 0; p < m_case.context; ++p) {
            if (p % shape.blockSize == 0) {
                const std::byte *side = m_table[p / shape.blockSize] + (keys ? 0 : m_keyBytes);
                (keys ? keysToCanonical : valuesToCanonical)(shape, side, shape.blockSize, canonical.data());
            }
            auto values = floats(shape, canonical.data() + (std::size_t(p % shape.blockSize) * shape.heads + head) * row);
            result.push_back(kvQuantised(shape.type) ? reference::rotated(values) : values);
        }
        return result;
    }

    static double fp8(std::byte byte)
    {
        const int bits = std::to_integer<int>(byte), exponent = bits / 8 % 16;
        const double magnitude = exponent == 0 ? bits % 8 / 512.0 : std::ldexp(1 + bits % 8 / 8.0, exponent - 7);
        return bits < 128 ? magnitude : -magnitude;
    }

    Case m_case;
    std::vector<float> m_keys, m_values, m_queries;
    std::vector<AlignedBytes> m_memory;
    std::vector<const std::byte *> m_table;
    std::size_t m_keyBytes = 0;
};

std::vector<double> Sequence::floats(const KvShape &shape, const std::byte *row)
{
    std::vector<double> values;
    for (std::uint32_t d = 0; d < shape.dim; ++d) {
        std::uint16_t half;
        float single;
        switch (shape.type) {
        case KvElement::f32: std::memcpy(&single, row + 4 * d, 4); values.push_back(single); break;
        case KvElement::f16: values.push_back(reference::half(row + 2 * d)); break;
        case KvElement::bf16: std::memcpy(&half, row + 2 * d, 2); values.push_back(bf16ToF32(half)); break;
        case KvElement::fp8: values.push_back(fp8(row[d])); break;
        case KvElement::q4: {
            const auto byte = std::to_integer<int>(row[d / 32 * 18 + 2 + d % 16]);
            values.push_back(reference::half(row + d / 32 * 18) * ((d % 32 < 16 ? byte % 16 : byte / 16) - 8));
            break;
        }
        default:
            values.push_back(reference::half(row + d / 32 * 34) * static_cast<std::int8_t>(row[d / 32 * 34 + 2 + d % 32]));
        }
    }
    return values;
}

const std::vector<Case> kCases{
    {},
    {.keyType = KvElement::f32, .valueType = KvElement::f32, .heads = 1, .queryHeads = 1, .keyDim = 16, .valueDim = 48},
    {.keyType = KvElement::bf16, .valueType = KvElement::f16, .heads = 3, .queryHeads = 9, .blockSize = 64, .context = 77},
    {.keyType = KvElement::q8, .valueType = KvElement::q8, .context = 130},
    {.keyType = KvElement::f16, .valueType = KvElement::q8, .heads = 1, .queryHeads = 4, .keyDim = 256, .valueDim = 256, .context = 40},
    {.keyType = KvElement::q8, .valueType = KvElement::bf16, .queryHeads = 2, .keyDim = 96, .valueDim = 80, .blockSize = 32},
    {.context = 1100},
    {.keyType = KvElement::q8, .valueType = KvElement::q8, .heads = 1, .queryHeads = 4, .context = 1100, .window = 600},
    {.heads = 1, .queryHeads = 2, .blockSize = 512, .context = 1030, .window = 33},
    {.heads = 2, .queryHeads = 8, .context = 300}, // four rows a KV head and token
    {.keyType = KvElement::f32, .valueType = KvElement::bf16, .heads = 1, .queryHeads = 4, .valueDim = 48, .context = 150, .window = 70},
    {.keyType = KvElement::q4, .valueType = KvElement::q4, .context = 90},
    {.keyType = KvElement::q8, .valueType = KvElement::q4, .heads = 1, .queryHeads = 4, .keyDim = 96, .valueDim = 96, .context = 600},
    {.keyType = KvElement::fp8, .valueType = KvElement::fp8, .queryHeads = 4, .context = 90},
    {.heads = 1, .queryHeads = 60, .keyDim = 32, .valueDim = 32, .context = 70},
};

const char *nameOf(KvElement type)
{
    constexpr const char *kNames[] = {"f32", "f16", "bf16", "q8", "q4", "fp8"};
    return kNames[int(type)];
}

QString describe(const Case &c, const KernelTable &table)
{
    return QString("k %1 v %2 context %3 block %4 on %5").arg(nameOf(c.keyType)).arg(nameOf(c.valueType)).arg(c.context)
        .arg(c.blockSize).arg(table.name);
}

} // namespace

class AttentionTest : public QObject {
    Q_OBJECT
private slots:
    void equalsTheDoubleSoftmaxAndEveryInstructionSetAgrees()
    {
        for (const Case &c : kCases) {
            const std::uint32_t tokens = std::min(c.context, 70u), first = c.context - tokens;
            std::vector<float> scalar;
            for (const KernelTable *table : tablesUnderTest()) {
                const Sequence sequence(c, 21, *table);
                const auto out = sequence.run(*table, first, tokens);
                // q8 keys also quantise the query
                const double tolerance = c.keyType == KvElement::q8 || c.keyType == KvElement::q4 ? 3e-2 : 3e-6;
                const double error = worstError(out, sequence.expected(first, tokens));
                QVERIFY2(error < tolerance, qPrintable(describe(c, *table) + QString(": %1").arg(error)));
                if (scalar.empty())
                    scalar = out;
                QVERIFY2(sameBits(out, scalar), qPrintable(describe(c, *table)));
            }
        }
    }

    void writtenRowsHaveTheSameBytesEverywhere()
    {
        for (const Case &c : kCases) {
            const Sequence first(c, 22, *tablesUnderTest()[0]);
            for (const KernelTable *table : tablesUnderTest())
                QVERIFY2(Sequence(c, 22, *table).memory() == first.memory(), qPrintable(describe(c, *table)));
        }
    }

    void chunksAndUnitsDoNotChangeABit()
    {
        for (const Case &c : kCases)
            for (const KernelTable *table : tablesUnderTest()) {
                if (c.context > 200 && table == tablesUnderTest()[0])
                    continue; // the scalar table is slow, and equal to the others by the test above
                const Sequence sequence(c, 23, *table);
                const std::uint32_t tokens = std::min(c.context, 70u), first = c.context - tokens;
                const auto whole = sequence.run(*table, first, tokens);
                QVERIFY(sameBits(sequence.run(*table, first, tokens, 1000), whole));
                for (const std::uint32_t chunk : {1u, 7u, 64u}) {
                    std::vector<float> joined;
                    for (std::uint32_t at = 0; at < tokens; at += chunk) {
                        const auto part = sequence.run(*table, first + at, std::min(chunk, tokens - at), chunk == 7 ? 100 : 1);
                        joined.insert(joined.end(), part.begin(), part.end());
                    }
                    QVERIFY2(sameBits(joined, whole), qPrintable(describe(c, *table) + QString(" chunk %1").arg(chunk)));
                }
            }
    }

    void blockSizeAndOrderOfPagesDoNotChangeABit()
    {
        const KernelTable &table = *tablesUnderTest().back();
        for (const KvElement type : {KvElement::f32, KvElement::f16, KvElement::bf16, KvElement::q8, KvElement::q4, KvElement::fp8}) {
            std::vector<float> first;
            for (const std::uint32_t blockSize : {16u, 32u, 48u, 512u}) {
                const Case c{.keyType = type, .valueType = type, .blockSize = blockSize, .context = 700};
                const Sequence sequence(c, 24, table); // K, V and queries do not depend on the block size
                const auto out = sequence.run(table, 640, 60);
                if (first.empty())
                    first = out;
                QVERIFY(sameBits(out, first));
            }
        }
    }

    void quantisedRowsAreNearTheirFloats()
    {
        Random random(26);
        const auto row = randomFloats(random, 64);
        struct Bound {
            KvElement type;
            double share; // of the largest of 32 (fp8: of each)
        };
        for (const Bound bound : {Bound{KvElement::q8, 0.5 / 127 + 5e-4}, Bound{KvElement::q4, 0.125 + 1e-3}, Bound{KvElement::fp8, 0.0625}}) {
            const KvShape shape{bound.type, 1, 64, 16};
            for (const bool keys : {true, false}) {
                AlignedBytes side(kvSideBytes(shape)), canonical(kvSideBytes(shape));
                const KernelTable &table = *tablesUnderTest().back();
                (keys ? table.writeKeys : table.writeValues)(shape, row.data(), 5, side.data());
                (keys ? keysToCanonical : valuesToCanonical)(shape, side.data(), 16, canonical.data());
                const auto back = Sequence::floats(shape, canonical.data() + 5 * kvRowBytes(bound.type, 64));
                std::vector<double> want(row.begin(), row.end());
                if (kvQuantised(bound.type))
                    want = reference::rotated(want);
                for (std::uint32_t d = 0; d < 64; ++d) {
                    const double *group = want.data() + d / 32 * 32;
                    const double most = std::abs(*std::max_element(group, group + 32, [](double a, double b) { return std::abs(a) < std::abs(b); }));
                    const double scale = bound.type == KvElement::fp8 ? std::abs(want[d]) + 0.01 : most;
                    QVERIFY2(std::fabs(back[d] - want[d]) <= bound.share * scale, nameOf(bound.type));
                }
            }
        }
    }

    void canonicalFormIsAPermutation()
    {
        for (const KvElement type : {KvElement::f32, KvElement::f16, KvElement::bf16, KvElement::q8, KvElement::q4, KvElement::fp8}) {
            const KvShape shape{type, 3, 64, 48};
            QVERIFY(kvShapeSupported(shape));
            const std::size_t bytes = kvSideBytes(shape);
            Random random(25);
            AlignedBytes native(bytes), canonical(bytes), back(bytes);
            for (std::size_t i = 0; i < bytes; ++i)
                native.data()[i] = std::byte(random() & 255);
            const auto roundTrip = [&](auto toCanonical, auto fromCanonical) {
                toCanonical(shape, native.data(), 48, canonical.data());
                fromCanonical(shape, canonical.data(), 48, back.data());
                QVERIFY(back == native);
                AlignedBytes part(bytes); // the first tokens only: same bytes, the others stay
                toCanonical(shape, native.data(), 19, part.data());
                QVERIFY(std::memcmp(part.data(), canonical.data(), bytes / 48 * 19) == 0);
                std::memcpy(back.data(), native.data(), bytes);
                fromCanonical(shape, canonical.data(), 19, back.data());
                QVERIFY(back == native);
            };
            roundTrip(keysToCanonical, keysFromCanonical);
            roundTrip(valuesToCanonical, valuesFromCanonical);
        }
        QVERIFY(!kvShapeSupported({KvElement::q8, 1, 48, 16}));
        QVERIFY(!kvShapeSupported({KvElement::f16, 1, 64, 24}));
        QVERIFY(!kvShapeSupported({KvElement::f16, 1, 20, 16}));
    }
};

KVILT_TEST_CLASS(AttentionTest)
#include "tst_attention.moc"

// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/reference/kv_reference.h"
#include "kernels/cuda/reference/ops_reference.h"
#include "kernels/cuda/reference/rows.h"

#include <cmath>
#include <vector>

namespace kvilt::kernels::cuda::reference {
namespace {

// The keys and values that one row of one slice sees, for one KV head.
struct Visible {
    std::uint32_t begin = 0;
    std::uint32_t end = 0; // positions
    std::vector<float> keys, values;
};

Visible visible(const AttentionOp &op, const StepSlice &slice, std::uint32_t position, std::uint32_t kvHead)
{
    const KvView &kv = op.kv;
    Visible out;
    out.end = position + 1;
    out.begin = op.window != 0 && out.end > op.window ? out.end - op.window : 0;
    out.keys.resize(std::size_t(out.end - out.begin) * kv.keyShape.dim);
    out.values.resize(std::size_t(out.end - out.begin) * kv.valueShape.dim);
    const std::uint32_t *table = op.step.tables + slice.table[kv.group];
    for (std::uint32_t p = out.begin; p < out.end; ++p) {
        const std::uint64_t block = std::uint64_t(table[p / kv.keyShape.blockSize]) * kv.blockStride;
        const std::uint32_t token = p % kv.keyShape.blockSize;
        const std::size_t i = p - out.begin;
        readKvRow(kv.keyShape, kv.keys + block, kvHead, token, out.keys.data() + i * kv.keyShape.dim);
        readKvRow(kv.valueShape, kv.values + block, kvHead, token, out.values.data() + i * kv.valueShape.dim);
    }
    return out;
}

void attendHead(const AttentionOp &op, const Visible &seen, std::uint32_t row, std::uint32_t head)
{
    const std::uint32_t keyDim = op.kv.keyShape.dim, valueDim = op.kv.valueShape.dim;
    const std::uint32_t count = seen.end - seen.begin;
    std::vector<double> scores(count), sum(valueDim, 0.0);
    double most = -INFINITY, total = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        double dot = 0;
        for (std::uint32_t d = 0; d < keyDim; ++d)
            dot += double(get(op.queries, row, head * keyDim + d)) * seen.keys[std::size_t(i) * keyDim + d];
        scores[i] = dot * op.scale;
        most = std::max(most, scores[i]);
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        const double weight = std::exp(scores[i] - most);
        total += weight;
        for (std::uint32_t d = 0; d < valueDim; ++d)
            sum[d] += weight * seen.values[std::size_t(i) * valueDim + d];
    }
    for (std::uint32_t d = 0; d < valueDim; ++d)
        put(op.out, row, head * valueDim + d, static_cast<float>(sum[d] / total));
}

} // namespace

void attend(const AttentionOp &op)
{
    const std::uint32_t perKv = op.heads / op.kv.keyShape.heads;
    for (std::uint32_t s = 0; s < op.slices; ++s) {
        const StepSlice &slice = op.step.slices[s];
        for (std::uint32_t i = 0; i < slice.rows; ++i)
            for (std::uint32_t kvHead = 0; kvHead < op.kv.keyShape.heads; ++kvHead) {
                const Visible seen = visible(op, slice, slice.firstPosition + i, kvHead);
                for (std::uint32_t h = 0; h < perKv; ++h)
                    attendHead(op, seen, slice.firstRow + i, kvHead * perKv + h);
            }
    }
}

} // namespace kvilt::kernels::cuda::reference

// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/reference/ops_reference.h"

#include "kernels/cuda/api/device_weights.h"
#include "kernels/cuda/reference/kv_reference.h"
#include "kernels/cuda/reference/rows.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace kvilt::kernels::cuda::reference {
namespace {

void rmsNorm(const float *x, const float *weight, std::uint32_t n, float epsilon, float *out)
{
    double sum = 0;
    for (std::uint32_t i = 0; i < n; ++i)
        sum += double(x[i]) * x[i];
    const double factor = 1 / std::sqrt(sum / n + epsilon);
    for (std::uint32_t i = 0; i < n; ++i)
        out[i] = static_cast<float>(x[i] * factor * weight[i]);
}

// Rows of a product's input as floats, [rows][cols]; does what NormedInput says, the write back into x included.
std::vector<float> inputRows(const NormedInput &in, std::uint32_t rows, std::uint32_t cols)
{
    std::vector<float> out(std::size_t(rows) * cols);
    std::vector<float> added(cols);
    for (std::uint32_t r = 0; r < rows; ++r) {
        float *x = in.x + std::size_t(r) * cols;
        if (in.delta) {
            rmsNorm(in.delta + std::size_t(r) * cols, in.deltaNorm, cols, in.epsilon, added.data());
            for (std::uint32_t i = 0; i < cols; ++i)
                x[i] += added[i];
        }
        float *to = out.data() + std::size_t(r) * cols;
        if (in.norm)
            rmsNorm(x, in.norm, cols, in.epsilon, to);
        else
            std::memcpy(to, x, cols * sizeof(float));
    }
    return out;
}

// out[r * ld + i] = x[r] . weight row i
void product(const Matrix &w, const std::vector<float> &x, std::uint32_t rows, float *out, std::size_t ld, bool add)
{
    std::vector<float> weights(w.cols);
    for (std::uint32_t i = 0; i < w.rows; ++i) {
        dequantiseDeviceRow(w.type, w.rows, w.cols, w.data, i, weights.data());
        for (std::uint32_t r = 0; r < rows; ++r) {
            double sum = 0;
            for (std::uint32_t k = 0; k < w.cols; ++k)
                sum += double(weights[k]) * x[std::size_t(r) * w.cols + k];
            float &to = out[r * ld + i];
            to = static_cast<float>(add ? to + sum : sum);
        }
    }
}

void embed(const EmbedOp &op)
{
    const Matrix &w = op.embedding;
    for (std::uint32_t r = 0; r < op.rows; ++r) {
        const std::int32_t given = op.step.rows[r].token;
        const auto token = static_cast<std::uint32_t>(given >= 0 ? given : op.step.sampled[-1 - given]);
        float *to = op.hidden + std::size_t(r) * w.cols;
        dequantiseDeviceRow(w.type, w.rows, w.cols, w.data, token, to);
        for (std::uint32_t i = 0; op.scale != 1 && i < w.cols; ++i)
            to[i] *= op.scale;
    }
}

// Norms (where the model does) and turns heads in place.
void rotateHeads(const RopeView &rope, const float *norm, float epsilon, std::uint32_t position, std::uint32_t heads,
                 std::uint32_t dim, float *x)
{
    const std::uint32_t half = rope.rotated / 2;
    const float *cosSin = rope.rows + std::size_t(position) * rope.rotated;
    for (std::uint32_t h = 0; h < heads; ++h, x += dim) {
        if (norm)
            rmsNorm(x, norm, dim, epsilon, x);
        for (std::uint32_t i = 0; i < half; ++i) {
            float &a = rope.kind == RopeKind::norm ? x[2 * i] : x[i];
            float &b = rope.kind == RopeKind::norm ? x[2 * i + 1] : x[half + i];
            const double c = cosSin[i], s = cosSin[half + i];
            const double turned = a * c - b * s;
            b = static_cast<float>(a * s + b * c);
            a = static_cast<float>(turned);
        }
    }
}

void storeKeyValues(const QkvOp &op, const std::vector<float> &x)
{
    const KvShape &k = op.kv.keyShape, &v = op.kv.valueShape;
    const std::size_t keyWidth = std::size_t(k.heads) * k.dim, valueWidth = std::size_t(v.heads) * v.dim;
    std::vector<float> keys(op.rows * keyWidth), values(op.rows * valueWidth);
    product(op.key, x, op.rows, keys.data(), keyWidth, false);
    product(op.value, x, op.rows, values.data(), valueWidth, false);
    for (std::uint32_t r = 0; r < op.rows; ++r) {
        const StepRow &row = op.step.rows[r];
        rotateHeads(op.rope, op.keyNorm, op.in.epsilon, row.position, k.heads, k.dim, keys.data() + r * keyWidth);
        const std::uint32_t *table = op.step.tables + op.step.slices[row.slice].table[op.kv.group];
        const std::uint64_t block = std::uint64_t(table[row.position / k.blockSize]) * op.kv.blockStride;
        writeKvRow(k, keys.data() + r * keyWidth, row.position % k.blockSize, op.kv.keys + block);
        writeKvRow(v, values.data() + r * valueWidth, row.position % k.blockSize, op.kv.values + block);
    }
}

void queryKeyValue(const QkvOp &op)
{
    const std::uint32_t width = op.query.data ? op.query.cols : op.key.cols;
    const std::vector<float> x = inputRows(op.in, op.rows, width);
    if (op.key.data)
        storeKeyValues(op, x);
    if (!op.query.data)
        return;
    std::vector<float> queries(std::size_t(op.rows) * op.query.rows);
    product(op.query, x, op.rows, queries.data(), op.query.rows, false);
    for (std::uint32_t r = 0; r < op.rows; ++r) {
        const std::uint32_t position = op.step.rows[op.rowIndex ? op.rowIndex[r] : r].position;
        float *row = queries.data() + std::size_t(r) * op.query.rows;
        rotateHeads(op.rope, op.queryNorm, op.in.epsilon, position, op.heads, op.query.rows / op.heads, row);
        for (std::uint32_t i = 0; i < op.query.rows; ++i)
            put(op.queries, r, i, row[i]);
    }
}

void project(const ProjectOp &op)
{
    std::vector<float> x;
    if (op.x.data) {
        for (std::uint32_t r = 0; r < op.rows; ++r)
            for (std::uint32_t k = 0; k < op.weights.cols; ++k)
                x.push_back(get(op.x, r, k));
    } else {
        x = inputRows(op.in, op.rows, op.weights.cols);
    }
    product(op.weights, x, op.rows, op.out, op.ldOut, op.add);
}

double activated(Gate gate, double x)
{
    if (gate == Gate::silu)
        return x / (1 + std::exp(-x));
    return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

void gated(const GatedOp &op)
{
    const std::vector<float> x = inputRows(op.in, op.rows, op.gate.cols);
    std::vector<float> gate(std::size_t(op.rows) * op.gate.rows), up(gate.size());
    product(op.gate, x, op.rows, gate.data(), op.gate.rows, false);
    product(op.up, x, op.rows, up.data(), op.gate.rows, false);
    for (std::uint32_t r = 0; r < op.rows; ++r)
        for (std::uint32_t i = 0; i < op.gate.rows; ++i) {
            const std::size_t at = std::size_t(r) * op.gate.rows + i;
            put(op.out, r, i, static_cast<float>(activated(op.activation, gate[at]) * up[at]));
        }
}

void gather(const GatherOp &op)
{
    for (std::uint32_t r = 0; r < op.rows; ++r)
        std::memcpy(op.to + std::size_t(r) * op.cols, op.from + std::size_t(op.rowIndex[r]) * op.cols, op.cols * sizeof(float));
}

struct Runner {
    void operator()(const EmbedOp &op) const { embed(op); }
    void operator()(const QkvOp &op) const { queryKeyValue(op); }
    void operator()(const AttentionOp &op) const { attend(op); }
    void operator()(const ProjectOp &op) const { project(op); }
    void operator()(const GatedOp &op) const { gated(op); }
    void operator()(const GatherOp &op) const { gather(op); }
    void operator()(const SampleOp &op) const { sample(op); }
    void operator()(const KvConvertOp &op) const { convert(op); }
};

} // namespace

void run(const Op &op)
{
    std::visit(Runner{}, op);
}

} // namespace kvilt::kernels::cuda::reference

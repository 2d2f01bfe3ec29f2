// SPDX-License-Identifier: Apache-2.0
// Launches of a layer's attention: products, norm and rotation of heads, keys and values to their blocks; then attention.
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/emit_impl.h"

#include <bit>
#include <cstddef>

namespace kvilt::kernels::cuda::detail {
namespace {

constexpr float kLog2E = 1.44269504f;

bool isBf16(KvElement type) { return type == KvElement::bf16; }

// Kernel names by type of keys and of values.
constexpr const char *kSingle[2][2] = {{"attend_single_f16_f16", "attend_single_f16_bf16"},
                                       {"attend_single_bf16_f16", "attend_single_bf16_bf16"}};
constexpr const char *kTile[2][2] = {{"attend_tile_f16_f16", "attend_tile_f16_bf16"}, {"attend_tile_bf16_f16", "attend_tile_bf16_bf16"}};

std::uint32_t sharedFor(const KvShape &k, const KvShape &v, std::uint32_t rows, bool single)
{
    return attentionShared(k.dim, v.dim, isBf16(k.type), isBf16(v.type), rows, single).total;
}

// Warps of a prefill block: as many as shared memory holds, 4, 2 or 1; 0: not even one.
std::uint32_t tileWarps(const KvShape &k, const KvShape &v, const DeviceFacts &device)
{
    for (const std::uint32_t warps : {4u, 2u, 1u})
        if (sharedFor(k, v, 16 * warps, false) <= device.sharedPerBlock)
            return warps;
    return 0;
}

std::uint32_t blockShift(const KvShape &shape)
{
    return static_cast<std::uint32_t>(std::countr_zero(shape.blockSize));
}

// f16 heads of 64 or 128 dims; the copy engine's addresses are multiples of 16.
bool usesGroups(const AttentionOp &op, const DeviceFacts &device)
{
    const KvShape &k = op.kv.keyShape, &v = op.kv.valueShape;
    const auto aligned = [](const std::byte *p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
    return device.warpgroups && !device.deterministic && k.type == KvElement::f16 && v.type == KvElement::f16 && k.dim == v.dim &&
           (k.dim == 64 || k.dim == 128) && aligned(op.kv.keys) && aligned(op.kv.values);
}

void emitGroups(Emitter &e, const AttentionOp &op, AttendParams p)
{
    const KvShape &k = op.kv.keyShape;
    AttendGroupParams g{};
    p.pieces = ceilDivide(kTileRows * p.share, kGroups * kGroupRows);
    g.a = p;
    g.boxTokens = std::min(k.blockSize, kSplitTokens);
    e.launch(k.dim == 64 ? "attend_group_64" : "attend_group_128", {p.kvHeads * p.pieces, op.tileCount, 1}, kGroupThreads,
             groupShared(k.dim).total, g);
    e.tensor(offsetof(AttendGroupParams, keys), {op.kv.keys, op.kv.blockStride, k.dim, k.blockSize, k.heads, g.boxTokens});
    e.tensor(offsetof(AttendGroupParams, values), {op.kv.values, op.kv.blockStride, k.dim, k.blockSize, k.heads, g.boxTokens});
}

} // namespace

void emitQkv(Emitter &e, const QkvOp &op)
{
    const KvShape &k = op.kv.keyShape, &v = op.kv.valueShape;
    const std::uint32_t queryWidth = op.query.data ? op.query.rows : 0, keyWidth = op.key.data ? op.key.rows : 0;
    const std::uint32_t valueWidth = op.key.data ? op.value.rows : 0;
    const std::uint64_t ld = queryWidth + keyWidth + valueWidth;
    auto *rows = e.scratch.take<float>(ld * op.rows * 4);
    Product products[kMaxMatrices];
    std::size_t count = 0;
    if (queryWidth)
        products[count++] = {op.query, rows, ld};
    if (keyWidth) {
        products[count++] = {op.key, rows + queryWidth, ld};
        products[count++] = {op.value, rows + queryWidth + keyWidth, ld};
    }
    const ProductInput in{op.in, {}, op.rows, products[0].weights.cols};
    emitProducts(e, in, {products, count}, false);
    RotateParams p{};
    p.product = rows;
    p.ld = ld;
    p.rows = op.step.rows;
    p.slices = op.step.slices;
    p.tables = op.step.tables;
    p.rowIndex = keyWidth ? nullptr : op.rowIndex;
    p.queryNorm = op.queryNorm;
    p.keyNorm = op.keyNorm;
    p.epsilon = op.in.epsilon;
    p.rope = op.rope.rows;
    p.rotated = op.rope.rotated;
    p.neox = op.rope.kind == RopeKind::neox;
    p.heads = queryWidth ? op.heads : 0;
    p.kvHeads = keyWidth ? k.heads : 0;
    p.keyDim = k.dim;
    p.valueDim = v.dim;
    p.queries = static_cast<float *>(op.queries.data);
    p.ldQueries = op.queries.stride;
    p.keys = op.kv.keys;
    p.values = op.kv.values;
    p.blockStride = op.kv.blockStride;
    p.keyType = k.type;
    p.valueType = v.type;
    p.blockShift = blockShift(k);
    p.group = op.kv.group;
    e.launch("rotate_store", {op.rows, ceilDivide(p.heads + 2 * p.kvHeads, 4u), 1}, 128, 4 * kMaxHeadDim * 4, p);
}

void emitAttention(Emitter &e, const AttentionOp &op)
{
    const KvShape &k = op.kv.keyShape, &v = op.kv.valueShape;
    AttendParams p{};
    p.slices = op.step.slices;
    p.tables = op.step.tables;
    p.tiles = op.tiles;
    p.queries = static_cast<const float *>(op.queries.data);
    p.ldQueries = op.queries.stride;
    p.out = static_cast<float *>(op.out.data);
    p.ldOut = op.out.stride;
    p.keys = op.kv.keys;
    p.values = op.kv.values;
    p.blockStride = op.kv.blockStride;
    p.blockShift = blockShift(k);
    p.keyType = k.type;
    p.valueType = v.type;
    p.group = op.kv.group;
    p.heads = op.heads;
    p.kvHeads = k.heads;
    p.share = op.heads / k.heads;
    p.keyDim = k.dim;
    p.valueDim = v.dim;
    p.window = op.window;
    p.scale = op.scale * kLog2E;
    p.keyTiles = ceilDivide(std::max(op.longest, 1u), kSplitTokens);
    const bool bfKeys = isBf16(k.type), bfValues = isBf16(v.type);
    if (op.singleRows) {
        p.partials = e.scratch.take<float>(std::uint64_t(op.rows) * op.heads * p.keyTiles * partialFloats(v.dim) * 4);
        const std::uint32_t groups = ceilDivide(p.share, kSingleRows);
        e.launch(kSingle[bfKeys][bfValues], {p.keyTiles, p.kvHeads * groups, op.slices}, 32 * kSingleWarps,
                 sharedFor(k, v, kSingleRows, true), p);
        e.launch("attend_merge", {op.slices, op.heads, 1}, 128, 0, p);
        return;
    }
    if (usesGroups(op, e.device))
        return emitGroups(e, op, p);
    p.warps = tileWarps(k, v, e.device);
    p.pieces = ceilDivide(kTileRows * p.share, 16 * p.warps);
    e.launch(kTile[bfKeys][bfValues], {p.kvHeads * p.pieces, op.tileCount, 1}, 32 * p.warps, sharedFor(k, v, 16 * p.warps, false), p);
}

void addAttentionNames(std::vector<std::string_view> &names)
{
    names.insert(names.end(), {"rotate_store", "attend_merge"});
    for (const int keys : {0, 1})
        for (const int values : {0, 1})
            names.insert(names.end(), {kSingle[keys][values], kTile[keys][values]});
}

} // namespace kvilt::kernels::cuda::detail

namespace kvilt::kernels::cuda {

bool kvSupported(const KvShape &keys, const KvShape &values, const DeviceFacts &device)
{
    const auto fits = [](const KvShape &s) {
        const bool quantised = s.type == KvElement::q8 || s.type == KvElement::q4;
        return s.type != KvElement::f32 && s.dim > 0 && s.dim % (quantised ? 32 : 16) == 0 && s.dim <= kMaxHeadDim;
    };
    return fits(keys) && fits(values) && detail::tileWarps(keys, values, device) > 0 &&
           detail::sharedFor(keys, values, kSingleRows, true) <= device.sharedPerBlock;
}

} // namespace kvilt::kernels::cuda

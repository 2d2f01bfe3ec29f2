// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/api/emit.h"

#include "kernels/cuda/emit_impl.h"

#include <bit>

namespace kvilt::kernels::cuda {
namespace detail {
namespace {

void emitEmbed(Emitter &e, const EmbedOp &op)
{
    const Matrix &m = op.embedding;
    EmbedParams p{};
    p.rows = op.step.rows;
    p.sampled = op.step.sampled;
    p.weights = m.data;
    p.tileBytes = weightTileBytes(weightLayout(m.type), m.cols);
    p.type = m.type;
    p.vocabulary = m.rows;
    p.cols = m.cols;
    p.scale = op.scale;
    p.hidden = op.hidden;
    e.launch("embed", {op.rows, ceilDivide(m.cols, 256u), 1}, 256, 0, p);
}

void emitGather(Emitter &e, const GatherOp &op)
{
    e.launch("gather", {op.rows, ceilDivide(op.cols, 1024u), 1}, 256, 0, GatherParams{op.rowIndex, op.from, op.to, op.cols});
}

void emitSample(Emitter &e, const SampleOp &op)
{
    SampleParams p{op.slots, op.history, op.logits, nullptr, op.vocabulary, op.sampled};
    if (op.greedyOnly) {
        e.launch("sample_greedy", {op.count, 1, 1}, 1024, 256, p);
    } else {
        p.penalised = e.scratch.take<float>(std::uint64_t(op.count) * op.vocabulary * 4);
        e.launch("sample_penalise", {op.count, 1, 1}, 1024, 0, p);
    }
    if (!op.greedyOnly)
        e.launch("sample_draw", {op.count, 1, 1}, 1024, kDrawSharedBytes, p);
}

void emitConvert(Emitter &e, const KvConvertOp &op)
{
    const KvView &kv = op.firstLayer;
    ConvertParams p{};
    p.keys = kv.keys;
    p.values = kv.values;
    p.blockStride = kv.blockStride;
    p.layerStride = op.layerStride;
    p.blocks = op.blocks;
    p.stored = op.stored;
    p.storedStride = op.storedStride;
    p.heads = kv.keyShape.heads;
    p.keyDim = kv.keyShape.dim;
    p.valueDim = kv.valueShape.dim;
    p.blockShift = static_cast<std::uint32_t>(std::countr_zero(kv.keyShape.blockSize));
    p.keyType = kv.keyShape.type;
    p.valueType = kv.valueShape.type;
    p.toStored = op.toStored;
    e.launch("kv_convert", {kv.keyShape.blockSize, op.layers, op.count}, 256, 0, p);
    if (e.out)
        e.out->back().programmatic = false; // copies on other streams stand around it
}

void dispatch(Emitter &e, const Op &op)
{
    struct Visitor {
        Emitter &e;
        void operator()(const EmbedOp &o) const { emitEmbed(e, o); }
        void operator()(const QkvOp &o) const { emitQkv(e, o); }
        void operator()(const AttentionOp &o) const { emitAttention(e, o); }
        void operator()(const ProjectOp &o) const { emitProject(e, o); }
        void operator()(const GatedOp &o) const { emitGated(e, o); }
        void operator()(const GatherOp &o) const { emitGather(e, o); }
        void operator()(const SampleOp &o) const { emitSample(e, o); }
        void operator()(const KvConvertOp &o) const { emitConvert(e, o); }
    };
    std::visit(Visitor{e}, op);
}

} // namespace
} // namespace detail

std::uint64_t scratchBytes(const Op &op, const DeviceFacts &device)
{
    detail::Emitter e{device, detail::Scratch(nullptr), nullptr};
    detail::dispatch(e, op);
    return e.scratch.used();
}

void emit(const Op &op, const DeviceFacts &device, std::byte *scratch, std::vector<Launch> &out)
{
    detail::Emitter e{device, detail::Scratch(scratch), &out};
    detail::dispatch(e, op);
}

Element elementFor(const Matrix &, const DeviceFacts &)
{
    return Element::f32; // products prepare their own input
}

std::vector<std::string_view> kernelNames(const DeviceFacts &device)
{
    std::vector<std::string_view> names{"embed", "gather", "sample_greedy", "sample_penalise", "sample_draw", "kv_convert"};
    detail::addProductNames(device, names);
    detail::addAttentionNames(names);
    return names;
}

std::vector<std::string_view> warpgroupKernelNames()
{
    std::vector<std::string_view> names{"prepare_group", "attend_group_64", "attend_group_128"};
    detail::addGroupNames(names);
    return names;
}

} // namespace kvilt::kernels::cuda

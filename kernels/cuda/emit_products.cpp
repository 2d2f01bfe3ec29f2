// SPDX-License-Identifier: Apache-2.0
// Launches of products: the input is prepared once for each format that the weights want, then each type's matrices share a
// launch. Gate and up of one type are one launch with the activation in it.
#include "kernels/cuda/emit_impl.h"

#include <utility>

namespace kvilt::kernels::cuda::detail {
namespace {

// The kernels of one weight type, by shape.
struct TypeKernels {
    WeightType type;
    const char *one, *two, *medium, *large; // large: null for 16-bit floats
};

#define KV_QUANT(type)                                                                                                       \
    TypeKernels { WeightType::type, "matmul_" #type "_one", "matmul_" #type "_two", "matmul_" #type "_medium", "matmul_" #type "_large" }
#define KV_FLOAT(type)                                                                                                       \
    TypeKernels { WeightType::type, "matmul_" #type "_one", "matmul_" #type "_two", "matmul_" #type "_medium", nullptr }
constexpr TypeKernels kTypeKernels[] = {
    KV_QUANT(Q4_0), KV_QUANT(Q4_1), KV_QUANT(Q5_0), KV_QUANT(Q5_1),   KV_QUANT(Q8_0),   KV_QUANT(Q4_K), KV_QUANT(Q5_K),
    KV_QUANT(Q6_K), KV_FLOAT(F16),  KV_FLOAT(BF16), KV_QUANT(IQ4_NL), KV_QUANT(IQ4_XS), KV_QUANT(MXFP4),
    KV_QUANT(Q2_K), KV_QUANT(Q3_K), KV_QUANT(TQ2_0), KV_QUANT(IQ2_XS)};
#undef KV_QUANT
#undef KV_FLOAT

const TypeKernels *kernelsOf(WeightType type)
{
    for (const TypeKernels &entry : kTypeKernels)
        if (entry.type == kernelType(type))
            return &entry;
    return nullptr;
}

struct Choice {
    const char *kernel;
    MatmulShape shape;
};

// The largest shape that the tokens fill and the device's shared memory holds. The bits are the same with each.
Choice choose(WeightType type, std::uint32_t tokens, bool gated, const DeviceFacts &device)
{
    const TypeKernels &k = *kernelsOf(type);
    const auto fits = [&](const MatmulShape &shape) { return matmulSharedBytes(type, shape) <= device.sharedPerBlock; };
    if (tokens > 32 && k.large && fits(shapeLarge(type)))
        return {k.large, shapeLarge(type)};
    if (tokens > 8 && fits(shapeMedium(type)))
        return {k.medium, shapeMedium(type)};
    return gated ? Choice{k.two, shapeTwo(type)} : Choice{k.one, shapeOne(type)};
}

// --- warpgroups (sm_90a)
constexpr std::uint32_t kGroupLeast = 64; // tokens: beyond, half a block's are there

bool usesGroups(const Emitter &e, WeightType type, std::uint32_t tokens)
{
    return e.device.warpgroups && !e.device.deterministic && tokens > kGroupLeast && groupType(kernelType(type)) && kernelType(type) == type;
}

constexpr std::pair<WeightType, const char *> kGroupKernels[] = {
    {WeightType::F16, "matmul_group_F16"},       {WeightType::BF16, "matmul_group_BF16"},     {WeightType::Q4_0, "matmul_group_Q4_0"},
    {WeightType::Q4_1, "matmul_group_Q4_1"},     {WeightType::Q5_0, "matmul_group_Q5_0"},     {WeightType::Q5_1, "matmul_group_Q5_1"},
    {WeightType::Q8_0, "matmul_group_Q8_0"},     {WeightType::Q4_K, "matmul_group_Q4_K"},     {WeightType::Q5_K, "matmul_group_Q5_K"},
    {WeightType::Q6_K, "matmul_group_Q6_K"},     {WeightType::IQ4_NL, "matmul_group_IQ4_NL"}, {WeightType::IQ4_XS, "matmul_group_IQ4_XS"}};

const char *groupKernel(WeightType type)
{
    for (const auto &[of, name] : kGroupKernels)
        if (of == type)
            return name;
    return nullptr;
}

// A device of little shared memory computes gate and up one after the other.
bool fitsGated(WeightType type, const DeviceFacts &device)
{
    return matmulSharedBytes(type, shapeTwo(type)) <= device.sharedPerBlock;
}

const char *prepareKernel(InputFormat format)
{
    switch (format) {
    case InputFormat::int8: return "prepare_int8";
    case InputFormat::bf16x2: return "prepare_bf16x2";
    case InputFormat::f16x2: return "prepare_f16x2";
    default: return "prepare_f32";
    }
}

// Prepares an input at most once in each format. What is added to x is added by the first.
class Preparer {
public:
    Preparer(Emitter &e, const ProductInput &in) : m_e(e), m_in(in) {}

    Prepared get(InputFormat format)
    {
        const auto index = static_cast<std::size_t>(format);
        if (m_done[index])
            return m_prepared[index];
        m_done[index] = true;
        const std::uint32_t units = weightUnits(m_in.cols);
        Prepared &to = m_prepared[index];
        to.codes = m_e.scratch.take(std::uint64_t(m_in.tokens) * units * inputUnitBytes(format));
        to.scales = m_e.scratch.take<float>(std::uint64_t(m_in.tokens) * (format == InputFormat::int8 ? units * 16 : 4));
        PrepareParams p = params();
        p.to = to;
        m_e.launch(prepareKernel(format), {m_in.tokens, 1, 1}, 256, 64, p);
        return to;
    }

    // True where a product of one token prepares its input itself, as `to` says then. A second block must fit beside it.
    bool fuses(WeightType type, std::uint32_t shared, PrepareParams &to)
    {
        const bool delta = !m_in.rows.data && m_in.normed.delta;
        if (m_in.tokens != 1 || delta || 2 * (shared + fusedBytes(type, weightUnits(m_in.cols)) + 1024) > m_e.device.sharedPerBlock)
            return false;
        to = params();
        return true;
    }

    // Row-major bf16 or f16, for cuBLASLt.
    std::uint16_t *plain(bool half)
    {
        std::uint16_t *&to = m_plain[half];
        if (to || (!m_e.out && m_plainCounted[half]))
            return to;
        m_plainCounted[half] = true;
        to = m_e.scratch.take<std::uint16_t>(std::uint64_t(m_in.tokens) * m_in.cols * 2);
        PrepareParams p = params();
        p.plain = to;
        p.plainHalf = half;
        m_e.launch("prepare_plain", {m_in.tokens, 1, 1}, 256, 64, p);
        return to;
    }

    // For warpgroups: once in each of the orders that types want.
    Prepared group(WeightType type)
    {
        const bool half = type != WeightType::BF16, fromCodes = int8Input(type);
        const std::size_t index = fromCodes ? 2 : half ? 1 : 0;
        if (m_groupDone[index])
            return m_group[index];
        m_groupDone[index] = true;
        const std::uint32_t rows = ceilDivide(m_in.tokens, kGroupTokens) * kGroupTokens;
        Prepared &to = m_group[index];
        to.codes = m_e.scratch.take(std::uint64_t(rows) * weightUnits(m_in.cols) * 128);
        to.scales = m_e.scratch.take<float>(std::uint64_t(m_in.tokens) * 4);
        PrepareParams p = params();
        p.to = to;
        p.plainHalf = half;
        p.rows = m_in.tokens;
        p.fromCodes = fromCodes;
        m_e.launch("prepare_group", {rows, 1, 1}, 256, 64, p);
        return to;
    }

private:
    PrepareParams params()
    {
        PrepareParams p{};
        p.cols = m_in.cols;
        p.units = weightUnits(m_in.cols);
        if (m_in.rows.data) {
            p.input = m_in.rows.data;
            p.ldInput = m_in.rows.stride;
            p.inputBf16 = m_in.rows.element == Element::bf16;
            return p;
        }
        const NormedInput &n = m_in.normed;
        p.x = n.x;
        p.norm = n.norm;
        p.epsilon = n.epsilon;
        if (!m_added) {
            p.delta = n.delta;
            p.deltaNorm = n.deltaNorm;
        }
        m_added = true;
        return p;
    }

    Emitter &m_e;
    const ProductInput &m_in;
    bool m_done[4] = {};
    bool m_added = false;
    bool m_plainCounted[2] = {};
    bool m_groupDone[3] = {};
    Prepared m_group[3];
    Prepared m_prepared[4];
    std::uint16_t *m_plain[2] = {};
};

void emitF32(Emitter &e, const ProductInput &in, const Product &product, const Prepared &prepared, bool add)
{
    MatmulF32Params p{};
    p.weights = product.weights.data;
    p.in = reinterpret_cast<const float *>(prepared.codes);
    p.out = product.out;
    p.tileBytes = weightTileBytes(weightLayout(WeightType::F32), in.cols);
    p.ldOut = product.ldOut;
    p.rows = product.weights.rows;
    p.units = weightUnits(in.cols);
    p.tokens = in.tokens;
    p.add = add;
    e.launch("matmul_F32", {ceilDivide(p.rows, 8u), 1, 1}, 256, 0, p);
}

MatmulParams matmulParams(const ProductInput &in, WeightType type)
{
    MatmulParams p{};
    p.units = weightUnits(in.cols);
    p.tileBytes = weightTileBytes(weightLayout(type), in.cols);
    p.tokens = in.tokens;
    const PanelFormat format = panelFormat(type);
    p.unit = format.unit;
    if (format.codebook())
        std::memcpy(p.table, tableValues(format.table), sizeof p.table);
    return p;
}

// Where the product's input comes from: prepared by a launch before, or by the product itself, which then needs more `shared`.
void readInput(MatmulParams &p, Preparer &preparer, WeightType type, bool groups, std::uint32_t &shared)
{
    if (groups) {
        p.in = preparer.group(type);
    } else if (preparer.fuses(type, shared, p.prepare)) {
        p.fused = 1;
        shared += fusedBytes(type, p.units);
    } else {
        p.in = preparer.get(inputFormat(type));
    }
}

// One launch for up to three matrices of one type.
void emitType(Emitter &e, const ProductInput &in, std::span<const Product> products, Preparer &preparer, bool add)
{
    const WeightType type = products[0].weights.type;
    const bool groups = usesGroups(e, type, in.tokens);
    const Choice choice = choose(type, in.tokens, false, e.device);
    const std::uint32_t rowTiles = groups ? kGroupTiles : choice.shape.rowTiles;
    std::uint32_t shared = matmulSharedBytes(type, choice.shape);
    MatmulParams p = matmulParams(in, type);
    readInput(p, preparer, type, groups, shared);
    p.store = add ? Store::add : Store::set;
    p.ldOut = products[0].ldOut;
    std::uint32_t tile = 0;
    for (const Product &product : products) {
        p.segments[p.segmentCount++] = {product.weights.data, product.out, product.weights.rows, tile};
        tile += ceilDivide(ceilDivide(product.weights.rows, kTileWeightRows), rowTiles) * rowTiles;
    }
    if (groups)
        e.launch(groupKernel(type), {ceilDivide(in.tokens, kGroupTokens), tile / rowTiles, 1}, kGroupMatmulThreads, groupSharedBytes(type), p);
    else
        e.launch(choice.kernel, {ceilDivide(in.tokens, choice.shape.tokenTiles * 8), tile / rowTiles, 1}, kMatmulThreads, shared, p);
}

// --- cuBLASLt
constexpr std::uint32_t kBlasTokens = 64;               // from here on its kernels are worth a row-major copy of the weights
constexpr std::uint64_t kUnpackedBytes = 32ull << 20;   // of which so much is kept at a time: it stays in the second-level cache

bool usesBlas(const Emitter &e, WeightType type, std::uint32_t tokens)
{
    return e.device.blas && !e.device.deterministic && tokens > kBlasTokens && (type == WeightType::BF16 || type == WeightType::F16);
}

void emitBlas(Emitter &e, const ProductInput &in, const Product &product, Preparer &preparer, bool add)
{
    const Matrix &w = product.weights;
    const bool half = w.type == WeightType::F16;
    const std::uint16_t *x = preparer.plain(half);
    const auto rows = std::uint32_t(std::clamp<std::uint64_t>(kUnpackedBytes / (std::uint64_t(w.cols) * 2), 256, w.rows + 255) / 256 * 256);
    auto *unpacked = e.scratch.take<std::uint16_t>(std::uint64_t(std::min(rows, w.rows)) * w.cols * 2);
    for (std::uint32_t first = 0; first < w.rows && e.out; first += rows) {
        const std::uint32_t count = std::min(rows, w.rows - first);
        UnpackParams p{w.data, weightTileBytes(weightLayout(w.type), w.cols), w.type, first, w.cols, half, unpacked};
        e.launch("unpack", {count, ceilDivide(w.cols, 256u), 1}, 256, 0, p);
        Launch &l = e.out->emplace_back();
        l.gemm = {in.tokens, count, w.cols, x, unpacked, product.out + first, w.cols, w.cols, product.ldOut, half, add};
    }
}

} // namespace

InputFormat inputFormat(WeightType type)
{
    switch (type) {
    case WeightType::F32: return InputFormat::f32;
    case WeightType::F16: return InputFormat::f16x2;
    case WeightType::BF16: return InputFormat::bf16x2;
    default: return InputFormat::int8;
    }
}

void emitProducts(Emitter &e, const ProductInput &in, std::span<const Product> products, bool add)
{
    Preparer preparer(e, in);
    bool done[kMaxMatrices] = {};
    for (std::size_t i = 0; i < products.size(); ++i) {
        if (done[i])
            continue;
        const WeightType type = products[i].weights.type;
        if (usesBlas(e, type, in.tokens)) {
            emitBlas(e, in, products[i], preparer, add);
            continue;
        }
        if (type == WeightType::F32) {
            emitF32(e, in, products[i], preparer.get(InputFormat::f32), add);
            continue;
        }
        Product same[kMaxMatrices];
        std::size_t count = 0;
        for (std::size_t j = i; j < products.size(); ++j)
            if (products[j].weights.type == type && products[j].ldOut == products[i].ldOut) {
                same[count++] = products[j];
                done[j] = true;
            }
        emitType(e, in, {same, count}, preparer, add);
    }
}

void emitProject(Emitter &e, const ProjectOp &op)
{
    const ProductInput in{op.in, op.x, op.rows, op.weights.cols};
    const Product product{op.weights, op.out, op.ldOut};
    emitProducts(e, in, {&product, 1}, op.add);
}

void emitGated(Emitter &e, const GatedOp &op)
{
    const ProductInput in{op.in, {}, op.rows, op.gate.cols};
    const WeightType type = op.gate.type;
    const bool bf16 = op.out.element == Element::bf16;
    if (type == op.up.type && type != WeightType::F32 && !usesBlas(e, type, op.rows) && fitsGated(type, e.device)) {
        Preparer preparer(e, in);
        const bool groupwise = usesGroups(e, type, op.rows);
        const Choice choice = choose(type, op.rows, true, e.device);
        std::uint32_t shared = matmulSharedBytes(type, choice.shape);
        MatmulParams p = matmulParams(in, type);
        readInput(p, preparer, type, groupwise, shared);
        p.store = Store::gated;
        p.activation = static_cast<std::uint32_t>(op.activation);
        p.outBf16 = bf16;
        p.ldOut = op.out.stride;
        p.segmentCount = 2;
        p.segments[0] = {op.gate.data, static_cast<float *>(op.out.data), op.gate.rows, 0};
        p.segments[1] = {op.up.data, nullptr, op.up.rows, 0};
        const std::uint32_t rowTiles = groupwise ? kGroupTiles : choice.shape.rowTiles;
        const std::uint32_t groups = ceilDivide(ceilDivide(op.gate.rows, kTileWeightRows), rowTiles / 2);
        if (groupwise)
            return e.launch(groupKernel(type), {ceilDivide(op.rows, kGroupTokens), groups, 1}, kGroupMatmulThreads, groupSharedBytes(type), p);
        e.launch(choice.kernel, {ceilDivide(op.rows, choice.shape.tokenTiles * 8), groups, 1}, kMatmulThreads, shared, p);
        return;
    }
    const std::uint64_t floats = std::uint64_t(op.rows) * op.gate.rows;
    auto *gate = e.scratch.take<float>(floats * 4), *up = e.scratch.take<float>(floats * 4);
    const Product products[] = {{op.gate, gate, op.gate.rows}, {op.up, up, op.up.rows}};
    emitProducts(e, in, products, false);
    ActivateParams p{gate, up, op.out.data, op.out.stride, op.gate.rows, static_cast<std::uint32_t>(op.activation), bf16};
    e.launch("activate", {op.rows, ceilDivide(op.gate.rows, 256u), 1}, 256, 0, p);
}

void addProductNames(const DeviceFacts &device, std::vector<std::string_view> &names)
{
    for (const InputFormat format : {InputFormat::int8, InputFormat::bf16x2, InputFormat::f16x2, InputFormat::f32})
        names.emplace_back(prepareKernel(format));
    names.insert(names.end(), {"matmul_F32", "activate", "unpack", "prepare_plain"});
    (void)device;
    for (const TypeKernels &k : kTypeKernels) {
        names.insert(names.end(), {k.one, k.two, k.medium});
        if (k.large)
            names.emplace_back(k.large);
    }
}

void addGroupNames(std::vector<std::string_view> &names)
{
    for (const auto &entry : kGroupKernels)
        names.emplace_back(entry.second);
}

} // namespace kvilt::kernels::cuda::detail

namespace kvilt::kernels::cuda {

bool weightSupported(WeightType type)
{
    return type == WeightType::F32 || detail::kernelsOf(type) != nullptr;
}

} // namespace kvilt::kernels::cuda

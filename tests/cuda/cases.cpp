// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda/cases.h"

#include "kernels/cuda/api/device_weights.h"
#include "kernels/cuda/reference/ops_reference.h"
#include "tests/kernels/kernel_test.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace kvilt::cudacheck {
namespace {

using kernels::KvElement;
using kernels::KvShape;
using kernels::WeightType;
using Random = std::mt19937;

constexpr double kFloatLimit = 1e-6;
constexpr double kInt8Limit = 5e-4;
constexpr double kRoundedLimit = 1e-5; // inputs rounded to bf16

std::vector<float> randomFloats(Random &random, std::size_t count)
{
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float &value : values)
        value = normal(random);
    return values;
}

bool isFloat(WeightType type)
{
    return type == WeightType::F32 || type == WeightType::F16 || type == WeightType::BF16;
}
double limitOf(WeightType type)
{
    return isFloat(type) ? kFloatLimit : kInt8Limit;
}

cuda::Matrix randomMatrix(Arena &arena, Random &random, WeightType type, std::uint32_t rows, std::uint32_t cols)
{
    const auto weights = kernels::test::randomWeights(random, type, rows, cols);
    std::vector<std::byte> packed(cuda::deviceWeightBytes(type, rows, cols));
    const kernels::WeightView view{type, rows, cols, weights.data()};
    for (std::uint32_t run = 0; run * cuda::deviceWeightRun(type, cols) < rows; ++run)
        cuda::packDeviceRun(view, run, packed.data() + cuda::deviceWeightOffset(type, rows, cols, run));
    return {type, rows, cols, arena.place(std::move(packed))};
}

std::uint32_t colsFor(WeightType type, std::uint32_t cols)
{
    const std::uint32_t block = kernels::info(type).blockElements;
    return (cols + block - 1) / block * block;
}

Output floatsAt(float *data, std::size_t count)
{
    return {reinterpret_cast<std::byte *>(data), count * sizeof(float)};
}

// --- products
Built buildProject(Arena &arena, Random &random, WeightType type, std::uint32_t rows, std::uint32_t cols, std::uint32_t tokens)
{
    cuda::ProjectOp op;
    op.weights = randomMatrix(arena, random, type, rows, cols);
    op.rows = tokens;
    op.in = {arena.place(randomFloats(random, std::size_t(cols) * std::max(tokens, 100u))), arena.place(randomFloats(random, cols)), nullptr,
             nullptr, 1e-5f};
    op.out = arena.place(randomFloats(random, std::size_t(rows) * tokens));
    op.ldOut = rows;
    op.add = true;
    return {op, floatsAt(op.out, std::size_t(rows) * tokens)};
}

Built buildGated(Arena &arena, Random &random, WeightType type, std::uint32_t tokens)
{
    const std::uint32_t cols = 512, rows = 328;
    cuda::GatedOp op;
    op.gate = randomMatrix(arena, random, type, rows, cols);
    op.up = randomMatrix(arena, random, type, rows, cols);
    op.rows = tokens;
    op.in = {arena.place(randomFloats(random, cols * tokens)), arena.place(randomFloats(random, cols)), nullptr, nullptr, 1e-5f};
    op.activation = tokens % 2 ? cuda::Gate::silu : cuda::Gate::geluTanh;
    auto *out = arena.poisoned<float>(rows * tokens);
    op.out = {out, cuda::Element::f32, rows};
    return {op, floatsAt(out, rows * tokens)};
}

Built buildEmbed(Arena &arena, Random &random, WeightType type)
{
    const std::uint32_t cols = 512, vocabulary = 300;
    cuda::EmbedOp op;
    op.embedding = randomMatrix(arena, random, type, vocabulary, cols);
    op.step.rows = arena.place(std::vector<cuda::StepRow>{{7, 0, 0, 0}, {299, 0, 0, 0}, {-2, 0, 0, 0}});
    op.step.sampled = arena.place(std::vector<std::int32_t>{3, 150});
    op.rows = 3;
    op.scale = 1.25f;
    op.hidden = arena.poisoned<float>(3 * cols);
    return {op, floatsAt(op.hidden, 3 * cols)};
}

// --- attention
struct Piece {
    std::uint32_t first, rows;
};
struct AttentionSetup {
    KvElement type = KvElement::f16;
    std::uint32_t dim = 128, kvHeads = 2, heads = 8, blockSize = 16, window = 0;
};

// Keys, values and queries depend on the position only, so that a row is the same in every cut into pieces.
struct Pool {
    std::vector<std::byte> bytes;
    std::vector<std::uint32_t> tables;
    std::vector<cuda::StepSlice> slices;
    std::vector<cuda::AttentionTile> tiles;
    std::uint64_t stride = 0;
    std::uint32_t rows = 0, longest = 0;
    bool single = true;
};

std::vector<float> rowOf(std::uint32_t position, std::uint32_t salt, std::size_t count)
{
    Random own(position * 2654435761u + salt);
    return randomFloats(own, count);
}

void fill(Pool &pool, const KvShape &shape, std::uint32_t block, std::uint32_t first, std::uint32_t end)
{
    std::byte *keys = pool.bytes.data() + block * pool.stride, *values = keys + kernels::kvSideBytes(shape);
    for (std::uint32_t slot = 0; slot < shape.blockSize && first + slot < end; ++slot) {
        cuda::reference::writeKvRow(shape, rowOf(first + slot, 1, shape.heads * shape.dim).data(), slot, keys);
        cuda::reference::writeKvRow(shape, rowOf(first + slot, 2, shape.heads * shape.dim).data(), slot, values);
    }
}

Pool makePool(const AttentionSetup &s, const std::vector<Piece> &pieces, Random &random)
{
    Pool pool;
    const KvShape shape{s.type, s.kvHeads, s.dim, s.blockSize};
    pool.stride = (2 * kernels::kvSideBytes(shape) + 255) / 256 * 256;
    std::uint32_t blocks = 0;
    for (const Piece &piece : pieces)
        blocks += (piece.first + piece.rows + s.blockSize - 1) / s.blockSize;
    pool.bytes.assign(blocks * pool.stride, std::byte(0xff));
    std::vector<std::uint32_t> ids(blocks);
    std::iota(ids.begin(), ids.end(), 0u);
    std::shuffle(ids.begin(), ids.end(), random);
    std::uint32_t next = 0;
    for (std::uint32_t i = 0; i < pieces.size(); ++i) {
        const std::uint32_t end = pieces[i].first + pieces[i].rows;
        pool.slices.push_back({pool.rows, pieces[i].rows, pieces[i].first, 0, {std::uint32_t(pool.tables.size()), 0, 0, 0}});
        for (std::uint32_t b = 0; b * s.blockSize < end; ++b) {
            pool.tables.push_back(ids[next++]);
            fill(pool, shape, pool.tables.back(), b * s.blockSize, end);
        }
        for (std::uint32_t r = 0; r < pieces[i].rows; r += cuda::kTileRows)
            pool.tiles.push_back({i, r, std::min(cuda::kTileRows, pieces[i].rows - r), 0});
        pool.rows += pieces[i].rows;
        pool.longest = std::max(pool.longest, end);
        pool.single = pool.single && pieces[i].rows == 1;
    }
    return pool;
}

Built buildAttention(Arena &arena, Random &random, const AttentionSetup &s, const std::vector<Piece> &pieces)
{
    Pool pool = makePool(s, pieces, random);
    const KvShape shape{s.type, s.kvHeads, s.dim, s.blockSize};
    std::vector<float> queries;
    for (const Piece &piece : pieces)
        for (std::uint32_t r = 0; r < piece.rows; ++r) {
            const auto row = rowOf(piece.first + r, 3, s.heads * s.dim);
            queries.insert(queries.end(), row.begin(), row.end());
        }
    std::byte *memory = arena.place(std::move(pool.bytes));
    auto *out = arena.poisoned<float>(std::size_t(pool.rows) * s.heads * s.dim);
    cuda::AttentionOp op;
    op.step.slices = arena.place(pool.slices);
    op.step.tables = arena.place(pool.tables);
    op.rows = pool.rows;
    op.slices = std::uint32_t(pool.slices.size());
    op.tiles = arena.place(pool.tiles);
    op.tileCount = std::uint32_t(pool.tiles.size());
    op.singleRows = pool.single;
    op.longest = (pool.longest + cuda::kSplitTokens - 1) / cuda::kSplitTokens * cuda::kSplitTokens;
    op.kv = {memory, memory + kernels::kvSideBytes(shape), pool.stride, shape, shape, 0};
    op.heads = s.heads;
    op.window = s.window;
    op.scale = 0.09f;
    op.queries = {arena.place(queries), cuda::Element::f32, s.heads * s.dim};
    op.out = {out, cuda::Element::f32, s.heads * s.dim};
    return {op, floatsAt(out, std::size_t(pool.rows) * s.heads * s.dim)};
}

// The rotated queries are the output; keys and values are checked by the attention of whole models.
Built buildQkv(Arena &arena, Random &random, WeightType type, KvElement kv)
{
    const AttentionSetup s{kv, 64, 2, 4, 16, 0};
    const std::uint32_t rows = 21, cols = 256;
    Pool pool = makePool(s, {{30, rows}}, random);
    const KvShape shape{kv, s.kvHeads, s.dim, s.blockSize};
    std::vector<cuda::StepRow> stepRows;
    for (std::uint32_t r = 0; r < rows; ++r)
        stepRows.push_back({1, 30 + r, 0, 0});
    std::byte *memory = arena.place(std::move(pool.bytes));
    cuda::QkvOp op;
    op.step.rows = arena.place(stepRows);
    op.step.slices = arena.place(pool.slices);
    op.step.tables = arena.place(pool.tables);
    op.rows = rows;
    op.slices = 1;
    op.in = {arena.place(randomFloats(random, rows * cols)), arena.place(randomFloats(random, cols)), nullptr, nullptr, 1e-5f};
    op.query = randomMatrix(arena, random, type, s.heads * s.dim, cols);
    op.key = randomMatrix(arena, random, type, s.kvHeads * s.dim, cols);
    op.value = randomMatrix(arena, random, WeightType::F16, s.kvHeads * s.dim, cols);
    op.queryNorm = op.keyNorm = arena.place(randomFloats(random, s.dim));
    op.rope = {arena.place(randomFloats(random, 64 * s.dim)), s.dim, kernels::RopeKind::neox};
    op.heads = s.heads;
    op.kv = {memory, memory + kernels::kvSideBytes(shape), pool.stride, shape, shape, 0};
    auto *queries = arena.poisoned<float>(rows * s.heads * s.dim);
    op.queries = {queries, cuda::Element::f32, s.heads * s.dim};
    return {op, floatsAt(queries, rows * s.heads * s.dim)};
}

Built buildConvert(Arena &arena, Random &random, KvElement type, bool toStored)
{
    const KvShape shape{type, 3, 64, 32};
    const std::uint64_t layer = (2 * kernels::kvSideBytes(shape) + 255) / 256 * 256, stored = 4 * kernels::kvSideBytes(shape);
    const auto noise = [&](std::size_t bytes) {
        std::vector<std::byte> out(bytes);
        for (std::byte &byte : out)
            byte = std::byte(random() & 255);
        return out;
    };
    cuda::KvConvertOp op;
    std::byte *pool = arena.place(noise(4 * 2 * layer));
    op.firstLayer = {pool, pool + kernels::kvSideBytes(shape), 2 * layer, shape, shape, 0};
    op.layerStride = layer;
    op.layers = 2;
    op.blocks = arena.place(std::vector<std::uint32_t>{3, 1});
    op.count = 2;
    op.stored = arena.place(noise(2 * stored));
    op.storedStride = stored;
    op.toStored = toStored;
    return {op, toStored ? Output{op.stored, 2 * stored} : Output{pool, 4 * 2 * layer}};
}

Built buildSample(Arena &arena, Random &random, bool greedyOnly)
{
    const std::uint32_t vocabulary = 20011, count = 6;
    std::vector<cuda::SampleSlot> places;
    for (std::uint32_t i = 0; i < count; ++i) {
        cuda::SampleSlot s{};
        s.logitRow = s.outSlot = i;
        s.historyCount = 40;
        s.topK = 1 + 50 * i;
        s.repeatPenalty = greedyOnly ? 1.0f : 1.2f;
        s.presencePenalty = greedyOnly ? 0.0f : 0.1f;
        s.temperature = greedyOnly || i == 0 ? 0.0 : 0.3 * i;
        s.topP = 0.95;
        s.minP = 0.02;
        s.seed = 5;
        s.position = i;
        places.push_back(s);
    }
    std::vector<std::int32_t> history(40);
    for (std::int32_t &id : history)
        id = std::int32_t(random() % vocabulary);
    auto logits = randomFloats(random, std::size_t(count) * vocabulary);
    for (std::size_t i = 0; i < logits.size(); i += 2)
        logits[i] = std::round(logits[i] * 4); // ties
    cuda::SampleOp op;
    op.count = count;
    op.greedyOnly = greedyOnly;
    op.slots = arena.place(places);
    op.history = arena.place(history);
    op.logits = arena.place(logits);
    op.vocabulary = vocabulary;
    op.sampled = arena.poisoned<std::int32_t>(count);
    return {op, {reinterpret_cast<std::byte *>(op.sampled), count * 4}};
}

const char *nameOf(KvElement type)
{
    constexpr const char *kNames[] = {"f32", "f16", "bf16", "q8", "q4", "fp8"};
    return kNames[static_cast<int>(type)];
}
constexpr KvElement kKvTypes[] = {KvElement::f16, KvElement::bf16, KvElement::q8, KvElement::q4, KvElement::fp8};

void addProducts(std::vector<Case> &cases, bool quick)
{
    for (const auto &entry : kernels::weightTypes()) {
        const WeightType type = entry.type;
        const std::uint32_t cols = colsFor(type, quick ? 288 : 1120);
        const std::vector<std::uint32_t> counts = quick ? std::vector<std::uint32_t>{1, 33} : std::vector<std::uint32_t>{1, 7, 16, 33, 100};
        for (const std::uint32_t tokens : counts)
            cases.push_back({std::string("product ") + entry.name + ", tokens " + std::to_string(tokens), limitOf(type),
                             [=](Arena &a, Random &r) { return buildProject(a, r, type, quick ? 40 : 200, cols, tokens); }});
        if (type == WeightType::Q4_K || type == WeightType::Q8_0 || type == WeightType::BF16 || type == WeightType::F32)
            for (const std::uint32_t tokens : {1u, 40u})
                cases.push_back({std::string("gated ") + entry.name + ", tokens " + std::to_string(tokens), limitOf(type),
                                 [=](Arena &a, Random &r) { return buildGated(a, r, type, tokens); }});
        cases.push_back({std::string("embedding ") + entry.name, 0, [=](Arena &a, Random &r) { return buildEmbed(a, r, type); }});
    }
}

void addAttention(std::vector<Case> &cases, const cuda::DeviceFacts &device, bool quick)
{
    const auto add = [&](const std::string &name, const AttentionSetup &s, const std::vector<Piece> &pieces) {
        const KvShape side{s.type, s.kvHeads, s.dim, s.blockSize};
        if (cuda::kvSupported(side, side, device))
            cases.push_back({name, kFloatLimit, [=](Arena &a, Random &r) { return buildAttention(a, r, s, pieces); }});
    };
    for (const KvElement type : kKvTypes) {
        const std::string name = nameOf(type);
        add("decode " + name, {.type = type}, {{0, 1}, {130, 1}, {quick ? 140u : 1500u, 1}});
        add("prefill " + name, {.type = type}, {{0, quick ? 20u : 200u}, {quick ? 100u : 900u, 70}});
        cases.push_back({"queries, keys, values " + name, kFloatLimit,
                         [=](Arena &a, Random &r) { return buildQkv(a, r, WeightType::F16, type); }});
        for (const bool toStored : {true, false})
            cases.push_back({std::string(toStored ? "to" : "from") + " stored form " + name, 0,
                             [=](Arena &a, Random &r) { return buildConvert(a, r, type, toStored); }});
    }
    add("decode, window", {.window = 100}, {{300, 1}, {20, 1}});
    add("prefill, window", {.window = 100}, {{90, 80}, {300, 40}});
    if (quick)
        return;
    for (const std::uint32_t dim : {64u, 96u, 256u}) {
        add("decode, dim " + std::to_string(dim), {.dim = dim, .heads = 6, .blockSize = 32}, {{700, 1}});
        add("prefill, dim " + std::to_string(dim), {.dim = dim, .heads = 6, .blockSize = 32}, {{40, 100}});
    }
    add("decode, 20 heads on one", {.kvHeads = 1, .heads = 20}, {{700, 1}});
}

} // namespace

std::vector<Case> kernelCases(const cuda::DeviceFacts &device, bool quick)
{
    std::vector<Case> cases;
    addProducts(cases, quick);
    addAttention(cases, device, quick);
    for (const bool greedyOnly : {true, false})
        cases.push_back({greedyOnly ? "greedy tokens" : "drawn tokens", 0, [=](Arena &a, Random &r) { return buildSample(a, r, greedyOnly); }});
    return cases;
}

std::vector<Case> fastCases(const cuda::DeviceFacts &device, bool quick)
{
    std::vector<Case> cases;
    for (const WeightType type : {WeightType::F16, WeightType::BF16, WeightType::Q4_0, WeightType::Q4_1, WeightType::Q5_0, WeightType::Q5_1,
                                  WeightType::Q8_0, WeightType::Q4_K, WeightType::Q5_K, WeightType::Q6_K, WeightType::IQ4_NL, WeightType::IQ4_XS}) {
        const std::string name = kernels::info(type).name;
        const std::uint32_t cols = colsFor(type, quick ? 288 : 1120), rows = quick ? 40 : 600;
        const double limit = type == WeightType::BF16 ? kRoundedLimit : type == WeightType::F16 || device.warpgroups ? kFloatLimit : kInt8Limit;
        for (const std::uint32_t tokens : quick ? std::vector<std::uint32_t>{70} : std::vector<std::uint32_t>{65, 128, 300})
            cases.push_back({"many tokens " + name + ", " + std::to_string(tokens), limit,
                             [=](Arena &a, Random &r) { return buildProject(a, r, type, rows, cols, tokens); }});
        cases.push_back({"many tokens gated " + name, 4 * limit, [=](Arena &a, Random &r) { return buildGated(a, r, type, 70); }});
    }
    for (const std::uint32_t dim : {64u, 128u})
        for (const std::uint32_t blockSize : {16u, 64u, 256u})
            for (const std::uint32_t window : {0u, 100u}) {
                const AttentionSetup s{.dim = dim, .blockSize = blockSize, .window = window};
                cases.push_back({"prefill by dim " + std::to_string(dim) + ", block " + std::to_string(blockSize) + ", window " + std::to_string(window),
                                 kFloatLimit, [=](Arena &a, Random &r) {
                                     return buildAttention(a, r, s, {{0, quick ? 20u : 200u}, {quick ? 100u : 900u, 70}});
                                 }});
            }
    return cases;
}

std::vector<TwinCase> exactnessCases(const cuda::DeviceFacts &device, bool quick)
{
    std::vector<TwinCase> twins;
    for (const auto &entry : kernels::weightTypes()) {
        const WeightType type = entry.type;
        const std::uint32_t cols = colsFor(type, quick ? 288 : 1120), rows = quick ? 40 : 200;
        twins.push_back({std::string("product ") + entry.name + ", 1 and 77 tokens",
                         [=](Arena &a, Random &r) { return buildProject(a, r, type, rows, cols, 1); },
                         [=](Arena &a, Random &r) { return buildProject(a, r, type, rows, cols, quick ? 35 : 77); }});
    }
    for (const KvElement type : kKvTypes) {
        const AttentionSetup s{.type = type};
        const KvShape side{type, s.kvHeads, s.dim, s.blockSize};
        if (!cuda::kvSupported(side, side, device))
            continue;
        const std::uint32_t first = quick ? 130 : 1000;
        twins.push_back({std::string("attention ") + nameOf(type) + ", decoded and in a chunk",
                         [=](Arena &a, Random &r) { return buildAttention(a, r, s, {{first, 1}}); },
                         [=](Arena &a, Random &r) { return buildAttention(a, r, s, {{first, quick ? 9u : 90u}}); }});
    }
    return twins;
}

} // namespace kvilt::cudacheck

// SPDX-License-Identifier: Apache-2.0
// Micro-benchmarks of the kernels as shares of the limits probed around them, in one run:
//   bench_kernels [--isa NAME] [--threads N] [--cols N] [--only SUBSTRING] [--ms N] [--in-cache yes]
// --in-cache: only what stays in the caches, several times over and the best of it, for comparing two builds.
// Without it each figure is the median of at least five passes. With one thread, seconds are the thread's own processor time,
// so that a busy machine disturbs less; with more they are wall time.
#include "kernels/api/buffer.h"
#include "kernels/api/kernel_table.h"
#include "kernels/api/probe.h"
#include "kernels/layout/half.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <time.h>

using namespace kvilt::kernels;

namespace {

struct Options {
    std::string isa, only;
    int threads = 1;
    std::uint32_t cols = 1536; // a multiple of 256 for super-block types
    double seconds = 0.06;
    bool inCache = false;
};

struct Limits {
    double int8 = 0, f32 = 0, readCache = 0, readMemory = 0;
};

void runOnThreads(int threads, const std::function<void(int)> &task)
{
    std::vector<std::jthread> others;
    for (int i = 1; i < threads; ++i)
        others.emplace_back(task, i);
    task(0);
}

double now()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double processorSeconds()
{
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

// Seconds of one call of `work(thread)` on all threads, the median of passes that fill the time.
double timeOf(const Options &options, const std::function<void(int)> &work)
{
    std::vector<double> passes;
    const double begin = now();
    do {
        const auto clock = options.threads == 1 ? processorSeconds : now;
        const double start = clock();
        runOnThreads(options.threads, work);
        passes.push_back(clock() - start);
    } while (passes.size() < 5 || now() - begin < options.seconds);
    std::sort(passes.begin(), passes.end());
    return passes[passes.size() / 2];
}

double readRate(const Options &options, const KernelTable &kernels, std::size_t bytes)
{
    const std::size_t part = bytes / std::size_t(options.threads) / 1024 * 1024;
    const Buffer buffer = *Buffer::allocate(bytes);
    std::memset(buffer.data(), 1, bytes);
    volatile std::uint64_t sum = 0;
    const int repeats = int(std::max<std::size_t>(1, (std::size_t(64) << 20) / bytes));
    const double seconds = timeOf(options, [&](int thread) {
        for (int i = 0; i < repeats; ++i)
            sum = kernels.readMemory(buffer.data() + part * std::size_t(thread), part);
    });
    return double(part) * options.threads * repeats / seconds;
}

double loopRate(const Options &options, std::uint64_t (*loop)(std::uint64_t) noexcept)
{
    constexpr std::uint64_t kRounds = 200000;
    std::uint64_t operations = 0;
    const double seconds = timeOf(options, [&](int thread) {
        const std::uint64_t done = loop(kRounds);
        if (thread == 0)
            operations = done;
    });
    return double(operations) * options.threads / seconds;
}

Limits probeLimits(const Options &options, const KernelTable &kernels)
{
    return {loopRate(options, kernels.int8Peak), loopRate(options, kernels.f32Peak),
            readRate(options, kernels, std::size_t(2) << 20), readRate(options, kernels, std::size_t(192) << 20)};
}

bool wanted(const Options &options, const std::string &name)
{
    return options.only.empty() || name.find(options.only) != std::string::npos;
}

std::vector<float> randomFloats(std::size_t n)
{
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(n);
    for (float &value : values)
        value = normal(random);
    return values;
}

struct Matrix {
    PackedMatrix packed;
    Buffer memory;
    double packSeconds = 0;
};

Matrix randomMatrix(WeightType type, std::uint32_t rows, std::uint32_t cols)
{
    std::mt19937 random(2);
    std::vector<std::byte> weights(rowBytes(type, cols) * rows);
    for (std::byte &byte : weights)
        byte = std::byte(random() & 0x3b); // as 16-bit floats these are small numbers
    if (type == WeightType::MXFP4) // its blocks begin with an exponent: no denormal numbers, which are slow
        for (std::size_t block = 0; block < weights.size(); block += info(type).blockBytes)
            weights[block] = std::byte(118 + random() % 8);
    Matrix matrix{{type, rows, cols, nullptr}, *Buffer::allocate(packedBytes(type, rows, cols))};
    std::memset(matrix.memory.data(), 0, matrix.memory.size());
    const double start = now();
    packPanels({type, rows, cols, weights.data()}, 0, matrix.packed.panels(), matrix.memory.data());
    matrix.packSeconds = now() - start;
    matrix.packed.data = matrix.memory.data();
    return matrix;
}

// All threads multiply their share of the panels.
double matmulSeconds(const Options &options, const KernelTable &kernels, const Matrix &matrix, std::uint32_t tokens)
{
    const std::uint32_t cols = matrix.packed.cols;
    const ActivationFormat format = activationFormat(matrix.packed.type);
    const std::size_t stride = activationRowBytes(format, cols);
    const Buffer rows = *Buffer::allocate(stride * tokens);
    const auto x = randomFloats(cols);
    for (std::uint32_t t = 0; t < tokens; ++t)
        kernels.prepareRow(format, x.data(), cols, rows.data() + t * stride);
    std::vector<float> out(std::size_t(tokens) * matrix.packed.rows);
    std::vector<Buffer> scratch;
    for (int i = 0; i < options.threads; ++i)
        scratch.push_back(*Buffer::allocate(matmulScratchBytes(matrix.packed.type, cols)));
    return timeOf(options, [&](int thread) {
        MatmulArgs args{matrix.packed, {format, cols, tokens, rows.data()}};
        const std::uint32_t panels = matrix.packed.panels(), threads = std::uint32_t(options.threads);
        args.panelBegin = panels * std::uint32_t(thread) / threads;
        args.panelEnd = panels * std::uint32_t(thread + 1) / threads;
        args.out = out.data();
        args.ldOut = matrix.packed.rows;
        args.scratch = scratch[std::size_t(thread)].data();
        kernels.matmul(args);
    });
}

void benchInCache(const Options &options, const KernelTable &kernels, const WeightTypeInfo &entry)
{
    const Matrix matrix = randomMatrix(entry.type, 1024, options.cols);
    double eight = 1e9, many = 1e9;
    for (int i = 0; i < 12; ++i) {
        eight = std::min(eight, matmulSeconds(options, kernels, matrix, 8));
        many = std::min(many, matmulSeconds(options, kernels, matrix, 512));
    }
    const double operations = 2.0 * 1024 * options.cols / 1e9;
    std::printf("%-8s 8 rows %.1f Gop/s, 512 rows %.1f Gop/s\n", entry.name, 8 * operations / eight, 512 * operations / many);
}

void benchMatmul(const Options &options, const KernelTable &kernels, const Limits &limits)
{
    if (!options.inCache)
        std::printf("%-8s %10s %7s %10s %7s %10s %10s %7s\n", "weights", "gemv GB/s", "share", "1 row GB/s", "share", "8 rows Gop",
                "512 Gop/s", "share");
    for (const WeightTypeInfo &entry : weightTypes()) {
        if (!wanted(options, entry.name) || options.cols % entry.blockElements != 0)
            continue;
        const std::uint32_t cols = options.cols;
        if (options.inCache) {
            benchInCache(options, kernels, entry);
            continue;
        }
        const std::uint32_t manyRows = std::uint32_t((std::size_t(192) << 20) / rowBytes(entry.type, cols) / 16 * 16);
        const Matrix big = randomMatrix(entry.type, manyRows, cols);   // streams from memory
        const Matrix small = randomMatrix(entry.type, 1024, cols);     // stays in the cache
        const bool floats = activationFormat(entry.type) == ActivationFormat::f32;
        const double bigRate = double(big.memory.size()) / matmulSeconds(options, kernels, big, 1);
        const double smallRate = double(small.memory.size()) / matmulSeconds(options, kernels, small, 1);
        const double operations = 2.0 * 1024 * cols;
        const double eight = 8 * operations / matmulSeconds(options, kernels, small, 8);
        const double many = 512 * operations / matmulSeconds(options, kernels, small, 512);
        std::printf("%-8s %10.1f %6.0f%% %10.1f %6.0f%% %10.0f %10.0f %6.0f%%   pack %.2f GB/s\n", entry.name, bigRate / 1e9,
                    100 * bigRate / limits.readMemory, smallRate / 1e9, 100 * smallRate / limits.readCache, eight / 1e9,
                    many / 1e9, 100 * many / (floats ? limits.f32 : limits.int8),
                    double(big.memory.size()) / big.packSeconds / 1e9);
    }
}

struct AttentionCase {
    const char *name;
    KvElement type;
    std::uint32_t heads, queryHeads, dim;
};

// `tokens` queries after `depth` positions, blocks of 16 in shuffled order.
double attentionSeconds(const Options &options, const KernelTable &kernels, const AttentionCase &c, std::uint32_t depth,
                        std::uint32_t tokens)
{
    const KvShape shape{c.type, c.heads, c.dim, 16};
    const std::size_t side = kvSideBytes(shape);
    const std::uint32_t blocks = (depth + tokens + 15) / 16;
    const Buffer memory = *Buffer::allocate(2 * side * blocks);
    std::vector<const std::byte *> table;
    for (std::uint32_t b = 0; b < blocks; ++b)
        table.push_back(memory.data() + std::size_t(b) * 7919 % blocks * 2 * side);
    const auto row = randomFloats(std::size_t(c.queryHeads) * c.dim);
    for (std::uint32_t p = 0; p < blocks * 16; ++p) {
        auto *block = const_cast<std::byte *>(table[p / 16]);
        kernels.writeKeys(shape, row.data(), p % 16, block);
        kernels.writeValues(shape, row.data(), p % 16, block + side);
    }
    const auto queries = randomFloats(std::size_t(tokens) * c.queryHeads * c.dim);
    std::vector<float> out(queries.size());
    AttentionArgs args;
    args.kv = {table.data(), 0, side, shape, shape};
    args.queries = queries.data();
    args.out = out.data();
    args.ldQueries = args.ldOut = std::size_t(c.queryHeads) * c.dim;
    args.queryHeads = c.queryHeads;
    args.firstPosition = depth;
    args.tokens = tokens;
    args.scale = 0.125f;
    const AttentionCut cut = cutAttention(args, std::uint32_t(4 * options.threads));
    std::vector<float> partials(attentionPartialFloats(args, cut));
    std::vector<Buffer> scratch;
    for (int i = 0; i < options.threads; ++i)
        scratch.push_back(*Buffer::allocate(attentionScratchBytes(c.queryHeads, shape, shape)));
    return timeOf(options, [&](int thread) {
        for (std::uint32_t unit = std::uint32_t(thread); unit < cut.units; unit += std::uint32_t(options.threads))
            kernels.attentionUnit(args, cut, unit, partials.data(), scratch[std::size_t(thread)].data());
        if (thread == 0)
            for (std::uint32_t tile = 0; tile < c.heads * cut.tiles; ++tile)
                kernels.mergeAttention(args, cut, tile, partials.data());
    });
}

void benchAttention(const Options &options, const KernelTable &kernels, const Limits &limits)
{
    constexpr AttentionCase kCases[] = {
        {"smol f32", KvElement::f32, 3, 9, 64},   {"smol f16", KvElement::f16, 3, 9, 64},
        {"smol bf16", KvElement::bf16, 3, 9, 64}, {"smol q8", KvElement::q8, 3, 9, 64},
        {"gemma f16", KvElement::f16, 1, 4, 256}, {"gemma q8", KvElement::q8, 1, 4, 256},
    };
    std::printf("\n%-12s %14s %12s %7s %16s %7s\n", "attention", "decode@4096 us", "read GB/s", "share", "512@4096 GF/s", "share");
    for (const AttentionCase &c : kCases) {
        if (!wanted(options, std::string("attention ") + c.name))
            continue;
        const double decode = attentionSeconds(options, kernels, c, 4096, 1);
        const double bytes = 4097.0 * 2 * c.heads * double(kvRowBytes(c.type, c.dim));
        const double prefill = attentionSeconds(options, kernels, c, 4096, 512);
        const double operations = 4.0 * c.queryHeads * c.dim * 512 * (4096 + 256.5);
        std::printf("%-12s %14.1f %12.1f %6.0f%% %16.1f %6.0f%%\n", c.name, decode * 1e6, bytes / decode / 1e9,
                    100 * bytes / decode / limits.readCache, operations / prefill / 1e9, 100 * operations / prefill / limits.f32);
    }
}

Options parse(int argc, char **argv)
{
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        if (name == "--isa")
            options.isa = argv[i + 1];
        else if (name == "--threads")
            options.threads = std::max(1, std::atoi(argv[i + 1]));
        else if (name == "--cols")
            options.cols = std::uint32_t(std::max(256, std::atoi(argv[i + 1]) / 32 * 32));
        else if (name == "--only")
            options.only = argv[i + 1];
        else if (name == "--in-cache")
            options.inCache = std::string(argv[i + 1]) == "yes";
        else if (name == "--ms")
            options.seconds = std::atof(argv[i + 1]) / 1000;
    }
    return options;
}

} // namespace

int main(int argc, char **argv)
{
    const Options options = parse(argc, argv);
    const auto chosen = selectKernels(options.isa);
    if (const auto *error = std::get_if<std::string>(&chosen)) {
        std::fprintf(stderr, "%s\n", error->c_str());
        return 2;
    }
    const KernelTable &kernels = *std::get<const KernelTable *>(chosen);
    if (options.inCache) {
        benchMatmul(options, kernels, {});
        return 0;
    }
    const Limits limits = probeLimits(options, kernels);
    std::printf("%s, %d threads: int8 %.0f Gop/s, f32 %.0f GF/s, read 2 MiB %.1f GB/s, 192 MiB %.1f GB/s\n\n", kernels.name,
                options.threads, limits.int8 / 1e9, limits.f32 / 1e9, limits.readCache / 1e9, limits.readMemory / 1e9);
    benchMatmul(options, kernels, limits);
    benchAttention(options, kernels, limits);
    return 0;
}

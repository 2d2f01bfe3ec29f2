// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda/bench.h"

#include "kernels/cuda/api/device_weights.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace kvilt::cudacheck {
namespace {

namespace cuda = kernels::cuda;
using backend::cuda::Device;
using backend::cuda::Memory;
using backend::cuda::Queue;
using kernels::KvElement;
using kernels::KvShape;
using kernels::WeightType;

constexpr std::uint32_t kWidth = 4096, kHidden = 14336, kHeads = 32, kKvHeads = 8, kDim = 128;
constexpr std::size_t kNoise = 16u << 20;
constexpr int kRepeats = 7;

std::string text(const char *format, ...)
{
    char line[160];
    va_list args;
    va_start(args, format);
    std::vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return line;
}

class Bench {
public:
    Bench(Device &device, const std::function<void(const std::string &)> &print) : m_device(device), m_print(print) {}

    Result<void> run()
    {
        KVILT_TRY_VOID(copyRate());
        for (const WeightType type : {WeightType::BF16, WeightType::Q8_0, WeightType::Q4_0, WeightType::Q4_K, WeightType::Q6_K})
            for (const std::uint32_t tokens : {1u, 4u, 8u, 16u, 64u})
                KVILT_TRY_VOID(product(type, tokens));
        for (const WeightType type : {WeightType::BF16, WeightType::Q8_0, WeightType::Q4_K})
            KVILT_TRY_VOID(gated(type, 1));
        for (const std::uint32_t batch : {1u, 8u, 64u})
            for (const KvElement type : {KvElement::f16, KvElement::q8})
                KVILT_TRY_VOID(decodeAttention(type, batch, 4096));
        KVILT_TRY_VOID(prefillAttention(4096));
        for (const WeightType type : {WeightType::BF16, WeightType::Q8_0, WeightType::Q4_K})
            KVILT_TRY_VOID(product(type, 4096));
        return {};
    }

private:
    // Memory full of small random floats of any width: bytes whose exponents stay small.
    Result<Memory> noise(std::size_t bytes)
    {
        if (!m_noise.data()) {
            KVILT_TRY(m_noise, m_device.allocatePinned(kNoise));
            std::mt19937 random(1);
            for (std::size_t i = 0; i < kNoise; i += 2) {
                const std::uint16_t bits = std::uint16_t(0x2000u | (random() & 0x8fffu & 0x9fffu));
                std::memcpy(m_noise.data() + i, &bits, 2);
            }
        }
        KVILT_TRY(auto memory, m_device.allocate(bytes));
        for (std::size_t at = 0; at < bytes; at += kNoise)
            KVILT_TRY_VOID(m_device.upload(Queue::compute, memory.data() + at, m_noise.data(), std::min(kNoise, bytes - at)));
        return memory;
    }

    // Median seconds of one run of what `queue` puts on the compute queue.
    template <typename Work>
    Result<double> seconds(Work queue)
    {
        std::vector<double> times;
        KVILT_TRY(auto from, m_device.makeEvent());
        KVILT_TRY(auto to, m_device.makeEvent());
        for (int i = 0; i < kRepeats; ++i) {
            KVILT_TRY_VOID(m_device.record(*from, Queue::compute));
            KVILT_TRY_VOID(queue());
            KVILT_TRY_VOID(m_device.record(*to, Queue::compute));
            KVILT_TRY_VOID(m_device.synchronize(*to));
            KVILT_TRY(const double time, m_device.secondsBetween(*from, *to));
            times.push_back(time);
        }
        std::sort(times.begin(), times.end());
        return times[kRepeats / 2];
    }

    // The operations as one graph, as a step runs them.
    Result<double> secondsOf(const std::vector<cuda::Op> &ops)
    {
        for (const cuda::Op &op : ops)
            KVILT_TRY_VOID(m_device.ensureScratch(op));
        for (const cuda::Op &op : ops) // what is compiled or loaded at first use is not timed
            KVILT_TRY_VOID(m_device.run(Queue::compute, op));
        KVILT_TRY_VOID(m_device.beginGraph());
        for (const cuda::Op &op : ops)
            KVILT_TRY_VOID(m_device.run(Queue::compute, op));
        KVILT_TRY(auto graph, m_device.endGraph());
        KVILT_TRY(const double time, seconds([&] { return m_device.launch(*graph); }));
        return time / double(ops.size());
    }

    Result<void> copyRate()
    {
        const std::size_t bytes = 512u << 20;
        KVILT_TRY(auto a, noise(bytes));
        KVILT_TRY(auto b, m_device.allocate(bytes));
        KVILT_TRY(const double time, seconds([&] { return m_device.copy(Queue::compute, b.data(), a.data(), bytes); }));
        m_copyRate = 2.0 * double(bytes) / time;
        m_print(text("copy within device memory: %.0f GB/s (read and written)", m_copyRate / 1e9));
        return {};
    }

    void printRate(const std::string &what, double bytes, double time) const
    {
        m_print(text("%-46s %9.1f us %7.0f GB/s  %4.0f %% of the copy rate", what.c_str(), time * 1e6, bytes / time / 1e9,
                     100 * bytes / time / m_copyRate));
    }

    // Several matrices in turn, so that none is in the second-level cache.
    Result<void> product(WeightType type, std::uint32_t tokens)
    {
        const std::uint64_t bytes = cuda::deviceWeightBytes(type, kHidden, kWidth);
        const auto copies = std::uint32_t(tokens > 64 ? 1 : 2 + 4 * m_device.info().facts.l2Bytes / bytes);
        KVILT_TRY(auto weights, noise(bytes * copies));
        KVILT_TRY(auto x, noise(std::size_t(tokens) * kWidth * 4));
        KVILT_TRY(auto out, m_device.allocate(std::size_t(tokens) * kHidden * 4));
        std::vector<cuda::Op> ops;
        for (std::uint32_t i = 0; i < copies; ++i) {
            cuda::ProjectOp op;
            op.rows = tokens;
            op.x = {x.data(), cuda::Element::f32, kWidth};
            op.weights = {type, kHidden, kWidth, weights.data() + i * bytes};
            op.out = out.as<float>();
            op.ldOut = kHidden;
            ops.emplace_back(op);
        }
        KVILT_TRY(const double time, secondsOf(ops));
        const std::string name = std::string(kernels::info(type).name) + " 14336 x 4096, tokens " + std::to_string(tokens);
        if (tokens <= 64) {
            printRate(name, double(bytes), time);
            return {};
        }
        const double rate = 2.0 * tokens * kHidden * kWidth / time;
        m_print(text("%-46s %9.1f us %7.0f TFLOP/s", name.c_str(), time * 1e6, rate / 1e12));
        return {};
    }

    Result<void> gated(WeightType type, std::uint32_t tokens)
    {
        const std::uint64_t bytes = cuda::deviceWeightBytes(type, kHidden, kWidth);
        const auto copies = std::uint32_t(2 + 2 * m_device.info().facts.l2Bytes / bytes);
        KVILT_TRY(auto weights, noise(2 * bytes * copies));
        KVILT_TRY(auto x, noise(std::size_t(tokens) * kWidth * 4));
        KVILT_TRY(auto norm, noise(kWidth * 4));
        KVILT_TRY(auto out, m_device.allocate(std::size_t(tokens) * kHidden * 4));
        std::vector<cuda::Op> ops;
        for (std::uint32_t i = 0; i < copies; ++i) {
            cuda::GatedOp op;
            op.rows = tokens;
            op.in = {x.as<float>(), norm.as<float>(), nullptr, nullptr, 1e-5f};
            op.gate = {type, kHidden, kWidth, weights.data() + 2 * i * bytes};
            op.up = {type, kHidden, kWidth, weights.data() + (2 * i + 1) * bytes};
            op.out = {out.data(), cuda::Element::f32, kHidden};
            ops.emplace_back(op);
        }
        KVILT_TRY(const double time, secondsOf(ops));
        printRate(std::string("norm, gate and up ") + kernels::info(type).name + ", tokens " + std::to_string(tokens), 2.0 * double(bytes), time);
        return {};
    }

    struct Context {
        Memory pool, queries, out, tables, slices, tiles;
        cuda::AttentionOp op;
    };
    template <typename T>
    Result<Memory> place(const std::vector<T> &values)
    {
        const std::size_t bytes = values.size() * sizeof(T);
        KVILT_TRY(auto pinned, m_device.allocatePinned(bytes));
        KVILT_TRY(auto memory, m_device.allocate(bytes));
        std::memcpy(pinned.data(), values.data(), bytes);
        KVILT_TRY_VOID(m_device.upload(Queue::compute, memory.data(), pinned.data(), bytes));
        KVILT_TRY(auto event, m_device.makeEvent());
        KVILT_TRY_VOID(m_device.record(*event, Queue::compute));
        KVILT_TRY_VOID(m_device.synchronize(*event));
        return memory;
    }

    // `batch` sequences of `length` positions in 16-token blocks; the last `rows` of each are queries.
    Result<void> prepare(Context &c, KvElement type, std::uint32_t batch, std::uint32_t length, std::uint32_t rows)
    {
        const KvShape shape{type, kKvHeads, kDim, 16};
        const std::uint64_t stride = (2 * kernels::kvSideBytes(shape) + 255) / 256 * 256;
        const std::uint32_t blocks = length / 16;
        std::vector<std::uint32_t> tables(batch * blocks);
        for (std::uint32_t i = 0; i < tables.size(); ++i)
            tables[i] = (i * 7919u) % std::uint32_t(tables.size()); // 7919 is prime: a permutation
        std::vector<cuda::StepSlice> slices;
        std::vector<cuda::AttentionTile> tiles;
        for (std::uint32_t i = 0; i < batch; ++i) {
            slices.push_back({i * rows, rows, length - rows, 0, {i * blocks, 0, 0, 0}});
            for (std::uint32_t r = 0; r < rows; r += cuda::kTileRows)
                tiles.push_back({i, r, std::min(cuda::kTileRows, rows - r), 0});
        }
        const std::size_t width = std::size_t(kHeads) * kDim;
        KVILT_TRY(c.pool, noise(stride * tables.size()));
        KVILT_TRY(c.queries, noise(batch * rows * width * 4));
        KVILT_TRY(c.out, m_device.allocate(batch * rows * width * 4));
        KVILT_TRY(c.tables, place(tables));
        KVILT_TRY(c.slices, place(slices));
        KVILT_TRY(c.tiles, place(tiles));
        c.op.step.slices = c.slices.as<cuda::StepSlice>();
        c.op.step.tables = c.tables.as<std::uint32_t>();
        c.op.rows = batch * rows;
        c.op.slices = batch;
        c.op.tiles = c.tiles.as<cuda::AttentionTile>();
        c.op.tileCount = std::uint32_t(tiles.size());
        c.op.singleRows = rows == 1;
        c.op.longest = length;
        c.op.kv = {c.pool.data(), c.pool.data() + kernels::kvSideBytes(shape), stride, shape, shape, 0};
        c.op.heads = kHeads;
        c.op.scale = 0.088f;
        c.op.queries = {c.queries.data(), cuda::Element::f32, std::uint32_t(width)};
        c.op.out = {c.out.data(), cuda::Element::f32, std::uint32_t(width)};
        return {};
    }

    Result<void> decodeAttention(KvElement type, std::uint32_t batch, std::uint32_t length)
    {
        Context c;
        KVILT_TRY_VOID(prepare(c, type, batch, length, 1));
        KVILT_TRY(const double time, secondsOf({c.op}));
        const double bytes = 2.0 * double(kernels::kvRowBytes(type, kDim)) * kKvHeads * length * batch;
        printRate(text("decode attention %s, %u x %u tokens", type == KvElement::f16 ? "f16" : "q8", batch, length), bytes, time);
        return {};
    }

    Result<void> prefillAttention(std::uint32_t length)
    {
        Context c;
        KVILT_TRY_VOID(prepare(c, KvElement::f16, 1, length, length));
        KVILT_TRY(const double time, secondsOf({c.op}));
        const double work = 2.0 * double(length) * length * kDim * kHeads; // half of a square, twice, two operations
        m_print(text("prefill attention f16, %u tokens: %.1f us, %.0f TFLOP/s", length, time * 1e6, work / time / 1e12));
        return {};
    }

    Device &m_device;
    const std::function<void(const std::string &)> &m_print;
    Memory m_noise;
    double m_copyRate = 1;
};

} // namespace

Result<void> runBench(Device &device, const std::function<void(const std::string &line)> &print)
{
    return Bench(device, print).run();
}

} // namespace kvilt::cudacheck

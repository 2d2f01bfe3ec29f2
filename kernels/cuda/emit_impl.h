// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/emit.h"
#include "kernels/cuda/matmul_shape.h"
#include "kernels/cuda/params.h"

#include <algorithm>
#include <initializer_list>
#include <span>

// What the parts of emit() share.
namespace kvilt::kernels::cuda::detail {

inline constexpr std::uint32_t kMaxMatrices = 3;
inline constexpr std::uint32_t kDrawSharedBytes = 8192; // sample_draw's

template <typename Number>
constexpr Number ceilDivide(Number a, Number b)
{
    return (a + b - 1) / b;
}

constexpr std::uint64_t roundUp256(std::uint64_t bytes) { return (bytes + 255) / 256 * 256; }

// Hands out pieces of the scratch, or only counts them.
class Scratch {
public:
    explicit Scratch(std::byte *base) : m_base(base) {}
    template <typename T = std::byte>
    T *take(std::uint64_t bytes)
    {
        std::byte *at = m_base ? m_base + m_used : nullptr;
        m_used += roundUp256(bytes);
        return reinterpret_cast<T *>(at);
    }
    std::uint64_t used() const { return m_used; }

private:
    std::byte *m_base;
    std::uint64_t m_used = 0;
};

struct Emitter {
    const DeviceFacts &device;
    Scratch scratch;
    std::vector<Launch> *out; // null: only scratch is counted

    template <typename Params>
    void launch(const char *kernel, std::array<std::uint32_t, 3> grid, std::uint32_t threads, std::uint32_t sharedBytes, const Params &params)
    {
        if (!out)
            return;
        Launch &l = out->emplace_back();
        l.kernel = kernel;
        l.grid = grid;
        l.block = {threads, 1, 1};
        l.sharedBytes = sharedBytes;
        l.programmatic = device.sm >= 90;
        l.setParams(params);
    }
    // Of the last launch: a view at `offset` of its parameters.
    void tensor(std::size_t offset, const TensorView &view)
    {
        if (!out)
            return;
        Launch &l = out->back();
        std::memcpy(l.params.data() + offset, &view, sizeof view);
        l.tensors[l.tensorCount++] = {static_cast<std::uint32_t>(offset), view};
    }
};

// The input of products: floats or bf16 in memory, or a NormedInput.
struct ProductInput {
    NormedInput normed;
    Rows rows; // instead, where data is set
    std::uint32_t tokens = 0;
    std::uint32_t cols = 0;
};

// One matrix and where its outputs go: row t at out + t * ldOut.
struct Product {
    Matrix weights;
    float *out = nullptr;
    std::uint64_t ldOut = 0;
};

InputFormat inputFormat(WeightType type);
// All products of one input; those of one type (and leading dimension) share a launch.
void emitProducts(Emitter &e, const ProductInput &in, std::span<const Product> products, bool add);
void emitGated(Emitter &e, const GatedOp &op);
void emitQkv(Emitter &e, const QkvOp &op);
void emitProject(Emitter &e, const ProjectOp &op);
void emitAttention(Emitter &e, const AttentionOp &op);

void addProductNames(const DeviceFacts &device, std::vector<std::string_view> &names);
void addAttentionNames(std::vector<std::string_view> &names);
void addGroupNames(std::vector<std::string_view> &names);

} // namespace kvilt::kernels::cuda::detail

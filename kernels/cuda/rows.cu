// SPDX-License-Identifier: Apache-2.0
// Rows of activations: prepared for products, looked up, gathered, gated.
#include "kernels/cuda/device/activation.cuh"
#include "kernels/cuda/device/prepare.cuh"
#include "kernels/cuda/device/weights.cuh"

namespace kc = kvilt::kernels::cuda;
namespace kd = kvilt::kernels::cuda::device;

#define KV_PREPARE_KERNEL(name, method)                                                                                      \
    KV_KERNEL(prepare_##name, kc::PrepareParams, 256, 4)                                                                     \
    {                                                                                                                        \
        kd::waitForEarlierLaunches();                                                                                        \
        kd::letNextLaunchBegin();                                                                                            \
        kd::PrepareRow row(p);                                                                                               \
        row.begin();                                                                                                         \
        row.method();                                                                                                        \
    }
KV_PREPARE_KERNEL(int8, toInt8)
KV_PREPARE_KERNEL(bf16x2, toBfloatPairs)
KV_PREPARE_KERNEL(f16x2, toHalfPairs)
KV_PREPARE_KERNEL(f32, toFloats)
KV_PREPARE_KERNEL(plain, toPlain)

KV_KERNEL(prepare_group, kc::PrepareParams, 256, 4)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    kd::PrepareRow row(p);
    if (row.row < p.rows)
        row.begin();
    row.toGroup();
}

KV_KERNEL(embed, kc::EmbedParams, 256, 4)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const std::uint32_t row = kd::blockX(), k = kd::blockY() * 256 + kd::threadIndex();
    std::int32_t token = p.rows[row].token;
    if (token < 0)
        token = p.sampled[-1 - token];
    if (k >= p.cols || token < 0 || std::uint32_t(token) >= p.vocabulary)
        return;
    const std::byte *tile = p.weights + std::uint32_t(token) / kc::kTileWeightRows * p.tileBytes;
    p.hidden[std::uint64_t(row) * p.cols + k] = kd::weightAt(p.type, tile, std::uint32_t(token) % kc::kTileWeightRows, k) * p.scale;
}

KV_KERNEL(unpack, kc::UnpackParams, 256, 4)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const std::uint32_t row = p.firstRow + kd::blockX(), k = kd::blockY() * 256 + kd::threadIndex();
    if (k >= p.cols)
        return;
    const float value = kd::weightAt(p.type, p.weights + row / kc::kTileWeightRows * p.tileBytes, row % kc::kTileWeightRows, k);
    p.to[std::uint64_t(kd::blockX()) * p.cols + k] = p.half ? kd::floatToHalf(value) : std::uint16_t(kd::floatToBfloat(value));
}

KV_KERNEL(gather, kc::GatherParams, 256, 4)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const float *from = p.from + std::uint64_t(p.rowIndex[kd::blockX()]) * p.cols;
    float *to = p.to + std::uint64_t(kd::blockX()) * p.cols;
    for (std::uint32_t k = kd::blockY() * 1024 + kd::threadIndex(); k < kd::minOf(p.cols, (kd::blockY() + 1) * 1024); k += 256)
        to[k] = from[k];
}

KV_KERNEL(activate, kc::ActivateParams, 256, 4)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const std::uint32_t k = kd::blockY() * 256 + kd::threadIndex();
    if (k >= p.cols)
        return;
    const std::uint64_t from = std::uint64_t(kd::blockX()) * p.cols + k, to = kd::blockX() * p.ldOut + k;
    const float gate = p.gate[from];
    const float value = (p.activation == std::uint32_t(kc::Gate::silu) ? kd::silu(gate) : kd::geluTanh(gate)) * p.up[from];
    if (p.outBf16)
        static_cast<std::uint16_t *>(p.out)[to] = std::uint16_t(kd::floatToBfloat(value));
    else
        static_cast<float *>(p.out)[to] = value;
}

// A lane adds up columns lane, lane + 32, ...; then the lanes are added crosswise.
KV_KERNEL(matmul_F32, kc::MatmulF32Params, 256, 2)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const std::uint32_t row = kd::blockX() * 8 + kd::warp();
    if (row >= p.rows)
        return;
    const std::byte *tile = p.weights + row / kc::kTileWeightRows * p.tileBytes;
    const std::uint32_t inTile = row % kc::kTileWeightRows;
    for (std::uint32_t token = 0; token < p.tokens; ++token) {
        const float *x = p.in + std::uint64_t(token) * p.units * 64;
        float sum = 0;
        for (std::uint32_t unit = 0; unit < p.units; ++unit) {
            const auto *w = reinterpret_cast<const float *>(tile + std::uint64_t(unit) * 4096) + inTile * 64;
            sum = kd::fma(w[kd::lane()], x[unit * 64 + kd::lane()], sum);
            sum = kd::fma(w[kd::lane() + 32], x[unit * 64 + kd::lane() + 32], sum);
        }
        sum = kd::warpSum(sum);
        if (kd::lane() == 0) {
            float *out = p.out + token * p.ldOut + row;
            *out = p.add ? *out + sum : sum;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
// Queries, keys and values of a layer after their product: norm of each head, rotation, keys and values into their blocks.
#include "kernels/cuda/device/kv.cuh"

namespace kc = kvilt::kernels::cuda;
namespace kd = kvilt::kernels::cuda::device;

namespace {

// Norm of a head in shared memory, by one warp.
KV_DEVICE void normHead(float *head, const float *norm, std::uint32_t dim, float epsilon)
{
    float sum = 0;
    for (std::uint32_t d = kd::lane(); d < dim; d += 32)
        sum = kd::fma(head[d], head[d], sum);
    const float inverse = kd::divideExact(1.0f, kd::sqrtExact(kd::divideExact(kd::warpSum(sum), float(dim)) + epsilon));
    for (std::uint32_t d = kd::lane(); d < dim; d += 32)
        head[d] = head[d] * inverse * norm[d];
    kd::syncWarp();
}

// (a, b) -> (a cos - b sin, a sin + b cos), the second product first, then one FMA.
KV_DEVICE void rotateHead(const kc::RotateParams &p, const float *cosSin, float *head)
{
    const std::uint32_t half = p.rotated / 2;
    for (std::uint32_t i = kd::lane(); i < half; i += 32) {
        float &a = head[p.neox ? i : 2 * i], &b = head[p.neox ? i + half : 2 * i + 1];
        const float c = cosSin[i], s = cosSin[half + i], x = a, y = b;
        a = kd::fma(x, c, -(y * s));
        b = kd::fma(x, s, y * c);
    }
    kd::syncWarp();
}

} // namespace

KV_KERNEL(rotate_store, kc::RotateParams, 128, 4)
{
    kd::waitForEarlierLaunches();
    kd::letNextLaunchBegin();
    const std::uint32_t unit = kd::blockY() * 4 + kd::warp();
    if (unit >= p.heads + 2 * p.kvHeads)
        return;
    const bool query = unit < p.heads, key = !query && unit < p.heads + p.kvHeads;
    const std::uint32_t dim = query || key ? p.keyDim : p.valueDim;
    const std::uint64_t column = query || key ? std::uint64_t(unit) * p.keyDim
                                              : std::uint64_t(p.heads + p.kvHeads) * p.keyDim + std::uint64_t(unit - p.heads - p.kvHeads) * dim;
    float *head = reinterpret_cast<float *>(kd::sharedMemory()) + kd::warp() * kc::kMaxHeadDim;
    for (std::uint32_t d = kd::lane(); d < dim; d += 32)
        head[d] = p.product[kd::blockX() * p.ld + column + d];
    kd::syncWarp();
    const kc::StepRow row = p.rows[p.rowIndex ? p.rowIndex[kd::blockX()] : kd::blockX()];
    const float *norm = query ? p.queryNorm : key ? p.keyNorm : nullptr;
    if (norm)
        normHead(head, norm, dim, p.epsilon);
    if (query || key)
        rotateHead(p, p.rope + std::uint64_t(row.position) * p.rotated, head);
    if (query) {
        for (std::uint32_t d = kd::lane(); d < dim; d += 32)
            p.queries[kd::blockX() * p.ldQueries + std::uint64_t(unit) * dim + d] = head[d];
        return;
    }
    const std::uint32_t block = p.tables[p.slices[row.slice].table[p.group] + (row.position >> p.blockShift)];
    if (block == kc::kNoSlot)
        return;
    const std::uint32_t kvHead = (unit - p.heads) % p.kvHeads;
    const auto type = key ? p.keyType : p.valueType;
    std::byte *side = (key ? p.keys : p.values) + block * p.blockStride;
    const kd::KvRowPlace place =
        kd::kvRowPlace(type, dim, p.kvHeads, p.blockShift, kvHead, row.position & ((1u << p.blockShift) - 1));
    kd::storeKvRow(type, head, dim, side + place.elements, side + place.scales);
}

// SPDX-License-Identifier: Apache-2.0
// Whole blocks between native and stored form: a permutation of bytes (ops.h, KvConvertOp).
#include "kernels/cuda/device/kv.cuh"

namespace kvilt::kernels::cuda::device {
namespace {

// Two bytes at a time: every row and every scale begins at an even address in both forms.
KV_DEVICE void move2(std::byte *native, std::byte *stored, bool toStored)
{
    auto *a = reinterpret_cast<std::uint16_t *>(native), *b = reinterpret_cast<std::uint16_t *>(stored);
    if (toStored)
        *b = *a;
    else
        *a = *b;
}

// All heads of one token of one side.
KV_DEVICE void moveToken(const ConvertParams &p, KvElement type, std::uint32_t dim, std::uint32_t token, std::byte *native,
                         std::byte *stored)
{
    const std::uint32_t elements = kvElementsBytes(type, dim), row = elements + (kvHasScales(type) ? dim / 32 * 2 : 0);
    const std::uint32_t codes = type == KvElement::q8 ? 32 : 16, unit = codes + 2; // of 32 elements, quantised types
    for (std::uint32_t i = threadIndex(); i < p.heads * row / 2; i += 256) {
        const std::uint32_t head = i / (row / 2), byte = i % (row / 2) * 2;
        const KvRowPlace place = kvRowPlace(type, dim, p.heads, p.blockShift, head, token);
        std::uint64_t at = place.elements + byte;
        if (kvHasScales(type))
            at = byte % unit == 0 ? place.scales + byte / unit * 2 : place.elements + byte / unit * codes + (byte % unit - 2);
        move2(native + at, stored + std::uint64_t(head) * row + byte, p.toStored != 0);
    }
}

KV_DEVICE std::uint64_t storedRow(KvElement type, std::uint32_t dim, std::uint32_t heads)
{
    return std::uint64_t(heads) * (kvElementsBytes(type, dim) + (kvHasScales(type) ? dim / 32 * 2 : 0));
}

} // namespace
} // namespace kvilt::kernels::cuda::device

KV_KERNEL(kv_convert, ::kvilt::kernels::cuda::ConvertParams, 256, 4)
{
    using namespace ::kvilt::kernels::cuda::device;
    waitForEarlierLaunches();
    letNextLaunchBegin();
    const std::uint32_t token = blockX(), layer = blockY();
    const std::uint64_t offset = p.blocks[blockZ()] * p.blockStride + layer * p.layerStride;
    const std::uint64_t keyRow = storedRow(p.keyType, p.keyDim, p.heads), valueRow = storedRow(p.valueType, p.valueDim, p.heads);
    std::byte *stored = p.stored + blockZ() * p.storedStride + layer * ((keyRow + valueRow) << p.blockShift);
    moveToken(p, p.keyType, p.keyDim, token, p.keys + offset, stored + token * keyRow);
    moveToken(p, p.valueType, p.valueDim, token, p.values + offset, stored + (keyRow << p.blockShift) + token * valueRow);
}

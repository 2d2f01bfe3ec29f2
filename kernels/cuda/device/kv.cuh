// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/vocabulary.cuh"
#include "kernels/cuda/params.h"

// The native form of a block side (ops.h, KvView): [head][token][dim]; q8, q4: the integers of the side, then f16 scales
// [head][token][dim / 32]. The integers' arithmetic is that of the CPU's kv_write.
namespace kvilt::kernels::cuda::device {

// Bytes of one token's elements of one head, scales apart.
KV_DEVICE std::uint32_t kvElementsBytes(KvElement type, std::uint32_t dim)
{
    switch (type) {
    case KvElement::f32: return dim * 4;
    case KvElement::q8:
    case KvElement::fp8: return dim;
    case KvElement::q4: return dim / 2;
    default: return dim * 2;
    }
}
KV_DEVICE bool kvHasScales(KvElement type) { return type == KvElement::q8 || type == KvElement::q4; }

// Where in a side head `head`'s row of token `slot` begins, and its scales.
struct KvRowPlace {
    std::uint64_t elements, scales;
};
KV_DEVICE KvRowPlace kvRowPlace(KvElement type, std::uint32_t dim, std::uint32_t heads, std::uint32_t blockShift, std::uint32_t head,
                                std::uint32_t slot)
{
    const std::uint64_t index = (std::uint64_t(head) << blockShift) + slot;
    const std::uint64_t rowBytes = kvElementsBytes(type, dim);
    return {index * rowBytes, (std::uint64_t(heads) << blockShift) * rowBytes + index * (dim / 32) * 2};
}

// A warp stores a row of `dim` floats that lies in shared memory.
KV_DEVICE void storeKvRow(KvElement type, const float *row, std::uint32_t dim, std::byte *elements, std::byte *scales)
{
    for (std::uint32_t d = lane(); d < (dim + 31) / 32 * 32; d += 32) {
        const float value = d < dim ? row[d] : 0.0f;
        if (kvHasScales(type)) {
            const float most = warpMax(absOf(value)), top = warpMax(value);
            const bool q8 = type == KvElement::q8;
            const std::uint16_t scale =
                floatToHalf(q8 ? divideExact(most, 127.0f) : divideExact(top == most ? most : -most, -8.0f));
            const float stored = halfToFloat(scale);
            const float inverse = (q8 ? stored > 0.0f : stored != 0.0f) ? divideExact(1.0f, stored) : 0.0f;
            if (lane() == 0)
                reinterpret_cast<std::uint16_t *>(scales)[d / 32] = scale;
            if (q8) {
                const std::int32_t code = roundToInt(maxOf(-127.0f, -maxOf(-127.0f, -(value * inverse))));
                elements[d] = std::byte(code);
            } else {
                const std::uint32_t code = std::uint32_t(roundToInt(maxOf(0.0f, -maxOf(-15.0f, -fma(value, inverse, 8.0f)))));
                const std::uint32_t upper = shuffleXor(code, 16);
                if (lane() < 16)
                    elements[d / 32 * 16 + lane()] = std::byte(code | upper << 4);
            }
            continue;
        }
        if (d >= dim)
            continue;
        switch (type) {
        case KvElement::f32: reinterpret_cast<float *>(elements)[d] = value; break;
        case KvElement::bf16: reinterpret_cast<std::uint16_t *>(elements)[d] = std::uint16_t(floatToBfloat(value)); break;
        case KvElement::fp8: elements[d] = std::byte(floatToFp8(value)); break;
        default: reinterpret_cast<std::uint16_t *>(elements)[d] = floatToHalf(value); break;
        }
    }
}

} // namespace kvilt::kernels::cuda::device

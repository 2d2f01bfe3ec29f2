// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/reference/kv_reference.h"

#include "kernels/cuda/reference/ops_reference.h"
#include "kernels/layout/half.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace kvilt::kernels::cuda::reference {
namespace {

// 32 floats to codes and scale, by the same rule as on the CPU: the scale is used as it is stored.
std::uint16_t quantise(KvElement type, const float *x, std::int32_t *codes)
{
    float most = 0, top = -INFINITY;
    for (int i = 0; i < 32; ++i) {
        most = std::max(most, std::fabs(x[i]));
        top = std::max(top, x[i]);
    }
    const bool q8 = type == KvElement::q8;
    const std::uint16_t scale = f32ToF16(q8 ? most / 127.0f : (top == most ? most : -most) / -8.0f);
    const float value = f16ToF32(scale);
    const float inverse = value != 0.0f ? 1.0f / value : 0.0f;
    for (int i = 0; i < 32; ++i) {
        const float code = q8 ? std::clamp(x[i] * inverse, -127.0f, 127.0f)
                              : std::clamp(std::fma(x[i], inverse, 8.0f), 0.0f, 15.0f);
        codes[i] = static_cast<std::int32_t>(std::nearbyint(code));
    }
    return scale;
}

void writeUnit(const KvShape &shape, const float *x, std::uint32_t head, std::uint32_t token, std::uint32_t unit, std::byte *side)
{
    std::int32_t codes[32];
    const std::uint16_t scale = quantise(shape.type, x, codes);
    std::memcpy(side + scaleOffset(shape, head, token, unit), &scale, 2);
    std::byte *to = side + codeOffset(shape, head, token, unit);
    for (int i = 0; i < 32; ++i) {
        if (shape.type == KvElement::q8)
            to[i] = static_cast<std::byte>(codes[i]);
        else if (i < 16)
            to[i] = static_cast<std::byte>(codes[i] | codes[i + 16] << 4);
    }
}

void writeElement(KvElement type, float x, std::byte *to)
{
    if (type == KvElement::f32) {
        std::memcpy(to, &x, 4);
    } else if (type == KvElement::fp8) {
        *to = static_cast<std::byte>(f32ToFp8(x));
    } else {
        const std::uint16_t bits = type == KvElement::f16 ? f32ToF16(x) : f32ToBf16(x);
        std::memcpy(to, &bits, 2);
    }
}

float readElement(KvElement type, const std::byte *from)
{
    if (type == KvElement::fp8)
        return fp8ToF32(std::to_integer<std::uint8_t>(*from));
    if (type == KvElement::f32) {
        float x;
        std::memcpy(&x, from, 4);
        return x;
    }
    std::uint16_t bits;
    std::memcpy(&bits, from, 2);
    return type == KvElement::f16 ? f16ToF32(bits) : bf16ToF32(bits);
}

void readUnit(const KvShape &shape, const std::byte *side, std::uint32_t head, std::uint32_t token, std::uint32_t unit, float *out)
{
    std::uint16_t bits;
    std::memcpy(&bits, side + scaleOffset(shape, head, token, unit), 2);
    const float scale = f16ToF32(bits);
    const std::byte *from = side + codeOffset(shape, head, token, unit);
    for (int i = 0; i < 32; ++i) {
        const int byte = std::to_integer<int>(from[shape.type == KvElement::q8 ? i : i % 16]);
        const int code = shape.type == KvElement::q8 ? static_cast<std::int8_t>(byte) : (i < 16 ? byte & 15 : byte >> 4) - 8;
        out[i] = scale * static_cast<float>(code);
    }
}

// One side of one layer and block between the two forms.
void convertSide(const KvShape &shape, std::byte *native, std::byte *stored, bool toStored)
{
    const std::size_t bytes = codeBytes(shape.type);
    const bool quantised = isQuantised(shape.type);
    const auto move = [toStored](std::byte *a, std::byte *b, std::size_t n) { toStored ? std::memcpy(b, a, n) : std::memcpy(a, b, n); };
    for (std::uint32_t token = 0; token < shape.blockSize; ++token)
        for (std::uint32_t head = 0; head < shape.heads; ++head)
            for (std::uint32_t unit = 0; unit < shape.dim / unitElements(shape.type); ++unit) {
                if (quantised) {
                    move(native + scaleOffset(shape, head, token, unit), stored, 2);
                    stored += 2;
                }
                move(native + codeOffset(shape, head, token, unit), stored, bytes);
                stored += bytes;
            }
}

} // namespace

void writeKvRow(const KvShape &shape, const float *row, std::uint32_t token, std::byte *side)
{
    const std::uint32_t step = unitElements(shape.type);
    for (std::uint32_t head = 0; head < shape.heads; ++head)
        for (std::uint32_t unit = 0; unit < shape.dim / step; ++unit, row += step) {
            if (isQuantised(shape.type))
                writeUnit(shape, row, head, token, unit, side);
            else
                writeElement(shape.type, *row, side + codeOffset(shape, head, token, unit));
        }
}

void readKvRow(const KvShape &shape, const std::byte *side, std::uint32_t head, std::uint32_t token, float *out)
{
    const std::uint32_t step = unitElements(shape.type);
    for (std::uint32_t unit = 0; unit < shape.dim / step; ++unit, out += step) {
        if (isQuantised(shape.type))
            readUnit(shape, side, head, token, unit, out);
        else
            *out = readElement(shape.type, side + codeOffset(shape, head, token, unit));
    }
}

void convert(const KvConvertOp &op)
{
    const KvShape &k = op.firstLayer.keyShape, &v = op.firstLayer.valueShape;
    for (std::uint32_t i = 0; i < op.count; ++i) {
        std::byte *stored = op.stored + i * op.storedStride;
        for (std::uint32_t layer = 0; layer < op.layers; ++layer) {
            const std::uint64_t at = op.blocks[i] * op.firstLayer.blockStride + layer * op.layerStride;
            convertSide(k, op.firstLayer.keys + at, stored, op.toStored);
            stored += kvSideBytes(k);
            convertSide(v, op.firstLayer.values + at, stored, op.toStored);
            stored += kvSideBytes(v);
        }
    }
}

} // namespace kvilt::kernels::cuda::reference

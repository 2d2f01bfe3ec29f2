// SPDX-License-Identifier: Apache-2.0
// One token's K or V row into a block's native form.

template <typename Element>
KVILT_INLINE void writeKeyFloats(const float *row, std::uint32_t dim, std::uint32_t token, std::byte *tile)
{
    std::byte narrow[16 * Element::kBytes];
    for (std::uint32_t d = 0; d < dim; d += 16) {
        Element::store16(narrow, load(row + d));
        for (std::uint32_t i = 0; i < 16; ++i)
            std::memcpy(tile + ((d + i) * std::size_t(16) + token) * Element::kBytes, narrow + i * Element::kBytes,
                        Element::kBytes);
    }
}

template <typename Element>
KVILT_INLINE void writeValueFloats(const float *row, std::uint32_t dim, std::uint32_t token, std::byte *tile)
{
    for (std::uint32_t d = 0; d < dim; d += 16)
        Element::store16(tile + (token * std::size_t(dim) + d) * Element::kBytes, load(row + d));
}

// 32 floats as int8 and an f16 scale; quantised with the scale as it is stored.
KVILT_INLINE std::uint16_t quantiseQ8(const float *x, std::byte *codes)
{
    const F32x16 a = load(x), b = load(x + 16);
    const std::uint16_t scale = f32ToF16(reduceMax(max(abs(a), abs(b))) / 127.0f);
    const float inverse = f16ToF32(scale) > 0.0f ? 1.0f / f16ToF32(scale) : 0.0f;
    const F32x16 low = set1(-127.0f), high = set1(127.0f);
    storeI8(codes, roundToI32(min(max(mul(a, set1(inverse)), low), high)));
    storeI8(codes + 16, roundToI32(min(max(mul(b, set1(inverse)), low), high)));
    return scale;
}

// 32 floats as codes 0..15 meaning scale * (code - 8); the scale has the sign that lets the largest magnitude be -8.
KVILT_INLINE std::uint16_t quantiseQ4(const float *x, std::byte *codes)
{
    const F32x16 a = load(x), b = load(x + 16);
    const float most = reduceMax(max(abs(a), abs(b)));
    const float top = reduceMax(max(a, b));
    const std::uint16_t scale = f32ToF16((top == most ? most : -most) / -8.0f);
    const float value = f16ToF32(scale);
    const float inverse = value != 0.0f ? 1.0f / value : 0.0f;
    const F32x16 eight = set1(8.0f), high = set1(15.0f);
    storeI8(codes, roundToI32(min(max(fma(a, set1(inverse), eight), zero()), high)));
    storeI8(codes + 16, roundToI32(min(max(fma(b, set1(inverse), eight), zero()), high)));
    return scale;
}

KVILT_INLINE void putNibble(std::byte &at, bool high, std::byte code)
{
    at = high ? (at & std::byte(0x0f)) | (code << 4) : (at & std::byte(0xf0)) | code;
}

template <bool kKeys>
void writeQuantised(KvElement type, const float *row, std::uint32_t dim, std::uint32_t token, std::byte *tile)
{
    const bool q8 = type == KvElement::q8;
    const std::uint32_t run = kvRotation(dim);
    float turned[256];
    std::byte codes[32];
    for (std::uint32_t first = 0; first < dim; first += 32) {
        if (first % run == 0)
            rotateHead(row + first, run, turned);
        const float *x = turned + first % run;
        const std::uint16_t scale = q8 ? quantiseQ8(x, codes) : quantiseQ4(x, codes);
        std::memcpy(tile + kvScaleOffset(type, dim) + kvScaleByte(first, token), &scale, 2);
        for (std::uint32_t d = first; d < first + 32; ++d) {
            if (q8)
                tile[kKeys ? keyByteQ8(d, token) : token * std::size_t(dim) + d] = codes[d - first];
            else
                putNibble(tile[kKeys ? keyByteQ4(d, token) : valueByteQ4(d, token, dim)],
                          kKeys ? d % 8 >= 4 : d % 32 >= 16, codes[d - first]);
        }
    }
}

template <bool kKeys>
KVILT_INLINE void writeSide(const KvShape &shape, const float *row, std::uint32_t slot, std::byte *side)
{
    const std::uint32_t token = slot % kTileTokens;
    for (std::uint32_t head = 0; head < shape.heads; ++head, row += shape.dim) {
        std::byte *tile = side + kvTileOffset(shape, head, slot / kTileTokens);
        switch (shape.type) {
        case KvElement::f32:
            kKeys ? writeKeyFloats<ElementF32>(row, shape.dim, token, tile)
                  : writeValueFloats<ElementF32>(row, shape.dim, token, tile);
            break;
        case KvElement::f16:
            kKeys ? writeKeyFloats<ElementF16>(row, shape.dim, token, tile)
                  : writeValueFloats<ElementF16>(row, shape.dim, token, tile);
            break;
        case KvElement::bf16:
            kKeys ? writeKeyFloats<ElementBf16>(row, shape.dim, token, tile)
                  : writeValueFloats<ElementBf16>(row, shape.dim, token, tile);
            break;
        case KvElement::q8:
        case KvElement::q4: writeQuantised<kKeys>(shape.type, row, shape.dim, token, tile); break;
        case KvElement::fp8:
            kKeys ? writeKeyFloats<ElementFp8>(row, shape.dim, token, tile)
                  : writeValueFloats<ElementFp8>(row, shape.dim, token, tile);
            break;
        }
    }
}

void writeKeys(const KvShape &shape, const float *row, std::uint32_t slot, std::byte *side) noexcept
{
    writeSide<true>(shape, row, slot, side);
}
void writeValues(const KvShape &shape, const float *row, std::uint32_t slot, std::byte *side) noexcept
{
    writeSide<false>(shape, row, slot, side);
}

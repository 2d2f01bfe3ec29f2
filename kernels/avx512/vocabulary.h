// SPDX-License-Identifier: Apache-2.0
// AVX-512 (F, BW, DQ, VL) words for generic/*.inl: 16 lanes are one register. scalar/vocabulary.h defines the
// meaning. KVILT_VNNI says whether the target region has AVX512_VNNI; the file is included once with and once
// without it.

struct F32x16 {
    __m512 v;
};
struct I32x16 {
    __m512i v;
};
struct Mask {
    __mmask16 m;
};

// --- floats
KVILT_INLINE F32x16 set1(float x) { return {_mm512_set1_ps(x)}; }
KVILT_INLINE F32x16 zero() { return {_mm512_setzero_ps()}; }
KVILT_INLINE F32x16 load(const float *p) { return {_mm512_loadu_ps(p)}; }
KVILT_INLINE __mmask16 lanesBelow(std::int32_t n)
{
    return __mmask16(n <= 0 ? 0u : n >= 16 ? 0xffffu : (1u << n) - 1u);
}
KVILT_INLINE F32x16 loadFirst(const float *p, std::uint32_t n)
{
    return {_mm512_maskz_loadu_ps(lanesBelow(std::int32_t(n)), p)};
}
KVILT_INLINE void store(float *p, F32x16 x) { _mm512_storeu_ps(p, x.v); }
KVILT_INLINE void storeFirst(float *p, F32x16 x, std::uint32_t n)
{
    _mm512_mask_storeu_ps(p, lanesBelow(std::int32_t(n)), x.v);
}
KVILT_INLINE F32x16 add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
KVILT_INLINE F32x16 sub(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
KVILT_INLINE F32x16 mul(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
KVILT_INLINE F32x16 div(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
KVILT_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
KVILT_INLINE F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
KVILT_INLINE F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
KVILT_INLINE F32x16 abs(F32x16 a)
{
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7fffffff)))};
}
KVILT_INLINE __m256 upperHalf(__m512 x) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)); }
KVILT_INLINE float reduceAdd(F32x16 x)
{
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), upperHalf(x.v));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
KVILT_INLINE float reduceMax(F32x16 x)
{
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x.v), upperHalf(x.v));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

template <int kBit>
KVILT_INLINE F32x16 swapLanes(F32x16 x)
{
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return {_mm512_permutexvar_ps(_mm512_xor_si512(lanes, _mm512_set1_epi32(kBit)), x.v)};
}

// --- masks
KVILT_INLINE Mask laneRange(std::int32_t begin, std::int32_t end)
{
    return {__mmask16(lanesBelow(end) & ~unsigned(lanesBelow(begin)))};
}
KVILT_INLINE Mask less(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
KVILT_INLINE F32x16 select(Mask mask, F32x16 yes, F32x16 no) { return {_mm512_mask_blend_ps(mask.m, no.v, yes.v)}; }

// --- integers
KVILT_INLINE I32x16 iset1(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
KVILT_INLINE I32x16 iload(const std::int32_t *p) { return {_mm512_loadu_si512(p)}; }
KVILT_INLINE I32x16 iadd(I32x16 a, I32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
KVILT_INLINE I32x16 isub(I32x16 a, I32x16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
KVILT_INLINE I32x16 imul(I32x16 a, std::int32_t b) { return {_mm512_mullo_epi32(a.v, _mm512_set1_epi32(b))}; }
KVILT_INLINE std::int32_t ireduceAdd(I32x16 a)
{
    const __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(a.v), _mm512_extracti64x4_epi64(a.v, 1));
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}
KVILT_INLINE F32x16 toF32(I32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
KVILT_INLINE I32x16 roundToI32(F32x16 a) { return {_mm512_cvtps_epi32(a.v)}; }
KVILT_INLINE F32x16 scaleByPowerOf2(F32x16 x, I32x16 n)
{
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), _mm512_slli_epi32(n.v, 23)))};
}

KVILT_INLINE const float *readAgain(const float *p) { return p; } // registers enough to keep what was read

// --- narrow elements in memory
KVILT_INLINE __m128i load16(const std::byte *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); }
KVILT_INLINE __m256i load32(const std::byte *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }

KVILT_INLINE F32x16 loadF32(const std::byte *p) { return {_mm512_loadu_ps(p)}; }
KVILT_INLINE F32x16 loadF16(const std::byte *p) { return {_mm512_cvtph_ps(load32(p))}; }
KVILT_INLINE F32x16 loadBf16(const std::byte *p)
{
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load32(p)), 16))};
}
KVILT_INLINE F32x16 loadI8(const std::byte *p) { return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(p)))}; }
KVILT_INLINE F32x16 loadU8(const std::byte *p) { return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load16(p)))}; }
KVILT_INLINE F32x16 loadFp8(const std::byte *p)
{
    const __m256i wide = _mm256_cvtepu8_epi16(load16(p));
    const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)), 8);
    const __m256i rest = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x7f)), 7);
    return {_mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(sign, rest)), _mm512_set1_ps(256.0f))};
}
KVILT_INLINE F32x16 loadI4(const std::byte *p, bool high)
{
    const __m128i bytes = load16(p);
    const __m128i nibbles = _mm_and_si128(high ? _mm_srli_epi16(bytes, 4) : bytes, _mm_set1_epi8(15));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_sub_epi8(nibbles, _mm_set1_epi8(8))))};
}
KVILT_INLINE void storeF32(std::byte *p, F32x16 x) { _mm512_storeu_ps(p, x.v); }
KVILT_INLINE void storeF16(std::byte *p, F32x16 x)
{
    const __m256i half = _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), half);
}
KVILT_INLINE void storeBf16(std::byte *p, F32x16 x)
{
    const __m512i bits = _mm512_castps_si512(x.v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
    const __m512 chosen = _mm512_mask_blend_ps(nan, _mm512_castsi512_ps(rounded), _mm512_castsi512_ps(quiet));
    const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(chosen), 16));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), half);
}
KVILT_INLINE void storeI8(std::byte *p, I32x16 x)
{
    _mm_storeu_si128(reinterpret_cast<__m128i *>(p), _mm512_cvtsepi32_epi8(x.v));
}

// --- codes
struct Codes {
    __m512i v;
};
KVILT_INLINE Codes loadCodes(const std::byte *p) { return {_mm512_loadu_si512(p)}; }
KVILT_INLINE void storeCodes(std::byte *p, Codes x) { _mm512_storeu_si512(p, x.v); }
KVILT_INLINE Codes bitwiseAnd(Codes a, int mask) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(char(mask)))}; }
KVILT_INLINE Codes shiftRight(Codes a, unsigned n) { return {_mm512_srli_epi16(a.v, n)}; }
KVILT_INLINE Codes shiftLeft(Codes a, unsigned n) { return {_mm512_slli_epi16(a.v, n)}; }
KVILT_INLINE Codes lowNibbles(Codes x) { return bitwiseAnd(x, 15); }
KVILT_INLINE Codes highNibbles(Codes x) { return bitwiseAnd(shiftRight(x, 4), 15); }
KVILT_INLINE Codes bitwiseOr(Codes a, Codes b) { return {_mm512_or_si512(a.v, b.v)}; }
KVILT_INLINE Codes lookup(Codes x, const std::int8_t *table)
{
    const __m512i values = _mm512_broadcast_i32x4(load16(reinterpret_cast<const std::byte *>(table)));
    return {_mm512_shuffle_epi8(values, x.v)};
}
KVILT_INLINE Codes planeBit(Codes x, int bit)
{
    return bitwiseAnd(bit <= 4 ? shiftLeft(x, unsigned(4 - bit)) : shiftRight(x, unsigned(bit - 4)), 0x10);
}
KVILT_INLINE Codes planeBits2(Codes x, int pair)
{
    return bitwiseAnd(pair <= 2 ? shiftLeft(x, unsigned(4 - 2 * pair)) : shiftRight(x, 2), 0x30);
}

// --- exact dot products
struct Quad {
    __m512i x;
};
KVILT_INLINE Quad loadQuad(const std::byte *p)
{
    std::int32_t quad;
    std::memcpy(&quad, p, 4);
    return {_mm512_set1_epi32(quad)};
}

KVILT_INLINE void keepInOrder(__m512i &a)
{
#ifndef KVILT_EMULATED
    asm volatile("" : "+v"(a));
#else
    (void)a;
#endif
}

#if KVILT_VNNI
// vpdpbusd: unsigned codes times signed columns into 32 bits, exact for any codes.
template <std::uint32_t kFlipped>
struct WideDot {
    using Operand = Codes;
    static constexpr int kFlush = 8;
    static constexpr int kBias = int(kFlipped);
    __m512i sum;

    KVILT_INLINE void start() { sum = _mm512_setzero_si512(); }
    // Signed codes become unsigned by adding 128, which the caller takes back.
    static KVILT_INLINE Operand operand(Codes codes)
    {
        return {kFlipped ? _mm512_xor_si512(codes.v, _mm512_set1_epi8(char(0x80))) : codes.v};
    }
    KVILT_INLINE void step(const Operand &codes, Quad quad)
    {
        sum = _mm512_dpbusd_epi32(sum, codes.v, quad.x);
        keepInOrder(sum);
    }
    KVILT_INLINE void flush() {}
    KVILT_INLINE I32x16 finish() { return {sum}; }
};
template <int kMax>
using UnsignedDot = WideDot<0>;
using SignedDot = WideDot<128>;
#else
// As in avx2/vocabulary.h: few enough 16-bit steps that nothing saturates.
template <int kMax>
struct UnsignedDot {
    using Operand = Codes;
    static constexpr int kFlush = kMax <= 15 ? 8 : kMax <= 31 ? 4 : 2;
    static_assert(kFlush * 2 * 127 * kMax <= 32767);
    static constexpr int kBias = 0;
    __m512i sum16, sum32;

    KVILT_INLINE void start() { sum16 = sum32 = _mm512_setzero_si512(); }
    static KVILT_INLINE Operand operand(Codes codes) { return codes; }
    KVILT_INLINE void step(const Operand &codes, Quad quad)
    {
        sum16 = _mm512_add_epi16(sum16, _mm512_maddubs_epi16(codes.v, quad.x));
        keepInOrder(sum16);
    }
    KVILT_INLINE void flush()
    {
        sum32 = _mm512_add_epi32(sum32, _mm512_madd_epi16(sum16, _mm512_set1_epi16(1)));
        sum16 = _mm512_setzero_si512();
    }
    KVILT_INLINE I32x16 finish() { return {sum32}; }
};

struct SignedDot {
    struct Operand {
        __m512i magnitudes;
        __mmask64 negative;
    };
    static constexpr int kFlush = 8;
    static constexpr int kBias = 0;
    __m512i sum;

    KVILT_INLINE void start() { sum = _mm512_setzero_si512(); }
    static KVILT_INLINE Operand operand(Codes codes) { return {_mm512_abs_epi8(codes.v), _mm512_movepi8_mask(codes.v)}; }
    KVILT_INLINE void step(const Operand &w, Quad quad)
    {
        const __m512i x = _mm512_mask_sub_epi8(quad.x, w.negative, _mm512_setzero_si512(), quad.x);
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(w.magnitudes, x), _mm512_set1_epi16(1)));
        keepInOrder(sum);
    }
    KVILT_INLINE void flush() {}
    KVILT_INLINE I32x16 finish() { return {sum}; }
};
#endif

#ifndef KVILT_TILES
// --- matrix units: amx/vocabulary.h has one
inline constexpr int kBlockTokens = 0;
template <std::uint32_t kColumns>
struct BlockUnit {};
#endif

#ifndef KVILT_EMULATED
inline constexpr int kQuantTokens = 8;
inline constexpr int kFloatTokens = 6;
inline constexpr int kFloatPanels = 4;
inline constexpr int kAttentionRows = 6;
inline constexpr int kAttentionPanels = 4;
inline constexpr int kFloatPanelsOneToken = 8;
inline constexpr int kFewPanels = 4;
#else // the same text in smaller tiles: an emulated one of full size takes the compiler minutes
inline constexpr int kQuantTokens = 2;
inline constexpr int kFloatTokens = 2;
inline constexpr int kFloatPanels = 2;
inline constexpr int kAttentionRows = 2;
inline constexpr int kAttentionPanels = 2;
inline constexpr int kFloatPanelsOneToken = 2;
inline constexpr int kFewPanels = 2;
#endif
inline constexpr std::uint32_t kFloatColumns = 128;
inline constexpr int kFewRows = 4;

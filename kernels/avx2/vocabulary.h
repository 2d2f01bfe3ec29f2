// SPDX-License-Identifier: Apache-2.0
// AVX2, FMA and F16C words for generic/*.inl: 16 lanes are two registers. scalar/vocabulary.h defines the meaning.

struct F32x16 {
    __m256 lo, hi;
};
struct I32x16 {
    __m256i lo, hi;
};
struct Mask {
    __m256 lo, hi;
};

// --- floats
KVILT_INLINE F32x16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
KVILT_INLINE F32x16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
KVILT_INLINE F32x16 load(const float *p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
KVILT_INLINE __m256i lanesBelow(std::int32_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
KVILT_INLINE F32x16 loadFirst(const float *p, std::uint32_t n)
{
    const auto count = std::int32_t(n);
    return {_mm256_maskload_ps(p, lanesBelow(count)), _mm256_maskload_ps(p + 8, lanesBelow(count - 8))};
}
KVILT_INLINE void store(float *p, F32x16 x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
KVILT_INLINE void storeFirst(float *p, F32x16 x, std::uint32_t n)
{
    const auto count = std::int32_t(n);
    _mm256_maskstore_ps(p, lanesBelow(count), x.lo);
    _mm256_maskstore_ps(p + 8, lanesBelow(count - 8), x.hi);
}
KVILT_INLINE F32x16 add(F32x16 a, F32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
KVILT_INLINE F32x16 sub(F32x16 a, F32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
KVILT_INLINE F32x16 mul(F32x16 a, F32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
KVILT_INLINE F32x16 div(F32x16 a, F32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
KVILT_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c)
{
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
KVILT_INLINE F32x16 max(F32x16 a, F32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
KVILT_INLINE F32x16 min(F32x16 a, F32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
KVILT_INLINE F32x16 abs(F32x16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
KVILT_INLINE float reduceAdd(F32x16 x)
{
    const __m256 eight = _mm256_add_ps(x.lo, x.hi);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
KVILT_INLINE float reduceMax(F32x16 x)
{
    const __m256 eight = _mm256_max_ps(x.lo, x.hi);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

template <int kBit>
KVILT_INLINE F32x16 swapLanes(F32x16 x)
{
    if constexpr (kBit == 8)
        return {x.hi, x.lo};
    else if constexpr (kBit == 4)
        return {_mm256_permute2f128_ps(x.lo, x.lo, 1), _mm256_permute2f128_ps(x.hi, x.hi, 1)};
    else
        return {_mm256_permute_ps(x.lo, kBit == 1 ? 0xb1 : 0x4e), _mm256_permute_ps(x.hi, kBit == 1 ? 0xb1 : 0x4e)};
}

// --- masks
KVILT_INLINE Mask laneRange(std::int32_t begin, std::int32_t end)
{
    return {_mm256_castsi256_ps(_mm256_andnot_si256(lanesBelow(begin), lanesBelow(end))),
            _mm256_castsi256_ps(_mm256_andnot_si256(lanesBelow(begin - 8), lanesBelow(end - 8)))};
}
KVILT_INLINE Mask less(F32x16 a, F32x16 b)
{
    return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
KVILT_INLINE F32x16 select(Mask mask, F32x16 yes, F32x16 no)
{
    return {_mm256_blendv_ps(no.lo, yes.lo, mask.lo), _mm256_blendv_ps(no.hi, yes.hi, mask.hi)};
}

// --- integers
KVILT_INLINE I32x16 iset1(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
KVILT_INLINE I32x16 iload(const std::int32_t *p)
{
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)), _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + 8))};
}
KVILT_INLINE I32x16 iadd(I32x16 a, I32x16 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
KVILT_INLINE I32x16 isub(I32x16 a, I32x16 b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
KVILT_INLINE I32x16 imul(I32x16 a, std::int32_t b)
{
    const __m256i factor = _mm256_set1_epi32(b);
    return {_mm256_mullo_epi32(a.lo, factor), _mm256_mullo_epi32(a.hi, factor)};
}
KVILT_INLINE std::int32_t ireduceAdd(I32x16 a)
{
    const __m256i eight = _mm256_add_epi32(a.lo, a.hi);
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}
KVILT_INLINE F32x16 toF32(I32x16 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
KVILT_INLINE I32x16 roundToI32(F32x16 a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
KVILT_INLINE __m256 addExponent(__m256 x, __m256i n)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(n, 23)));
}
KVILT_INLINE F32x16 scaleByPowerOf2(F32x16 x, I32x16 n) { return {addExponent(x.lo, n.lo), addExponent(x.hi, n.hi)}; }

// The same address, of which the compiler knows nothing: what is read there is read anew. Sixteen registers hold twelve sums,
// a column and one value; g++ keeps more values and spills sums for them, at half the speed.
KVILT_INLINE const float *readAgain(const float *p)
{
    asm("" : "+r"(p));
    return p;
}

// --- narrow elements in memory
KVILT_INLINE __m128i load16(const std::byte *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); }
KVILT_INLINE __m128i load8(const std::byte *p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(p)); }
KVILT_INLINE __m256i load32(const std::byte *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
KVILT_INLINE void store16(std::byte *p, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i *>(p), x); }

KVILT_INLINE F32x16 loadF32(const std::byte *p) { return {_mm256_castsi256_ps(load32(p)), _mm256_castsi256_ps(load32(p + 32))}; }
KVILT_INLINE F32x16 loadF16(const std::byte *p) { return {_mm256_cvtph_ps(load16(p)), _mm256_cvtph_ps(load16(p + 16))}; }
KVILT_INLINE __m256 bf16ToPs(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }
KVILT_INLINE F32x16 loadBf16(const std::byte *p) { return {bf16ToPs(load16(p)), bf16ToPs(load16(p + 16))}; }
KVILT_INLINE F32x16 loadI8(const std::byte *p)
{
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load8(p))), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load8(p + 8)))};
}
KVILT_INLINE F32x16 loadU8(const std::byte *p)
{
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(p))), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(p + 8)))};
}
KVILT_INLINE __m256 fp8ToPs(__m128i x) // eight bytes
{
    const __m128i wide = _mm_cvtepu8_epi16(x);
    const __m128i sign = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x80)), 8);
    const __m128i rest = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x7f)), 7);
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(sign, rest)), _mm256_set1_ps(256.0f));
}
KVILT_INLINE F32x16 loadFp8(const std::byte *p) { return {fp8ToPs(load8(p)), fp8ToPs(load8(p + 8))}; }
KVILT_INLINE F32x16 loadI4(const std::byte *p, bool high)
{
    const __m128i bytes = load16(p);
    const __m128i nibbles = _mm_and_si128(high ? _mm_srli_epi16(bytes, 4) : bytes, _mm_set1_epi8(15));
    const __m128i codes = _mm_sub_epi8(nibbles, _mm_set1_epi8(8));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8)))};
}
KVILT_INLINE void storeF32(std::byte *p, F32x16 x)
{
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), _mm256_castps_si256(x.lo));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p + 32), _mm256_castps_si256(x.hi));
}
KVILT_INLINE void storeF16(std::byte *p, F32x16 x)
{
    store16(p, _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    store16(p + 16, _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
KVILT_INLINE __m128i narrow16(__m256i x) // eight lanes within 0..65535
{
    return _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
KVILT_INLINE __m128i psToBf16(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return narrow16(_mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16));
}
KVILT_INLINE void storeBf16(std::byte *p, F32x16 x)
{
    store16(p, psToBf16(x.lo));
    store16(p + 16, psToBf16(x.hi));
}
KVILT_INLINE void storeI8(std::byte *p, I32x16 x)
{
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xd8);
    store16(p, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

// --- codes: rows 0-7 and rows 8-15
struct Codes {
    __m256i lo, hi;
};
KVILT_INLINE Codes loadCodes(const std::byte *p) { return {load32(p), load32(p + 32)}; }
KVILT_INLINE void storeCodes(std::byte *p, Codes x)
{
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), x.lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p + 32), x.hi);
}
KVILT_INLINE Codes bitwiseAnd(Codes a, int mask)
{
    const __m256i m = _mm256_set1_epi8(char(mask));
    return {_mm256_and_si256(a.lo, m), _mm256_and_si256(a.hi, m)};
}
KVILT_INLINE Codes shiftRight(Codes a, int n) { return {_mm256_srli_epi16(a.lo, n), _mm256_srli_epi16(a.hi, n)}; }
KVILT_INLINE Codes shiftLeft(Codes a, int n) { return {_mm256_slli_epi16(a.lo, n), _mm256_slli_epi16(a.hi, n)}; }
KVILT_INLINE Codes lowNibbles(Codes x) { return bitwiseAnd(x, 15); }
KVILT_INLINE Codes highNibbles(Codes x) { return bitwiseAnd(shiftRight(x, 4), 15); }
KVILT_INLINE Codes bitwiseOr(Codes a, Codes b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
KVILT_INLINE Codes lookup(Codes x, const std::int8_t *table)
{
    const __m256i values = _mm256_broadcastsi128_si256(load16(reinterpret_cast<const std::byte *>(table)));
    return {_mm256_shuffle_epi8(values, x.lo), _mm256_shuffle_epi8(values, x.hi)};
}
KVILT_INLINE Codes planeBit(Codes x, int bit) { return bitwiseAnd(bit <= 4 ? shiftLeft(x, 4 - bit) : shiftRight(x, bit - 4), 0x10); }
KVILT_INLINE Codes planeBits2(Codes x, int pair) { return bitwiseAnd(pair <= 2 ? shiftLeft(x, 4 - 2 * pair) : shiftRight(x, 2), 0x30); }

// --- exact dot products
struct Quad {
    __m256i x;
};
KVILT_INLINE Quad loadQuad(const std::byte *p)
{
    std::int32_t quad;
    std::memcpy(&quad, p, 4);
    return {_mm256_set1_epi32(quad)};
}

// g++ sinks the adds of a whole block to its end otherwise, and the products that wait for them do not fit the
// registers: half the speed.
KVILT_INLINE void keepInOrder(__m256i &a, __m256i &b)
{
    asm volatile("" : "+x"(a), "+x"(b));
}

// maddubs adds pairs into 16 bits with saturation, so codes up to kMax may take 32767 / (2 * 127 * kMax) steps
// before the 16-bit sums must be widened; below that bound nothing is lost.
template <int kMax>
struct UnsignedDot {
    using Operand = Codes;
    static constexpr int kFlush = kMax <= 15 ? 8 : kMax <= 31 ? 4 : 2;
    static_assert(kFlush * 2 * 127 * kMax <= 32767);
    static constexpr int kBias = 0;
    __m256i lo16, hi16, lo32, hi32;

    KVILT_INLINE void start() { lo16 = hi16 = lo32 = hi32 = _mm256_setzero_si256(); }
    static KVILT_INLINE Operand operand(Codes codes) { return codes; }
    KVILT_INLINE void step(const Operand &codes, Quad quad)
    {
        lo16 = _mm256_add_epi16(lo16, _mm256_maddubs_epi16(codes.lo, quad.x));
        hi16 = _mm256_add_epi16(hi16, _mm256_maddubs_epi16(codes.hi, quad.x));
        keepInOrder(lo16, hi16);
    }
    KVILT_INLINE void flush()
    {
        const __m256i ones = _mm256_set1_epi16(1);
        lo32 = _mm256_add_epi32(lo32, _mm256_madd_epi16(lo16, ones));
        hi32 = _mm256_add_epi32(hi32, _mm256_madd_epi16(hi16, ones));
        lo16 = hi16 = _mm256_setzero_si256();
    }
    KVILT_INLINE I32x16 finish() { return {lo32, hi32}; }
};

// |code| * (x with the code's sign): at most 2 * 128 * 127 = 32512 a pair, so one step a flush is exact.
struct SignedDot {
    struct Operand {
        Codes codes, magnitudes;
    };
    static constexpr int kFlush = 8;
    static constexpr int kBias = 0;
    __m256i lo32, hi32;

    KVILT_INLINE void start() { lo32 = hi32 = _mm256_setzero_si256(); }
    static KVILT_INLINE Operand operand(Codes codes)
    {
        return {codes, {_mm256_abs_epi8(codes.lo), _mm256_abs_epi8(codes.hi)}};
    }
    KVILT_INLINE void step(const Operand &w, Quad quad)
    {
        const __m256i ones = _mm256_set1_epi16(1);
        const __m256i lo = _mm256_maddubs_epi16(w.magnitudes.lo, _mm256_sign_epi8(quad.x, w.codes.lo));
        const __m256i hi = _mm256_maddubs_epi16(w.magnitudes.hi, _mm256_sign_epi8(quad.x, w.codes.hi));
        lo32 = _mm256_add_epi32(lo32, _mm256_madd_epi16(lo, ones));
        hi32 = _mm256_add_epi32(hi32, _mm256_madd_epi16(hi, ones));
        keepInOrder(lo32, hi32);
    }
    KVILT_INLINE void flush() {}
    KVILT_INLINE I32x16 finish() { return {lo32, hi32}; }
};

// --- matrix units
inline constexpr int kBlockTokens = 0; // none
template <std::uint32_t kColumns>
struct BlockUnit {};

inline constexpr int kQuantTokens = 4;
inline constexpr int kFloatTokens = 6; // of one panel: from the cache three of two panels take 12 % longer on Zen 3
inline constexpr int kFloatPanels = 1;
inline constexpr std::uint32_t kFloatColumns = 256;
inline constexpr int kAttentionRows = 3;
inline constexpr int kAttentionPanels = 2;
inline constexpr int kFloatPanelsOneToken = 4;
inline constexpr int kFewRows = 4;
inline constexpr int kFewPanels = 1;

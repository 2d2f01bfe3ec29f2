// SPDX-License-Identifier: Apache-2.0
#pragma once

// AVX-512 intrinsics on machines without it: SIMDe's, and here those that SIMDe 0.7.4 lacks or has wrong, from two AVX2 halves.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <cstdint>
#include <cstring>

namespace kvilt::emulated {

template <typename To, typename From>
inline To bits(const From &from)
{
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

struct Floats {
    __m256 low, high;
};
struct Ints {
    __m256i low, high;
};

inline simde__m512 maskLoad(std::uint32_t mask, const float *from)
{
    float lanes[16] = {};
    for (int i = 0; i < 16; ++i)
        if (mask >> i & 1)
            lanes[i] = from[i];
    return bits<simde__m512>(lanes);
}
inline void maskStore(float *to, std::uint32_t mask, simde__m512 x)
{
    float lanes[16];
    std::memcpy(lanes, &x, 64);
    for (int i = 0; i < 16; ++i)
        if (mask >> i & 1)
            to[i] = lanes[i];
}
inline simde__m512 toFloats(simde__m512i x)
{
    const auto half = bits<Ints>(x);
    return bits<simde__m512>(Floats{_mm256_cvtepi32_ps(half.low), _mm256_cvtepi32_ps(half.high)});
}
inline simde__m512i roundToInts(simde__m512 x)
{
    const auto half = bits<Floats>(x);
    return bits<simde__m512i>(Ints{_mm256_cvtps_epi32(half.low), _mm256_cvtps_epi32(half.high)});
}
inline simde__m512 fromHalves(__m256i x)
{
    return bits<simde__m512>(Floats{_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))});
}
inline __m256i toHalves(simde__m512 x)
{
    const auto half = bits<Floats>(x);
    return _mm256_setr_m128i(_mm256_cvtps_ph(half.low, 0), _mm256_cvtps_ph(half.high, 0));
}
inline simde__m512i widenU16(__m256i x)
{
    return bits<simde__m512i>(
        Ints{_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1))});
}
inline simde__m512i widenI8(__m128i x)
{
    return bits<simde__m512i>(Ints{_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))});
}
inline simde__m512i widenU8(__m128i x)
{
    return bits<simde__m512i>(Ints{_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))});
}
inline simde__m512i maddWords(simde__m512i a, simde__m512i b)
{
    const auto x = bits<Ints>(a), y = bits<Ints>(b);
    return bits<simde__m512i>(Ints{_mm256_madd_epi16(x.low, y.low), _mm256_madd_epi16(x.high, y.high)});
}
inline __m256i truncateTo16(simde__m512i x)
{
    std::int32_t from[16];
    std::int16_t to[16];
    std::memcpy(from, &x, 64);
    for (int i = 0; i < 16; ++i)
        to[i] = std::int16_t(from[i]);
    return bits<__m256i>(to);
}

} // namespace kvilt::emulated

#define _mm512_maskz_loadu_ps(mask, from) kvilt::emulated::maskLoad(mask, from)
#define _mm512_mask_storeu_ps(to, mask, x) kvilt::emulated::maskStore(to, mask, x)
#undef _mm512_madd_epi16 // SIMDe's macro takes four arguments
#define _mm512_madd_epi16(a, b) kvilt::emulated::maddWords(a, b)
#define _mm512_cvtepi32_ps(x) kvilt::emulated::toFloats(x)
#define _mm512_cvtps_epi32(x) kvilt::emulated::roundToInts(x)
#define _mm512_cvtph_ps(x) kvilt::emulated::fromHalves(x)
#define _mm512_cvtps_ph(x, rounding) kvilt::emulated::toHalves(x)
#define _mm512_cvtepu16_epi32(x) kvilt::emulated::widenU16(x)
#define _mm512_cvtepi8_epi32(x) kvilt::emulated::widenI8(x)
#define _mm512_cvtepu8_epi32(x) kvilt::emulated::widenU8(x)
#define _mm512_cvtepi32_epi16(x) kvilt::emulated::truncateTo16(x)

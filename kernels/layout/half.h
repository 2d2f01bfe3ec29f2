// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

// 16-bit floats in plain integer arithmetic, bit for bit what the F16C instructions give (round to nearest even).
namespace kvilt::kernels {

inline float f16ToF32(std::uint16_t h)
{
    const std::uint32_t sign = std::uint32_t(h & 0x8000u) << 16;
    const std::uint32_t exponent = (h >> 10) & 31u;
    const std::uint32_t mantissa = h & 0x3ffu;
    if (exponent == 31) // infinity, or a NaN that becomes quiet
        return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u));
    if (exponent == 0) // zero or subnormal: mantissa * 2^-24, exact
        return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(float(mantissa) * 0x1p-24f));
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

inline std::uint16_t f32ToF16(float f)
{
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return std::uint16_t(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) // rounds to 65536 or more
        return std::uint16_t(sign | 0x7c00u);
    if (magnitude < 0x38800000u) // below 2^-14: adding 0.5 leaves the multiple of 2^-24 in the low bits, rounded
        return std::uint16_t(sign | (std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u));
    const std::uint32_t odd = (magnitude >> 13) & 1u;
    return std::uint16_t(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

inline float bf16ToF32(std::uint16_t h) { return std::bit_cast<float>(std::uint32_t(h) << 16); }

inline std::uint16_t f32ToBf16(float f)
{
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return std::uint16_t((bits >> 16) | 0x40u);
    return std::uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// fp8 e4m3: an f16 whose exponent is 8 too small and whose mantissa has 3 bits. No infinity; 0x7f is not given out.
inline float fp8ToF32(std::uint8_t x)
{
    return f16ToF32(std::uint16_t((x & 0x80u) << 8 | (x & 0x7fu) << 7)) * 256.0f;
}

// Nearest even; beyond 448, and for NaN, +-448.
inline std::uint8_t f32ToFp8(float f)
{
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const auto sign = std::uint8_t(bits >> 24 & 0x80u);
    if (magnitude >= 0x43e00000u) // 448
        return std::uint8_t(sign | 0x7eu);
    if (magnitude < 0x3c800000u) // below 2^-6: adding 2^14 leaves the multiple of 2^-9 in the low bits, rounded
        return std::uint8_t(sign | (std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 16384.0f) & 15u));
    return std::uint8_t(sign | ((magnitude + 0x7ffffu + (magnitude >> 20 & 1u) - (120u << 23)) >> 20));
}

} // namespace kvilt::kernels

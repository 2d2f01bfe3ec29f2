// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/weights.cuh"

// Units of weight tiles as 16-bit float fragments of A: 16-bit types as they are, quantised types as f16, scale and minimum
// applied. A code and a scale are exact in f16, or, where the scale is a product of two, rounded once; so is the result.
namespace kvilt::kernels::cuda::device {

// Two f16 numbers in a word.
#if defined(__CUDACC__)
KV_DEVICE std::uint32_t subtractHalves(std::uint32_t a, std::uint32_t b)
{
    std::uint32_t r;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
KV_DEVICE std::uint32_t fmaHalves(std::uint32_t a, std::uint32_t b, std::uint32_t c)
{
    std::uint32_t r;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}
#else
KV_DEVICE std::uint32_t fmaHalves(std::uint32_t a, std::uint32_t b, std::uint32_t c)
{
    std::uint32_t out = 0;
    for (std::uint32_t i = 0; i < 32; i += 16) {
        const auto at = [i](std::uint32_t word) { return double(f16ToF32(std::uint16_t(word >> i))); };
        out |= std::uint32_t(f32ToF16(float(at(a) * at(b) + at(c)))) << i;
    }
    return out;
}
KV_DEVICE std::uint32_t subtractHalves(std::uint32_t a, std::uint32_t b) { return fmaHalves(b, 0xbc00bc00u, a); }
#endif
KV_DEVICE std::uint32_t bothHalves(float v) { return floatToHalf(v) * 0x10001u; }

// The fragments of both 16-column steps of a unit's block of 32 columns. Quantised: column order as params.h, fromCodes, says.
template <WeightType kType>
struct WideUnit {
    static constexpr WeightLayout kLayout = weightLayout(kType);

    const std::byte *header;
    const std::byte *unit;

    KV_DEVICE void fragments(std::uint32_t b, std::uint32_t (&a)[2][4]) const
    {
        if constexpr (kLayout.format.floatBytes == 2) {
            KV_UNROLL for (std::uint32_t step = 0; step < 2; ++step)
            {
                const Words4 words = words4At(unit + (2 * b + step) * 512 + lane() * 16);
                KV_UNROLL for (int r = 0; r < 4; ++r)
                    a[step][r] = words.w[r];
            }
        } else {
            const Codebook none{};
            const QuantUnit<kType> quant{header, unit, none};
            std::uint32_t codes[4];
            float scale[QuantUnit<kType>::kGroups][2], minimum[QuantUnit<kType>::kGroups][2];
            quant.codes(b, codes);
            quant.scales(b, scale, minimum);
            KV_UNROLL for (int step = 0; step < 2; ++step)
            {
                KV_UNROLL for (int high = 0; high < 2; ++high)
                {
                    const int group = step % QuantUnit<kType>::kGroups;
                    const std::uint32_t s = bothHalves(scale[group][high]), m = bothHalves(minimum[group][high]);
                    // 1024 + (code + 128) has the code in its last bits; both differences are exact.
                    const std::uint32_t bytes = codes[2 * step + high] ^ 0x80808080u;
                    const std::uint32_t even = permuteBytes(bytes, 0x64646464u, 0x4140u), odd = permuteBytes(bytes, 0x64646464u, 0x4342u);
                    a[step][high] = fmaHalves(subtractHalves(even, 0x64806480u), s, m);
                    a[step][2 + high] = fmaHalves(subtractHalves(odd, 0x64806480u), s, m);
                }
            }
        }
    }
};

} // namespace kvilt::kernels::cuda::device

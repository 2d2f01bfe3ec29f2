// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/device/vocabulary.cuh"

// Matrix products of one warp. With g = lane / 4 and c = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k16" and the like):
//   C, D [16][8]        c[0], c[1]: row g, columns 2c, 2c + 1; c[2], c[3]: row g + 8
//   A [16][16] 16 bits  a[0]: row g, k 2c, 2c + 1; a[1]: row g + 8; a[2]: row g, k 2c + 8, 2c + 9; a[3]: row g + 8
//   B [16][8] 16 bits   b0: k 2c, 2c + 1 of column g; b1: k 2c + 8, 2c + 9
//   A [16][32] 8 bits   a[0]: row g, k 4c .. 4c + 3; a[1]: row g + 8; a[2]: row g, k 16 + 4c ..; a[3]: row g + 8
//   B [32][8] 8 bits    b0: k 4c .. 4c + 3 of column g; b1: k 16 + 4c ..
// Before sm_80 the shapes are put together from smaller ones; bfloat16 is multiplied without tensor cores there.
namespace kvilt::kernels::cuda::device {

#if !defined(__CUDACC__)
namespace emulated {

template <std::uint32_t kRegs>
struct MmaIn {
    std::uint32_t a[4];
    std::uint32_t b[2];
    std::uint32_t c[4];
};

// D = C + A B with a function that reads element i of a register and one that adds a product.
template <std::uint32_t kPerRegister, std::uint32_t kHalves, typename Value, typename Unpack>
void multiply(const void *const *ins, void *const *outs, Unpack unpack)
{
    using In = MmaIn<0>;
    const auto in = [&](std::uint32_t l) -> const In & { return *static_cast<const In *>(ins[l]); };
    for (std::uint32_t l = 0; l < 32; ++l) {
        for (std::uint32_t r = 0; r < 4; ++r) {
            const std::uint32_t row = l / 4 + r / 2 * 8, column = l % 4 * 2 + r % 2;
            Value sum;
            __builtin_memcpy(&sum, &in(l).c[r], 4);
            for (std::uint32_t half = 0; half < kHalves; ++half)
                for (std::uint32_t c = 0; c < 4; ++c)
                    for (std::uint32_t i = 0; i < kPerRegister; ++i) {
                        const Value x = unpack(in(row % 8 * 4 + c).a[half * 2 + row / 8], i);
                        const Value y = unpack(in(column * 4 + c).b[half], i);
                        sum = sum + x * y;
                    }
            __builtin_memcpy(static_cast<std::uint32_t *>(outs[l]) + r, &sum, 4);
        }
    }
}

inline std::int32_t int8At(std::uint32_t word, std::uint32_t i) { return std::int8_t(word >> (8 * i) & 255u); }
inline float halfAt(std::uint32_t word, std::uint32_t i) { return f16ToF32(std::uint16_t(word >> (16 * i))); }
inline float bfloatAt(std::uint32_t word, std::uint32_t i) { return bf16ToF32(std::uint16_t(word >> (16 * i))); }

template <typename C>
void together(emulator::WarpFunction function, C (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1)
{
    MmaIn<0> in{{a[0], a[1], a[2], a[3]}, {b0, b1}, {}};
    __builtin_memcpy(in.c, c, 16);
    emulator::warpTogether(function, &in, c);
}

} // namespace emulated
#endif

// 8-bit signed integers; exact.
KV_DEVICE void mmaInt8(std::int32_t (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1)
{
#if !defined(__CUDACC__)
    emulated::together([](const void *const *i, void *const *o) { emulated::multiply<4, 2, std::int32_t>(i, o, emulated::int8At); }, c, a, b0, b1);
#elif KV_ARCH >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    KV_UNROLL for (int row = 0; row < 2; ++row)
    {
        KV_UNROLL for (int half = 0; half < 2; ++half)
        {
            asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                : "+r"(c[2 * row]), "+r"(c[2 * row + 1])
                : "r"(a[2 * half + row]), "r"(half ? b1 : b0));
        }
    }
#endif
}

// The same with 16 k only: A's registers of rows g and g + 8, one of B.
KV_DEVICE void mmaInt8Half(std::int32_t (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b)
{
#if !defined(__CUDACC__)
    emulated::together([](const void *const *i, void *const *o) { emulated::multiply<4, 1, std::int32_t>(i, o, emulated::int8At); }, c, {a0, a1, 0, 0}, b, 0);
#elif KV_ARCH >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
#else
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};" : "+r"(c[0]), "+r"(c[1]) : "r"(a0), "r"(b));
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};" : "+r"(c[2]), "+r"(c[3]) : "r"(a1), "r"(b));
#endif
}

KV_DEVICE void mmaHalf(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1)
{
#if !defined(__CUDACC__)
    emulated::together([](const void *const *i, void *const *o) { emulated::multiply<2, 2, float>(i, o, emulated::halfAt); }, c, a, b0, b1);
#elif KV_ARCH >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    KV_UNROLL for (int half = 0; half < 2; ++half)
    {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(half ? b1 : b0));
    }
#endif
}

KV_DEVICE void mmaBfloat(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1)
{
#if !defined(__CUDACC__)
    emulated::together([](const void *const *i, void *const *o) { emulated::multiply<2, 2, float>(i, o, emulated::bfloatAt); }, c, a, b0, b1);
#elif KV_ARCH >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    const std::uint32_t row = lane() / 4 * 4, column = lane() % 4 * 8;
    KV_UNROLL for (std::uint32_t half = 0; half < 2; ++half)
    {
        KV_UNROLL for (std::uint32_t k = 0; k < 4; ++k)
        {
            const std::uint32_t x[2] = {shuffle(a[2 * half], row + k), shuffle(a[2 * half + 1], row + k)};
            const std::uint32_t b = half ? b1 : b0;
            const std::uint32_t y[2] = {shuffle(b, column + k), shuffle(b, column + 4 + k)};
            KV_UNROLL for (std::uint32_t r = 0; r < 4; ++r)
            {
                c[r] = fma(bfloatToFloat(x[r / 2] & 0xffffu), bfloatToFloat(y[r % 2] & 0xffffu), c[r]);
                c[r] = fma(bfloatToFloat(x[r / 2] >> 16), bfloatToFloat(y[r % 2] >> 16), c[r]);
            }
        }
    }
#endif
}

// Four 8 x 8 matrices of 16-bit elements from shared memory. Lanes 8 i .. 8 i + 7 name the rows (16 bytes, aligned) of matrix i;
// register i holds, of matrix i, row g, columns 2c and 2c + 1 (transposed: rows 2c and 2c + 1 of column g).
template <bool kTransposed>
KV_DEVICE void loadMatrices(std::uint32_t (&r)[4], const void *row)
{
#if !defined(__CUDACC__)
    emulator::warpTogether(
        [](const void *const *ins, void *const *outs) {
            for (std::uint32_t l = 0; l < 32; ++l)
                for (std::uint32_t i = 0; i < 4; ++i) {
                    std::uint16_t two[2];
                    for (std::uint32_t j = 0; j < 2; ++j) {
                        const std::uint32_t from = kTransposed ? 2 * (l % 4) + j : l / 4, column = kTransposed ? l / 4 : 2 * (l % 4) + j;
                        __builtin_memcpy(&two[j], static_cast<const std::byte *>(ins[8 * i + from]) + 2 * column, 2);
                    }
                    static_cast<std::uint32_t *>(outs[l])[i] = std::uint32_t(two[1]) << 16 | two[0];
                }
        },
        row, r);
#else
    if constexpr (kTransposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(sharedAddress(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(sharedAddress(row))
                     : "memory");
#endif
}

} // namespace kvilt::kernels::cuda::device

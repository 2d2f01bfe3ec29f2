// SPDX-License-Identifier: Apache-2.0
// Elementary functions that give the same bits on every machine: one sequence of IEEE operations, no estimates.

// exp(x): 2^n * e^r with |r| <= ln(2)/2 and the series to r^7; relative error below 2e-7. Below kExpLowest it is
// exactly 0 (the result would leave the normal range), above 88.3 it saturates near the largest float.
inline constexpr float kExpLowest = -86.5f;

KVILT_INLINE F32x16 exp(F32x16 x)
{
    const F32x16 bounded = max(set1(kExpLowest), min(set1(88.3f), x));
    const I32x16 n = roundToI32(mul(bounded, set1(1.44269504f)));
    const F32x16 nf = toF32(n);
    F32x16 r = fma(nf, set1(-0.693145752f), bounded); // ln 2 in two parts: the first has 11 trailing zero bits
    r = fma(nf, set1(-1.42860677e-6f), r);
    F32x16 p = set1(1.0f / 5040);
    p = fma(p, r, set1(1.0f / 720));
    p = fma(p, r, set1(1.0f / 120));
    p = fma(p, r, set1(1.0f / 24));
    p = fma(p, r, set1(1.0f / 6));
    p = fma(p, r, set1(0.5f));
    p = fma(p, r, set1(1.0f));
    p = fma(p, r, set1(1.0f));
    return select(less(x, set1(kExpLowest)), zero(), scaleByPowerOf2(p, n));
}

KVILT_INLINE F32x16 negate(F32x16 x)
{
    return sub(zero(), x);
}

// 1 / (1 + exp(-x))
KVILT_INLINE F32x16 sigmoid(F32x16 x)
{
    return div(set1(1.0f), add(set1(1.0f), exp(negate(x))));
}

KVILT_INLINE F32x16 silu(F32x16 x)
{
    return div(x, add(set1(1.0f), exp(negate(x))));
}

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
KVILT_INLINE F32x16 gelu(F32x16 x)
{
    const F32x16 cube = mul(mul(x, x), x);
    const F32x16 inner = fma(set1(0.044715f), cube, x);
    return div(x, add(set1(1.0f), exp(mul(set1(-1.59576912f), inner))));
}

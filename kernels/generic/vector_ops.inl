// SPDX-License-Identifier: Apache-2.0
// Element-wise functions, norms, rotation, and activation rows.

// out[i] = op(a[i], b[i]); tails are loaded and stored lane by lane, never past n.
template <typename Op>
KVILT_INLINE void zip(const float *a, const float *b, std::uint32_t n, float *out, Op op)
{
    std::uint32_t i = 0;
    for (; i + 16 <= n; i += 16)
        store(out + i, op(load(a + i), load(b + i)));
    if (i < n)
        storeFirst(out + i, op(loadFirst(a + i, n - i), loadFirst(b + i, n - i)), n - i);
}

struct SiluMul {
    KVILT_INLINE F32x16 operator()(F32x16 gate, F32x16 up) const { return mul(silu(gate), up); }
};
struct GeluMul {
    KVILT_INLINE F32x16 operator()(F32x16 gate, F32x16 up) const { return mul(gelu(gate), up); }
};
struct Add {
    KVILT_INLINE F32x16 operator()(F32x16 a, F32x16 b) const { return add(a, b); }
};
struct ScaleBy {
    F32x16 factor;
    KVILT_INLINE F32x16 operator()(F32x16 a, F32x16) const { return mul(a, factor); }
};

void siluMul(const float *gate, const float *up, std::uint32_t n, float *out) noexcept { zip(gate, up, n, out, SiluMul{}); }
void geluMul(const float *gate, const float *up, std::uint32_t n, float *out) noexcept { zip(gate, up, n, out, GeluMul{}); }
void addVectors(const float *a, const float *b, std::uint32_t n, float *out) noexcept { zip(a, b, n, out, Add{}); }
void scaleVector(float factor, std::uint32_t n, float *x) noexcept { zip(x, x, n, x, ScaleBy{set1(factor)}); }

// 1 / sqrt(mean(x^2) + eps); lane i sums the squares of columns congruent to i mod 16.
KVILT_INLINE float inverseRms(const float *x, std::uint32_t n, float eps)
{
    F32x16 sum = zero();
    std::uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const F32x16 v = load(x + i);
        sum = fma(v, v, sum);
    }
    if (i < n) {
        const F32x16 v = loadFirst(x + i, n - i);
        sum = fma(v, v, sum);
    }
    return 1.0f / std::sqrt(reduceAdd(sum) / float(n) + eps);
}

struct Normalise {
    F32x16 factor;
    KVILT_INLINE F32x16 operator()(F32x16 x, F32x16 weight) const { return mul(mul(x, factor), weight); }
};

void rmsNorm(const float *x, const float *weight, std::uint32_t n, float eps, float *out) noexcept
{
    zip(x, weight, n, out, Normalise{set1(inverseRms(x, n, eps))});
}

std::uint32_t argmax(const float *x, std::uint32_t n) noexcept
{
    F32x16 best = set1(-std::numeric_limits<float>::infinity());
    std::uint32_t i = 0;
    for (; i + 16 <= n; i += 16)
        best = max(load(x + i), best); // a NaN in x loses: max gives its second operand
    float most = reduceMax(best);
    for (; i < n; ++i)
        most = x[i] > most ? x[i] : most;
    for (i = 0; i < n; ++i)
        if (x[i] == most)
            return i;
    return 0;
}

// --- rotation: (a, b) -> (a cos - b sin, a sin + b cos), the second product first, then one FMA
KVILT_INLINE void rotatePair(float &a, float &b, float c, float s)
{
    const float x = __builtin_fmaf(a, c, -(b * s));
    b = __builtin_fmaf(a, s, b * c);
    a = x;
}

KVILT_INLINE void ropeNeoxHead(const float *cosSin, std::uint32_t half, float *x)
{
    std::uint32_t i = 0;
    for (; i + 16 <= half; i += 16) {
        const F32x16 a = load(x + i), b = load(x + half + i), c = load(cosSin + i), s = load(cosSin + half + i);
        store(x + i, fma(a, c, negate(mul(b, s))));
        store(x + half + i, fma(a, s, mul(b, c)));
    }
    for (; i < half; ++i)
        rotatePair(x[i], x[half + i], cosSin[i], cosSin[half + i]);
}

void rope(RopeKind kind, const float *cosSin, std::uint32_t rotated, std::uint32_t heads, std::uint32_t dim,
          float *x) noexcept
{
    const std::uint32_t half = rotated / 2;
    for (std::uint32_t head = 0; head < heads; ++head, x += dim) {
        if (kind == RopeKind::neox) {
            ropeNeoxHead(cosSin, half, x);
            continue;
        }
        for (std::uint32_t i = 0; i < half; ++i)
            rotatePair(x[2 * i], x[2 * i + 1], cosSin[i], cosSin[half + i]);
    }
}

// --- activation rows
// Blocks whose largest magnitude is below become zeros: 127 divided by it would leave the range of floats.
inline constexpr float kLeastMagnitude = 1e-36f;

struct RowWriter {
    std::byte *row;
    ActivationLayout layout;

    // Columns 32 * block .. + 31: x = scale * q with q = round(x * 127 / amax), -127 for NaN.
    KVILT_INLINE void block32(std::uint32_t block, F32x16 a, F32x16 b) const
    {
        const float most = reduceMax(max(abs(a), abs(b)));
        const float inverse = most > kLeastMagnitude ? 127.0f / most : 0.0f;
        const float scale = most / 127.0f;
        const I32x16 qa = quantise(a, inverse), qb = quantise(b, inverse);
        std::byte *at = row + layout.quants + std::size_t(block) * 32;
        storeI8(at, qa);
        storeI8(at + 16, qb);
        const std::int32_t sumA = ireduceAdd(qa), sumB = ireduceAdd(qb);
        floats(layout.scales)[block] = scale;
        floats(layout.scaledSums)[block] = scale * float(sumA + sumB);
        ints(layout.sums32)[block] = sumA + sumB;
        ints(layout.sums16)[2 * block] = sumA;
        ints(layout.sums16)[2 * block + 1] = sumB;
    }

private:
    static KVILT_INLINE I32x16 quantise(F32x16 x, float inverse)
    {
        return roundToI32(min(max(mul(x, set1(inverse)), set1(-127.0f)), set1(127.0f)));
    }
    KVILT_INLINE float *floats(std::size_t offset) const { return reinterpret_cast<float *>(row + offset); }
    KVILT_INLINE std::int32_t *ints(std::size_t offset) const { return reinterpret_cast<std::int32_t *>(row + offset); }
};

// op(a, b) as an activation row.
template <typename Op>
KVILT_INLINE void zipPrepare(ActivationFormat format, const float *a, const float *b, std::uint32_t cols,
                             std::byte *row, Op op)
{
    if (format == ActivationFormat::f32)
        return zip(a, b, cols, reinterpret_cast<float *>(row), op);
    const RowWriter writer{row, ActivationLayout(cols)};
    for (std::uint32_t i = 0; i < cols; i += 32)
        writer.block32(i / 32, op(load(a + i), load(b + i)), op(load(a + i + 16), load(b + i + 16)));
}

struct First {
    KVILT_INLINE F32x16 operator()(F32x16 a, F32x16) const { return a; }
};

void prepareRow(ActivationFormat format, const float *x, std::uint32_t cols, std::byte *row) noexcept
{
    zipPrepare(format, x, x, cols, row, First{});
}
void rmsNormPrepare(ActivationFormat format, const float *x, const float *weight, std::uint32_t cols, float eps,
                    std::byte *row) noexcept
{
    zipPrepare(format, x, weight, cols, row, Normalise{set1(inverseRms(x, cols, eps))});
}

// SPDX-License-Identifier: Apache-2.0
// Heads are turned by an orthonormal Hadamard matrix before K or V is quantised, so that a few large dims do not set the
// scale of the 32 they are in. Queries are turned alike, which leaves q.k as it is; the matrix is its own inverse, so
// turning the result undoes it for V. (SmolLM2, q4 KV against f16: mean KL divergence 0.128 without, see tests/bench/RESULTS.md.)

template <int kBit>
struct Signs {
    float lane[16];
    constexpr Signs() : lane()
    {
        for (int i = 0; i < 16; ++i)
            lane[i] = i & kBit ? -1.0f : 1.0f;
    }
};

// One level within a vector: lane i becomes x[i] + x[i ^ kBit], or x[i ^ kBit] - x[i] where bit kBit of i is set.
template <int kBit>
KVILT_INLINE F32x16 butterfly(F32x16 x)
{
    static constexpr Signs<kBit> kSigns;
    return add(swapLanes<kBit>(x), mul(x, load(kSigns.lane)));
}

// Runs of kvRotation(dim) floats, each turned; out may be x.
KVILT_INLINE void rotateHead(const float *x, std::uint32_t dim, float *out)
{
    const std::uint32_t run = kvRotation(dim);
    const F32x16 norm = set1(1.0f / std::sqrt(float(run)));
    for (std::uint32_t i = 0; i < dim; i += 16)
        store(out + i, mul(butterfly<8>(butterfly<4>(butterfly<2>(butterfly<1>(load(x + i))))), norm));
    for (std::uint32_t apart = 16; apart < run; apart *= 2)
        for (std::uint32_t i = 0; i < dim; i += 16) {
            if (i & apart)
                continue;
            const F32x16 a = load(out + i), b = load(out + i + apart);
            store(out + i, add(a, b));
            store(out + i + apart, sub(a, b));
        }
}

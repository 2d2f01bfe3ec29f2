// SPDX-License-Identifier: Apache-2.0
// Loops that do nothing but keep one unit of the machine busy.

std::uint64_t readMemory(const std::byte *data, std::size_t bytes) noexcept
{
    F32x16 sums[4] = {zero(), zero(), zero(), zero()};
    for (std::size_t at = 0; at + 256 <= bytes; at += 256)
        KVILT_UNROLL for (int i = 0; i < 4; ++i)
            sums[i] = max(loadF32(data + at + 64 * i), sums[i]);
    float best[16];
    store(best, max(max(sums[0], sums[1]), max(sums[2], sums[3])));
    std::uint32_t bits;
    std::memcpy(&bits, best, 4);
    return bits;
}

// Of the matrix unit, where there is one; else dot products of code panels that stay in the first-level cache, as in a
// matmul without scales.
template <std::uint32_t kTokens>
std::uint64_t dotPeak(std::uint64_t rounds) noexcept
{
    if constexpr (kTokens > 0)
        return BlockUnit<kTokens>::peak(rounds);
    using Dot = UnsignedDot<15>;
    alignas(64) std::byte codes[512] = {};
    alignas(64) std::byte x[32] = {};
    I32x16 sum = iset1(0);
    for (std::uint64_t round = 0; round < rounds; ++round) {
        Dot dots[kQuantTokens];
        KVILT_UNROLL for (int t = 0; t < kQuantTokens; ++t)
            dots[t].start();
        KVILT_UNROLL for (int quad = 0; quad < 8; ++quad) {
            const Codes w = loadCodes(codes + 64 * quad);
            KVILT_UNROLL for (int t = 0; t < kQuantTokens; ++t)
                dots[t].step(Dot::operand(w), loadQuad(x + 4 * quad));
        }
        asm volatile("" : : "r"(codes), "r"(x) : "memory"); // the loads are done anew each round
        KVILT_UNROLL for (int t = 0; t < kQuantTokens; ++t) {
            dots[t].flush();
            sum = iadd(sum, dots[t].finish());
        }
    }
    return rounds * 8 * kQuantTokens * 128 + (ireduceAdd(sum) == 12345 ? 1 : 0); // the sum must not look unused
}

std::uint64_t int8Peak(std::uint64_t rounds) noexcept { return dotPeak<kBlockTokens>(rounds); }

std::uint64_t f32Peak(std::uint64_t rounds) noexcept
{
    float lanes[16];
    for (int i = 0; i < 16; ++i)
        lanes[i] = float(i); // unlike one another, so that a compiler does not compute the halves of a vector once for both
    constexpr int kSums = std::clamp(kFloatTokens * kFloatPanels, 6, 12); // more than two units with a latency of four wait for
    F32x16 sums[kSums];
    KVILT_UNROLL for (int i = 0; i < kSums; ++i)
        sums[i] = add(load(lanes), set1(float(16 * i)));
    const F32x16 a = set1(0.999f), b = set1(0.001f);
    for (std::uint64_t round = 0; round < rounds; ++round)
        KVILT_UNROLL for (int i = 0; i < kSums; ++i)
            sums[i] = fma(sums[i], a, b);
    float last = 0;
    KVILT_UNROLL for (int i = 0; i < kSums; ++i)
        last += reduceAdd(sums[i]);
    return rounds * kSums * 32 + (last == 12345.0f ? 1 : 0);
}

// SPDX-License-Identifier: Apache-2.0
// The vocabulary that generic/*.inl is written in, in plain C++: the definition of what every other folder's words
// mean. 16 float or int lanes, and 64 bytes of codes (16 rows x 4 columns). Included inside a target region.

struct F32x16 {
    float lane[16];
};
struct I32x16 {
    std::int32_t lane[16];
};
struct Mask {
    bool lane[16];
};

// Applies f to each lane index.
#define KVILT_LANES(Type, expression)                                                                                  \
    Type r;                                                                                                            \
    for (int i = 0; i < 16; ++i)                                                                                       \
        r.lane[i] = expression;                                                                                        \
    return r

// --- floats
KVILT_INLINE F32x16 set1(float x) { KVILT_LANES(F32x16, x); }
KVILT_INLINE F32x16 zero() { return set1(0.0f); }
KVILT_INLINE F32x16 load(const float *p) { KVILT_LANES(F32x16, p[i]); }
KVILT_INLINE F32x16 loadFirst(const float *p, std::uint32_t n) { KVILT_LANES(F32x16, std::uint32_t(i) < n ? p[i] : 0.0f); }
KVILT_INLINE void store(float *p, F32x16 x) { std::memcpy(p, x.lane, 64); }
KVILT_INLINE void storeFirst(float *p, F32x16 x, std::uint32_t n) { std::memcpy(p, x.lane, n * 4); }
KVILT_INLINE F32x16 add(F32x16 a, F32x16 b) { KVILT_LANES(F32x16, a.lane[i] + b.lane[i]); }
KVILT_INLINE F32x16 sub(F32x16 a, F32x16 b) { KVILT_LANES(F32x16, a.lane[i] - b.lane[i]); }
KVILT_INLINE F32x16 mul(F32x16 a, F32x16 b) { KVILT_LANES(F32x16, a.lane[i] * b.lane[i]); }
KVILT_INLINE F32x16 div(F32x16 a, F32x16 b) { KVILT_LANES(F32x16, a.lane[i] / b.lane[i]); }
// a * b + c, rounded once
KVILT_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { KVILT_LANES(F32x16, __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i])); }
// The second operand where either is NaN
KVILT_INLINE F32x16 max(F32x16 a, F32x16 b) { KVILT_LANES(F32x16, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
KVILT_INLINE F32x16 min(F32x16 a, F32x16 b) { KVILT_LANES(F32x16, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
KVILT_INLINE F32x16 abs(F32x16 a) { KVILT_LANES(F32x16, std::bit_cast<float>(std::bit_cast<std::uint32_t>(a.lane[i]) & 0x7fffffffu)); }
// Fixed tree: lanes i and i + 8, then 4, 2, 1
KVILT_INLINE float reduceAdd(F32x16 x)
{
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; ++i)
            x.lane[i] = x.lane[i] + x.lane[i + width];
    return x.lane[0];
}
KVILT_INLINE float reduceMax(F32x16 x)
{
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; ++i)
            x.lane[i] = x.lane[i] > x.lane[i + width] ? x.lane[i] : x.lane[i + width];
    return x.lane[0];
}

// Lane i gets lane i ^ kBit, for kBit = 1, 2, 4, 8
template <int kBit>
KVILT_INLINE F32x16 swapLanes(F32x16 x) { KVILT_LANES(F32x16, x.lane[i ^ kBit]); }

// --- masks
KVILT_INLINE Mask laneRange(std::int32_t begin, std::int32_t end) { KVILT_LANES(Mask, i >= begin && i < end); }
KVILT_INLINE Mask less(F32x16 a, F32x16 b) { KVILT_LANES(Mask, a.lane[i] < b.lane[i]); }
KVILT_INLINE F32x16 select(Mask mask, F32x16 yes, F32x16 no) { KVILT_LANES(F32x16, mask.lane[i] ? yes.lane[i] : no.lane[i]); }

// --- integers
KVILT_INLINE I32x16 iset1(std::int32_t x) { KVILT_LANES(I32x16, x); }
KVILT_INLINE I32x16 iload(const std::int32_t *p) { KVILT_LANES(I32x16, p[i]); }
KVILT_INLINE I32x16 iadd(I32x16 a, I32x16 b) { KVILT_LANES(I32x16, a.lane[i] + b.lane[i]); }
KVILT_INLINE I32x16 isub(I32x16 a, I32x16 b) { KVILT_LANES(I32x16, a.lane[i] - b.lane[i]); }
KVILT_INLINE I32x16 imul(I32x16 a, std::int32_t b) { KVILT_LANES(I32x16, a.lane[i] * b); }
KVILT_INLINE std::int32_t ireduceAdd(I32x16 a)
{
    std::int32_t sum = 0;
    for (int i = 0; i < 16; ++i)
        sum += a.lane[i];
    return sum;
}
KVILT_INLINE F32x16 toF32(I32x16 a) { KVILT_LANES(F32x16, float(a.lane[i])); }
// Nearest, ties to even; INT_MIN for NaN and what does not fit
KVILT_INLINE I32x16 roundToI32(F32x16 a)
{
    KVILT_LANES(I32x16, a.lane[i] >= -2147483648.0f && a.lane[i] < 2147483648.0f ? std::int32_t(std::nearbyintf(a.lane[i]))
                                                                               : std::numeric_limits<std::int32_t>::min());
}
// x * 2^n by adding n to the exponent; the caller keeps the result normal
KVILT_INLINE F32x16 scaleByPowerOf2(F32x16 x, I32x16 n)
{
    KVILT_LANES(F32x16, std::bit_cast<float>(std::bit_cast<std::uint32_t>(x.lane[i]) + (std::uint32_t(n.lane[i]) << 23)));
}

// p; where registers are few, in a way that makes the compiler read what is there anew
KVILT_INLINE const float *readAgain(const float *p) { return p; }

// --- narrow elements in memory, no alignment
template <typename T>
KVILT_INLINE T element(const std::byte *p, int i)
{
    T value;
    std::memcpy(&value, p + i * sizeof(T), sizeof(T));
    return value;
}
KVILT_INLINE F32x16 loadF32(const std::byte *p) { KVILT_LANES(F32x16, element<float>(p, i)); }
KVILT_INLINE F32x16 loadF16(const std::byte *p) { KVILT_LANES(F32x16, f16ToF32(element<std::uint16_t>(p, i))); }
KVILT_INLINE F32x16 loadBf16(const std::byte *p) { KVILT_LANES(F32x16, bf16ToF32(element<std::uint16_t>(p, i))); }
KVILT_INLINE F32x16 loadI8(const std::byte *p) { KVILT_LANES(F32x16, float(element<std::int8_t>(p, i))); }
KVILT_INLINE F32x16 loadU8(const std::byte *p) { KVILT_LANES(F32x16, float(element<std::uint8_t>(p, i))); }
KVILT_INLINE F32x16 loadFp8(const std::byte *p) { KVILT_LANES(F32x16, fp8ToF32(element<std::uint8_t>(p, i))); }
// The low or the high nibble of 16 bytes, less 8
KVILT_INLINE F32x16 loadI4(const std::byte *p, bool high)
{
    KVILT_LANES(F32x16, float((high ? element<std::uint8_t>(p, i) >> 4 : element<std::uint8_t>(p, i) & 15) - 8));
}
KVILT_INLINE void storeF32(std::byte *p, F32x16 x) { std::memcpy(p, x.lane, 64); }
KVILT_INLINE void storeF16(std::byte *p, F32x16 x)
{
    for (int i = 0; i < 16; ++i) {
        const std::uint16_t half = f32ToF16(x.lane[i]);
        std::memcpy(p + 2 * i, &half, 2);
    }
}
KVILT_INLINE void storeBf16(std::byte *p, F32x16 x)
{
    for (int i = 0; i < 16; ++i) {
        const std::uint16_t half = f32ToBf16(x.lane[i]);
        std::memcpy(p + 2 * i, &half, 2);
    }
}
// Lanes are within -128..127
KVILT_INLINE void storeI8(std::byte *p, I32x16 x)
{
    for (int i = 0; i < 16; ++i)
        p[i] = std::byte(std::int8_t(x.lane[i]));
}

// --- codes: byte 4 * row + j
struct Codes {
    std::uint8_t byte[64];
};

#define KVILT_BYTES(expression)                                                                                        \
    Codes r;                                                                                                           \
    for (int i = 0; i < 64; ++i)                                                                                       \
        r.byte[i] = std::uint8_t(expression);                                                                          \
    return r

KVILT_INLINE Codes loadCodes(const std::byte *p)
{
    Codes r;
    std::memcpy(r.byte, p, 64);
    return r;
}
KVILT_INLINE void storeCodes(std::byte *p, Codes x) { std::memcpy(p, x.byte, 64); }
KVILT_INLINE Codes lowNibbles(Codes x) { KVILT_BYTES(x.byte[i] & 15); }
KVILT_INLINE Codes highNibbles(Codes x) { KVILT_BYTES(x.byte[i] >> 4); }
KVILT_INLINE Codes bitwiseOr(Codes a, Codes b) { KVILT_BYTES(a.byte[i] | b.byte[i]); }
// table[code] for codes 0..15
KVILT_INLINE Codes lookup(Codes x, const std::int8_t *table) { KVILT_BYTES(table[x.byte[i]]); }
// Bit i of each byte, moved to bit 4; bits 2i and 2i + 1, moved to bits 4 and 5
KVILT_INLINE Codes planeBit(Codes x, int bit) { KVILT_BYTES(((x.byte[i] >> bit) & 1) << 4); }
KVILT_INLINE Codes planeBits2(Codes x, int pair) { KVILT_BYTES(((x.byte[i] >> (2 * pair)) & 3) << 4); }

// --- exact dot products. Four neighbouring columns of one activation row:
struct Quad {
    std::int8_t column[4];
};
KVILT_INLINE Quad loadQuad(const std::byte *p)
{
    Quad q;
    std::memcpy(q.column, p, 4);
    return q;
}

// Sums of up to 8 quads, from start() on. `Operand` is a code vector made ready; kFlush: steps between calls of flush(); the sum is
// of (code + kBias) * x, which the caller takes back with the sum of x.
template <typename Code>
struct PlainDot {
    using Operand = Codes;
    static constexpr int kFlush = 8;
    static constexpr int kBias = 0;
    std::int32_t sum[16];

    KVILT_INLINE void start() { std::memset(sum, 0, sizeof(sum)); }
    static KVILT_INLINE Operand operand(Codes codes) { return codes; }
    KVILT_INLINE void step(const Operand &codes, Quad x)
    {
        for (int row = 0; row < 16; ++row)
            for (int j = 0; j < 4; ++j)
                sum[row] += std::int32_t(Code(codes.byte[4 * row + j])) * x.column[j];
    }
    KVILT_INLINE void flush() {}
    KVILT_INLINE I32x16 finish()
    {
        I32x16 r;
        std::memcpy(r.lane, sum, 64);
        return r;
    }
};
// Unsigned codes up to kMax (15, 31, 63); signed codes.
template <int kMax>
using UnsignedDot = PlainDot<std::uint8_t>;
using SignedDot = PlainDot<std::int8_t>;

// How much the registers hold at a time.
// --- matrix units: see amx/vocabulary.h
inline constexpr int kBlockTokens = 0; // tokens that one multiplies together; 0: there is none
template <std::uint32_t kColumns>
struct BlockUnit {};

inline constexpr int kQuantTokens = 4;  // tokens of a tile of quantised weights
inline constexpr int kFloatTokens = 2;  // tokens and panels of a tile of float weights
inline constexpr int kFloatPanels = 2;
inline constexpr std::uint32_t kFloatColumns = 128; // of panels that are widened at a time
inline constexpr int kAttentionRows = 2; // rows of attention, and tiles of keys or vectors of values
inline constexpr int kAttentionPanels = 2;
inline constexpr int kFloatPanelsOneToken = 2;
inline constexpr int kFewRows = 4;   // rows of attention when there are just so many, and their panels
inline constexpr int kFewPanels = 1;

#undef KVILT_LANES
#undef KVILT_BYTES

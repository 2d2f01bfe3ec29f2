// SPDX-License-Identifier: Apache-2.0
// Reading packed panels (layout/panel_layout.h) and multiplying tiles of them. A K tile of the KV cache is a panel
// too: 16 tokens are its rows.

// --- float panels: [column][16 rows]
struct ElementF32 {
    static constexpr std::size_t kBytes = 4;
    static KVILT_INLINE F32x16 load16(const std::byte *p) { return loadF32(p); }
    static KVILT_INLINE void store16(std::byte *p, F32x16 x) { storeF32(p, x); }
};
struct ElementF16 {
    static constexpr std::size_t kBytes = 2;
    static KVILT_INLINE F32x16 load16(const std::byte *p) { return loadF16(p); }
    static KVILT_INLINE void store16(std::byte *p, F32x16 x) { storeF16(p, x); }
};
struct ElementBf16 {
    static constexpr std::size_t kBytes = 2;
    static KVILT_INLINE F32x16 load16(const std::byte *p) { return loadBf16(p); }
    static KVILT_INLINE void store16(std::byte *p, F32x16 x) { storeBf16(p, x); }
};
struct ElementFp8 {
    static constexpr std::size_t kBytes = 1;
    static KVILT_INLINE F32x16 load16(const std::byte *p) { return loadFp8(p); }
    static KVILT_INLINE void store16(std::byte *p, F32x16 x)
    {
        float lanes[16];
        store(lanes, x);
        for (int i = 0; i < 16; ++i)
            p[i] = std::byte(f32ToFp8(lanes[i]));
    }
};

// Memory [at, to) to read soon. It is asked for in pieces between computing, so that never more lines are under way than a
// core can wait for, and reading and computing overlap; the processor's own prefetcher starts anew at every tile and panel.
struct Ahead {
    const std::byte *at = nullptr;
    const std::byte *to = nullptr;

    KVILT_INLINE void fetch(std::size_t bytes)
    {
        for (const std::byte *end = to - at < std::ptrdiff_t(bytes) ? to : at + bytes; at < end; at += 64)
            __builtin_prefetch(at, 0, 2);
    }
};

// sums[t][p] += panel p's column k times x[t * ldx + k], for k ascending: one FMA a column, one accumulator an output,
// whatever kTokens and kPanels are and however the columns are cut into calls.
template <typename Element, int kTokens, int kPanels>
KVILT_INLINE void floatColumnRange(const std::byte *const (&panels)[kPanels], const float *x, std::size_t ldx,
                                   std::uint32_t begin, std::uint32_t end, F32x16 (&sums)[kTokens][kPanels])
{
    for (std::uint32_t k = begin; k < end; ++k) {
        const float *values = x + k;
        KVILT_UNROLL for (int p = 0; p < kPanels; ++p) {
            const F32x16 column = Element::load16(panels[p] + std::size_t(k) * 16 * Element::kBytes);
            values = readAgain(values);
            KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
                sums[t][p] = fma(column, set1(values[t * ldx]), sums[t][p]);
        }
    }
}

template <typename Element, int kTokens, int kPanels>
KVILT_INLINE void floatTile(const std::byte *const *panels, const float *x, std::size_t ldx, std::uint32_t cols,
                            F32x16 (&sums)[kTokens][kPanels])
{
    const std::byte *at[kPanels];
    KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
        at[p] = panels[p];
    floatColumnRange<Element, kTokens, kPanels>(at, x, ldx, 0, cols, sums);
}

template <int kTokens, int kPanels>
KVILT_INLINE void clearTile(F32x16 (&sums)[kTokens][kPanels])
{
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
            sums[t][p] = zero();
}

// `count` vectors of 16 elements as floats.
template <typename Element>
KVILT_INLINE void widen(const std::byte *from, std::size_t count, std::byte *to)
{
    for (std::size_t i = 0; i < count; ++i)
        storeF32(to + 64 * i, Element::load16(from + 16 * Element::kBytes * i));
}

// --- quantised panels, 32 columns at a time
// MXFP4's values raised by 12 are unsigned, which multiply in half the steps of signed ones; the sum of x takes the 12
// back, so that the integers stay the same.
inline constexpr std::int8_t kRaisedFp4[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
inline constexpr std::int32_t kFp4Raise = 12;

template <WeightType kType>
struct DotFor {
    static constexpr PanelFormat kFormat = panelFormat(kType);
    static constexpr bool kRaised = kFormat.table == CodeTable::fp4;
    static constexpr bool kSigned = kFormat.lowBits == 8 || (kFormat.table != CodeTable::plain && !kRaised);
    static constexpr int kMax = kRaised ? 2 * kFp4Raise : (16 << kFormat.highBits) - 1;
    using Type = std::conditional_t<kSigned, SignedDot, UnsignedDot<kMax>>;
};

// Codes and scales of one panel. begin(b) moves to columns 32 b .. 32 b + 31; codes(p) gives quads 2p and 2p + 1 of
// them; scale and minimum are those of the group, `half` counts groups of 16.
template <WeightType kType>
class PanelDecoder {
public:
    static constexpr PanelFormat kFormat = panelFormat(kType);
    using Dot = typename DotFor<kType>::Type;
    static constexpr bool kSigned = DotFor<kType>::kSigned;
    static constexpr std::int32_t kOffset = DotFor<kType>::kRaised ? kFp4Raise : std::int32_t(kFormat.offset); // of codes()

    // `type`: of those that kType stands for (kernelType()).
    KVILT_INLINE PanelDecoder(const std::byte *panel, std::uint32_t cols, WeightType type = kType)
        : m_panel(panel), m_layout(kFormat, cols)
    {
        if constexpr (kFormat.codebook()) {
            const PanelFormat format = panelFormat(type);
            m_table = tableValues(format.table);
            m_unit = format.unit;
        }
    }

    KVILT_INLINE void begin(std::size_t block)
    {
        m_block = block;
        m_low = m_panel + m_layout.low + block * 64 * kFormat.lowBits;
        if constexpr (kFormat.highBits > 0) {
            const std::byte *high = m_panel + m_layout.high + block * 64 * kFormat.highBits;
            KVILT_UNROLL for (std::uint32_t i = 0; i < kFormat.highBits; ++i)
                m_high[i] = loadCodes(high + 64 * i);
        }
    }

    KVILT_INLINE void codes(int p, Codes &first, Codes &second) const
    {
        if constexpr (kFormat.lowBits == 8) {
            first = loadCodes(m_low + 128 * p);
            second = loadCodes(m_low + 128 * p + 64);
        } else {
            const Codes packed = loadCodes(m_low + 64 * p);
            first = withHigh(lowNibbles(packed), 2 * p);
            second = withHigh(highNibbles(packed), 2 * p + 1);
        }
    }

    KVILT_INLINE const std::byte *lowCodes() const { return m_low; }

    KVILT_INLINE F32x16 scale(std::size_t half) const
    {
        if constexpr (!kFormat.superBlocks) {
            const std::byte *at = m_panel + m_layout.scales + 32 * m_block;
            return kFormat.powerScales ? loadBf16(at) : loadF16(at);
        } else {
            const std::byte *sub = superBlock() + (kFormat.mins ? 64 : 32) + 16 * group(half);
            const F32x16 scale = mul(loadF16(superBlock()), kFormat.mins ? loadU8(sub) : loadI8(sub));
            return kFormat.codebook() ? mul(scale, set1(m_unit)) : scale;
        }
    }
    KVILT_INLINE F32x16 minimum(std::size_t half) const
    {
        if constexpr (!kFormat.superBlocks) {
            return loadF16(m_panel + m_layout.mins + 32 * m_block);
        } else {
            const std::byte *sub = superBlock() + 64 + 16 * (256 / kFormat.group + group(half));
            return negate(mul(loadF16(superBlock() + 32), loadU8(sub)));
        }
    }

private:
    KVILT_INLINE Codes withHigh(Codes low, int quad) const
    {
        if constexpr (kFormat.codebook())
            return lookup(low, m_table);
        else if constexpr (DotFor<kType>::kRaised)
            return lookup(low, kRaisedFp4);
        else if constexpr (kFormat.table != CodeTable::plain)
            return lookup(low, tableValues(kFormat.table));
        else if constexpr (kFormat.highBits == 0)
            return low;
        else if constexpr (kFormat.highBits == 1)
            return bitwiseOr(low, planeBit(m_high[0], quad));
        else
            return bitwiseOr(low, planeBits2(m_high[quad / 4], quad % 4));
    }
    KVILT_INLINE const std::byte *superBlock() const
    {
        return m_panel + m_layout.scales + m_block / 8 * superScaleBytes(kFormat);
    }
    KVILT_INLINE std::size_t group(std::size_t half) const
    {
        return kFormat.group == 32 ? m_block % 8 : 2 * (m_block % 8) + half;
    }

    const std::byte *m_panel;
    PanelLayout m_layout;
    std::size_t m_block = 0;
    const std::byte *m_low = nullptr;
    const std::int8_t *m_table = nullptr;
    float m_unit = 1;
    Codes m_high[kFormat.highBits > 0 ? kFormat.highBits : 1];
};

// Columns [begin, end) of a panel as it lies.
template <WeightType kType>
class PackedColumns : public PanelDecoder<kType> {
public:
    KVILT_INLINE PackedColumns(const std::byte *panel, const PackedMatrix &of, std::uint32_t begin, std::uint32_t)
        : PanelDecoder<kType>(panel, of.cols, of.type), m_first(begin / 32)
    {
    }
    KVILT_INLINE void begin(std::size_t block) { PanelDecoder<kType>::begin(m_first + block); }
    // All codes of a block of bytes: [column / 4][row][4]
    KVILT_INLINE const std::byte *groupCodes(std::size_t) const
    {
        static_assert(PanelDecoder<kType>::kFormat.lowBits == 8 && PanelDecoder<kType>::kFormat.group == 32);
        return this->lowCodes();
    }

private:
    std::size_t m_first;
};

// A panel decoded once for many tokens: a byte a code, in the order of the quads, then float scales, float minima. It holds columns
// [begin, end) of the panel.
template <typename Packed>
class ScratchDecoder {
public:
    static constexpr std::uint32_t kGroup = Packed::kFormat.group;
    static constexpr PanelFormat kFormat{.lowBits = 8, .group = kGroup, .mins = Packed::kFormat.mins};
    static constexpr std::int32_t kOffset = Packed::kOffset;
    static constexpr bool kSigned = Packed::kSigned;
    using Dot = typename Packed::Dot;

    KVILT_INLINE ScratchDecoder(const std::byte *scratch, const PackedMatrix &, std::uint32_t begin, std::uint32_t end)
        : m_codes(scratch), m_scales(scratch + std::size_t(end - begin) * 16), m_mins(m_scales + std::size_t(end - begin) / kGroup * 64)
    {
    }
    KVILT_INLINE void begin(std::size_t block) { m_block = block; }
    KVILT_INLINE void codes(int p, Codes &first, Codes &second) const
    {
        const std::byte *at = m_codes + m_block * 512 + 128 * p;
        first = loadCodes(at);
        second = loadCodes(at + 64);
    }
    // All codes of a group: [column / 4][row][4]
    KVILT_INLINE const std::byte *groupCodes(std::size_t half) const { return m_codes + m_block * 512 + half * kGroup * 16; }
    KVILT_INLINE F32x16 scale(std::size_t half) const { return loadF32(m_scales + 64 * (m_block * (32 / kGroup) + half)); }
    KVILT_INLINE F32x16 minimum(std::size_t half) const { return loadF32(m_mins + 64 * (m_block * (32 / kGroup) + half)); }

private:
    const std::byte *m_codes;
    const std::byte *m_scales;
    const std::byte *m_mins;
    std::size_t m_block = 0;
};

// Activation rows as the tile reads them.
struct QuantRows {
    const std::byte *first;
    std::size_t stride;
    ActivationLayout layout;

    // The same rows, counted from `column` on, a multiple of 32.
    KVILT_INLINE QuantRows from(std::size_t column) const { return {first, stride, layout.from(column)}; }
    KVILT_INLINE const std::byte *quants(int t, std::size_t block) const
    {
        return first + t * stride + layout.quants + block * 32;
    }
    KVILT_INLINE float scale(int t, std::size_t block) const { return floatAt(t, layout.scales, block); }
    KVILT_INLINE float scaledSum(int t, std::size_t block, std::size_t half, std::uint32_t group) const
    {
        return group == 32 ? floatAt(t, layout.scaledSums, block) : scale(t, block) * float(sum(t, block, half, group));
    }
    KVILT_INLINE std::int32_t sum(int t, std::size_t block, std::size_t half, std::uint32_t group) const
    {
        return group == 32 ? intAt(t, layout.sums32, block) : intAt(t, layout.sums16, 2 * block + half);
    }

private:
    KVILT_INLINE float floatAt(int t, std::size_t offset, std::size_t i) const
    {
        return reinterpret_cast<const float *>(first + t * stride + offset)[i];
    }
    KVILT_INLINE std::int32_t intAt(int t, std::size_t offset, std::size_t i) const
    {
        return reinterpret_cast<const std::int32_t *>(first + t * stride + offset)[i];
    }
};

// What turns a group's exact integer dots into floats: one FMA with scale * x's scale, then for types with minima one FMA
// of the minimum with x's scaled sum. Every kernel ends its groups here.
template <typename Decoder>
struct GroupFactors {
    static constexpr PanelFormat kFormat = Decoder::kFormat;
    F32x16 scale, minimum;

    KVILT_INLINE GroupFactors(const Decoder &decoder, std::size_t half) : scale(decoder.scale(half)), minimum(zero())
    {
        if constexpr (kFormat.mins)
            minimum = decoder.minimum(half);
    }

    // `bias`: what the dot's own form adds to a code, besides the decoder's offset.
    KVILT_INLINE void add(const QuantRows &rows, int t, std::size_t block, std::size_t half, I32x16 dot, std::int32_t bias,
                          F32x16 &sum) const
    {
        bias += Decoder::kOffset;
        if (bias != 0)
            dot = isub(dot, imul(iset1(rows.sum(t, block, half, kFormat.group)), bias));
        sum = fma(toF32(dot), mul(scale, set1(rows.scale(t, block))), sum);
        if constexpr (kFormat.mins)
            sum = fma(minimum, set1(rows.scaledSum(t, block, half, kFormat.group)), sum);
    }
};

// Four columns of all rows: `quad` counts them from the block's first.
template <typename Dot, int kTokens>
KVILT_INLINE void stepRows(const typename Dot::Operand &weights, const QuantRows &rows, std::size_t block, int quad,
                           Dot (&dots)[kTokens])
{
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        dots[t].step(weights, loadQuad(rows.quants(t, block) + 4 * quad));
}

// sums[t] += the products of one group of columns.
template <typename Decoder, int kTokens>
KVILT_INLINE void quantGroup(const Decoder &decoder, const QuantRows &rows, std::size_t block, std::size_t half,
                             F32x16 (&sums)[kTokens])
{
    using Dot = typename Decoder::Dot;
    constexpr PanelFormat kFormat = Decoder::kFormat;
    constexpr int kPairs = int(kFormat.group) / 8;
    Dot dots[kTokens];
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        dots[t].start();
    KVILT_UNROLL for (int p = 0; p < kPairs; ++p) {
        const int pair = int(half) * kPairs + p;
        Codes first, second;
        decoder.codes(pair, first, second);
        stepRows<Dot, kTokens>(Dot::operand(first), rows, block, 2 * pair, dots);
        stepRows<Dot, kTokens>(Dot::operand(second), rows, block, 2 * pair + 1, dots);
        if ((2 * p + 2) % Dot::kFlush == 0 || p == kPairs - 1)
            KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
                dots[t].flush();
    }
    const GroupFactors<Decoder> factors(decoder, half);
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        factors.add(rows, t, block, half, dots[t].finish(), Dot::kBias, sums[t]);
}

// Adds to `sums`. `ahead`, when not null: memory to fetch meanwhile, `aheadBytes` a block of 32 columns.
template <typename Decoder, int kTokens>
KVILT_INLINE void quantTile(Decoder decoder, const QuantRows &rows, std::uint32_t cols, F32x16 (&sums)[kTokens],
                            Ahead *ahead = nullptr, std::size_t aheadBytes = 0)
{
    for (std::size_t block = 0; block < cols / 32; ++block) {
        if (ahead)
            ahead->fetch(aheadBytes);
        decoder.begin(block);
        quantGroup<Decoder, kTokens>(decoder, rows, block, 0, sums);
        if constexpr (Decoder::kFormat.group == 16)
            quantGroup<Decoder, kTokens>(decoder, rows, block, 1, sums);
    }
}

// SPDX-License-Identifier: Apache-2.0
// Weights times activation rows. Few tokens read the packed panel directly; many share one decoded copy of it.

KVILT_INLINE void putRows(const MatmulArgs &args, std::uint32_t panel, std::uint32_t token, F32x16 sum)
{
    const std::uint32_t row = panel * kPanelRows;
    const std::uint32_t rows = std::min(kPanelRows, args.weights.rows - row);
    float *out = args.out + token * args.ldOut + row;
    if (rows == kPanelRows)
        return store(out, args.addToOut ? add(load(out), sum) : sum);
    storeFirst(out, args.addToOut ? add(loadFirst(out, rows), sum) : sum, rows);
}

KVILT_INLINE QuantRows quantRows(const MatmulArgs &args, std::uint32_t token)
{
    const ActivationLayout layout(args.x.cols);
    return {args.x.data + token * layout.total, layout.total, layout};
}

// How far ahead weights are fetched, in the order in which panels lie: each is three or four short runs (one token, Zen 3,
// one core of a busy machine: Q4_1 from 10.5 to 17 GB/s, Q6_K from 9 to 20).
inline constexpr std::size_t kPrefetchAhead = 8192;

template <typename Decoder>
void quantOneToken(const MatmulArgs &args, std::uint32_t panel, std::size_t panelBytes, std::uint32_t token)
{
    const std::byte *data = args.weights.data + panel * panelBytes;
    Ahead ahead{data + kPrefetchAhead, data + kPrefetchAhead + panelBytes};
    F32x16 sums[1];
    quantTile<Decoder, 1>(Decoder(data, args.weights.cols, args.weights.type), quantRows(args, token), args.weights.cols, sums,
                          &ahead, panelBytes / (args.weights.cols / 32));
    putRows(args, panel, token, sums[0]);
}

template <typename Decoder, int kTokens>
void quantTokens(const MatmulArgs &args, std::uint32_t panel, const std::byte *data, std::uint32_t token)
{
    F32x16 sums[kTokens];
    quantTile<Decoder, kTokens>(Decoder(data, args.weights.cols), quantRows(args, token), args.weights.cols, sums);
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        putRows(args, panel, token + t, sums[t]);
}

// kTokens tokens by the matrix unit, a group of columns at a time; its dots go through memory, in turns through two
// places so that a group is multiplied while the one before becomes floats.
template <typename Decoder, int kTokens>
void quantBlock(const MatmulArgs &args, std::uint32_t panel, const std::byte *data, std::uint32_t token)
{
    constexpr std::uint32_t kGroup = Decoder::kFormat.group;
    const QuantRows rows = quantRows(args, token);
    Decoder decoder(data, args.weights.cols);
    alignas(64) std::int32_t dots[2][kTokens * 16];
    F32x16 sums[kTokens];
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        sums[t] = zero();
    for (std::size_t group = 0; group < args.weights.cols / kGroup; ++group) {
        const std::size_t block = group * kGroup / 32, half = group * kGroup % 32 / 16;
        std::int32_t *of = dots[group % 2];
        decoder.begin(block);
        BlockUnit<kGroup>::template dot<Decoder::kSigned>(rows.quants(0, block) + 16 * half, rows.stride, decoder.groupCodes(half), of);
        const GroupFactors<Decoder> factors(decoder, half);
        KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
            factors.add(rows, t, block, half, iload(of + 16 * t), 0, sums[t]);
    }
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        putRows(args, panel, token + t, sums[t]);
}

// Tokens [token, end): as many as a tile takes, then half as many, and so on.
template <typename Decoder, int kTokens = kQuantTokens>
KVILT_INLINE void quantPass(const MatmulArgs &args, std::uint32_t panel, const std::byte *data, std::uint32_t token,
                            std::uint32_t end)
{
    for (; token + kTokens <= end; token += kTokens)
        quantTokens<Decoder, kTokens>(args, panel, data, token);
    if constexpr (kTokens > 1)
        if (token < end)
            quantPass<Decoder, kTokens / 2>(args, panel, data, token, end);
}

template <WeightType kType>
void decodePanel(const std::byte *panel, std::uint32_t cols, WeightType type, std::byte *scratch)
{
    using Decoder = PanelDecoder<kType>;
    constexpr PanelFormat kFormat = Decoder::kFormat;
    Decoder decoder(panel, cols, type);
    std::byte *scales = scratch + std::size_t(cols) * 16;
    std::byte *mins = scales + std::size_t(cols) / kFormat.group * 64;
    constexpr std::size_t kGroups = 32 / kFormat.group;
    const std::size_t panelBytes = packedPanelBytes(kType, cols);
    Ahead ahead{panel + kPrefetchAhead, panel + kPrefetchAhead + panelBytes};
    for (std::size_t block = 0; block < cols / 32; ++block) {
        ahead.fetch(panelBytes / (cols / 32));
        decoder.begin(block);
        KVILT_UNROLL for (int p = 0; p < 4; ++p) {
            Codes first, second;
            decoder.codes(p, first, second);
            storeCodes(scratch + block * 512 + 128 * p, first);
            storeCodes(scratch + block * 512 + 128 * p + 64, second);
        }
        KVILT_UNROLL for (std::size_t half = 0; half < kGroups; ++half) {
            storeF32(scales + 64 * (block * kGroups + half), decoder.scale(half));
            if constexpr (kFormat.mins)
                storeF32(mins + 64 * (block * kGroups + half), decoder.minimum(half));
        }
    }
}

// Tokens that share one decoding of a panel; their activations stay in the second-level cache meanwhile.
KVILT_INLINE std::uint32_t tokensPerPass(std::size_t rowBytes)
{
    const std::size_t fit = std::size_t(192 * 1024) / rowBytes / kQuantTokens * kQuantTokens;
    return std::uint32_t(std::max<std::size_t>(fit, 8 * kQuantTokens));
}

template <WeightType kType>
void matmulQuant(const MatmulArgs &args)
{
    using Packed = PanelDecoder<kType>;
    using Decoded = ScratchDecoder<Packed>;
    const std::size_t panelBytes = packedPanelBytes(kType, args.weights.cols);
    const std::uint32_t tokens = args.x.count;
    const std::uint32_t pass = tokensPerPass(ActivationLayout(args.x.cols).total);
    [[maybe_unused]] const bool inBlocks = kBlockTokens > 0 && tokens >= std::uint32_t(kBlockTokens);
    if constexpr (kBlockTokens > 0)
        if (inBlocks) // setting the unit up is dear beside a single token
            BlockUnit<Packed::kFormat.group>::begin();
    for (std::uint32_t begin = 0; begin < tokens; begin += pass) {
        const std::uint32_t end = std::min(tokens, begin + pass);
        for (std::uint32_t panel = args.panelBegin; panel < args.panelEnd; ++panel) {
            if (end - begin == 1) {
                quantOneToken<Packed>(args, panel, panelBytes, begin);
                continue;
            }
            decodePanel<kType>(args.weights.data + panel * panelBytes, args.weights.cols, args.weights.type, args.scratch);
            std::uint32_t token = begin;
            if constexpr (kBlockTokens > 0)
                for (; token + kBlockTokens <= end; token += kBlockTokens)
                    quantBlock<Decoded, kBlockTokens>(args, panel, args.scratch, token);
            quantPass<Decoded>(args, panel, args.scratch, token, end);
        }
    }
    if constexpr (kBlockTokens > 0)
        if (inBlocks)
            BlockUnit<Packed::kFormat.group>::end();
}

// --- float weights
struct FloatRows {
    const float *x;
    std::size_t ld;
};

KVILT_INLINE FloatRows floatRows(const MatmulArgs &args)
{
    return {reinterpret_cast<const float *>(args.x.data),
            activationRowBytes(ActivationFormat::f32, args.x.cols) / sizeof(float)};
}

// One token, all columns; several panels at once hide the latency of their single accumulators.
template <typename Element, int kPanels>
void floatOneToken(const MatmulArgs &args, std::uint32_t panel, std::uint32_t token)
{
    const std::size_t panelBytes = packedPanelBytes(args.weights.type, args.weights.cols);
    const FloatRows rows = floatRows(args);
    const std::byte *panels[kPanels];
    KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
        panels[p] = args.weights.data + (panel + p) * panelBytes;
    F32x16 sums[1][kPanels];
    clearTile(sums);
    floatTile<Element, 1, kPanels>(panels, rows.x + token * rows.ld, rows.ld, args.x.cols, sums);
    KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
        putRows(args, panel + p, token, sums[0][p]);
}

// Many tokens: kFloatColumns columns of kPanels panels are widened to floats that fit the first-level cache and are
// used for all tokens of a pass; the unfinished sums wait in the scratch.
template <int kTokens, int kPanels>
void floatColumns(const FloatRows &rows, std::uint32_t column, std::uint32_t columns, const std::byte *widened, float *sums)
{
    const std::byte *panels[kPanels];
    KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
        panels[p] = widened + std::size_t(p) * kFloatColumns * 64;
    F32x16 tile[kTokens][kPanels];
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
            tile[t][p] = load(sums + (t * kPanels + p) * 16);
    floatTile<ElementF32, kTokens, kPanels>(panels, rows.x + column, rows.ld, columns, tile);
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
            store(sums + (t * kPanels + p) * 16, tile[t][p]);
}

// `count` tokens: as many as a tile takes, then half as many, and so on.
template <int kTokens, int kPanels>
KVILT_INLINE void floatTokens(FloatRows rows, std::uint32_t column, std::uint32_t columns, const std::byte *widened,
                              float *sums, std::uint32_t count)
{
    for (; count >= std::uint32_t(kTokens); count -= kTokens, rows.x += kTokens * rows.ld, sums += kTokens * kPanels * 16)
        floatColumns<kTokens, kPanels>(rows, column, columns, widened, sums);
    if constexpr (kTokens > 1)
        floatTokens<kTokens / 2, kPanels>(rows, column, columns, widened, sums, count);
}

template <typename Element, int kPanels>
void floatPass(const MatmulArgs &args, std::uint32_t panel, std::uint32_t token, std::uint32_t count)
{
    const std::size_t panelBytes = packedPanelBytes(args.weights.type, args.weights.cols);
    auto *sums = reinterpret_cast<float *>(args.scratch);
    std::byte *widened = args.scratch + std::size_t(kFloatPass) * kPanels * 64;
    std::memset(sums, 0, std::size_t(count) * kPanels * 64);
    for (std::uint32_t column = 0; column < args.x.cols; column += kFloatColumns) {
        const std::uint32_t columns = std::min(kFloatColumns, args.x.cols - column);
        for (int p = 0; p < kPanels; ++p)
            widen<Element>(args.weights.data + (panel + p) * panelBytes + std::size_t(column) * 16 * Element::kBytes, columns,
                           widened + std::size_t(p) * kFloatColumns * 64);
        FloatRows rows = floatRows(args);
        rows.x += token * rows.ld;
        floatTokens<kFloatTokens, kPanels>(rows, column, columns, widened, sums, count);
    }
    for (std::uint32_t t = 0; t < count; ++t)
        for (int p = 0; p < kPanels; ++p)
            putRows(args, panel + p, token + t, load(sums + (t * kPanels + p) * 16));
}

template <typename Element>
void matmulFloat(const MatmulArgs &args)
{
    if (args.x.count < kFloatTokens) {
        for (std::uint32_t token = 0; token < args.x.count; ++token) {
            std::uint32_t panel = args.panelBegin;
            for (; panel + kFloatPanelsOneToken <= args.panelEnd; panel += kFloatPanelsOneToken)
                floatOneToken<Element, kFloatPanelsOneToken>(args, panel, token);
            for (; panel < args.panelEnd; ++panel)
                floatOneToken<Element, 1>(args, panel, token);
        }
        return;
    }
    for (std::uint32_t token = 0; token < args.x.count; token += kFloatPass) {
        const std::uint32_t count = std::min(kFloatPass, args.x.count - token);
        std::uint32_t panel = args.panelBegin;
        for (; panel + kFloatPanels <= args.panelEnd; panel += kFloatPanels)
            floatPass<Element, kFloatPanels>(args, panel, token, count);
        for (; panel < args.panelEnd; ++panel)
            floatPass<Element, 1>(args, panel, token, count);
    }
}

void matmul(const MatmulArgs &args) noexcept
{
    switch (kernelType(args.weights.type)) {
    case WeightType::F32: return matmulFloat<ElementF32>(args);
    case WeightType::F16: return matmulFloat<ElementF16>(args);
    case WeightType::BF16: return matmulFloat<ElementBf16>(args);
    case WeightType::Q4_0: return matmulQuant<WeightType::Q4_0>(args);
    case WeightType::Q4_1: return matmulQuant<WeightType::Q4_1>(args);
    case WeightType::Q5_0: return matmulQuant<WeightType::Q5_0>(args);
    case WeightType::Q5_1: return matmulQuant<WeightType::Q5_1>(args);
    case WeightType::Q8_0: return matmulQuant<WeightType::Q8_0>(args);
    case WeightType::Q4_K: return matmulQuant<WeightType::Q4_K>(args);
    case WeightType::Q5_K: return matmulQuant<WeightType::Q5_K>(args);
    case WeightType::Q6_K: return matmulQuant<WeightType::Q6_K>(args);
    case WeightType::IQ4_NL: return matmulQuant<WeightType::IQ4_NL>(args);
    case WeightType::IQ4_XS: return matmulQuant<WeightType::IQ4_XS>(args);
    case WeightType::MXFP4: return matmulQuant<WeightType::MXFP4>(args);
    case WeightType::Q2_K: return matmulQuant<WeightType::Q2_K>(args);
    case WeightType::Q3_K: return matmulQuant<WeightType::Q3_K>(args);
    case WeightType::TQ2_0: return matmulQuant<WeightType::TQ2_0>(args);
    case WeightType::IQ2_XS: return matmulQuant<WeightType::IQ2_XS>(args);
    default: return;
    }
}

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

template <typename Decoder, int kTokens>
void quantTokens(const MatmulArgs &args, std::uint32_t panel, const std::byte *data, std::uint32_t token)
{
    F32x16 sums[kTokens];
    quantTile<Decoder, kTokens>(Decoder(data, args.weights.cols), quantRows(args, token), args.weights.cols, sums);
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        putRows(args, panel, token + t, sums[t]);
}

// Fewer than kQuantTokens tokens left: `count` of them.
template <typename Decoder, int kTokens = 1>
KVILT_INLINE void quantTail(const MatmulArgs &args, std::uint32_t panel, const std::byte *data, std::uint32_t token,
                            std::uint32_t count)
{
    if constexpr (kTokens < kQuantTokens) {
        if (count == std::uint32_t(kTokens))
            quantTokens<Decoder, kTokens>(args, panel, data, token);
        else
            quantTail<Decoder, kTokens + 1>(args, panel, data, token, count);
    }
}

template <typename Decoder>
void decodePanel(const std::byte *panel, std::uint32_t cols, std::byte *scratch)
{
    constexpr PanelFormat kFormat = Decoder::kFormat;
    Decoder decoder(panel, cols);
    std::byte *scales = scratch + std::size_t(cols) * 16;
    std::byte *mins = scales + std::size_t(cols) / kFormat.group * 64;
    constexpr std::size_t kGroups = 32 / kFormat.group;
    for (std::size_t block = 0; block < cols / 32; ++block) {
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
    constexpr PanelFormat kFormat = Packed::kFormat;
    using Decoded = ScratchDecoder<typename Packed::Dot, kFormat.group, kFormat.mins, kFormat.offset>;
    const std::size_t panelBytes = packedPanelBytes(kType, args.weights.cols);
    const std::uint32_t tokens = args.x.count;
    const std::uint32_t pass = tokensPerPass(ActivationLayout(args.x.cols).total);
    for (std::uint32_t begin = 0; begin < tokens; begin += pass) {
        const std::uint32_t end = std::min(tokens, begin + pass);
        for (std::uint32_t panel = args.panelBegin; panel < args.panelEnd; ++panel) {
            const std::byte *packed = args.weights.data + panel * panelBytes;
            if (end - begin == 1) {
                quantTokens<Packed, 1>(args, panel, packed, begin);
                continue;
            }
            decodePanel<Packed>(packed, args.weights.cols, args.scratch);
            std::uint32_t token = begin;
            for (; token + kQuantTokens <= end; token += kQuantTokens)
                quantTokens<Decoded, kQuantTokens>(args, panel, args.scratch, token);
            quantTail<Decoded>(args, panel, args.scratch, token, end - token);
        }
    }
}

template <typename Element, int kTokens, int kPanels>
void floatTokens(const MatmulArgs &args, std::uint32_t panel, std::uint32_t token)
{
    const std::size_t panelBytes = packedPanelBytes(args.weights.type, args.weights.cols);
    const std::size_t ldx = activationRowBytes(ActivationFormat::f32, args.x.cols) / sizeof(float);
    const std::byte *panels[kPanels];
    KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
        panels[p] = args.weights.data + (panel + p) * panelBytes;
    F32x16 sums[kTokens][kPanels];
    const auto *x = reinterpret_cast<const float *>(args.x.data) + token * ldx;
    floatTile<Element, kTokens, kPanels>(panels, x, ldx, args.x.cols, sums);
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
            putRows(args, panel + p, token + t, sums[t][p]);
}

// All tokens times kPanels panels.
template <typename Element, int kTokens, int kPanels>
KVILT_INLINE void floatPanels(const MatmulArgs &args, std::uint32_t panel)
{
    std::uint32_t token = 0;
    for (; token + kTokens <= args.x.count; token += kTokens)
        floatTokens<Element, kTokens, kPanels>(args, panel, token);
    for (; token < args.x.count; ++token)
        floatTokens<Element, 1, kPanels>(args, panel, token);
}

template <typename Element>
void matmulFloat(const MatmulArgs &args)
{
    std::uint32_t panel = args.panelBegin;
    if (args.x.count < kFloatTokens) // several panels at once hide the latency of their single accumulators
        for (; panel + kFloatPanelsOneToken <= args.panelEnd; panel += kFloatPanelsOneToken)
            floatPanels<Element, 1, kFloatPanelsOneToken>(args, panel);
    for (; panel + kFloatPanels <= args.panelEnd; panel += kFloatPanels)
        floatPanels<Element, kFloatTokens, kFloatPanels>(args, panel);
    for (; panel < args.panelEnd; ++panel)
        floatPanels<Element, kFloatTokens, 1>(args, panel);
}

void matmul(const MatmulArgs &args) noexcept
{
    switch (args.weights.type) {
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
    default: return;
    }
}

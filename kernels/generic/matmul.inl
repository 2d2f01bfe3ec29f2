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
    F32x16 sums[1] = {zero()};
    quantTile<Decoder, 1>(Decoder(data, args.weights.cols, args.weights.type), quantRows(args, token), args.weights.cols, sums,
                          &ahead, panelBytes / (args.weights.cols / 32));
    putRows(args, panel, token, sums[0]);
}

// Columns of a panel that are multiplied together, so that they stay in the first-level cache while tokens pass by; the sums
// of all tokens wait in `partial` from one chunk of columns to the next.
struct Chunk {
    std::uint32_t begin = 0, end = 0; // columns, multiples of 32
    bool first = true, last = false;
    const std::byte *codes = nullptr; // where a decoder finds them
    float *partial = nullptr;
    Ahead *ahead = nullptr; // what to fetch while tokens are multiplied, and how much of it for every 32 columns
    std::size_t aheadBytes = 0;

    template <int kTokens>
    KVILT_INLINE void start(std::uint32_t index, F32x16 (&sums)[kTokens]) const
    {
        KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
            sums[t] = first ? zero() : load(partial + (index + t) * 16);
    }
    template <int kTokens>
    KVILT_INLINE void finish(const MatmulArgs &args, std::uint32_t panel, std::uint32_t token, std::uint32_t index,
                             const F32x16 (&sums)[kTokens]) const
    {
        KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
            last ? putRows(args, panel, token + t, sums[t]) : store(partial + (index + t) * 16, sums[t]);
    }
};

// `index`: of the token among those of the pass.
template <typename Decoder, int kTokens>
KVILT_NOINLINE void quantTokens(const MatmulArgs &args, std::uint32_t panel, const Chunk &chunk, std::uint32_t token, std::uint32_t index)
{
    F32x16 sums[kTokens];
    chunk.start(index, sums);
    quantTile<Decoder, kTokens>(Decoder(chunk.codes, args.weights, chunk.begin, chunk.end),
                                quantRows(args, token).from(chunk.begin), chunk.end - chunk.begin, sums, chunk.ahead, chunk.aheadBytes);
    chunk.finish(args, panel, token, index, sums);
}

// kTokens tokens by the matrix unit, a group of columns at a time; its dots go through memory, in turns through two
// places so that a group is multiplied while the one before becomes floats.
template <typename Decoder, int kTokens>
void quantBlock(const MatmulArgs &args, std::uint32_t panel, const Chunk &chunk, std::uint32_t token, std::uint32_t index)
{
    constexpr std::uint32_t kGroup = Decoder::kFormat.group;
    const QuantRows rows = quantRows(args, token).from(chunk.begin);
    Decoder decoder(chunk.codes, args.weights, chunk.begin, chunk.end);
    alignas(64) std::int32_t dots[2][kTokens * 16];
    F32x16 sums[kTokens];
    chunk.start(index, sums);
    for (std::size_t group = 0; group < (chunk.end - chunk.begin) / kGroup; ++group) {
        const std::size_t block = group * kGroup / 32, half = group * kGroup % 32 / 16;
        std::int32_t *of = dots[group % 2];
        decoder.begin(block);
        BlockUnit<kGroup>::template dot<Decoder::kSigned>(rows.quants(0, block) + 16 * half, rows.stride, decoder.groupCodes(half), of);
        const GroupFactors<Decoder> factors(decoder, half);
        KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
            factors.add(rows, t, block, half, iload(of + 16 * t), 0, sums[t]);
    }
    chunk.finish(args, panel, token, index, sums);
}

// Tokens [token, end): as many as a tile takes, then half as many, and so on.
template <typename Decoder, int kTokens = kQuantTokens>
KVILT_INLINE void quantPass(const MatmulArgs &args, std::uint32_t panel, const Chunk &chunk, std::uint32_t begin,
                            std::uint32_t token, std::uint32_t end)
{
    for (; token + kTokens <= end; token += kTokens)
        quantTokens<Decoder, kTokens>(args, panel, chunk, token, token - begin);
    if constexpr (kTokens > 1)
        if (token < end)
            quantPass<Decoder, kTokens / 2>(args, panel, chunk, begin, token, end);
}

// Columns of `chunk` into the scratch.
template <WeightType kType>
void decodePanel(const std::byte *panel, std::uint32_t cols, WeightType type, const Chunk &chunk, std::byte *scratch)
{
    using Decoder = PanelDecoder<kType>;
    constexpr PanelFormat kFormat = Decoder::kFormat;
    Decoder decoder(panel, cols, type);
    const std::size_t first = chunk.begin / 32, blocks = (chunk.end - chunk.begin) / 32;
    std::byte *scales = scratch + blocks * 512;
    std::byte *mins = scales + blocks * 32 / kFormat.group * 64;
    constexpr std::size_t kGroups = 32 / kFormat.group;
    const std::size_t panelBytes = packedPanelBytes(kType, cols), blockBytes = panelBytes / (cols / 32);
    Ahead ahead{panel + kPrefetchAhead + first * blockBytes, panel + kPrefetchAhead + panelBytes};
    for (std::size_t block = 0; block < blocks; ++block) {
        ahead.fetch(blockBytes);
        decoder.begin(first + block);
        KVILT_UNROLL for (int p = 0; p < 4; ++p) {
            Codes low, high;
            decoder.codes(p, low, high);
            storeCodes(scratch + block * 512 + 128 * p, low);
            storeCodes(scratch + block * 512 + 128 * p + 64, high);
        }
        KVILT_UNROLL for (std::size_t half = 0; half < kGroups; ++half) {
            storeF32(scales + 64 * (block * kGroups + half), decoder.scale(half));
            if constexpr (kFormat.mins)
                storeF32(mins + 64 * (block * kGroups + half), decoder.minimum(half));
        }
    }
}

// Tiles of tokens up to which a panel is read more slowly than it is multiplied.
inline constexpr std::size_t kFewTiles = 8;
inline constexpr std::uint32_t kFloatFew = 24; // the same in tokens, of float weights
// Tiles that each decode the panel anew (8 tokens from the cache, Zen 3: Q4_0 11 % faster so, Q4_K 3, IQ4_NL 2; Q6_K 7 % slower).
inline constexpr std::size_t kPackedTiles = 2;

// Tokens that share one decoding of a panel; their activations stay in the second-level cache meanwhile.
KVILT_INLINE std::uint32_t tokensPerPass(std::size_t rowBytes)
{
    static_assert(8 * kQuantTokens <= kQuantPass);
    const std::size_t fit = std::size_t(192 * 1024) / rowBytes / kQuantTokens * kQuantTokens;
    return std::uint32_t(std::clamp<std::size_t>(fit, 8 * kQuantTokens, kQuantPass));
}

// Tokens [begin, end), more than one, times one panel, by columns.
template <WeightType kType>
KVILT_INLINE void quantPanel(const MatmulArgs &args, std::uint32_t panel, std::size_t panelBytes, std::uint32_t begin, std::uint32_t end)
{
    constexpr bool kBytes = PanelDecoder<kType>::kFormat.lowBits == 8; // nothing to decode
    using Decoded = std::conditional_t<kBytes, PackedColumns<kType>, ScratchDecoder<PanelDecoder<kType>>>;
    const std::uint32_t cols = args.weights.cols, columns = quantChunk(cols);
    const std::byte *data = args.weights.data + panel * panelBytes;
    const std::size_t tiles = (end - begin + kQuantTokens - 1) / kQuantTokens;
    const bool blocks = kBlockTokens > 0 && end - begin >= std::uint32_t(kBlockTokens);
    const bool packed = kBytes || (tiles <= kPackedTiles && !blocks);
    // Few tokens multiply a panel faster than the next one is read: it is asked for meanwhile. The next task's is likely ours too.
    // (A matrix unit asks for nothing: its tokens are many.)
    const std::byte *next = data + panelBytes;
    Ahead ahead{next, tiles <= kFewTiles && panel + 1 < args.weights.panels() ? next + panelBytes : next};
    Chunk chunk{.codes = packed ? data : args.scratch,
                .partial = reinterpret_cast<float *>(args.scratch + decodedBytes(panelFormat(kType), columns)),
                .ahead = &ahead,
                .aheadBytes = panelBytes / (cols / 32) / tiles};
    for (; !chunk.last; chunk.first = false) {
        chunk.begin = chunk.end;
        chunk.end = std::min(cols, chunk.begin + columns);
        chunk.last = chunk.end == cols;
        if (packed && !kBytes) {
            quantPass<PackedColumns<kType>>(args, panel, chunk, begin, begin, end);
            continue;
        }
        if constexpr (!kBytes)
            decodePanel<kType>(data, cols, args.weights.type, chunk, args.scratch);
        std::uint32_t token = begin;
        if constexpr (kBlockTokens > 0)
            for (; token + kBlockTokens <= end; token += kBlockTokens)
                quantBlock<Decoded, kBlockTokens>(args, panel, chunk, token, token - begin);
        quantPass<Decoded>(args, panel, chunk, begin, token, end);
    }
}

template <WeightType kType>
void matmulQuant(const MatmulArgs &args)
{
    using Packed = PanelDecoder<kType>;
    const std::size_t panelBytes = packedPanelBytes(kType, args.weights.cols);
    const std::uint32_t tokens = args.x.count;
    const std::uint32_t pass = tokensPerPass(ActivationLayout(args.x.cols).total);
    [[maybe_unused]] const bool inBlocks = kBlockTokens > 0 && tokens >= std::uint32_t(kBlockTokens);
    if constexpr (kBlockTokens > 0)
        if (inBlocks) // setting the unit up is dear beside a single token
            BlockUnit<Packed::kFormat.group>::begin();
    for (std::uint32_t begin = 0; begin < tokens; begin += pass) {
        const std::uint32_t end = std::min(tokens, begin + pass);
        for (std::uint32_t panel = args.panelBegin; panel < args.panelEnd; ++panel)
            end - begin == 1 ? quantOneToken<Packed>(args, panel, panelBytes, begin) : quantPanel<kType>(args, panel, panelBytes, begin, end);
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

// Several tokens: kFloatColumns columns of kPanels panels are widened to floats that fit the first-level cache and are
// used for all tokens of a pass; the unfinished sums wait in the scratch.
struct FloatChunk {
    std::uint32_t column, columns;
    const std::byte *floats;  // a panel's columns
    std::size_t panelStride;  // bytes from one panel's to the next one's
    std::uint32_t step;       // columns after which more of the next ones are asked for
    std::size_t aheadBytes;   // and how much
};

template <int kTokens, int kPanels>
KVILT_NOINLINE void floatColumns(const FloatRows &rows, const FloatChunk &chunk, Ahead (&ahead)[kPanels], float *sums)
{
    const std::byte *panels[kPanels];
    KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
        panels[p] = chunk.floats + p * chunk.panelStride;
    F32x16 tile[kTokens][kPanels];
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
            tile[t][p] = load(sums + (t * kPanels + p) * 16);
    for (std::uint32_t k = 0; k < chunk.columns; k += chunk.step) {
        for (int p = 0; p < kPanels; ++p)
            ahead[p].fetch(chunk.aheadBytes);
        const std::uint32_t end = std::min(k + chunk.step, chunk.columns);
        floatColumnRange<ElementF32, kTokens, kPanels>(panels, rows.x + chunk.column, rows.ld, k, end, tile);
    }
    KVILT_UNROLL for (int t = 0; t < kTokens; ++t)
        KVILT_UNROLL for (int p = 0; p < kPanels; ++p)
            store(sums + (t * kPanels + p) * 16, tile[t][p]);
}

template <int kPanels, int kTokens = kFloatTokens>
KVILT_INLINE void floatTokens(std::uint32_t tokens, const FloatRows &rows, const FloatChunk &chunk, Ahead (&ahead)[kPanels],
                              float *sums)
{
    if constexpr (kTokens > 1)
        if (tokens < std::uint32_t(kTokens))
            return floatTokens<kPanels, kTokens - 1>(tokens, rows, chunk, ahead, sums);
    floatColumns<kTokens, kPanels>(rows, chunk, ahead, sums);
}

// Tokens of the next tile: as many as it takes; the last two tiles share evenly, as a small one waits for its own sums.
KVILT_INLINE std::uint32_t nextFloatTokens(std::uint32_t left)
{
    constexpr std::uint32_t kMost = kFloatTokens;
    return left >= 2 * kMost || left == kMost ? kMost : left > kMost ? (left + 1) / 2 : left;
}

template <typename Element, int kPanels>
void floatPass(const MatmulArgs &args, std::uint32_t panel, std::uint32_t token, std::uint32_t count)
{
    static_assert(std::size_t(kPanels) * kFloatColumns * 64 <= kFloatWidened && kPanels <= int(kMostFloatPanels));
    constexpr bool kAsTheyAre = std::is_same_v<Element, ElementF32>;
    constexpr std::size_t kColumnBytes = 16 * Element::kBytes;
    const std::size_t panelBytes = packedPanelBytes(args.weights.type, args.weights.cols);
    const std::byte *weights = args.weights.data + panel * panelBytes;
    auto *sums = reinterpret_cast<float *>(args.scratch);
    std::byte *widened = args.scratch + std::size_t(kFloatPass) * kPanels * 64;
    std::memset(sums, 0, std::size_t(count) * kPanels * 64);
    for (std::uint32_t column = 0; column < args.x.cols; column += kFloatColumns) {
        constexpr std::uint32_t kStep = 64 / Element::kBytes;
        const std::size_t tiles = (count + kFloatTokens - 1) / kFloatTokens;
        FloatChunk chunk{column, std::min(kFloatColumns, args.x.cols - column), widened, std::size_t(kFloatColumns) * 64, kStep,
                         kStep * kColumnBytes / tiles};
        if constexpr (kAsTheyAre) {
            chunk.floats = weights + column * kColumnBytes;
            chunk.panelStride = panelBytes;
        } else {
            for (int p = 0; p < kPanels; ++p)
                widen<Element>(weights + p * panelBytes + column * kColumnBytes, chunk.columns, widened + p * chunk.panelStride);
        }
        // Few tokens compute a chunk faster than the next one is read: it is asked for meanwhile. After the last chunk comes the first
        // one of the next panels.
        const bool last = column + chunk.columns == args.x.cols;
        const std::byte *next = weights + (last ? kPanels * panelBytes : (column + chunk.columns) * kColumnBytes);
        Ahead ahead[kPanels];
        for (int p = 0; p < kPanels; ++p)
            ahead[p] = {next + p * panelBytes, next + p * panelBytes + (count <= kFloatFew ? kFloatColumns * kColumnBytes : 0)};
        FloatRows rows = floatRows(args);
        rows.x += token * rows.ld;
        float *at = sums;
        for (std::uint32_t left = count; left > 0;) {
            const std::uint32_t tokens = nextFloatTokens(left);
            floatTokens<kPanels>(tokens, rows, chunk, ahead, at);
            left -= tokens;
            rows.x += tokens * rows.ld;
            at += std::size_t(tokens) * kPanels * 16;
        }
    }
    for (std::uint32_t t = 0; t < count; ++t)
        for (int p = 0; p < kPanels; ++p)
            putRows(args, panel + p, token + t, load(sums + (t * kPanels + p) * 16));
}

template <typename Element>
void matmulFloat(const MatmulArgs &args)
{
    if (args.x.count == 1) {
        std::uint32_t panel = args.panelBegin;
        for (; panel + kFloatPanelsOneToken <= args.panelEnd; panel += kFloatPanelsOneToken)
            floatOneToken<Element, kFloatPanelsOneToken>(args, panel, 0);
        for (; panel < args.panelEnd; ++panel)
            floatOneToken<Element, 1>(args, panel, 0);
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

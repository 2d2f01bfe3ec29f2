// SPDX-License-Identifier: Apache-2.0
// Attention over a block table. A unit's rows are walked by groups of 64 positions: all scores of the group, then the
// running maximum and the weights of each row, then the weighted sum of V. What a row gets does not depend on the
// rows beside it: lanes are keys (scores) or dims (values), and masked positions are left out.

// The four tiles of a group, of one KV head; null where nothing is visible.
struct GroupTiles {
    const std::byte *keys[4] = {};
    const std::byte *values[4] = {};
    int first = 0, last = 0; // tiles [first, last) hold visible positions
    Ahead nextKeys[4] = {};  // of the group that comes after this one, where it is worth fetching
    Ahead nextValues[4] = {};
    std::size_t keyStep = 0, valueStep = 0; // what is fetched of a tile for every 32 dims
};

struct UnitContext {
    const AttentionArgs &args;
    AttentionUnit unit;
    AttentionScratch layout;
    std::byte *scratch;
    std::uint32_t rows;
    std::uint32_t rowsPerToken;

    KVILT_INLINE std::byte *query(std::uint32_t row) const { return scratch + layout.queries + row * layout.queryStride; }
    KVILT_INLINE float *scores(std::uint32_t row) const { return floats(layout.scores) + std::size_t(row) * kGroupTokens; }
    KVILT_INLINE float *scaled(std::uint32_t row) const { return floats(layout.scaled) + std::size_t(row) * kGroupTokens; }
    KVILT_INLINE float *sums(std::uint32_t row) const { return floats(layout.sums) + std::size_t(row) * 16; }
    KVILT_INLINE float *split(std::uint32_t row) const { return floats(layout.split) + row * stride(); }
    KVILT_INLINE float *whole(std::uint32_t row) const { return floats(layout.whole) + row * stride(); }
    KVILT_INLINE float *maxima() const { return floats(layout.maxima); }
    KVILT_INLINE float *groupMaxima() const { return floats(layout.groupMaxima); }
    KVILT_INLINE float *corrections() const { return floats(layout.corrections); }
    KVILT_INLINE std::int32_t *begins() const { return reinterpret_cast<std::int32_t *>(scratch + layout.begins); }
    KVILT_INLINE std::int32_t *ends() const { return reinterpret_cast<std::int32_t *>(scratch + layout.ends); }
    KVILT_INLINE std::uint32_t valueDim() const { return args.kv.values.dim; }
    KVILT_INLINE std::size_t stride() const { return partialStride(valueDim()); }

private:
    KVILT_INLINE float *floats(std::size_t offset) const { return reinterpret_cast<float *>(scratch + offset); }
};

inline constexpr float kNothing = -std::numeric_limits<float>::infinity(); // the maximum of no positions

// --- scores
template <typename Element>
struct FloatKeys {
    template <int kRows, int kTiles>
    static KVILT_INLINE void score(const UnitContext &unit, std::uint32_t row, GroupTiles &tiles, int tile,
                                   F32x16 (&sums)[kRows][kTiles])
    {
        const std::byte *at[kTiles];
        KVILT_UNROLL for (int p = 0; p < kTiles; ++p)
            at[p] = tiles.keys[tile + p];
        const auto *query = reinterpret_cast<const float *>(unit.query(row));
        for (std::uint32_t k = 0; k < unit.args.kv.keys.dim; k += 16) {
            for (int p = 0; p < kTiles; ++p)
                tiles.nextKeys[tile + p].fetch(tiles.keyStep / 2);
            floatColumnRange<Element, kRows, kTiles>(at, query, unit.layout.queryStride / sizeof(float), k, k + 16, sums);
        }
    }
};

template <WeightType kPanel>
struct QuantKeys {
    template <int kRows, int kTiles>
    static KVILT_INLINE void score(const UnitContext &unit, std::uint32_t row, GroupTiles &tiles, int tile,
                                   F32x16 (&sums)[kRows][kTiles])
    {
        const std::uint32_t dim = unit.args.kv.keys.dim;
        const QuantRows rows{unit.query(row), unit.layout.queryStride, ActivationLayout(dim)};
        KVILT_UNROLL for (int p = 0; p < kTiles; ++p) {
            F32x16 column[kRows];
            KVILT_UNROLL for (int t = 0; t < kRows; ++t)
                column[t] = zero();
            quantTile<PanelDecoder<kPanel>, kRows>(PanelDecoder<kPanel>(tiles.keys[tile + p], dim), rows, dim, column,
                                                   &tiles.nextKeys[tile + p], tiles.keyStep);
            KVILT_UNROLL for (int t = 0; t < kRows; ++t)
                sums[t][p] = column[t];
        }
    }
};

template <typename Keys, int kRows, int kTiles>
void scoreRows(const UnitContext &unit, std::uint32_t row, GroupTiles &tiles, int tile)
{
    F32x16 sums[kRows][kTiles];
    clearTile(sums);
    Keys::template score<kRows, kTiles>(unit, row, tiles, tile, sums);
    KVILT_UNROLL for (int t = 0; t < kRows; ++t)
        KVILT_UNROLL for (int p = 0; p < kTiles; ++p)
            store(unit.scores(row + t) + 16 * (tile + p), sums[t][p]);
}

// Rows from `row` on: as many as a tile takes, then half as many, and so on.
template <typename Keys, int kTiles, int kRows = kAttentionRows>
KVILT_INLINE void scoreTiles(const UnitContext &unit, GroupTiles &tiles, int tile, std::uint32_t row = 0)
{
    for (; row + kRows <= unit.rows; row += kRows)
        scoreRows<Keys, kRows, kTiles>(unit, row, tiles, tile);
    if constexpr (kRows > 1)
        scoreTiles<Keys, kTiles, kRows / 2>(unit, tiles, tile, row);
}

template <typename Keys>
void scoreGroup(const UnitContext &unit, GroupTiles &tiles)
{
    int tile = tiles.first;
    if (unit.rows == kFewRows) { // four query heads to a KV head, one token: the shape of most models' decoding
        for (; tile + kFewPanels <= tiles.last; tile += kFewPanels)
            scoreRows<Keys, kFewRows, kFewPanels>(unit, 0, tiles, tile);
    }
    for (; tile + kAttentionPanels <= tiles.last; tile += kAttentionPanels)
        scoreTiles<Keys, kAttentionPanels>(unit, tiles, tile);
    for (; tile < tiles.last; ++tile)
        scoreTiles<Keys, 1>(unit, tiles, tile);
}

// --- weights: scores become exp(score - maximum), sums and accumulators move to the new maximum
KVILT_INLINE float maskScores(const UnitContext &unit, std::uint32_t row, std::int32_t base, const GroupTiles &tiles)
{
    const std::int32_t begin = unit.begins()[row] - base, end = unit.ends()[row] - base;
    const bool allVisible = begin <= 16 * tiles.first && end >= 16 * tiles.last;
    const F32x16 scale = set1(unit.args.scale);
    F32x16 most = set1(kNothing);
    for (int tile = tiles.first; tile < tiles.last; ++tile) {
        float *at = unit.scores(row) + 16 * tile;
        F32x16 score = mul(load(at), scale);
        if (!allVisible)
            score = select(laneRange(begin - 16 * tile, end - 16 * tile), score, set1(kNothing));
        store(at, score);
        most = max(score, most);
    }
    return reduceMax(most);
}

// For 16 rows at a time: corrections = exp(old - new maximum), maxima = new.
KVILT_INLINE void moveMaxima(const UnitContext &unit)
{
    for (std::uint32_t row = 0; row < unit.rows; row += 16) {
        const F32x16 before = load(unit.maxima() + row);
        const F32x16 after = max(load(unit.groupMaxima() + row), before);
        store(unit.corrections() + row, exp(sub(before, after)));
        store(unit.maxima() + row, after);
    }
}

KVILT_INLINE void weighRow(const UnitContext &unit, std::uint32_t row, const GroupTiles &tiles)
{
    const float correction = unit.corrections()[row];
    const F32x16 maximum = set1(unit.maxima()[row]);
    F32x16 sum = mul(load(unit.sums(row)), set1(correction));
    for (int tile = tiles.first; tile < tiles.last; ++tile) {
        float *at = unit.scores(row) + 16 * tile;
        const F32x16 weight = exp(sub(load(at), maximum));
        store(at, weight);
        sum = add(sum, weight);
    }
    store(unit.sums(row), sum);
    if (correction == 1.0f)
        return;
    float *values = unit.split(row);
    for (std::uint32_t d = 0; d < unit.valueDim(); d += 16)
        store(values + d, mul(load(values + d), set1(correction)));
}

// --- values: accumulators[d] = fma(weight[j], V[j][d], accumulators[d]) for visible j ascending
struct Span {
    std::int32_t begin, end; // positions within the group
};

KVILT_INLINE Span visibleSpan(const UnitContext &unit, std::uint32_t row, std::int32_t base)
{
    if (unit.groupMaxima()[row] == kNothing)
        return {0, 0};
    return {std::max(unit.begins()[row] - base, 0), std::min(unit.ends()[row] - base, std::int32_t(kGroupTokens))};
}

// How V rows are read: bytes of a row, where dim d of it starts, and 16 dims from 16 * v on (quantised: v is 0 or 1).
template <typename Element>
struct ValueElement {
    static KVILT_INLINE std::size_t rowBytes(std::size_t dim) { return dim * Element::kBytes; }
    static KVILT_INLINE std::size_t offset(std::size_t d) { return d * Element::kBytes; }
    static KVILT_INLINE F32x16 load16(const std::byte *p, int v) { return Element::load16(p + 16 * v * Element::kBytes); }
};
struct ElementI8 {
    static constexpr std::size_t kBytes = 1;
    static KVILT_INLINE F32x16 load16(const std::byte *p) { return loadI8(p); }
};
struct ValueQ4 {
    static KVILT_INLINE std::size_t rowBytes(std::size_t dim) { return dim / 2; }
    static KVILT_INLINE std::size_t offset(std::size_t d) { return d / 2; }
    static KVILT_INLINE F32x16 load16(const std::byte *p, int v) { return loadI4(p, v == 1); }
};

template <typename Element>
struct FloatValues {
    static constexpr int kFewTogether = kFewRows;

    // Accumulates dims [d, d + 16 * kVectors) of kRows rows over `span`.
    template <int kRows, int kVectors>
    static KVILT_INLINE void accumulate(const UnitContext &unit, std::uint32_t row, GroupTiles &tiles, Span span,
                                        std::uint32_t d, const float *weights)
    {
        F32x16 sums[kRows][kVectors];
        KVILT_UNROLL for (int t = 0; t < kRows; ++t)
            KVILT_UNROLL for (int v = 0; v < kVectors; ++v)
                sums[t][v] = load(unit.split(row + t) + d + 16 * v);
        const std::size_t rowBytes = Element::rowBytes(unit.valueDim());
        for (std::int32_t j = span.begin; j < span.end;) {
            const std::int32_t stop = std::min(span.end, (j / 16 + 1) * 16);
            tiles.nextValues[j / 16].fetch(tiles.valueStep * kVectors / 2);
            const std::byte *at = tiles.values[j / 16] + j % 16 * rowBytes + Element::offset(d);
            for (const float *weight = weights + j; j < stop; ++j, ++weight, at += rowBytes)
                KVILT_UNROLL for (int v = 0; v < kVectors; ++v) {
                    const F32x16 value = Element::load16(at, v);
                    weight = readAgain(weight);
                    KVILT_UNROLL for (int t = 0; t < kRows; ++t)
                        sums[t][v] = fma(set1(weight[t * kGroupTokens]), value, sums[t][v]);
                }
        }
        KVILT_UNROLL for (int t = 0; t < kRows; ++t)
            KVILT_UNROLL for (int v = 0; v < kVectors; ++v)
                store(unit.split(row + t) + d + 16 * v, sums[t][v]);
    }

    template <int kRows>
    static void rows(const UnitContext &unit, std::uint32_t row, GroupTiles &tiles, Span span)
    {
        constexpr int kVectors = kRows == kFewRows ? kFewPanels : kAttentionPanels;
        std::uint32_t d = 0;
        for (; d + 16 * kVectors <= unit.valueDim(); d += 16 * kVectors)
            accumulate<kRows, kVectors>(unit, row, tiles, span, d, unit.scores(row));
        for (; d < unit.valueDim(); d += 16)
            accumulate<kRows, 1>(unit, row, tiles, span, d, unit.scores(row));
    }
};

// The scale of 32 dims goes into the weight: fma(weight * scale[j], code[j][d], ...).
template <typename Element, KvElement kType>
struct QuantValues {
    static constexpr int kFewTogether = kFewPanels >= 2 ? kFewRows : kFewRows / 2; // always two vectors

    template <int kRows>
    static void rows(const UnitContext &unit, std::uint32_t row, GroupTiles &tiles, Span span)
    {
        for (std::uint32_t d = 0; d < unit.valueDim(); d += 32) {
            for (std::int32_t tile = span.begin / 16; tile * 16 < span.end; ++tile) {
                const F32x16 scale = loadF16(tiles.values[tile] + kvScaleOffset(kType, unit.valueDim()) + d);
                KVILT_UNROLL for (int t = 0; t < kRows; ++t)
                    store(unit.scaled(row + t) + 16 * tile, mul(load(unit.scores(row + t) + 16 * tile), scale));
            }
            FloatValues<Element>::template accumulate<kRows, 2>(unit, row, tiles, span, d, unit.scaled(row));
        }
    }
};

// kRows rows together where all see the position, each alone where not.
template <typename Values, int kRows>
KVILT_INLINE void valueRows(const UnitContext &unit, std::uint32_t row, std::int32_t base, GroupTiles &tiles)
{
    Span spans[kRows];
    Span common{0, std::int32_t(kGroupTokens)};
    for (int t = 0; t < kRows; ++t) {
        spans[t] = visibleSpan(unit, row + t, base);
        common = {std::max(common.begin, spans[t].begin), std::min(common.end, spans[t].end)};
    }
    if (kRows == 1 || common.begin >= common.end) {
        for (int t = 0; t < kRows; ++t)
            if (spans[t].begin < spans[t].end)
                Values::template rows<1>(unit, row + t, tiles, spans[t]);
        return;
    }
    for (int t = 0; t < kRows; ++t)
        if (spans[t].begin < common.begin)
            Values::template rows<1>(unit, row + t, tiles, {spans[t].begin, common.begin});
    Values::template rows<kRows>(unit, row, tiles, common);
    for (int t = 0; t < kRows; ++t)
        if (common.end < spans[t].end)
            Values::template rows<1>(unit, row + t, tiles, {common.end, spans[t].end});
}

template <typename Values, int kRows>
KVILT_INLINE void valueRowsFrom(const UnitContext &unit, GroupTiles &tiles, std::int32_t base, std::uint32_t row)
{
    for (; row + kRows <= unit.rows; row += kRows)
        valueRows<Values, kRows>(unit, row, base, tiles);
    if constexpr (kRows > 1)
        valueRowsFrom<Values, kRows / 2>(unit, tiles, base, row);
}

template <typename Values>
void valueGroup(const UnitContext &unit, GroupTiles &tiles, std::int32_t base)
{
    if (unit.rows == kFewRows)
        return valueRowsFrom<Values, Values::kFewTogether>(unit, tiles, base, 0);
    valueRowsFrom<Values, kAttentionRows>(unit, tiles, base, 0);
}

using ScoreGroup = void (*)(const UnitContext &, GroupTiles &);
using ValueGroup = void (*)(const UnitContext &, GroupTiles &, std::int32_t);

KVILT_INLINE ScoreGroup scoreFunction(KvElement type)
{
    switch (type) {
    case KvElement::f32: return scoreGroup<FloatKeys<ElementF32>>;
    case KvElement::bf16: return scoreGroup<FloatKeys<ElementBf16>>;
    case KvElement::q8: return scoreGroup<QuantKeys<WeightType::Q8_0>>;
    case KvElement::q4: return scoreGroup<QuantKeys<WeightType::Q4_0>>;
    case KvElement::fp8: return scoreGroup<FloatKeys<ElementFp8>>;
    default: return scoreGroup<FloatKeys<ElementF16>>;
    }
}

KVILT_INLINE ValueGroup valueFunction(KvElement type)
{
    switch (type) {
    case KvElement::f32: return valueGroup<FloatValues<ValueElement<ElementF32>>>;
    case KvElement::bf16: return valueGroup<FloatValues<ValueElement<ElementBf16>>>;
    case KvElement::fp8: return valueGroup<FloatValues<ValueElement<ElementFp8>>>;
    case KvElement::q8: return valueGroup<QuantValues<ValueElement<ElementI8>, KvElement::q8>>;
    case KvElement::q4: return valueGroup<QuantValues<ValueQ4, KvElement::q4>>;
    default: return valueGroup<FloatValues<ValueElement<ElementF16>>>;
    }
}

// --- the walk
KVILT_INLINE void copyQueries(const UnitContext &unit)
{
    const AttentionArgs &args = unit.args;
    const std::uint32_t dim = args.kv.keys.dim;
    for (std::uint32_t row = 0; row < unit.rows; ++row) {
        const std::uint32_t token = unit.unit.tokenBegin + row / unit.rowsPerToken;
        const std::uint32_t head = unit.unit.kvHead * unit.rowsPerToken + row % unit.rowsPerToken;
        const float *query = args.queries + token * args.ldQueries + std::size_t(head) * dim;
        if (kvQuantised(args.kv.keys.type)) {
            auto *turned = reinterpret_cast<float *>(unit.scratch + unit.layout.wideKeys); // free until the first group
            rotateHead(query, dim, turned);
            prepareRow(ActivationFormat::int8, turned, dim, unit.query(row));
        } else {
            prepareRow(ActivationFormat::f32, query, dim, unit.query(row));
        }
        const std::uint32_t position = args.firstPosition + token;
        unit.ends()[row] = std::int32_t(position + 1);
        unit.begins()[row] = args.window > 0 && position + 1 > args.window ? std::int32_t(position + 1 - args.window) : 0;
    }
}

// 16 * dim elements as floats; the address stays where they are floats already or are not widened.
KVILT_INLINE const std::byte *widenTile(KvElement type, const std::byte *tile, std::uint32_t dim, std::byte *to)
{
    if (type == KvElement::f16)
        widen<ElementF16>(tile, dim, to);
    else if (type == KvElement::bf16)
        widen<ElementBf16>(tile, dim, to);
    else if (type == KvElement::fp8)
        widen<ElementFp8>(tile, dim, to);
    else
        return tile;
    return to;
}

// With many rows, 16-bit and fp8 K and V are widened once a group instead of once for every few rows.
KVILT_INLINE bool widens(const UnitContext &unit, KvElement type)
{
    return unit.rows >= kWidenRows && type != KvElement::f32 && !kvQuantised(type);
}

KVILT_INLINE const std::byte *tileAt(const UnitContext &unit, const KvShape &shape, std::size_t side, std::int32_t position)
{
    const auto at = std::uint32_t(position);
    return unit.args.kv.blocks[at / shape.blockSize] + side +
           kvTileOffset(shape, unit.unit.kvHead, at % shape.blockSize / kTileTokens);
}

// Fewer rows compute a group faster than it is read: the tiles of the one at `base`, up to `end`, are fetched meanwhile.
KVILT_INLINE void lookAhead(const UnitContext &unit, std::int32_t base, std::int32_t end, GroupTiles &tiles)
{
    const PagedKvView &kv = unit.args.kv;
    tiles.keyStep = kTileTokens * kvRowBytes(kv.keys.type, 32);
    tiles.valueStep = kTileTokens * kvRowBytes(kv.values.type, 32);
    const std::size_t keyBytes = tiles.keyStep * kv.keys.dim / 32, valueBytes = tiles.valueStep * kv.values.dim / 32;
    for (int tile = 0; tile < 4 && base + 16 * tile < end; ++tile) {
        const std::byte *keys = tileAt(unit, kv.keys, kv.keyOffset, base + 16 * tile);
        const std::byte *values = tileAt(unit, kv.values, kv.valueOffset, base + 16 * tile);
        tiles.nextKeys[tile] = {keys, keys + keyBytes};
        tiles.nextValues[tile] = {values, values + valueBytes};
    }
}

// Blocks that hold visible positions of [begin, end) within the group at `base`.
KVILT_INLINE GroupTiles findTiles(const UnitContext &unit, std::int32_t base, std::int32_t begin, std::int32_t end)
{
    const PagedKvView &kv = unit.args.kv;
    const bool widenKeys = widens(unit, kv.keys.type), widenValues = widens(unit, kv.values.type);
    GroupTiles tiles;
    tiles.first = std::max(0, (begin - base) / 16);
    tiles.last = std::min(4, (end - base + 15) / 16);
    for (int tile = tiles.first; tile < tiles.last; ++tile) {
        tiles.keys[tile] = tileAt(unit, kv.keys, kv.keyOffset, base + 16 * tile);
        tiles.values[tile] = tileAt(unit, kv.values, kv.valueOffset, base + 16 * tile);
        if (widenKeys)
            tiles.keys[tile] = widenTile(kv.keys.type, tiles.keys[tile], kv.keys.dim,
                                         unit.scratch + unit.layout.wideKeys + std::size_t(tile) * kv.keys.dim * 64);
        if (widenValues)
            tiles.values[tile] = widenTile(kv.values.type, tiles.values[tile], kv.values.dim,
                                           unit.scratch + unit.layout.wideValues + std::size_t(tile) * kv.values.dim * 64);
    }
    return tiles;
}

// One split of all rows into unit.split(): accumulators, maximum, sum of weights.
KVILT_INLINE void attendSplit(const UnitContext &unit, std::uint32_t split, ScoreGroup score, ValueGroup value)
{
    for (std::uint32_t row = 0; row < unit.rows; ++row) {
        std::memset(unit.split(row), 0, unit.stride() * sizeof(float));
        std::memset(unit.sums(row), 0, 64);
        unit.maxima()[row] = kNothing;
    }
    const std::int32_t begin = std::max(unit.begins()[0], std::int32_t(split * kSplitTokens)); // rows ascend
    const std::int32_t end = std::min(unit.ends()[unit.rows - 1], std::int32_t((split + 1) * kSplitTokens));
    const std::int32_t last = std::min(unit.ends()[unit.rows - 1], std::int32_t(unit.unit.splitEnd * kSplitTokens));
    for (std::int32_t base = begin / 64 * 64; base < end; base += 64) {
        GroupTiles tiles = findTiles(unit, base, begin, end);
        if (unit.rows < kWidenRows)
            lookAhead(unit, base + 64, last, tiles);
        score(unit, tiles);
        for (std::uint32_t row = 0; row < unit.rows; ++row)
            unit.groupMaxima()[row] = maskScores(unit, row, base, tiles);
        moveMaxima(unit);
        for (std::uint32_t row = 0; row < unit.rows; ++row)
            if (unit.groupMaxima()[row] != kNothing)
                weighRow(unit, row, tiles);
        value(unit, tiles, base);
    }
    for (std::uint32_t row = 0; row < unit.rows; ++row) {
        unit.split(row)[unit.valueDim()] = unit.maxima()[row];
        unit.split(row)[unit.valueDim() + 1] = reduceAdd(load(unit.sums(row)));
    }
}

// Joins the next split's result of a row into `whole`; splits come in ascending order.
KVILT_INLINE void mergeSplit(float *whole, const float *split, std::uint32_t dim)
{
    if (split[dim] == kNothing)
        return;
    if (whole[dim] == kNothing) {
        std::memcpy(whole, split, (dim + 2) * sizeof(float));
        return;
    }
    const float maximum = whole[dim] > split[dim] ? whole[dim] : split[dim];
    const F32x16 a = exp(sub(set1(whole[dim]), set1(maximum)));
    const F32x16 b = exp(sub(set1(split[dim]), set1(maximum)));
    for (std::uint32_t d = 0; d < dim; d += 16)
        store(whole + d, fma(load(split + d), b, mul(load(whole + d), a)));
    whole[dim] = maximum;
    float sum[16];
    store(sum, fma(set1(split[dim + 1]), b, mul(set1(whole[dim + 1]), a)));
    whole[dim + 1] = sum[0];
}

KVILT_INLINE void finishRow(const AttentionArgs &args, const AttentionUnit &unit, std::uint32_t row,
                            std::uint32_t rowsPerToken, const float *whole)
{
    const std::uint32_t dim = args.kv.values.dim;
    const std::uint32_t head = unit.kvHead * rowsPerToken + row % rowsPerToken;
    float *out = args.out + (unit.tokenBegin + row / rowsPerToken) * args.ldOut + std::size_t(head) * dim;
    const F32x16 sum = set1(whole[dim + 1]);
    for (std::uint32_t d = 0; d < dim; d += 16)
        store(out + d, div(load(whole + d), sum));
    if (kvQuantised(args.kv.values.type))
        rotateHead(out, dim, out);
}

// Where the partial result of a row of one split lies.
KVILT_INLINE std::size_t partialOffset(const AttentionArgs &args, const AttentionCut &cut, const AttentionUnit &unit,
                                       std::uint32_t split, std::uint32_t row)
{
    const std::size_t tile = std::size_t(unit.kvHead) * cut.tiles + unit.tokenBegin / cut.tileTokens;
    const std::size_t rows = std::size_t(cut.tileTokens) * (args.queryHeads / args.kv.keys.heads);
    return ((tile * cut.splits + (split - cut.firstSplit)) * rows + row) * partialStride(args.kv.values.dim);
}

void runAttentionUnit(const AttentionArgs &args, const AttentionCut &cut, std::uint32_t index, float *partials,
                      std::byte *scratch) noexcept
{
    const std::uint32_t rowsPerToken = args.queryHeads / args.kv.keys.heads;
    const AttentionUnit part = attentionUnit(args, cut, index);
    const UnitContext unit{args,    part,
                           AttentionScratch(rowsPerToken, args.kv.keys, args.kv.values.dim),
                           scratch, (part.tokenEnd - part.tokenBegin) * rowsPerToken,
                           rowsPerToken};
    copyQueries(unit);
    const KvElement keys = args.kv.keys.type, values = args.kv.values.type;
    const ScoreGroup score = scoreFunction(widens(unit, keys) ? KvElement::f32 : keys);
    const ValueGroup value = valueFunction(widens(unit, values) ? KvElement::f32 : values);
    for (std::uint32_t row = 0; row < unit.rows; ++row)
        unit.whole(row)[unit.valueDim()] = kNothing;
    for (std::uint32_t split = part.splitBegin; split < part.splitEnd; ++split) {
        attendSplit(unit, split, score, value);
        for (std::uint32_t row = 0; row < unit.rows; ++row) {
            if (cut.rangesPerTile == 1)
                mergeSplit(unit.whole(row), unit.split(row), unit.valueDim());
            else
                std::memcpy(partials + partialOffset(args, cut, part, split, row), unit.split(row),
                            unit.stride() * sizeof(float));
        }
    }
    if (cut.rangesPerTile == 1)
        for (std::uint32_t row = 0; row < unit.rows; ++row)
            finishRow(args, part, row, rowsPerToken, unit.whole(row));
}

void mergeAttentionTile(const AttentionArgs &args, const AttentionCut &cut, std::uint32_t tile, float *partials) noexcept
{
    if (cut.rangesPerTile == 1)
        return;
    const std::uint32_t rowsPerToken = args.queryHeads / args.kv.keys.heads;
    const AttentionUnit part = attentionUnit(args, cut, tile * cut.rangesPerTile);
    const std::uint32_t rows = (part.tokenEnd - part.tokenBegin) * rowsPerToken;
    for (std::uint32_t row = 0; row < rows; ++row) {
        float *whole = partials + partialOffset(args, cut, part, cut.firstSplit, row); // the first split's place
        for (std::uint32_t split = cut.firstSplit + 1; split < cut.firstSplit + cut.splits; ++split)
            mergeSplit(whole, partials + partialOffset(args, cut, part, split, row), args.kv.values.dim);
        finishRow(args, part, row, rowsPerToken, whole);
    }
}

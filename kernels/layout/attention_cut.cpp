// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/attention.h"
#include "kernels/layout/attention_layout.h"
#include "kernels/layout/panel_layout.h"

#include <algorithm>

namespace kvilt::kernels {
namespace {

std::uint32_t ceilDivide(std::uint32_t a, std::uint32_t b)
{
    return (a + b - 1) / b;
}

} // namespace

AttentionCut cutAttention(const AttentionArgs &args, std::uint32_t wantedUnits) noexcept
{
    AttentionCut cut;
    const std::uint32_t heads = args.kv.keys.heads;
    cut.tileTokens = std::min(args.tokens, tokensPerTile(args.queryHeads / heads));
    cut.tiles = ceilDivide(args.tokens, cut.tileTokens);
    const std::uint32_t first = args.window > 0 && args.firstPosition + 1 > args.window ? args.firstPosition + 1 - args.window : 0;
    cut.firstSplit = first / kSplitTokens;
    cut.splits = (args.firstPosition + args.tokens - 1) / kSplitTokens - cut.firstSplit + 1;
    const std::uint32_t whole = heads * cut.tiles;
    cut.rangesPerTile = whole >= wantedUnits ? 1 : std::min(cut.splits, ceilDivide(wantedUnits, whole));
    cut.units = whole * cut.rangesPerTile;
    return cut;
}

AttentionUnit attentionUnit(const AttentionArgs &args, const AttentionCut &cut, std::uint32_t index) noexcept
{
    const std::uint32_t range = index % cut.rangesPerTile;
    const std::uint32_t tile = index / cut.rangesPerTile;
    AttentionUnit unit;
    unit.kvHead = tile / cut.tiles;
    unit.tokenBegin = tile % cut.tiles * cut.tileTokens;
    unit.tokenEnd = std::min(args.tokens, unit.tokenBegin + cut.tileTokens);
    unit.splitBegin = cut.firstSplit + cut.splits * range / cut.rangesPerTile;
    unit.splitEnd = cut.firstSplit + cut.splits * (range + 1) / cut.rangesPerTile;
    return unit;
}

std::size_t attentionPartialFloats(const AttentionArgs &args, const AttentionCut &cut) noexcept
{
    if (cut.rangesPerTile == 1)
        return 0;
    const std::size_t rows = std::size_t(cut.tileTokens) * (args.queryHeads / args.kv.keys.heads);
    return rows * partialStride(args.kv.values.dim) * cut.splits * cut.tiles * args.kv.keys.heads;
}

std::size_t attentionScratchBytes(std::uint32_t queryHeads, const KvShape &keys, const KvShape &values) noexcept
{
    return AttentionScratch(queryHeads / keys.heads, keys, values.dim).total;
}

} // namespace kvilt::kernels

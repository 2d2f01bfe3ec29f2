// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"

#include <algorithm>
#include <cstdint>
#include <vector>

// The one merging loop of both tokenizer families: join the best pair of neighbours (ties: the leftmost) until no pair
// has a candidate. Byte-level BPE orders pairs by merge rank, SentencePiece by score.
namespace kvilt::text {

// A stretch of the word that is one piece so far. Dead symbols have begin == end.
struct Symbol {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    TokenId id = -1; // -1: no piece has these bytes
};

struct MergeCandidate {
    std::uint32_t order = kNone; // lower merges first
    TokenId id = -1;
    static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
};

// Working memory of one encode call, so that words do not allocate.
struct MergeScratch {
    std::vector<Symbol> symbols;
    std::vector<MergeCandidate> pairs;
    std::vector<std::uint32_t> next, previous;
    struct Entry {
        std::uint32_t order, left, mid, end;
        TokenId id;
    };
    std::vector<Entry> heap;
};

// Short words: rescanning a few candidates beats a heap, and nothing is allocated.
template <typename Lookup>
void mergeByScan(MergeScratch &s, const Lookup &lookup)
{
    auto &symbols = s.symbols;
    auto &pairs = s.pairs;
    pairs.clear();
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
        pairs.push_back(lookup(symbols[i], symbols[i + 1]));
    while (!pairs.empty()) {
        const auto best = std::min_element(pairs.begin(), pairs.end(),
                                           [](const auto &a, const auto &b) { return a.order < b.order; });
        if (best->order == MergeCandidate::kNone)
            return;
        const auto at = static_cast<std::size_t>(best - pairs.begin());
        symbols[at].end = symbols[at + 1].end;
        symbols[at].id = best->id;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
        pairs.erase(best);
        if (at > 0)
            pairs[at - 1] = lookup(symbols[at - 1], symbols[at]);
        if (at < pairs.size())
            pairs[at] = lookup(symbols[at], symbols[at + 1]);
    }
}

// Long words: a heap of candidates over a linked list, n log n also for a million identical characters. An entry is
// stale when either side has changed its bounds since.
template <typename Lookup>
void mergeByHeap(MergeScratch &s, const Lookup &lookup)
{
    constexpr std::uint32_t kEnd = 0xFFFFFFFFu;
    auto &symbols = s.symbols;
    const auto count = static_cast<std::uint32_t>(symbols.size());
    s.next.resize(count);
    s.previous.resize(count);
    s.heap.clear();
    const auto later = [](const MergeScratch::Entry &a, const MergeScratch::Entry &b) {
        return a.order != b.order ? a.order > b.order : a.left > b.left;
    };
    const auto entry = [&](std::uint32_t left, std::uint32_t right) {
        const MergeCandidate c = lookup(symbols[left], symbols[right]);
        return MergeScratch::Entry{c.order, left, symbols[left].end, symbols[right].end, c.id};
    };
    const auto push = [&](std::uint32_t left, std::uint32_t right) {
        const auto e = entry(left, right);
        if (e.order == MergeCandidate::kNone)
            return;
        s.heap.push_back(e);
        std::push_heap(s.heap.begin(), s.heap.end(), later);
    };
    for (std::uint32_t i = 0; i < count; ++i) {
        s.previous[i] = i == 0 ? kEnd : i - 1;
        s.next[i] = i + 1 == count ? kEnd : i + 1;
        if (i + 1 < count) {
            if (const auto e = entry(i, i + 1); e.order != MergeCandidate::kNone)
                s.heap.push_back(e);
        }
    }
    std::make_heap(s.heap.begin(), s.heap.end(), later);
    while (!s.heap.empty()) {
        std::pop_heap(s.heap.begin(), s.heap.end(), later);
        const auto e = s.heap.back();
        s.heap.pop_back();
        Symbol &left = symbols[e.left];
        const std::uint32_t rightIndex = s.next[e.left];
        if (left.begin == left.end || left.end != e.mid || rightIndex == kEnd || symbols[rightIndex].end != e.end)
            continue;
        Symbol &right = symbols[rightIndex];
        left.end = right.end;
        left.id = e.id;
        right.begin = right.end;
        s.next[e.left] = s.next[rightIndex];
        if (s.next[e.left] != kEnd) {
            s.previous[s.next[e.left]] = e.left;
            push(e.left, s.next[e.left]);
        }
        if (s.previous[e.left] != kEnd)
            push(s.previous[e.left], e.left);
    }
    std::erase_if(symbols, [](const Symbol &symbol) { return symbol.begin == symbol.end; });
}

template <typename Lookup>
void mergeSymbols(MergeScratch &scratch, const Lookup &lookup)
{
    // Both give the same result; quadratic work stays trivial up to here.
    if (scratch.symbols.size() <= 40)
        mergeByScan(scratch, lookup);
    else
        mergeByHeap(scratch, lookup);
}

} // namespace kvilt::text

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/cli/limits.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/model.h"

#include <cstdint>

namespace kvilt::cli {

// What a model costs at least, by the formulae that the project measures itself with. Symbols: W weight bytes read,
// P parameters, B batch, n tokens, b_kv KV bytes a token, d attention width, L layers.
//
//   decode step   t = max(W / BW, 2 P B / F) + B n b_kv / BW
//   prefill       t = 2 (P_body n + P_head rows_out) / F_gemm + 2 n² d L / F_attn  + 4 n depth d L / F_attn
//
// The input embedding counts nothing (a lookup); windowed layers use min(context, window).
class LimitModel {
public:
    LimitModel(const model::Model &model, const kv::KvLayout &layout);

    double decodeSeconds(const Limits &limits, std::uint32_t batch, std::uint32_t depth, std::uint32_t tokens) const;
    double prefillSeconds(const Limits &limits, std::uint32_t batch, std::uint32_t depth, std::uint32_t tokens) const;
    // Operations of the products with weights, of decoding or computing `tokens` tokens of each of `batch` sequences, and how many of
    // them the machine does a second.
    double gemmOperations(std::uint32_t batch, std::uint32_t tokens, bool prefill) const
    {
        return 2.0 * batch * (m_body * tokens + m_head * (prefill ? 1 : tokens));
    }
    double gemmRate(const Limits &limits) const { return m_quantised ? limits.int8PerSecond : limits.f32PerSecond; }
    std::uint64_t weightBytes() const { return m_weightBytes; }
    // Bytes that a decode step at this depth walks through: where the bandwidth is to be probed.
    std::uint64_t workingSet(std::uint32_t batch, std::uint32_t depth) const;

private:
    double kvBytesRead(std::uint32_t context) const;
    double attentionSum(std::uint32_t context, std::uint32_t tokens, double factor) const;

    struct Group {
        double layers = 0, bytesPerToken = 0;
        std::uint32_t window = 0; // 0: everything
    };
    std::vector<Group> m_groups;
    std::uint64_t m_weightBytes = 0; // body and head
    double m_body = 0, m_head = 0;   // parameters
    double m_attentionWidth = 0;
    bool m_quantised = false;
};

} // namespace kvilt::cli

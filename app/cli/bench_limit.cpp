// SPDX-License-Identifier: Apache-2.0
#include "app/cli/bench_limit.h"

#include <algorithm>

namespace kvilt::cli {

LimitModel::LimitModel(const model::Model &model, const kv::KvLayout &layout)
{
    const model::ModelDescription &d = model.description();
    const gguf::TensorInfo &head = model.head();
    for (const gguf::TensorInfo &tensor : model.file().tensors()) {
        const bool isEmbedding = &tensor == model.tensor(model::TensorRole::tokenEmbedding);
        if (isEmbedding && &tensor != &head)
            continue;
        m_weightBytes += tensor.bytes;
        (&tensor == &head ? m_head : m_body) += double(tensor.elements());
    }
    const std::string type = model.quantisation();
    m_quantised = type != "F32" && type != "F16" && type != "BF16";
    m_attentionWidth = d.queryWidth();
    for (std::size_t g = 0; g < layout.groups.size(); ++g)
        m_groups.push_back({double(layout.groups[g].layers.size()), double(layout.bytesPerToken(g)),
                            layout.groups[g].kind == kv::GroupKind::window ? layout.groups[g].window : 0});
}

double LimitModel::kvBytesRead(std::uint32_t context) const
{
    double bytes = 0;
    for (const Group &group : m_groups)
        bytes += group.bytesPerToken * (group.window > 0 ? std::min(context, group.window) : context);
    return bytes;
}

std::uint64_t LimitModel::workingSet(std::uint32_t batch, std::uint32_t depth) const
{
    return m_weightBytes + std::uint64_t(batch * kvBytesRead(depth));
}

double LimitModel::decodeSeconds(const Limits &limits, std::uint32_t batch, std::uint32_t depth,
                                 std::uint32_t tokens) const
{
    const std::uint32_t context = depth + tokens / 2; // the mean over the tokens made
    const double bandwidth = limits.readFor(workingSet(batch, context));
    const double weights = std::max(double(m_weightBytes) / bandwidth,
                                    gemmOperations(batch, 1, false) / gemmRate(limits));
    return tokens * (weights + batch * kvBytesRead(context) / bandwidth);
}

// factor · d · L over what each layer sees of `context`, for `tokens` tokens.
double LimitModel::attentionSum(std::uint32_t context, std::uint32_t tokens, double factor) const
{
    double sum = 0;
    for (const Group &group : m_groups) {
        const double seen = group.window > 0 ? std::min(context, group.window) : context;
        sum += factor * tokens * seen * m_attentionWidth * group.layers;
    }
    return sum;
}

double LimitModel::prefillSeconds(const Limits &limits, std::uint32_t batch, std::uint32_t depth,
                                  std::uint32_t tokens) const
{
    const double gemm = gemmOperations(1, tokens, true) / gemmRate(limits);
    const double attention = (attentionSum(tokens, tokens, 2) + attentionSum(depth, tokens, 4)) / limits.f32PerSecond;
    return batch * (gemm + attention);
}

} // namespace kvilt::cli

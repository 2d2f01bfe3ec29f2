// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/kv_layout.h"

namespace kvilt::kv {

std::uint64_t KvLayout::sideBytesPerToken(const KvSide &side)
{
    const std::uint64_t elements = std::uint64_t(side.heads) * side.dim;
    const std::uint64_t groupsOf32 = std::uint64_t(side.heads) * ((side.dim + 31) / 32);
    switch (side.type) {
    case api::KvType::f32: return elements * 4;
    case api::KvType::f16:
    case api::KvType::bf16: return elements * 2;
    case api::KvType::fp8: return elements;
    case api::KvType::q8: return groupsOf32 * 34;
    case api::KvType::q4: return groupsOf32 * 18;
    }
    return 0;
}

std::uint64_t KvLayout::bytesPerToken(std::size_t group) const
{
    const LayerGroup &g = groups[group];
    if (g.kind == GroupKind::snapshot)
        return 0;
    return g.layers.size() * (sideBytesPerToken(g.k) + (g.vAliasesK ? 0 : sideBytesPerToken(g.v)));
}

std::uint64_t KvLayout::bytesPerToken() const
{
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < groups.size(); ++i)
        sum += bytesPerToken(i);
    return sum;
}

std::uint64_t KvLayout::bytesPerBlock(std::size_t group) const
{
    return groups[group].kind == GroupKind::snapshot ? groups[group].snapshotBytes : bytesPerToken(group) * blockSize;
}

} // namespace kvilt::kv

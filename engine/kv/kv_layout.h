// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/settings.h"

#include <cstdint>
#include <string>
#include <vector>

namespace kvilt::kv {

// What a layer group remembers of the past.
enum class GroupKind : std::uint8_t {
    rows,     // every token's K and V
    window,   // the last `window` tokens only: earlier blocks may become holes
    snapshot, // a state of fixed size (recurrent layers); `snapshotBytes` a block
};

// One side (K or V) of one layer: `heads` rows of `dim` elements a token.
struct KvSide {
    api::KvType type = api::KvType::f16;
    std::uint32_t heads = 0;
    std::uint32_t dim = 0;
    bool operator==(const KvSide &) const = default;
};

// Layers that share a block table: same shapes, same kind.
struct LayerGroup {
    std::string name;                  // for people: "all layers", "window 512"
    GroupKind kind = GroupKind::rows;
    std::uint32_t window = 0;          // tokens, for GroupKind::window
    std::uint64_t snapshotBytes = 0;   // for GroupKind::snapshot
    std::vector<std::uint32_t> layers; // model layers that own KV in this group, ascending
    KvSide k, v;
    bool vAliasesK = false;            // MLA: V is a part of K and stored once
    std::int32_t sharesWith = -1;      // layers without KV of their own read this group's (YOCO, CLA); -1: none
    bool operator==(const LayerGroup &) const = default;
};

// Pure value: where each layer's KV lives. MHA, MQA, GQA, MLA, sliding windows, shared and recurrent layers are
// values of it, not code paths.
struct KvLayout {
    std::uint32_t blockSize = 16;      // tokens a block
    std::vector<LayerGroup> groups;
    bool operator==(const KvLayout &) const = default;

    // Bytes of one token's K (or V) row of one layer in canonical form, quantisation scales included:
    // f32 4, f16/bf16 2, fp8 1 a element; q8 34 and q4 18 every 32 elements (f16 scale + integers).
    static std::uint64_t sideBytesPerToken(const KvSide &side);
    std::uint64_t bytesPerToken(std::size_t group) const; // all owning layers of the group
    std::uint64_t bytesPerToken() const;                  // of all groups, windows ignored
    std::uint64_t bytesPerBlock(std::size_t group) const; // canonical form
};

} // namespace kvilt::kv

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/ids.h"

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>

// The name of a node on disk: a SHA-256 chain over parent name and token ids. Its root binds everything that
// decides what the KV of a token means, and the owner's salt; never the backend, the ISA or a memory layout
// (those are `numerics` and the stored form's business). Golden tests pin the bytes: who changes what is hashed
// raises kHashVersion, and stored KV of the old version is a miss.
namespace kvilt::kv {

inline constexpr std::uint32_t kHashVersion = 1;

struct BlockName {
    std::array<std::uint8_t, 32> bytes{};
    auto operator<=>(const BlockName &) const = default;
};

// What a loaded model and its settings add to every name. Strings are hashed with their length, so that two
// fields never run into each other.
struct CacheIdentity {
    std::string modelFingerprint; // SHA-256 tree of the file, as bytes or hex: the caller is consistent
    std::string tokenizer;        // kind and vocabulary id
    std::string rope;             // every RoPE setting in effect, printed canonically
    std::string kvTypes;          // "k=f16,v=f16", a group after the other if they differ
    std::uint32_t blockSize = 16; // tokens a block
};

BlockName rootName(const CacheIdentity &identity, std::string_view salt);
BlockName childName(const BlockName &parent, std::span<const TokenId> tokens);

std::string toHex(const BlockName &name);

} // namespace kvilt::kv

template <>
struct std::hash<kvilt::kv::BlockName> {
    std::size_t operator()(const kvilt::kv::BlockName &name) const noexcept
    {
        std::size_t h; // the name is uniform already
        std::memcpy(&h, name.bytes.data(), sizeof h);
        return h;
    }
};

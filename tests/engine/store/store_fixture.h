// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/kv_store.h"

#include <QTemporaryDir>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

// What the store tests share: a folder that goes with the test, bytes of a file, payloads made from a seed.
namespace kvilt::test {

struct Folder {
    QTemporaryDir dir;
    std::filesystem::path path(const char *name) const { return dir.path().toStdString() + "/" + name; }
};

inline std::vector<char> readBytes(const std::filesystem::path &file)
{
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline void writeBytes(const std::filesystem::path &file, const std::vector<char> &bytes)
{
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), std::streamsize(bytes.size()));
}

inline kv::BlockName nameOf(std::uint32_t seed)
{
    kv::BlockName name;
    std::uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;
    for (auto &byte : name.bytes) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        byte = std::uint8_t(x);
    }
    return name;
}

// Block `index` of chain `chain`: parent, tokens and bytes follow from both numbers.
inline store::NewPayload payloadOf(std::uint32_t chain, std::uint32_t index, std::size_t bytes = 4000,
                                   SessionId session = {})
{
    store::NewPayload payload;
    payload.key = {nameOf(chain * 1000 + index + 1), GroupIndex{0}, "cpu:1"};
    payload.parent = nameOf(chain * 1000 + index);
    payload.firstToken = std::int32_t(index * 16);
    for (std::uint32_t i = 0; i < 16; ++i)
        payload.tokens.push_back(TokenId(chain * 100 + index * 16 + i));
    payload.session = session;
    payload.bytes.resize(bytes);
    for (std::size_t i = 0; i < bytes; ++i)
        payload.bytes[i] = std::byte((i * 31 + index * 7 + chain) >> 2);
    return payload;
}

} // namespace kvilt::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/gguf/gguf_file.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace kvilt::test {

// Bytes in file order, for well-formed and broken files alike.
class ByteSink {
public:
    template <typename T>
        requires std::is_trivially_copyable_v<T>
    ByteSink &put(T value)
    {
        const auto *from = reinterpret_cast<const std::byte *>(&value);
        m_bytes.insert(m_bytes.end(), from, from + sizeof value);
        return *this;
    }
    ByteSink &put(std::span<const std::byte> bytes)
    {
        m_bytes.insert(m_bytes.end(), bytes.begin(), bytes.end());
        return *this;
    }
    // A GGUF string: length, then bytes.
    ByteSink &putString(std::string_view text)
    {
        return put(std::uint64_t(text.size())).put(std::as_bytes(std::span(text)));
    }
    void alignTo(std::size_t alignment) { m_bytes.resize((m_bytes.size() + alignment - 1) / alignment * alignment); }
    std::size_t size() const { return m_bytes.size(); }
    const std::vector<std::byte> &bytes() const { return m_bytes; }
    std::vector<std::byte> take() { return std::move(m_bytes); }

private:
    std::vector<std::byte> m_bytes;
};

// Writes GGUF version 3. Keys keep their order; set() on a key that is there replaces it.
class GgufWriter {
public:
    void setRaw(std::string key, gguf::ValueType type, std::vector<std::byte> value);
    void setU32(std::string key, std::uint32_t value);
    void setF32(std::string key, float value);
    void setBool(std::string key, bool value);
    void setString(std::string key, std::string_view value);
    void setStrings(std::string key, const std::vector<std::string> &values);
    void setF32s(std::string key, const std::vector<float> &values);
    void setI32s(std::string key, const std::vector<std::int32_t> &values);
    void remove(std::string_view key);

    void addTensor(std::string name, gguf::TensorType type, std::vector<std::uint64_t> dims, std::vector<std::byte> data);
    void removeTensor(std::string_view name);
    void writeVectorsAsColumns(); // every tensor of n as n x 1

    std::vector<std::byte> build() const;

private:
    struct Entry {
        std::string key;
        gguf::ValueType type;
        std::vector<std::byte> value;
    };
    struct Tensor {
        std::string name;
        gguf::TensorType type;
        std::vector<std::uint64_t> dims;
        std::vector<std::byte> data;
    };
    std::vector<Entry> m_entries;
    std::vector<Tensor> m_tensors;
};

} // namespace kvilt::test

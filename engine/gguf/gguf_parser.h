// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/gguf/gguf_file.h"

#include <cstring>

namespace kvilt::gguf {

// Bytes of one element as stored; 0 for strings and arrays, whose size varies.
std::uint32_t elementBytes(ValueType type);

// A position in the file that never moves past its end. Every read says whether it fitted.
class Cursor {
public:
    explicit Cursor(std::span<const std::byte> bytes) : m_bytes(bytes) {}

    std::uint64_t position() const { return m_position; }
    std::uint64_t left() const { return m_bytes.size() - m_position; }

    template <typename T>
    bool read(T &value)
    {
        if (left() < sizeof(T))
            return false;
        std::memcpy(&value, m_bytes.data() + m_position, sizeof(T));
        m_position += sizeof(T);
        return true;
    }
    bool take(std::uint64_t count, std::span<const std::byte> &out)
    {
        if (left() < count)
            return false;
        out = m_bytes.subspan(m_position, count);
        m_position += count;
        return true;
    }
    bool readString(std::string_view &out);

private:
    std::span<const std::byte> m_bytes;
    std::uint64_t m_position = 0;
};

// Checks a whole file into a GgufFile; used once.
class Parser {
public:
    Parser(std::span<const std::byte> bytes, std::string name, bool mapped);
    Result<std::shared_ptr<const GgufFile>> run();

private:
    Result<void> readHeader();
    Result<void> readMetadata();
    Result<Metadata> readEntry(std::uint64_t index);
    Result<void> readArray(Metadata &entry);
    Result<void> readAlignment();
    Result<void> readTensors();
    Result<TensorInfo> readTensor(std::uint64_t index);
    Result<void> checkRows(TensorInfo &tensor) const;
    Result<void> placeTensors();
    Result<void> checkNames();
    Result<void> checkOverlap() const;
    tl::unexpected<Error> bad(const std::string &what) const;

    std::shared_ptr<GgufFile> m_file;
    Cursor m_cursor;
    std::uint64_t m_tensorCount = 0;
    std::uint64_t m_metadataCount = 0;
    std::uint64_t m_alignment = 32;
};

} // namespace kvilt::gguf

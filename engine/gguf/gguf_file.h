// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/gguf/tensor_type.h"
#include "engine/support/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvilt::gguf {

enum class ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
inline constexpr std::uint32_t kValueTypes = 13;
std::string_view toString(ValueType type);

// One metadata entry, as views into the file. `data` holds `count` elements of `element` as stored (unaligned); for a
// scalar count is 1 and element equals type.
struct Metadata {
    std::string_view key;
    ValueType type = ValueType::u8;
    ValueType element = ValueType::u8;
    std::uint64_t count = 1;
    std::span<const std::byte> data;
};

// One tensor, checked: name unique, dims non-zero with rows of whole blocks, data inside the file, aligned, and
// overlapping no other tensor.
struct TensorInfo {
    std::string_view name;
    TensorType type = TensorType::f32;
    std::uint32_t dimensions = 1;
    std::array<std::uint64_t, 4> dims{1, 1, 1, 1}; // dims[0] is the row length, innermost
    std::uint64_t offset = 0;                      // absolute, from the start of the file
    std::uint64_t bytes = 0;

    std::uint64_t elements() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
};

// A GGUF file (version 2 or 3, little-endian), mapped and fully checked before anybody sees it; FORMAT.md says what is
// accepted. Immutable, so any thread may read it. Every view that it hands out lives as long as the object.
// Memory beside the mapping: 72 bytes a metadata entry and 104 a tensor, of at most 65,536 each.
class GgufFile {
public:
    // Maps and checks the file. A refusal is one sentence that names the file and the fault.
    static Result<std::shared_ptr<const GgufFile>> open(const std::string &path);
    // The same for bytes that outlive the object; `name` stands for the path in messages.
    static Result<std::shared_ptr<const GgufFile>> parse(std::span<const std::byte> bytes, std::string name);
    ~GgufFile();
    GgufFile(const GgufFile &) = delete;
    GgufFile &operator=(const GgufFile &) = delete;

    const std::string &path() const { return m_path; }
    std::uint32_t version() const { return m_version; }
    std::uint64_t size() const { return m_bytes.size(); }
    std::span<const std::byte> bytes() const { return m_bytes; }
    std::uint64_t dataOffset() const { return m_dataOffset; } // where tensor data begins

    std::span<const Metadata> metadata() const { return m_metadata; } // ascending by key
    const Metadata *findMetadata(std::string_view key) const;         // null when absent
    bool has(std::string_view key) const { return findMetadata(key) != nullptr; }

    // A value by key: nothing when absent, badInput when it is there with a type or range that T cannot hold.
    // T: bool; std::uint64_t, std::int64_t (from any integer type); double (from f32, f64; NaN and inf pass);
    // std::string_view; and std::vector of bool, std::int64_t, float, std::string_view. An array of more than
    // kMaxArray elements is refused, so that a vector never costs more than 64 MiB.
    template <typename T>
    Result<std::optional<T>> find(std::string_view key) const;
    // The same, but an absent key is an error.
    template <typename T>
    Result<T> get(std::string_view key) const
    {
        KVILT_TRY(std::optional<T> value, find<T>(key));
        if (!value)
            return absent(key);
        return std::move(*value);
    }
    static constexpr std::uint64_t kMaxArray = 1u << 22;

    std::span<const TensorInfo> tensors() const { return m_tensors; } // in file order
    const TensorInfo *findTensor(std::string_view name) const;        // null when absent
    std::span<const std::byte> tensorBytes(const TensorInfo &tensor) const
    {
        return m_bytes.subspan(tensor.offset, tensor.bytes);
    }

    // Tells the system that the pages that hold bytes [offset, offset + length) are not needed now. They stay in the
    // page cache and come back when read, so this is safe at any time. Nothing happens to bytes given to parse().
    void dropPages(std::uint64_t offset, std::uint64_t length) const;
    // The opposite: these bytes are read next, from the first to the last. One call costs less than a fault each 64 KiB.
    void wantPages(std::uint64_t offset, std::uint64_t length) const;

private:
    void advise(std::uint64_t offset, std::uint64_t length, int advice) const;

    friend class Parser;
    GgufFile() = default;
    tl::unexpected<Error> absent(std::string_view key) const;

    std::string m_path;
    std::span<const std::byte> m_bytes;
    bool m_mapped = false;
    std::uint32_t m_version = 0;
    std::uint64_t m_dataOffset = 0;
    std::vector<Metadata> m_metadata;
    std::vector<TensorInfo> m_tensors;
    std::vector<std::uint32_t> m_byName; // indices of m_tensors, ascending by name
};

// A name from a file made fit for a one-line message: control and non-ASCII bytes become '?', long names are cut.
std::string printable(std::string_view text);

} // namespace kvilt::gguf

// SPDX-License-Identifier: Apache-2.0
// Typed reading of metadata: GgufFile::find<T>.
#include "engine/gguf/gguf_file.h"
#include "engine/gguf/gguf_parser.h"

#include <utility>

namespace kvilt::gguf {
namespace {

template <typename Stored>
Stored load(const std::byte *at)
{
    Stored value;
    std::memcpy(&value, at, sizeof(value));
    return value;
}

template <typename T, typename Stored>
std::optional<T> loadInRange(const std::byte *at)
{
    const auto value = load<Stored>(at);
    return std::in_range<T>(value) ? std::optional<T>(static_cast<T>(value)) : std::nullopt;
}

template <typename T>
std::optional<T> loadInteger(ValueType type, const std::byte *at)
{
    switch (type) {
    case ValueType::u8: return loadInRange<T, std::uint8_t>(at);
    case ValueType::i8: return loadInRange<T, std::int8_t>(at);
    case ValueType::u16: return loadInRange<T, std::uint16_t>(at);
    case ValueType::i16: return loadInRange<T, std::int16_t>(at);
    case ValueType::u32: return loadInRange<T, std::uint32_t>(at);
    case ValueType::i32: return loadInRange<T, std::int32_t>(at);
    case ValueType::u64: return loadInRange<T, std::uint64_t>(at);
    case ValueType::i64: return loadInRange<T, std::int64_t>(at);
    default: return std::nullopt;
    }
}

template <typename T>
std::optional<T> loadAs(ValueType type, const std::byte *at)
{
    if constexpr (std::is_same_v<T, bool>) {
        if (type != ValueType::boolean)
            return std::nullopt;
        return load<std::uint8_t>(at) != 0;
    } else if constexpr (std::is_integral_v<T>) {
        return loadInteger<T>(type, at);
    } else {
        if (type == ValueType::f32)
            return static_cast<T>(load<float>(at));
        if (type == ValueType::f64)
            return static_cast<T>(load<double>(at));
        return std::nullopt;
    }
}

template <typename T>
constexpr std::string_view kWanted = "a number";
template <>
constexpr std::string_view kWanted<bool> = "a boolean";
template <>
constexpr std::string_view kWanted<std::uint64_t> = "a whole number that is not negative";
template <>
constexpr std::string_view kWanted<std::int64_t> = "a whole number";
template <>
constexpr std::string_view kWanted<std::string_view> = "a string";

template <typename T>
struct ElementOf {
    using type = void;
};
template <typename T>
struct ElementOf<std::vector<T>> {
    using type = T;
};

std::string describe(const Metadata &entry)
{
    return entry.type == ValueType::array ? "array of " + std::string(toString(entry.element))
                                          : std::string(toString(entry.type));
}

template <typename T>
std::optional<T> readScalar(const Metadata &entry)
{
    if constexpr (std::is_same_v<T, std::string_view>) {
        if (entry.type != ValueType::string)
            return std::nullopt;
        return std::string_view(reinterpret_cast<const char *>(entry.data.data()), entry.data.size());
    } else {
        if (entry.type == ValueType::array || entry.type == ValueType::string)
            return std::nullopt;
        return loadAs<T>(entry.type, entry.data.data());
    }
}

template <typename T>
std::optional<std::vector<T>> readArray(const Metadata &entry)
{
    if (entry.type != ValueType::array)
        return std::nullopt;
    std::vector<T> out;
    out.reserve(entry.count);
    Cursor cursor(entry.data);
    for (std::uint64_t i = 0; i < entry.count; ++i) {
        if constexpr (std::is_same_v<T, std::string_view>) {
            std::string_view text;
            if (entry.element != ValueType::string || !cursor.readString(text))
                return std::nullopt;
            out.push_back(text);
        } else {
            const std::uint32_t width = elementBytes(entry.element);
            const auto value = width == 0 ? std::nullopt : loadAs<T>(entry.element, entry.data.data() + i * width);
            if (!value)
                return std::nullopt;
            out.push_back(*value);
        }
    }
    return out;
}

} // namespace

template <typename T>
Result<std::optional<T>> GgufFile::find(std::string_view key) const
{
    const Metadata *entry = findMetadata(key);
    if (!entry)
        return std::nullopt;
    using Element = typename ElementOf<T>::type;
    if constexpr (std::is_void_v<Element>) {
        if (auto value = readScalar<T>(*entry))
            return value;
        return fail(ErrorCode::badInput, m_path + ": the metadata '" + printable(key) + "' (" + describe(*entry) +
                                             ") should be " + std::string(kWanted<T>) + ".");
    } else {
        if (entry->type == ValueType::array && entry->count > kMaxArray)
            return fail(ErrorCode::badInput, m_path + ": the array '" + printable(key) + "' has " +
                                                 std::to_string(entry->count) + " elements; at most " +
                                                 std::to_string(kMaxArray) + " can be used.");
        if (auto values = readArray<Element>(*entry))
            return values;
        return fail(ErrorCode::badInput, m_path + ": the metadata '" + printable(key) + "' (" + describe(*entry) +
                                             ") should be an array whose elements are each " +
                                             std::string(kWanted<Element>) + ".");
    }
}

template Result<std::optional<bool>> GgufFile::find(std::string_view) const;
template Result<std::optional<std::uint64_t>> GgufFile::find(std::string_view) const;
template Result<std::optional<std::int64_t>> GgufFile::find(std::string_view) const;
template Result<std::optional<double>> GgufFile::find(std::string_view) const;
template Result<std::optional<std::string_view>> GgufFile::find(std::string_view) const;
template Result<std::optional<std::vector<bool>>> GgufFile::find(std::string_view) const;
template Result<std::optional<std::vector<std::int64_t>>> GgufFile::find(std::string_view) const;
template Result<std::optional<std::vector<float>>> GgufFile::find(std::string_view) const;
template Result<std::optional<std::vector<std::string_view>>> GgufFile::find(std::string_view) const;

} // namespace kvilt::gguf

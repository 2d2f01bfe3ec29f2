// SPDX-License-Identifier: Apache-2.0
#include "engine/gguf/gguf_parser.h"

#include "engine/support/checked_math.h"

#include <algorithm>
#include <numeric>

namespace kvilt::gguf {
namespace {

constexpr std::uint64_t kMaxEntries = 65536; // far above any model; keeps the index below 8 MiB
constexpr std::uint64_t kMaxName = 1024;
constexpr std::uint64_t kMaxAlignment = 65536;
// Smallest encodings: key length, one key byte, type, one value byte; name length, one byte, dimensions, one dim,
// type, offset. A count that the rest of the file cannot hold is refused before anything is allocated.
constexpr std::uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

std::string inQuotes(std::string_view text)
{
    return "'" + printable(text) + "'";
}

} // namespace

std::uint32_t elementBytes(ValueType type)
{
    switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean: return 1;
    case ValueType::u16:
    case ValueType::i16: return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32: return 4;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64: return 8;
    case ValueType::string:
    case ValueType::array: return 0;
    }
    return 0;
}

bool Cursor::readString(std::string_view &out)
{
    std::uint64_t length = 0;
    std::span<const std::byte> bytes;
    if (!read(length) || !take(length, bytes))
        return false;
    out = {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
    return true;
}

Parser::Parser(std::span<const std::byte> bytes, std::string name, bool mapped)
    : m_file(new GgufFile), m_cursor(bytes)
{
    m_file->m_bytes = bytes;
    m_file->m_path = std::move(name);
    m_file->m_mapped = mapped;
}

tl::unexpected<Error> Parser::bad(const std::string &what) const
{
    return fail(ErrorCode::badInput, m_file->m_path + " is not a usable GGUF file: " + what);
}

Result<std::shared_ptr<const GgufFile>> Parser::run()
{
    KVILT_TRY_VOID(readHeader());
    KVILT_TRY_VOID(readMetadata());
    KVILT_TRY_VOID(readAlignment());
    KVILT_TRY_VOID(readTensors());
    KVILT_TRY_VOID(checkNames());
    KVILT_TRY_VOID(placeTensors());
    KVILT_TRY_VOID(checkOverlap());
    return std::shared_ptr<const GgufFile>(std::move(m_file));
}

Result<void> Parser::readHeader()
{
    char magic[4] = {};
    if (!m_cursor.read(magic) || std::memcmp(magic, "GGUF", 4) != 0)
        return bad("it does not begin with 'GGUF'.");
    std::uint32_t version = 0;
    if (!m_cursor.read(version))
        return bad("it ends inside its header.");
    if (version == 0x02000000u || version == 0x03000000u)
        return fail(ErrorCode::unsupported,
                    m_file->m_path + " is a big-endian GGUF file; convert it to little-endian first.");
    if (version != 2 && version != 3)
        return fail(ErrorCode::unsupported, m_file->m_path + " is GGUF version " + std::to_string(version) +
                                                "; only versions 2 and 3 can be read.");
    if (!m_cursor.read(m_tensorCount) || !m_cursor.read(m_metadataCount))
        return bad("it ends inside its header.");
    if (m_metadataCount > kMaxEntries || m_metadataCount > m_cursor.left() / kMinEntryBytes)
        return bad("it claims " + std::to_string(m_metadataCount) + " metadata entries, more than it can hold.");
    if (m_tensorCount > kMaxEntries || m_tensorCount > m_cursor.left() / kMinTensorBytes)
        return bad("it claims " + std::to_string(m_tensorCount) + " tensors, more than it can hold.");
    m_file->m_version = version;
    return {};
}

Result<void> Parser::readMetadata()
{
    auto &all = m_file->m_metadata;
    all.reserve(m_metadataCount);
    for (std::uint64_t i = 0; i < m_metadataCount; ++i) {
        KVILT_TRY(Metadata entry, readEntry(i));
        all.push_back(entry);
    }
    std::sort(all.begin(), all.end(), [](const Metadata &a, const Metadata &b) { return a.key < b.key; });
    const auto twice = std::adjacent_find(all.begin(), all.end(),
                                          [](const Metadata &a, const Metadata &b) { return a.key == b.key; });
    if (twice != all.end())
        return bad("the key " + inQuotes(twice->key) + " stands in it twice.");
    return {};
}

Result<Metadata> Parser::readEntry(std::uint64_t index)
{
    Metadata entry;
    std::uint32_t type = 0;
    if (!m_cursor.readString(entry.key))
        return bad("metadata entry " + std::to_string(index) + " runs past the end of the file.");
    if (entry.key.empty() || entry.key.size() > kMaxName)
        return bad("the key of metadata entry " + std::to_string(index) + " has " + std::to_string(entry.key.size()) +
                   " bytes; 1 to " + std::to_string(kMaxName) + " are allowed.");
    if (!m_cursor.read(type))
        return bad("the value of " + inQuotes(entry.key) + " runs past the end of the file.");
    if (type >= kValueTypes)
        return bad("the value of " + inQuotes(entry.key) + " has the unknown type " + std::to_string(type) + ".");
    entry.type = entry.element = static_cast<ValueType>(type);
    bool fits = false;
    if (entry.type == ValueType::array) {
        KVILT_TRY_VOID(readArray(entry));
        fits = true;
    } else if (entry.type == ValueType::string) {
        std::string_view text;
        fits = m_cursor.readString(text);
        entry.data = std::as_bytes(std::span(text.data(), text.size()));
    } else {
        fits = m_cursor.take(elementBytes(entry.type), entry.data);
    }
    if (!fits)
        return bad("the value of " + inQuotes(entry.key) + " runs past the end of the file.");
    return entry;
}

Result<void> Parser::readArray(Metadata &entry)
{
    std::uint32_t element = 0;
    const auto cut = [&] { return bad("the array " + inQuotes(entry.key) + " runs past the end of the file."); };
    if (!m_cursor.read(element) || !m_cursor.read(entry.count))
        return cut();
    if (element >= kValueTypes)
        return bad("the array " + inQuotes(entry.key) + " has elements of the unknown type " + std::to_string(element) +
                   ".");
    entry.element = static_cast<ValueType>(element);
    if (entry.element == ValueType::array)
        return bad("the array " + inQuotes(entry.key) + " holds arrays, which no model needs.");
    if (entry.element != ValueType::string) {
        const auto bytes = checkedMul<std::uint64_t>(entry.count, elementBytes(entry.element));
        return bytes && m_cursor.take(*bytes, entry.data) ? Result<void>() : Result<void>(cut());
    }
    const std::uint64_t begin = m_cursor.position();
    std::string_view text;
    for (std::uint64_t i = 0; i < entry.count; ++i)
        if (!m_cursor.readString(text))
            return cut();
    entry.data = m_file->m_bytes.subspan(begin, m_cursor.position() - begin);
    return {};
}

Result<void> Parser::readAlignment()
{
    KVILT_TRY(std::optional<std::uint64_t> given, m_file->find<std::uint64_t>("general.alignment"));
    m_alignment = given.value_or(32);
    if (m_alignment < 8 || m_alignment > kMaxAlignment || (m_alignment & (m_alignment - 1)) != 0)
        return bad("its alignment is " + std::to_string(m_alignment) + "; a power of two from 8 to 65536 is needed.");
    return {};
}

Result<void> Parser::readTensors()
{
    m_file->m_tensors.reserve(m_tensorCount);
    for (std::uint64_t i = 0; i < m_tensorCount; ++i) {
        KVILT_TRY(TensorInfo tensor, readTensor(i));
        m_file->m_tensors.push_back(tensor);
    }
    return {};
}

Result<TensorInfo> Parser::readTensor(std::uint64_t index)
{
    TensorInfo tensor;
    const auto cut = [&] { return bad("tensor entry " + std::to_string(index) + " runs past the end of the file."); };
    if (!m_cursor.readString(tensor.name) || !m_cursor.read(tensor.dimensions))
        return cut();
    if (tensor.name.empty() || tensor.name.size() > kMaxName)
        return bad("the name of tensor " + std::to_string(index) + " has " + std::to_string(tensor.name.size()) +
                   " bytes; 1 to " + std::to_string(kMaxName) + " are allowed.");
    if (tensor.dimensions < 1 || tensor.dimensions > 4)
        return bad("tensor " + inQuotes(tensor.name) + " has " + std::to_string(tensor.dimensions) +
                   " dimensions; 1 to 4 are allowed.");
    for (std::uint32_t d = 0; d < tensor.dimensions; ++d)
        if (!m_cursor.read(tensor.dims[d]))
            return cut();
    std::uint32_t type = 0;
    if (!m_cursor.read(type) || !m_cursor.read(tensor.offset))
        return cut();
    const TensorTypeInfo *known = findTensorType(type);
    if (!known)
        return bad("tensor " + inQuotes(tensor.name) + " has the unknown type " + std::to_string(type) + ".");
    tensor.type = known->type;
    KVILT_TRY_VOID(checkRows(tensor));
    return tensor;
}

Result<void> Parser::checkRows(TensorInfo &tensor) const
{
    const TensorTypeInfo &type = info(tensor.type);
    std::uint64_t elements = 1;
    for (const std::uint64_t dim : tensor.dims) {
        const auto product = checkedMul(elements, dim);
        if (dim == 0 || !product)
            return bad("tensor " + inQuotes(tensor.name) + " has " + (dim == 0 ? "a dimension of zero." : "a size that overflows."));
        elements = *product;
    }
    if (tensor.dims[0] % type.blockSize != 0)
        return bad("tensor " + inQuotes(tensor.name) + " has rows of " + std::to_string(tensor.dims[0]) + " elements, which " +
                   std::string(type.name) + " cannot store: blocks have " + std::to_string(type.blockSize) + ".");
    const auto bytes = checkedMul<std::uint64_t>(elements / type.blockSize, type.blockBytes);
    if (!bytes)
        return bad("tensor " + inQuotes(tensor.name) + " has a size that overflows.");
    tensor.bytes = *bytes;
    return {};
}

Result<void> Parser::placeTensors()
{
    const auto begin = checkedAlignUp(m_cursor.position(), m_alignment);
    m_file->m_dataOffset = begin.value_or(m_cursor.position());
    for (TensorInfo &tensor : m_file->m_tensors) {
        if (tensor.offset % m_alignment != 0)
            return bad("the data of tensor " + inQuotes(tensor.name) + " is not aligned to " +
                       std::to_string(m_alignment) + " bytes.");
        const auto start = checkedAdd(m_file->m_dataOffset, tensor.offset);
        const auto end = start ? checkedAdd(*start, tensor.bytes) : std::nullopt;
        if (!end || *end > m_file->m_bytes.size())
            return bad("the data of tensor " + inQuotes(tensor.name) +
                       " runs past the end of the file; it is damaged or its download is incomplete.");
        tensor.offset = *start;
    }
    return {};
}

Result<void> Parser::checkNames()
{
    const auto &tensors = m_file->m_tensors;
    auto &order = m_file->m_byName;
    order.resize(tensors.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return tensors[a].name < tensors[b].name; });
    for (std::size_t i = 1; i < order.size(); ++i)
        if (tensors[order[i]].name == tensors[order[i - 1]].name)
            return bad("tensor " + inQuotes(tensors[order[i]].name) + " stands in it twice.");
    return {};
}

Result<void> Parser::checkOverlap() const
{
    const auto &tensors = m_file->m_tensors;
    std::vector<std::uint32_t> order(tensors.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return tensors[a].offset < tensors[b].offset; });
    for (std::size_t i = 1; i < order.size(); ++i) {
        const TensorInfo &before = tensors[order[i - 1]];
        const TensorInfo &after = tensors[order[i]];
        if (before.offset + before.bytes > after.offset)
            return bad("the tensors " + inQuotes(before.name) + " and " + inQuotes(after.name) + " overlap.");
    }
    return {};
}

} // namespace kvilt::gguf

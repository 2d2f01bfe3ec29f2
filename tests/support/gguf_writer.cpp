// SPDX-License-Identifier: Apache-2.0
#include "tests/support/gguf_writer.h"

#include <algorithm>

namespace kvilt::test {
namespace {

constexpr std::size_t kAlignment = 32;

ByteSink arrayHead(gguf::ValueType element, std::size_t count)
{
    ByteSink sink;
    sink.put(element).put(std::uint64_t(count));
    return sink;
}

} // namespace

void GgufWriter::setRaw(std::string key, gguf::ValueType type, std::vector<std::byte> value)
{
    const auto at = std::find_if(m_entries.begin(), m_entries.end(), [&](const Entry &e) { return e.key == key; });
    if (at != m_entries.end())
        *at = {std::move(key), type, std::move(value)};
    else
        m_entries.push_back({std::move(key), type, std::move(value)});
}

void GgufWriter::setU32(std::string key, std::uint32_t value)
{
    setRaw(std::move(key), gguf::ValueType::u32, ByteSink().put(value).take());
}

void GgufWriter::setF32(std::string key, float value)
{
    setRaw(std::move(key), gguf::ValueType::f32, ByteSink().put(value).take());
}

void GgufWriter::setBool(std::string key, bool value)
{
    setRaw(std::move(key), gguf::ValueType::boolean, ByteSink().put(std::uint8_t(value)).take());
}

void GgufWriter::setString(std::string key, std::string_view value)
{
    setRaw(std::move(key), gguf::ValueType::string, ByteSink().putString(value).take());
}

void GgufWriter::setStrings(std::string key, const std::vector<std::string> &values)
{
    ByteSink sink = arrayHead(gguf::ValueType::string, values.size());
    for (const std::string &value : values)
        sink.putString(value);
    setRaw(std::move(key), gguf::ValueType::array, sink.take());
}

void GgufWriter::setF32s(std::string key, const std::vector<float> &values)
{
    ByteSink sink = arrayHead(gguf::ValueType::f32, values.size());
    sink.put(std::as_bytes(std::span(values)));
    setRaw(std::move(key), gguf::ValueType::array, sink.take());
}

void GgufWriter::setI32s(std::string key, const std::vector<std::int32_t> &values)
{
    ByteSink sink = arrayHead(gguf::ValueType::i32, values.size());
    sink.put(std::as_bytes(std::span(values)));
    setRaw(std::move(key), gguf::ValueType::array, sink.take());
}

void GgufWriter::remove(std::string_view key)
{
    std::erase_if(m_entries, [&](const Entry &e) { return e.key == key; });
}

void GgufWriter::writeVectorsAsColumns()
{
    for (Tensor &tensor : m_tensors)
        if (tensor.dims.size() == 1)
            tensor.dims.push_back(1);
}

void GgufWriter::addTensor(std::string name, gguf::TensorType type, std::vector<std::uint64_t> dims,
                           std::vector<std::byte> data)
{
    m_tensors.push_back({std::move(name), type, std::move(dims), std::move(data)});
}

void GgufWriter::removeTensor(std::string_view name)
{
    std::erase_if(m_tensors, [&](const Tensor &t) { return t.name == name; });
}

std::vector<std::byte> GgufWriter::build() const
{
    ByteSink out;
    out.put(std::as_bytes(std::span("GGUF", 4))).put(std::uint32_t(3));
    out.put(std::uint64_t(m_tensors.size())).put(std::uint64_t(m_entries.size()));
    for (const Entry &entry : m_entries)
        out.putString(entry.key).put(entry.type).put(std::span<const std::byte>(entry.value));
    std::uint64_t offset = 0;
    for (const Tensor &tensor : m_tensors) {
        out.putString(tensor.name).put(std::uint32_t(tensor.dims.size()));
        for (const std::uint64_t dim : tensor.dims)
            out.put(dim);
        out.put(tensor.type).put(offset);
        offset += (tensor.data.size() + kAlignment - 1) / kAlignment * kAlignment;
    }
    for (const Tensor &tensor : m_tensors) {
        out.alignTo(kAlignment);
        out.put(std::span<const std::byte>(tensor.data));
    }
    out.alignTo(kAlignment);
    return out.take();
}

} // namespace kvilt::test

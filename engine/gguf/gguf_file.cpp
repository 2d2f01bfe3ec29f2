// SPDX-License-Identifier: Apache-2.0
#include "engine/gguf/gguf_file.h"

#include "engine/gguf/gguf_parser.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kvilt::gguf {
namespace {

tl::unexpected<Error> cannotOpen(const std::string &path, int error)
{
    const bool lacks = error == ENOMEM || error == EMFILE || error == ENFILE || error == EIO; // not the path's fault
    const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::notFound
                           : lacks                             ? ErrorCode::io
                                                               : ErrorCode::badInput;
    return fail(code, "Cannot open the model file " + path + ": " + std::strerror(error) + ".");
}

Result<std::span<const std::byte>> mapFile(int descriptor, const std::string &path)
{
    struct stat status {};
    if (::fstat(descriptor, &status) != 0)
        return cannotOpen(path, errno);
    if (!S_ISREG(status.st_mode))
        return fail(ErrorCode::badInput, path + " is not a file, so it cannot be a model.");
    if (status.st_size == 0)
        return fail(ErrorCode::badInput, path + " is empty, so it is not a GGUF file.");
    const auto size = static_cast<std::size_t>(status.st_size);
    void *address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED)
        return cannotOpen(path, errno);
    return std::span(static_cast<const std::byte *>(address), size);
}

} // namespace

std::string_view toString(ValueType type)
{
    constexpr std::string_view kNames[kValueTypes] = {"uint8",   "int8",   "uint16", "int16",  "uint32", "int32", "float32",
                                                      "boolean", "string", "array",  "uint64", "int64",  "float64"};
    const auto index = static_cast<std::uint32_t>(type);
    return index < kValueTypes ? kNames[index] : "unknown";
}

std::string printable(std::string_view text)
{
    constexpr std::size_t kLongest = 80;
    std::string out(text.substr(0, kLongest));
    for (char &c : out)
        if (c < 0x20 || c > 0x7e)
            c = '?';
    return text.size() > kLongest ? out + "..." : out;
}

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::string &path)
{
    // Non-blocking, so that a pipe with no writer answers at once and is refused as "not a file".
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return cannotOpen(path, errno);
    auto bytes = mapFile(descriptor, path);
    ::close(descriptor);
    if (!bytes)
        return tl::unexpected(std::move(bytes.error()));
    return Parser(*bytes, path, true).run();
}

Result<std::shared_ptr<const GgufFile>> GgufFile::parse(std::span<const std::byte> bytes, std::string name)
{
    return Parser(bytes, std::move(name), false).run();
}

GgufFile::~GgufFile()
{
    if (m_mapped)
        ::munmap(const_cast<std::byte *>(m_bytes.data()), m_bytes.size());
}

const Metadata *GgufFile::findMetadata(std::string_view key) const
{
    const auto at = std::lower_bound(m_metadata.begin(), m_metadata.end(), key,
                                     [](const Metadata &entry, std::string_view k) { return entry.key < k; });
    return at != m_metadata.end() && at->key == key ? &*at : nullptr;
}

const TensorInfo *GgufFile::findTensor(std::string_view name) const
{
    const auto at = std::lower_bound(m_byName.begin(), m_byName.end(), name, [&](std::uint32_t index, std::string_view n) {
        return m_tensors[index].name < n;
    });
    return at != m_byName.end() && m_tensors[*at].name == name ? &m_tensors[*at] : nullptr;
}

void GgufFile::dropPages(std::uint64_t offset, std::uint64_t length) const
{
    advise(offset, length, MADV_DONTNEED);
}

void GgufFile::wantPages(std::uint64_t offset, std::uint64_t length) const
{
#ifdef MADV_POPULATE_READ
    advise(offset, length, MADV_POPULATE_READ); // Linux 5.14; one that does not know it says so and changes nothing
#else
    advise(offset, length, MADV_WILLNEED);
#endif
}

void GgufFile::advise(std::uint64_t offset, std::uint64_t length, int advice) const
{
    if (!m_mapped || offset >= m_bytes.size())
        return;
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t begin = offset / page * page;
    const std::uint64_t end = offset + std::min<std::uint64_t>(length, m_bytes.size() - offset);
    ::madvise(const_cast<std::byte *>(m_bytes.data()) + begin, end - begin, advice);
}

tl::unexpected<Error> GgufFile::absent(std::string_view key) const
{
    return fail(ErrorCode::badInput, m_path + " has no metadata '" + printable(key) + "', which its model needs.");
}

} // namespace kvilt::gguf

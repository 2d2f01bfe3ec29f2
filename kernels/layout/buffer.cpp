// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/buffer.h"

#include <cstdint>

#include <sys/mman.h>

namespace kvilt::kernels {
namespace {
constexpr std::size_t kHugePage = std::size_t(2) << 20;
}

std::optional<Buffer> Buffer::allocate(std::size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return std::nullopt;
    const bool huge = bytes >= 4 * kHugePage;
    const std::size_t mapped = bytes + (huge ? kHugePage : 64); // room to align
    void *memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return std::nullopt;
    Buffer buffer;
    buffer.m_base = memory;
    buffer.m_mapped = mapped;
    buffer.m_size = bytes;
    auto *start = static_cast<std::byte *>(memory);
    if (huge) {
        const std::size_t skip = (kHugePage - reinterpret_cast<std::uintptr_t>(start) % kHugePage) % kHugePage;
        start += skip;
        madvise(start, bytes, MADV_HUGEPAGE); // only a wish: small pages serve as well
    }
    buffer.m_data = start;
    return buffer;
}

Buffer::~Buffer()
{
    if (m_base != nullptr)
        munmap(m_base, m_mapped);
}

} // namespace kvilt::kernels

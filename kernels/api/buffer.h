// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

namespace kvilt::kernels {

// Anonymous memory, zeroed, page aligned, on huge pages where the system gives them (decode streams all weights
// through the TLB every token). Pages exist once they are touched. Movable, not copyable.
class Buffer {
public:
    Buffer() = default;
    Buffer(Buffer &&other) noexcept { swap(other); }
    Buffer &operator=(Buffer &&other) noexcept
    {
        swap(other);
        return *this;
    }
    ~Buffer();

    // nullopt: the system refused.
    static std::optional<Buffer> allocate(std::size_t bytes);

    std::byte *data() const { return m_data; }
    std::size_t size() const { return m_size; }

private:
    void swap(Buffer &other) noexcept
    {
        std::swap(m_data, other.m_data);
        std::swap(m_size, other.m_size);
        std::swap(m_base, other.m_base);
        std::swap(m_mapped, other.m_mapped);
    }

    std::byte *m_data = nullptr;
    std::size_t m_size = 0;
    void *m_base = nullptr;
    std::size_t m_mapped = 0;
};

} // namespace kvilt::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvilt::text::jinja {

// Index into the render's table of sources: 0 is the template, others are strings of messages, tools and variables.
using SourceId = std::uint32_t;
inline constexpr SourceId kTemplateSource = 0;

// Bytes that each remember where they come from: the source and, for message contents, the offset in it. Held as runs,
// so text taken over in one piece costs 12 bytes however long it is.
class MarkedText {
public:
    struct Run {
        std::uint32_t begin = 0; // in this text; the run ends where the next one begins
        SourceId source = kTemplateSource;
        std::uint32_t offset = 0; // in the source; always 0 for the template
    };

    MarkedText() = default;
    static MarkedText literal(std::string_view bytes) { return from(bytes, kTemplateSource); }
    static MarkedText from(std::string_view bytes, SourceId source, std::uint32_t offset = 0);

    const std::string &bytes() const { return m_bytes; }
    std::string takeBytes() { return std::move(m_bytes); } // leaves a text to be thrown away
    std::size_t size() const { return m_bytes.size(); }
    bool empty() const { return m_bytes.empty(); }
    const std::vector<Run> &runs() const { return m_runs; }
    std::size_t footprint() const { return m_bytes.capacity() + m_runs.capacity() * sizeof(Run); }
    // Room for `bytes` more in one more run. Both grow by doubling; `mayTake` hears first how much each growth takes
    // while the old piece still stands, and throws when that is too much.
    template <typename MayTake>
    void reserveFor(std::size_t bytes, MayTake mayTake)
    {
        if (const std::size_t need = m_bytes.size() + bytes; need > m_bytes.capacity()) {
            const std::size_t room = std::max(need, 2 * m_bytes.capacity());
            mayTake(room);
            m_bytes.reserve(room);
        }
        if (m_runs.size() == m_runs.capacity()) {
            const std::size_t room = std::max<std::size_t>(1, 2 * m_runs.size());
            mayTake(room * sizeof(Run));
            m_runs.reserve(room);
        }
    }

    void append(const MarkedText &other) { append(other, 0, other.size()); }
    void append(const MarkedText &other, std::size_t begin, std::size_t end);
    void appendLiteral(std::string_view bytes) { append(bytes, kTemplateSource, 0); }
    // Other bytes in the place of what stands at `at` in `like`: an escaped or recased character keeps its mark.
    void appendLike(std::string_view bytes, const MarkedText &like, std::size_t at);
    MarkedText part(std::size_t begin, std::size_t end) const;

private:
    void append(std::string_view bytes, SourceId source, std::uint32_t offset);
    std::size_t runAt(std::size_t at) const;

    std::string m_bytes;
    std::vector<Run> m_runs;
};

} // namespace kvilt::text::jinja

// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/marked_text.h"

#include <algorithm>

namespace kvilt::text::jinja {

MarkedText MarkedText::from(std::string_view bytes, SourceId source, std::uint32_t offset)
{
    MarkedText text;
    text.append(bytes, source, offset);
    return text;
}

void MarkedText::append(std::string_view bytes, SourceId source, std::uint32_t offset)
{
    if (bytes.empty())
        return;
    const auto here = static_cast<std::uint32_t>(m_bytes.size());
    const bool continues = !m_runs.empty() && m_runs.back().source == source &&
                           (source == kTemplateSource || m_runs.back().offset + (here - m_runs.back().begin) == offset);
    if (!continues)
        m_runs.push_back({here, source, source == kTemplateSource ? 0 : offset});
    m_bytes += bytes;
}

std::size_t MarkedText::runAt(std::size_t at) const
{
    const auto after = std::partition_point(m_runs.begin(), m_runs.end(), [&](const Run &r) { return r.begin <= at; });
    return static_cast<std::size_t>(after - m_runs.begin()) - 1;
}

void MarkedText::append(const MarkedText &other, std::size_t begin, std::size_t end)
{
    if (begin >= end)
        return;
    if (&other == this)
        return append(part(begin, end));
    for (std::size_t r = other.runAt(begin); begin < end; ++r) {
        const Run &run = other.m_runs[r];
        const std::size_t stop =
            r + 1 < other.m_runs.size() ? std::min<std::size_t>(end, other.m_runs[r + 1].begin) : end;
        append(std::string_view(other.m_bytes).substr(begin, stop - begin), run.source,
               run.offset + static_cast<std::uint32_t>(begin - run.begin));
        begin = stop;
    }
}

void MarkedText::appendLike(std::string_view bytes, const MarkedText &like, std::size_t at)
{
    const Run &run = like.m_runs[like.runAt(at)];
    append(bytes, run.source, run.offset + static_cast<std::uint32_t>(at - run.begin));
}

MarkedText MarkedText::part(std::size_t begin, std::size_t end) const
{
    MarkedText text;
    text.append(*this, begin, end);
    return text;
}

} // namespace kvilt::text::jinja

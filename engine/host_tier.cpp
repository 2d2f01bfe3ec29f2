// SPDX-License-Identifier: Apache-2.0
#include "engine/host_tier.h"

#include <iterator>
#include <utility>

namespace kvilt {

std::vector<HostTier::Entry> HostTier::put(const Key &key, std::span<const std::byte> bytes)
{
    std::vector<Entry> gone;
    if (bytes.size() > m_budget || m_places.contains(key))
        return gone;
    while (m_bytes + bytes.size() > m_budget) {
        m_bytes -= m_entries.back().bytes.size();
        m_places.erase(m_entries.back().key);
        gone.push_back(std::move(m_entries.back()));
        m_entries.pop_back();
    }
    m_entries.push_front({key, {bytes.begin(), bytes.end()}, false});
    m_places[key] = m_entries.begin();
    m_bytes += bytes.size();
    return gone;
}

HostTier::Entry *HostTier::find(const Key &key)
{
    const auto at = m_places.find(key);
    if (at == m_places.end())
        return nullptr;
    m_entries.splice(m_entries.begin(), m_entries, at->second);
    return &m_entries.front();
}

std::vector<HostTier::Entry> HostTier::takeAll()
{
    std::vector<Entry> all(std::make_move_iterator(m_entries.begin()), std::make_move_iterator(m_entries.end()));
    m_entries.clear();
    m_places.clear();
    m_bytes = 0;
    return all;
}

} // namespace kvilt

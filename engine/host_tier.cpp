// SPDX-License-Identifier: Apache-2.0
#include "engine/host_tier.h"

#include <utility>

namespace kvilt {

std::vector<HostTier::Key> HostTier::put(const Key &key, std::span<const std::byte> bytes)
{
    std::vector<Key> gone;
    if (bytes.size() > m_budget || m_places.contains(key))
        return gone;
    while (m_bytes + bytes.size() > m_budget) {
        m_bytes -= m_entries.back().bytes.size();
        m_places.erase(m_entries.back().key);
        gone.push_back(m_entries.back().key);
        m_entries.pop_back();
    }
    m_entries.push_front({key, {bytes.begin(), bytes.end()}});
    m_places[key] = m_entries.begin();
    m_bytes += bytes.size();
    return gone;
}

const HostTier::Entry *HostTier::find(const Key &key)
{
    const auto at = m_places.find(key);
    if (at == m_places.end())
        return nullptr;
    m_entries.splice(m_entries.begin(), m_entries, at->second);
    return &m_entries.front();
}

std::vector<HostTier::Key> HostTier::clear()
{
    std::vector<Key> all;
    for (const Entry &entry : m_entries)
        all.push_back(entry.key);
    m_entries.clear();
    m_places.clear();
    m_bytes = 0;
    return all;
}

} // namespace kvilt

// SPDX-License-Identifier: Apache-2.0
#include "engine/store/kv_index.h"

#include <algorithm>

namespace kvilt::store {

bool KvIndex::add(Row row)
{
    if (m_rows.contains(row.id) || find(PayloadKey{row.name, row.group, row.numerics}))
        return false;
    m_order.insert(placeOf(row));
    m_nodes[row.name].push_back(row.id);
    m_bytes += row.bytes;
    m_use = std::max(m_use, row.used);
    m_nextRow = std::max(m_nextRow, row.id + 1);
    m_rows.emplace(row.id, std::move(row));
    return true;
}

std::optional<KvIndex::Row> KvIndex::remove(std::int64_t id)
{
    const auto it = m_rows.find(id);
    if (it == m_rows.end())
        return std::nullopt;
    Row row = std::move(it->second);
    m_rows.erase(it);
    m_order.erase(placeOf(row));
    m_bytes -= row.bytes;
    auto &ids = m_nodes[row.name];
    std::erase(ids, id);
    if (ids.empty())
        m_nodes.erase(row.name);
    return row;
}

const KvIndex::Row *KvIndex::find(std::int64_t id) const
{
    const auto it = m_rows.find(id);
    return it == m_rows.end() ? nullptr : &it->second;
}

const KvIndex::Row *KvIndex::find(const PayloadKey &key) const
{
    const auto it = m_nodes.find(key.name);
    if (it == m_nodes.end())
        return nullptr;
    for (const std::int64_t id : it->second) {
        const Row &row = m_rows.at(id);
        if (row.group == key.group && row.numerics == key.numerics)
            return &row;
    }
    return nullptr;
}

std::vector<std::int64_t> KvIndex::rowsOf(const kv::BlockName &name) const
{
    const auto it = m_nodes.find(name);
    return it == m_nodes.end() ? std::vector<std::int64_t>() : it->second;
}

const KvIndex::Row *KvIndex::victim() const { return m_order.empty() ? nullptr : &m_rows.at(m_order.begin()->id); }

bool KvIndex::wouldGoFirst(std::int32_t firstToken) const
{
    return m_order.empty() || Place{true, m_use, -std::int64_t(firstToken), m_nextRow} < *m_order.begin();
}

std::vector<std::int64_t> KvIndex::touch(std::span<const std::int64_t> ids)
{
    std::vector<std::int64_t> known;
    ++m_use;
    for (const std::int64_t id : ids) {
        const auto it = m_rows.find(id);
        if (it == m_rows.end())
            continue;
        m_order.erase(placeOf(it->second));
        it->second.used = m_use;
        it->second.dead = false;
        m_order.insert(placeOf(it->second));
        known.push_back(id);
    }
    return known;
}

void KvIndex::setDead(std::int64_t id, bool dead)
{
    const auto it = m_rows.find(id);
    if (it == m_rows.end())
        return;
    m_order.erase(placeOf(it->second));
    it->second.dead = dead;
    m_order.insert(placeOf(it->second));
}

void KvIndex::setTip(std::int64_t session, std::int64_t branch, const kv::BlockName &node)
{
    m_tips[session][branch] = node;
}

void KvIndex::removeTip(std::int64_t session, std::int64_t branch)
{
    const auto it = m_tips.find(session);
    if (it == m_tips.end())
        return;
    it->second.erase(branch);
    if (it->second.empty())
        m_tips.erase(it);
}

void KvIndex::removeSession(std::int64_t session) { m_tips.erase(session); }

void KvIndex::disown()
{
    m_tips.clear();
    for (auto &[id, row] : m_rows)
        row.session = 0;
}

const kv::BlockName *KvIndex::parentOf(const kv::BlockName &name) const
{
    const auto it = m_nodes.find(name);
    return it == m_nodes.end() ? nullptr : &m_rows.at(it->second.front()).parent;
}

// A chain ends where a parent is not stored; `seen` also ends it, so that a file whose parents form a ring does.
void KvIndex::walk(const kv::BlockName &from, std::unordered_set<kv::BlockName> &seen) const
{
    kv::BlockName at = from;
    for (const kv::BlockName *parent = parentOf(at); parent && seen.insert(at).second; parent = parentOf(at))
        at = *parent;
}

std::vector<kv::BlockName> KvIndex::chain(const kv::BlockName &node) const
{
    std::vector<kv::BlockName> path;
    std::unordered_set<kv::BlockName> seen;
    kv::BlockName at = node;
    for (const kv::BlockName *parent = parentOf(at); parent && seen.insert(at).second; parent = parentOf(at)) {
        path.push_back(at);
        at = *parent;
    }
    return path;
}

std::unordered_set<kv::BlockName> KvIndex::nodesOf(std::int64_t session) const
{
    std::unordered_set<kv::BlockName> nodes;
    if (const auto it = m_tips.find(session); it != m_tips.end())
        for (const auto &[branch, node] : it->second)
            walk(node, nodes);
    return nodes;
}

std::vector<std::int64_t> KvIndex::rowsOfSession(std::int64_t session) const
{
    const auto nodes = nodesOf(session);
    std::vector<std::int64_t> ids;
    for (const auto &[id, row] : m_rows)
        if ((session != 0 && row.session == session) || nodes.contains(row.name))
            ids.push_back(id);
    return ids;
}

std::unordered_set<kv::BlockName> KvIndex::neededNodes() const
{
    std::unordered_set<kv::BlockName> needed;
    for (const auto &[session, branches] : m_tips)
        for (const auto &[branch, node] : branches)
            walk(node, needed);
    return needed;
}

} // namespace kvilt::store

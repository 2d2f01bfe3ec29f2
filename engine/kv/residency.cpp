// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/residency.h"

#include "engine/support/check.h"

#include <algorithm>

namespace kvilt::kv {

Residency::Residency(PrefixTree &tree, std::size_t groups, std::string numerics, Near near)
    : m_tree(tree), m_groups(groups), m_records(groups), m_isNear(std::move(near))
{
    m_numerics.push_back(arithmetic(numerics));
}

BlockUseRecord &Residency::record(std::size_t group, BlockId block)
{
    auto &records = m_records[group];
    if (block.value >= records.size())
        records.resize(block.value + 1);
    return records[block.value];
}

const BlockUseRecord *Residency::find(std::size_t group, BlockId block) const
{
    const auto &records = m_records[group];
    return block.value < records.size() ? &records[block.value] : nullptr;
}

void Residency::bind(NodeSlot node, std::size_t group, BlockId block)
{
    auto &records = m_records[group];
    BlockUseRecord &self = records[block.value];
    KVILT_CHECK(self.node == kNoSlot);
    if (m_first.size() < m_tree.slotCount() * m_groups)
        m_first.resize(m_tree.slotCount() * m_groups, kNoBlock.value);
    std::uint32_t &first = m_first[std::size_t(node) * m_groups + group];
    self.node = node;
    if (first == kNoBlock.value) {
        first = self.nextSame = self.previousSame = block.value;
    } else {
        self.nextSame = first;
        self.previousSame = records[first].previousSame;
        records[self.previousSame].nextSame = block.value;
        records[first].previousSame = block.value;
    }
    m_tree.addPayload(node);
}

void Residency::unbind(std::size_t group, BlockId block)
{
    auto &records = m_records[group];
    BlockUseRecord &self = records[block.value];
    const NodeSlot node = self.node;
    std::uint32_t &first = m_first[std::size_t(node) * m_groups + group];
    if (self.nextSame == block.value) {
        first = kNoBlock.value;
    } else {
        records[self.nextSame].previousSame = self.previousSame;
        records[self.previousSame].nextSame = self.nextSame;
        if (first == block.value)
            first = self.nextSame;
    }
    self.node = kNoSlot;
    m_tree.removePayload(node);
}

NumericsIndex Residency::numerics(std::string_view text)
{
    const auto found = std::find_if(m_numerics.begin(), m_numerics.end(), [&](const Arithmetic &a) { return a.text == text; });
    if (found != m_numerics.end())
        return NumericsIndex(found - m_numerics.begin());
    m_numerics.push_back(arithmetic(text));
    return NumericsIndex(m_numerics.size() - 1);
}

void Residency::changeOwn(std::string_view text)
{
    const NumericsIndex next = numerics(text);
    std::swap(m_numerics[0], m_numerics[next]);
    for (Arithmetic &a : m_numerics) // near to the new one
        a = arithmetic(std::string(a.text));
    for (auto &[name, stored] : m_stored) {
        for (StoredRow &row : stored.rows)
            row.numerics = row.numerics == next ? 0 : row.numerics == 0 ? next : row.numerics;
        if (stored.node != kNoSlot)
            refreshMasks(stored.node, stored);
    }
}

bool Residency::knowsName(const BlockName &name) const
{
    const auto found = m_stored.find(name);
    return found != m_stored.end() && !found->second.rows.empty();
}

void Residency::bindName(const BlockName &name, NodeSlot node)
{
    if (m_ownRows.size() < m_tree.slotCount())
        for (auto *rows : {&m_ownRows, &m_hostRows, &m_diskRows, &m_otherRows, &m_nearRows})
            rows->resize(m_tree.slotCount());
    m_names.insert_or_assign(node, name);
    Stored &stored = m_stored[name]; // also without rows: a row that comes later finds its node
    if (stored.node == node)
        return;
    stored.node = node;
    for (std::size_t i = 0; i < stored.rows.size(); ++i)
        m_tree.addPayload(node);
    refreshMasks(node, stored);
}

const BlockName *Residency::nameOf(NodeSlot node) const
{
    const auto found = m_names.find(node);
    return found == m_names.end() ? nullptr : &found->second;
}

void Residency::addRow(const BlockName &name, const StoredRow &row)
{
    Stored &stored = m_stored[name];
    for (StoredRow &known : stored.rows)
        if (known.group == row.group && known.numerics == row.numerics && known.tier == row.tier) {
            m_sums[std::size_t(row.tier)].bytes += row.bytes - known.bytes;
            known = row;
            return;
        }
    stored.rows.push_back(row);
    m_sums[std::size_t(row.tier)].bytes += row.bytes;
    ++m_sums[std::size_t(row.tier)].rows;
    if (stored.node == kNoSlot)
        return;
    m_tree.addPayload(stored.node);
    refreshMasks(stored.node, stored);
}

bool Residency::hasRow(const BlockName &name, GroupIndex group, NumericsIndex numerics, api::Tier tier) const
{
    const auto found = m_stored.find(name);
    return found != m_stored.end() && std::any_of(found->second.rows.begin(), found->second.rows.end(), [&](auto &r) {
               return r.group == group && r.numerics == numerics && r.tier == tier;
           });
}

void Residency::removeRow(const BlockName &name, GroupIndex group, NumericsIndex numerics, api::Tier tier)
{
    const auto found = m_stored.find(name);
    KVILT_CHECK(found != m_stored.end());
    Stored &stored = found->second;
    const auto row = std::find_if(stored.rows.begin(), stored.rows.end(), [&](const StoredRow &r) {
        return r.group == group && r.numerics == numerics && r.tier == tier;
    });
    KVILT_CHECK(row != stored.rows.end());
    m_sums[std::size_t(tier)].bytes -= row->bytes;
    --m_sums[std::size_t(tier)].rows;
    stored.rows.erase(row);
    if (stored.node != kNoSlot) {
        refreshMasks(stored.node, stored);
        m_tree.removePayload(stored.node); // may free the node, and with it this entry
    } else if (stored.rows.empty()) {
        m_stored.erase(found);
    }
}

const StoredRow *Residency::row(NodeSlot node, std::size_t group, bool nearToo) const
{
    const BlockName *name = nameOf(node);
    const auto found = name ? m_stored.find(*name) : m_stored.end();
    if (found == m_stored.end())
        return nullptr;
    const StoredRow *best = nullptr;
    for (const StoredRow &row : found->second.rows) {
        if (row.group.value != group || (row.numerics != 0 && !(nearToo && m_numerics[row.numerics].near)))
            continue;
        const bool better = !best || (row.numerics == 0 && (best->numerics != 0 || row.tier == api::Tier::host));
        best = better ? &row : best;
    }
    return best;
}

NodeSlot Residency::nodeOf(const BlockName &name) const
{
    const auto found = m_stored.find(name);
    return found == m_stored.end() ? kNoSlot : found->second.node;
}

void Residency::nodeFreed(NodeSlot node)
{
    if (node < m_ownRows.size())
        m_ownRows[node] = m_hostRows[node] = m_diskRows[node] = m_otherRows[node] = m_nearRows[node] = 0;
    const auto name = m_names.find(node);
    if (name == m_names.end())
        return;
    if (const auto stored = m_stored.find(name->second); stored != m_stored.end() && stored->second.node == node) {
        stored->second.node = kNoSlot;
        if (stored->second.rows.empty())
            m_stored.erase(stored);
    }
    m_names.erase(name);
}

void Residency::refreshMasks(NodeSlot node, const Stored &stored)
{
    m_ownRows[node] = m_hostRows[node] = m_diskRows[node] = m_otherRows[node] = m_nearRows[node] = 0;
    for (const StoredRow &row : stored.rows) {
        const std::uint32_t bit = 1u << row.group.value;
        (row.numerics == 0 ? m_ownRows : m_otherRows)[node] |= bit;
        if (row.numerics == 0)
            (row.tier == api::Tier::host ? m_hostRows : m_diskRows)[node] |= bit;
        else if (m_numerics[row.numerics].near)
            m_nearRows[node] |= bit;
    }
}

} // namespace kvilt::kv

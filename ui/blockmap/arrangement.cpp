// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/block_map_model.h"

#include <algorithm>
#include <numeric>
#include <tuple>

// The orders in which the map can lay out its cells.
namespace kvilt::ui {

namespace {

// Sealed blocks below their parents, depth first; siblings by age of their node, so that branches stand together.
class TreeOrder {
public:
    explicit TreeOrder(const std::vector<Cell> &cells) : m_cells(cells) { link(); }

    std::vector<std::uint32_t> run()
    {
        for (const std::uint32_t root : m_roots)
            walk(root);
        for (std::uint32_t b = 0; b < m_cells.size(); ++b) // cycles cannot come from the engine, but must not hide cells
            if (m_cells[b].node.value && !m_placed[b])
                place(b);
        for (std::uint32_t b = 0; b < m_cells.size(); ++b)
            if (m_cells[b].node.value == 0 && m_cells[b].references)
                place(b);
        for (std::uint32_t b = 0; b < m_cells.size(); ++b)
            if (!m_placed[b])
                place(b);
        return std::move(m_order);
    }

private:
    void link()
    {
        m_placed.assign(m_cells.size(), 0);
        std::unordered_map<std::uint64_t, std::uint32_t> byNode;
        for (std::uint32_t b = 0; b < m_cells.size(); ++b)
            if (m_cells[b].node.value)
                byNode[m_cells[b].node.value] = b;
        for (std::uint32_t b = 0; b < m_cells.size(); ++b) {
            if (m_cells[b].node.value == 0)
                continue;
            if (byNode.contains(m_cells[b].parent.value))
                m_children[m_cells[b].parent.value].push_back(b);
            else
                m_roots.push_back(b);
        }
        const auto byAge = [this](std::uint32_t a, std::uint32_t b) { return m_cells[a].node < m_cells[b].node; };
        std::sort(m_roots.begin(), m_roots.end(), byAge);
        for (auto &[node, blocks] : m_children)
            std::sort(blocks.begin(), blocks.end(), byAge);
    }

    void place(std::uint32_t block)
    {
        m_placed[block] = 1;
        m_order.push_back(block);
    }

    void walk(std::uint32_t root) // no recursion: a chain may be as long as the pool
    {
        std::vector<std::uint32_t> stack{root};
        while (!stack.empty()) {
            const std::uint32_t block = stack.back();
            stack.pop_back();
            if (m_placed[block])
                continue;
            place(block);
            const auto found = m_children.find(m_cells[block].node.value);
            if (found != m_children.end())
                stack.insert(stack.end(), found->second.rbegin(), found->second.rend());
        }
    }

    const std::vector<Cell> &m_cells;
    std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> m_children;
    std::vector<std::uint32_t> m_roots, m_order;
    std::vector<std::uint8_t> m_placed;
};

} // namespace

std::vector<std::uint32_t> BlockMapModel::arranged(std::size_t group, ArrangeBy by) const
{
    const std::vector<Cell> &cells = m_groups[group].cells;
    if (by == ArrangeBy::prefixTree)
        return TreeOrder(cells).run();
    std::vector<std::uint32_t> order(cells.size());
    std::iota(order.begin(), order.end(), 0u);
    if (by == ArrangeBy::block)
        return order;
    const auto key = [&](std::uint32_t b) {
        const Cell &cell = cells[b];
        const bool isFree = m_groups[group].states[b] == std::uint8_t(api::BlockState::free);
        return std::tuple(isFree, cell.owner.value == 0, isFree ? SessionId{} : cell.owner,
                          isFree ? 0 : cell.firstToken, b);
    };
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
    return order;
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/block_text_cache.h"

namespace kvilt::ui {

BlockTextCache::BlockTextCache(Workbench &workbench, QObject *parent) : QObject(parent), m_workbench(workbench)
{
    connect(&workbench, &Workbench::blockDescribed, this, [this](const api::update::BlockDescribed &described) {
        if (described.info.node.value == 0)
            return;
        if (m_texts.size() >= kRemembered)
            clear();
        m_asked.erase(described.info.node.value);
        m_texts[described.info.node.value] = QString::fromStdString(described.text);
        emit arrived();
    });
}

QString BlockTextCache::textOf(NodeId node) const
{
    const auto found = m_texts.find(node.value);
    return found == m_texts.end() ? QString() : found->second;
}

void BlockTextCache::want(const std::vector<Wanted> &wanted)
{
    for (const Wanted &one : wanted) {
        if (m_asked.size() >= kBatch)
            return; // the rest when these have come
        if (m_texts.contains(one.node.value) || !m_asked.insert(one.node.value).second)
            continue;
        m_workbench.post(api::command::DescribeBlock{one.group, one.block});
    }
}

void BlockTextCache::clear()
{
    m_texts.clear();
    m_asked.clear();
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QTimer>

#include <unordered_map>
#include <unordered_set>

namespace kvilt::ui {

// What the engine said of blocks: their text and holders, remembered by node, asked for a few at a time.
class BlockTextCache : public QObject {
    Q_OBJECT
public:
    explicit BlockTextCache(Workbench &workbench, QObject *parent = nullptr);

    QString textOf(NodeId node) const;
    // Asks for those that are not known; `group` and `block` say where the node lies now.
    struct Wanted {
        NodeId node;
        GroupIndex group;
        BlockId block;
    };
    void want(const std::vector<Wanted> &wanted);
    void clear();

signals:
    void arrived();

private:
    static constexpr std::size_t kBatch = 64;
    static constexpr std::size_t kRemembered = 16384;

    Workbench &m_workbench;
    std::unordered_map<std::uint64_t, QString> m_texts;
    std::unordered_set<std::uint64_t> m_asked;
};

} // namespace kvilt::ui

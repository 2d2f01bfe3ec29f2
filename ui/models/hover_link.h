// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/ids.h"

#include <QObject>

#include <cstdint>

namespace kvilt::ui {

// What the pointer is on, wherever it is: chat text, ribbon cell or block of the map. The three views set it and
// light up their part of it. A stretch is a run of token positions of one session; `node` and `block` are known
// when a full block is meant.
struct HoverTarget {
    SessionId session;
    std::int32_t firstToken = -1; // -1: nothing
    std::int32_t endToken = -1;
    NodeId node;
    GroupIndex group;
    BlockId block = kNoBlock;

    bool empty() const { return firstToken < 0 && block == kNoBlock && node.value == 0; }
    bool operator==(const HoverTarget &) const = default;
};

// Carries the hover between the views. Each view passes itself as `origin`, so that it can tell its own echo.
class HoverLink : public QObject {
    Q_OBJECT
public:
    using QObject::QObject;

    const HoverTarget &target() const { return m_target; }
    void setTarget(const HoverTarget &target, QObject *origin)
    {
        if (target == m_target)
            return;
        m_target = target;
        emit targetChanged(m_target, origin);
    }
    void clear(QObject *origin) { setTarget({}, origin); }

signals:
    void targetChanged(const kvilt::ui::HoverTarget &target, QObject *origin);

private:
    HoverTarget m_target;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <QString>
#include <QStringList>

#include <vector>

namespace kvilt::ui {

// A comparison of eviction policies in words and cells, without a widget.
struct PolicyText {
    QString sentence;
    QStringList columns;            // "Policy", one a pool size, "Evictions", "Wanted again"
    std::vector<QStringList> rows;  // one a policy, the optimum last
    int currentRow = -1;            // the policy that is in force
};

PolicyText policyText(const api::update::PoliciesCompared &compared);

} // namespace kvilt::ui

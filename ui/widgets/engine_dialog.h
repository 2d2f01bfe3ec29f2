// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <QDialog>

class QCheckBox;
class QComboBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QSpinBox;

namespace kvilt::ui {

class Theme;

// What a model runs with: threads, the cache's memory, types, block size, policy, the quota on disk. Taking it over loads
// the model again, because a pool cannot change under running sequences; chats restore their KV where its type stays.
class EngineDialog : public QDialog {
    Q_OBJECT
public:
    // `model`: the one that is loaded with `now`; without a path: none is.
    EngineDialog(Theme &theme, const api::EngineSettings &now, const api::ModelFacts &model, QWidget *parent = nullptr);
    api::EngineSettings settings() const;

private:
    void build(Theme &theme);
    QWidget *buildMemory();
    QComboBox *types(const QString &name, api::KvType now);
    void refreshCost();

    api::EngineSettings m_before;
    std::uint64_t m_bytesPerToken;
    int m_longestContext; // of the model; none loaded: any
    QSpinBox *m_threads = nullptr, *m_context = nullptr;
    QLineEdit *m_memory = nullptr;
    QLabel *m_cost = nullptr;
    QComboBox *m_k = nullptr, *m_v = nullptr, *m_block = nullptr, *m_policy = nullptr;
    QCheckBox *m_cache = nullptr;
};

} // namespace kvilt::ui

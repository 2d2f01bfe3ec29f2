// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <QAbstractTableModel>

#include <vector>

namespace kvilt::ui {

// GGUF files found on this computer, as a table: model, type, size, context, expected speed, whether it fits.
class FoundModels : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { kName, kType, kSize, kContext, kSpeed, kFits, kColumns };

    using QAbstractTableModel::QAbstractTableModel;
    void setModels(std::vector<api::ModelFacts> models);
    const api::ModelFacts *at(const QModelIndex &index) const;

    int rowCount(const QModelIndex &parent = {}) const override;
    int columnCount(const QModelIndex &parent = {}) const override;
    QVariant data(const QModelIndex &index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

    // "SmolLM2 135M": the same file has the same name in the header, in menus and in the table.
    static QString shortName(const api::ModelFacts &facts);
    static QString expectedRate(double tokensPerSecond); // "190 tok/s"
    static QString fitsWords(const api::ModelFacts &facts);
    static bool fits(const api::ModelFacts &facts) { return facts.usable && facts.longestContext > 0; }

private:
    std::vector<api::ModelFacts> m_models;
};

} // namespace kvilt::ui

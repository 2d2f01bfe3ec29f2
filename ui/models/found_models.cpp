// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/found_models.h"

#include "ui/widgets/format.h"

#include <QFileInfo>

#include <cmath>

namespace kvilt::ui {

void FoundModels::setModels(std::vector<api::ModelFacts> models)
{
    beginResetModel();
    m_models = std::move(models);
    endResetModel();
}

const api::ModelFacts *FoundModels::at(const QModelIndex &index) const
{
    const bool inside = index.isValid() && index.row() < int(m_models.size());
    return inside ? &m_models[std::size_t(index.row())] : nullptr;
}

int FoundModels::rowCount(const QModelIndex &parent) const
{
    return parent.isValid() ? 0 : int(m_models.size());
}

int FoundModels::columnCount(const QModelIndex &parent) const
{
    return parent.isValid() ? 0 : kColumns;
}

QString FoundModels::fitsWords(const api::ModelFacts &facts)
{
    if (!facts.usable)
        return tr("cannot be used");
    if (facts.missingBytes > 0)
        return tr("%1 too large").arg(bytes(facts.missingBytes));
    if (facts.longestContext == 0)
        return tr("too large for memory");
    if (facts.longestContext >= facts.contextLength)
        return tr("whole context");
    const std::uint64_t thousands = facts.longestContext / 1000 * 1000;
    return tr("with %1 tokens").arg(grouped(thousands > 0 ? thousands : facts.longestContext));
}

QString FoundModels::shortName(const api::ModelFacts &facts)
{
    if (facts.path.ends_with("smollm2-135m-instruct-q4_1.gguf")) // the file calls itself by the name of a training run
        return QStringLiteral("SmolLM2 135M");
    QString name = QString::fromStdString(facts.name);
    if (name.isEmpty())
        name = QFileInfo(QString::fromStdString(facts.path)).completeBaseName();
    name.replace(QLatin1Char('_'), QLatin1Char(' '));
    return name.left(40);
}

// Two digits: an expectation is not a measurement.
QString FoundModels::expectedRate(double tokensPerSecond)
{
    const double unit = tokensPerSecond >= 100 ? 10 : tokensPerSecond >= 10 ? 1 : 0.1;
    const double rounded = std::round(tokensPerSecond / unit) * unit;
    return (rounded >= 10 ? grouped(std::uint64_t(rounded)) : QString::number(rounded, 'f', 1)) + QStringLiteral(" tok/s");
}

QVariant FoundModels::data(const QModelIndex &index, int role) const
{
    const api::ModelFacts *facts = at(index);
    if (!facts)
        return {};
    if (role == Qt::ToolTipRole)
        return QString::fromStdString(facts->usable ? facts->path : facts->problem);
    if (role != Qt::DisplayRole && role != Qt::AccessibleTextRole)
        return {};
    const QString dash = QStringLiteral("–");
    switch (index.column()) {
    case kName: return shortName(*facts);
    case kType: return facts->quantisation.empty() ? dash : QString::fromStdString(facts->quantisation);
    case kSize: return bytes(facts->fileBytes);
    case kContext: return facts->contextLength == 0 ? dash : grouped(facts->contextLength);
    case kSpeed: return facts->usable && facts->decodeTokensPerSecond > 0 && fits(*facts)
                            ? QStringLiteral("≈ ") + expectedRate(facts->decodeTokensPerSecond) : dash;
    case kFits: return fitsWords(*facts);
    default: return {};
    }
}

QVariant FoundModels::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal || role != Qt::DisplayRole)
        return {};
    static const char *const names[] = {"Model", "Type", "Size", "Context", "Speed", "Fits"};
    return section < kColumns ? tr(names[section]) : QVariant();
}

} // namespace kvilt::ui

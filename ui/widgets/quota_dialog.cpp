// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/quota_dialog.h"

#include "ui/widgets/dialog_buttons.h"
#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QDoubleSpinBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QVBoxLayout>

#include <cmath>

namespace kvilt::ui {

namespace {
constexpr double kGiB = double(1ull << 30);
}

QuotaDialog::QuotaDialog(Theme &theme, std::uint64_t quota, std::uint64_t used, QWidget *parent)
    : QDialog(parent), m_used(used)
{
    setWindowTitle(tr("Quota on disk"));
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(24, 20, 24, 20);
    column->setSpacing(12);
    auto *heading = new QLabel(windowTitle(), this);
    heading->setFont(theme.font(TextSize::title, QFont::DemiBold));
    column->addWidget(heading);
    auto *row = new QHBoxLayout;
    auto *name = new QLabel(tr("Stored KV may take"), this);
    m_gib = new QDoubleSpinBox(this);
    m_gib->setRange(0, 1e6);
    m_gib->setDecimals(2);
    m_gib->setSuffix(tr(" GiB"));
    m_gib->setValue(double(quota) / kGiB);
    m_gib->setAccessibleName(tr("GiB that stored KV may take"));
    name->setBuddy(m_gib);
    row->addWidget(name);
    row->addWidget(m_gib);
    row->addStretch(1);
    column->addLayout(row);
    m_effect = new QLabel(this);
    m_effect->setWordWrap(true);
    m_effect->setProperty("tone", "secondary");
    column->addWidget(m_effect);
    addDialogButtons(*this, *column, tr("Set quota"));
    connect(m_gib, &QDoubleSpinBox::valueChanged, this, &QuotaDialog::refreshEffect);
    refreshEffect();
    setMinimumWidth(400);
    m_gib->selectAll();
}

std::uint64_t QuotaDialog::quota() const
{
    return std::uint64_t(std::llround(m_gib->value() * kGiB));
}

void QuotaDialog::refreshEffect()
{
    const std::uint64_t now = quota();
    m_effect->setText(now >= m_used ? tr("%1 are used; nothing has to go.").arg(bytes(m_used))
                                    : tr("%1 are used: the least recently used %2 go, and are computed again when their chats "
                                         "go on.").arg(bytes(m_used), bytes(m_used - now)));
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/message_actions.h"

#include "ui/chat/message_metrics.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>

namespace kvilt::ui {

MessageActions::MessageActions(Theme &theme, QWidget *parent) : QFrame(parent), m_theme(theme)
{
    setAccessibleName(tr("Actions of this message"));
    setAutoFillBackground(true);
    m_row = new QHBoxLayout(this);
    m_row->setContentsMargins(0, 0, 0, 0);
    m_row->setSpacing(0);
    // The arrows come first, at the edge where they stand when the pointer is elsewhere: they never move.
    m_branches = new QWidget(this);
    m_branches->setLayoutDirection(Qt::LeftToRight);
    m_branches->setFixedSize(int(measure::kBranchWidth), int(measure::kActionsHeight));
    auto *branches = new QHBoxLayout(m_branches);
    branches->setContentsMargins(0, 0, 0, 0);
    branches->setSpacing(0);
    m_row->addWidget(m_branches);
    m_back = add(*branches, QStringLiteral("back"), QStringLiteral("chevron-left"), tr("Previous branch"));
    m_branch = new QLabel(m_branches);
    m_branch->setAlignment(Qt::AlignCenter);
    m_branch->setProperty("tone", "secondary");
    branches->addWidget(m_branch, 1);
    m_forward = add(*branches, QStringLiteral("forward"), QStringLiteral("chevron-right"), tr("Next branch"));
    for (QToolButton *arrow : {m_back, m_forward}) {
        arrow->setFixedSize(20, int(measure::kActionsHeight));
        arrow->setIconSize({14, 14});
    }
    add(*m_row, QStringLiteral("copy"), QStringLiteral("copy"), tr("Copy message"));
    m_edit = add(*m_row, QStringLiteral("edit"), QStringLiteral("edit"), tr("Edit"));
    m_regenerate = add(*m_row, QStringLiteral("regenerate"), QStringLiteral("regenerate"), tr("Regenerate"));
    m_continue = add(*m_row, QStringLiteral("continue"), QStringLiteral("continue"), tr("Continue this reply"));
    m_pin = add(*m_row, QStringLiteral("pin"), QStringLiteral("pin"), tr("Pin"));
    m_pin->setCheckable(true);
    m_pin->setProperty("role", "toggle");
    connect(m_pin, &QToolButton::clicked, this, [this] { m_pin->setChecked(m_pinned); }); // until it has been stored
    m_delete = add(*m_row, QStringLiteral("delete"), QStringLiteral("trash"), tr("Delete message"));
    connect(&m_theme, &Theme::changed, this, &MessageActions::recolour);
    recolour();
    hide();
}

QToolButton *MessageActions::add(QHBoxLayout &row, const QString &action, const QString &iconName, const QString &name)
{
    auto *button = new QToolButton(this);
    button->setFixedSize(26, int(measure::kActionsHeight));
    button->setIconSize({metrics::kIcon, metrics::kIcon});
    button->setToolTip(name);
    button->setAccessibleName(name);
    connect(button, &QToolButton::clicked, this, [this, action] { emit triggered(action); });
    row.addWidget(button);
    m_buttons.emplace_back(button, iconName);
    return button;
}

void MessageActions::recolour()
{
    for (const auto &[button, name] : m_buttons)
        button->setIcon(icon(name, m_theme.palette().secondary));
    m_branch->setFont(m_theme.font(TextSize::secondary));
    QPalette palette = this->palette();
    palette.setColor(QPalette::Window, m_theme.palette().surface);
    setPalette(palette);
}

void MessageActions::showFor(const api::Message &message, bool busy, bool last)
{
    const bool reply = message.role == api::Role::assistant;
    m_regenerate->setVisible(reply);
    m_continue->setVisible(reply && last);
    for (QToolButton *button : {m_edit, m_regenerate, m_continue, m_delete})
        button->setEnabled(!busy);
    const bool branches = message.branchCount > 1;
    m_branches->setVisible(branches);
    setLayoutDirection(reply ? Qt::LeftToRight : Qt::RightToLeft);
    m_back->setEnabled(!busy && message.branchIndex > 0);
    m_forward->setEnabled(!busy && message.branchIndex + 1 < message.branchCount);
    m_branch->setText(QStringLiteral("%1/%2").arg(message.branchIndex + 1).arg(message.branchCount));
    m_branch->setAccessibleName(tr("Branch %1 of %2").arg(message.branchIndex + 1).arg(message.branchCount));
    m_pinned = message.pinned;
    m_pin->setChecked(m_pinned);
    const QString pin = m_pinned ? tr("Unpin") : tr("Pin");
    m_pin->setToolTip(pin);
    m_pin->setAccessibleName(pin);
    adjustSize();
    show();
    raise();
}

} // namespace kvilt::ui

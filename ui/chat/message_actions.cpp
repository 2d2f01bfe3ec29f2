// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/message_actions.h"

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
    auto *row = new QHBoxLayout(this);
    row->setContentsMargins(2, 2, 2, 2);
    row->setSpacing(0);
    add(QStringLiteral("copy"), QStringLiteral("copy"), tr("Copy message"));
    m_edit = add(QStringLiteral("edit"), QStringLiteral("edit"), tr("Edit"));
    m_regenerate = add(QStringLiteral("regenerate"), QStringLiteral("regenerate"), tr("Regenerate"));
    m_continue = add(QStringLiteral("continue"), QStringLiteral("continue"), tr("Continue this reply"));
    m_pin = add(QStringLiteral("pin"), QStringLiteral("pin"), tr("Pin"));
    m_delete = add(QStringLiteral("delete"), QStringLiteral("trash"), tr("Delete message"));
    m_back = add(QStringLiteral("back"), QStringLiteral("chevron-left"), tr("Previous branch"));
    m_branch = new QLabel(this);
    m_branch->setProperty("tone", "secondary");
    row->addWidget(m_branch);
    m_forward = add(QStringLiteral("forward"), QStringLiteral("chevron-right"), tr("Next branch"));
    connect(&m_theme, &Theme::changed, this, &MessageActions::recolour);
    recolour();
    hide();
}

QToolButton *MessageActions::add(const QString &action, const QString &iconName, const QString &name)
{
    auto *button = new QToolButton(this);
    button->setFixedSize(26, 26);
    button->setIconSize({metrics::kIcon, metrics::kIcon});
    button->setToolTip(name);
    button->setAccessibleName(name);
    connect(button, &QToolButton::clicked, this, [this, action] { emit triggered(action); });
    layout()->addWidget(button);
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

void MessageActions::showFor(const api::Message &message, bool busy)
{
    const bool reply = message.role == api::Role::assistant;
    m_regenerate->setVisible(reply);
    m_continue->setVisible(reply);
    for (QToolButton *button : {m_edit, m_regenerate, m_continue, m_delete})
        button->setEnabled(!busy);
    const bool branches = message.branchCount > 1;
    for (QWidget *widget : std::initializer_list<QWidget *>{m_back, m_branch, m_forward})
        widget->setVisible(branches);
    m_back->setEnabled(!busy && message.branchIndex > 0);
    m_forward->setEnabled(!busy && message.branchIndex + 1 < message.branchCount);
    m_branch->setText(QStringLiteral("%1/%2").arg(message.branchIndex + 1).arg(message.branchCount));
    m_branch->setAccessibleName(tr("Branch %1 of %2").arg(message.branchIndex + 1).arg(message.branchCount));
    const QString pin = message.pinned ? tr("Unpin") : tr("Pin");
    m_pin->setToolTip(pin);
    m_pin->setAccessibleName(pin);
    adjustSize();
    show();
    raise();
}

} // namespace kvilt::ui

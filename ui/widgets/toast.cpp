// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/toast.h"

#include "ui/widgets/theme.h"

#include <QAccessible>
#include <QEvent>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>

namespace kvilt::ui {

Toast::Toast(QWidget *parent) : QFrame(parent)
{
    setProperty("role", "toast");
    auto *row = new QHBoxLayout(this);
    row->setContentsMargins(16, 8, 12, 8);
    row->setSpacing(12);
    m_text = new QLabel(this);
    m_text->setTextFormat(Qt::PlainText);
    m_action = new QPushButton(tr("Undo"), this);
    row->addWidget(m_text);
    row->addWidget(m_action);
    m_timer.setSingleShot(true);
    m_timer.setInterval(8000);
    connect(&m_timer, &QTimer::timeout, this, [this] {
        if (underMouse() || m_action->hasFocus())
            m_timer.start();
        else
            hide();
    });
    connect(m_action, &QPushButton::clicked, this, [this] {
        hide();
        if (m_act)
            std::exchange(m_act, {})();
    });
    parent->installEventFilter(this);
    hide();
}

void Toast::say(const QString &text, const QString &action, std::function<void()> act)
{
    m_text->setText(fontMetrics().elidedText(text, Qt::ElideMiddle, 520));
    setAccessibleName(text);
    m_action->setText(action);
    m_action->setAccessibleName(action);
    m_action->setVisible(!action.isEmpty());
    m_act = std::move(act);
    show();
    place();
    raise();
    m_timer.start();
    QAccessibleEvent alert(this, QAccessible::Alert);
    QAccessible::updateAccessibility(&alert);
}

void Toast::place()
{
    adjustSize();
    const QWidget *window = parentWidget();
    if (!m_anchor || !m_anchor->isVisible())
        return move((window->width() - width()) / 2, window->height() - height() - 48);
    const QPoint top = m_anchor->mapTo(window, QPoint(m_anchor->width() / 2, 0));
    move(top.x() - width() / 2, top.y() - height() - metrics::kGrid);
}

bool Toast::eventFilter(QObject *object, QEvent *event)
{
    if (object == parentWidget() && event->type() == QEvent::Resize && isVisible())
        place();
    return QFrame::eventFilter(object, event);
}

} // namespace kvilt::ui

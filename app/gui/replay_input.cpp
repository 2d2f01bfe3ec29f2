// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/replay_input.h"

#include <QAbstractScrollArea>
#include <QAction>
#include <QApplication>
#include <QCursor>
#include <QJsonArray>
#include <QKeyEvent>
#include <QMenu>
#include <QMouseEvent>
#include <QPainter>

#include <cstdio>

namespace kvilt::gui {

namespace {

// Popups first: what stands on top is what a user would mean.
QWidget *named(const QString &name, QWidget &window)
{
    QWidgetList places;
    for (QWidget *top : QApplication::topLevelWidgets())
        if (top != &window && top->isVisible())
            places << top;
    places << &window;
    for (QWidget *place : places) {
        if (place->accessibleName() == name)
            return place;
        for (QWidget *child : place->findChildren<QWidget *>())
            if (child->isVisible() && child->accessibleName() == name)
                return child;
    }
    std::fprintf(stderr, "kvilt: the recording names \"%s\", which is not in the window now\n", qPrintable(name));
    return nullptr;
}

// Scroll areas take the pointer with their viewport.
QWidget *pointed(QWidget *widget)
{
    auto *area = qobject_cast<QAbstractScrollArea *>(widget);
    return area ? area->viewport() : widget;
}

QPoint placeOf(const QJsonObject &step, const QWidget &widget)
{
    const QJsonArray at = step.value(u"at").toArray();
    return at.size() == 2 ? QPoint(at[0].toInt(), at[1].toInt()) : widget.rect().center();
}

void sendMouse(QWidget &widget, QEvent::Type type, QPoint at, Qt::MouseButton button)
{
    const Qt::MouseButtons held = type == QEvent::MouseButtonPress ? Qt::MouseButtons(button) : Qt::NoButton;
    QMouseEvent event(type, QPointF(at), QPointF(widget.mapToGlobal(at)), button, held, Qt::NoModifier);
    QApplication::sendEvent(&widget, &event);
}

void hover(QWidget &widget, QPoint at)
{
    QCursor::setPos(widget.mapToGlobal(at));
    sendMouse(widget, QEvent::MouseMove, at, Qt::NoButton);
}

// Posted, not sent: a click may open a menu that runs an event loop of its own, and the replay goes on in it.
void click(QWidget &widget, QPoint at)
{
    hover(widget, at);
    for (const auto type : {QEvent::MouseButtonPress, QEvent::MouseButtonRelease}) {
        const Qt::MouseButtons held = type == QEvent::MouseButtonPress ? Qt::LeftButton : Qt::NoButton;
        QApplication::postEvent(&widget, new QMouseEvent(type, QPointF(at), QPointF(widget.mapToGlobal(at)),
                                                         Qt::LeftButton, held, Qt::NoModifier));
    }
}

QWidget *keyTarget(QWidget &window)
{
    if (QWidget *popup = QApplication::activePopupWidget())
        return popup->focusWidget() ? popup->focusWidget() : popup;
    if (QWidget *focus = QApplication::focusWidget())
        return focus;
    return window.focusWidget() ? window.focusWidget() : &window;
}

void postKey(QWidget &target, int key, Qt::KeyboardModifiers modifiers, const QString &text)
{
    QApplication::postEvent(&target, new QKeyEvent(QEvent::KeyPress, key, modifiers, text));
    QApplication::postEvent(&target, new QKeyEvent(QEvent::KeyRelease, key, modifiers, text));
}

void press(const QString &keys, QWidget &window)
{
    const QKeySequence sequence(keys);
    if (!QApplication::activePopupWidget()) {
        for (QAction *action : window.findChildren<QAction *>()) {
            if (action->shortcut() == sequence && action->isEnabled()) {
                QMetaObject::invokeMethod(action, &QAction::trigger, Qt::QueuedConnection);
                return;
            }
        }
    }
    const QKeyCombination combination = sequence[0];
    const QString text = keys.size() == 1 ? keys.toLower() : QString();
    postKey(*keyTarget(window), combination.key(), combination.keyboardModifiers(), text);
}

} // namespace

bool runInput(const QJsonObject &step, QWidget &window)
{
    if (step.contains(u"press")) {
        press(step.value(u"press").toString(), window);
        return true;
    }
    if (step.contains(u"write")) {
        for (const QChar c : step.value(u"write").toString())
            postKey(*keyTarget(window), Qt::Key_unknown, Qt::NoModifier, c);
        return true;
    }
    const bool clicks = step.contains(u"click");
    if (!clicks && !step.contains(u"hover"))
        return false;
    QWidget *widget = named(step.value(clicks ? u"click" : u"hover").toString(), window);
    if (!widget)
        return false;
    QWidget *target = pointed(widget);
    if (clicks)
        click(*target, placeOf(step, *target));
    else
        hover(*target, placeOf(step, *target));
    return true;
}

QPixmap grabWithPopups(QWidget &window)
{
    QPixmap picture = window.grab();
    QPainter painter(&picture);
    for (QWidget *top : QApplication::topLevelWidgets()) {
        if (top == &window || !top->isVisible() || top->windowType() == Qt::Desktop)
            continue;
        painter.drawPixmap(top->mapToGlobal(QPoint(0, 0)) - window.mapToGlobal(QPoint(0, 0)), top->grab());
    }
    return picture;
}

} // namespace kvilt::gui

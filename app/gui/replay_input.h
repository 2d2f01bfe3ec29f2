// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QJsonObject>
#include <QPixmap>
#include <QWidget>

namespace kvilt::gui {

// Keys and the pointer of a replay, sent as a desktop would send them: to the widget that has the focus, or to the
// one that carries an accessible name. False: the step is none of these, or names a widget that is not there (said on
// stderr, so that a recording that no longer fits the window is noticed).
//   {"press":"Ctrl+Up"}                a key or a shortcut of the menus
//   {"write":"text"}                   letters, into whatever has the focus
//   {"click":"Send"}                   the visible widget of that accessible name; "at":[x,y] inside it
//   {"hover":"Block map","at":[x,y]}   rests there; without "at" in its middle
bool runInput(const QJsonObject &step, QWidget &window);

// The window with the popups and menus that stand over it: a grab of the window alone leaves them out.
QPixmap grabWithPopups(QWidget &window);

} // namespace kvilt::gui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

class QBoxLayout;
class QDialog;
class QString;

namespace kvilt::ui {

// The last row of a dialog: Cancel, and what Enter does, both closing it.
void addDialogButtons(QDialog &dialog, QBoxLayout &column, const QString &accept);

} // namespace kvilt::ui

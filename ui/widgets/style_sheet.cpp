// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/style_sheet.h"

#include "ui/widgets/theme.h"

#include <initializer_list>
#include <utility>

namespace kvilt::ui {

namespace {

// @name stands for a colour of the palette.
constexpr const char *kSheet = R"(
QMainWindow, QDialog { background: @window; }
QWidget#page { background: @surface; }
QWidget#status { border-top: 1px solid @border; }
QMainWindow::separator { background: @border; width: 1px; height: 1px; }
QMainWindow::separator:hover { background: @accent; }
QSplitter::handle { background: @border; }
QToolTip { background: @surface; color: @text; border: 1px solid @border; padding: 4px 6px; }

QMenuBar { background: @window; color: @secondary; border: none; border-bottom: 1px solid @border;
  padding: 3px 6px; spacing: 0px; }
QMenuBar::item { padding: 5px 10px; border-radius: 6px; background: transparent; }
QMenuBar::item:selected { background: @tint; color: @text; }
QMenu { background: @surface; color: @text; border: 1px solid @border; border-radius: 8px; padding: 5px; }
QMenu::item { padding: 6px 28px 6px 10px; border-radius: 6px; }
QMenu::item:selected { background: @selection; }
QMenu::item:disabled { color: @tertiary; }
QMenu::icon { padding-left: 8px; }
QMenu::separator { height: 1px; background: @border; margin: 5px 4px; }
QMenu::indicator { width: 14px; height: 14px; margin-left: 6px; }

QStatusBar { background: @window; border-top: 1px solid @border; color: @secondary; min-height: 29px; max-height: 29px; padding: 0px; }
QStatusBar::item { border: none; }

QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox, QPlainTextEdit[role="field"] { background: @surface; color: @text;
  border: 1px solid @border; border-radius: 6px; padding: 5px 8px; selection-background-color: @highlight;
  selection-color: @text; }
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus, QPlainTextEdit[role="field"]:focus {
  border-color: @accent; }
QSpinBox::up-button, QDoubleSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::down-button { width: 0px; border: none; }
QComboBox::drop-down { border: none; width: 24px; }
QComboBox::down-arrow { image: url(:/icons/@arrow.svg); width: 14px; height: 14px; }
QComboBox QAbstractItemView { background: @surface; border: 1px solid @border; selection-background-color: @selection;
  selection-color: @text; outline: none; }

QPushButton { background: @surface; color: @text; border: 1px solid @border; border-radius: 8px; padding: 6px 14px; }
QPushButton:hover { background: @tint; }
QPushButton:focus { border-color: @accent; }
QPushButton:disabled { color: @tertiary; }
QPushButton[role="primary"] { background: @accent; color: @onAccent; border-color: @accent; font-weight: 600; }
QPushButton[role="primary"]:hover { background: @accentHover; }
QPushButton[role="primary"]:focus { border-color: @text; }
QPushButton[role="primary"]:disabled { background: @tint; color: @tertiary; border-color: @tint; }
QPushButton[role="link"] { background: transparent; color: @accent; border: 1px solid transparent; padding: 2px 2px;
  border-radius: 4px; font-weight: 500; text-align: left; }
QPushButton[role="link"]:hover { text-decoration: underline; }
QPushButton[role="link"]:focus { border-color: @accent; }

QToolButton { background: transparent; color: @secondary; border: 1px solid transparent; border-radius: 6px;
  padding: 4px; }
QToolButton:hover { background: @tint; color: @text; }
QToolButton:checked { color: @text; }
QToolButton[role="toggle"]:checked { background: @selection; }
QToolButton:focus { border-color: @accent; }
QToolButton::menu-indicator { image: none; width: 0px; }
QToolButton[role="send"] { background: @accent; border-radius: 8px; }
QToolButton[role="send"]:disabled { background: @tint; }
QToolButton[role="send"]:focus { border-color: @text; }
QToolButton[role="stop"] { background: @strongFill; border-radius: 8px; }
QToolButton[role="stop"]:focus { border-color: @accent; }
QToolButton[role="tab"] { border: none; border-radius: 0px; padding: 0px; color: @secondary; }
QToolButton[role="tab"]:hover { background: transparent; color: @text; }
QToolButton[role="tab"]:checked { color: @text; font-weight: 600; }
QToolButton[role="row"] { border-radius: 6px; text-align: left; padding: 6px 8px 6px 10px; color: @text; font-weight: 500; }

QCheckBox, QRadioButton { color: @text; spacing: 8px; }
QCheckBox::indicator, QRadioButton::indicator { width: 14px; height: 14px; border: 1px solid @tertiary; background: @surface; }
QCheckBox::indicator { border-radius: 4px; }
QRadioButton::indicator { border-radius: 8px; }
QCheckBox::indicator:disabled, QRadioButton::indicator:disabled { border-color: @border; }
QCheckBox:disabled, QRadioButton:disabled { color: @tertiary; }
QCheckBox::indicator:checked { background: @accent; border-color: @accent; image: url(:/icons/@check.svg); }
QRadioButton::indicator:checked { border: 4px solid @accent; width: 8px; height: 8px; background: @surface; }
QCheckBox:focus::indicator, QRadioButton:focus::indicator { border-color: @accent; }
QLabel { color: @text; background: transparent; }
QLabel[tone="secondary"] { color: @secondary; }
QLabel[tone="tertiary"] { color: @tertiary; }
QLabel[tone="saved"] { color: @saved; }
QLabel[tone="lost"] { color: @lost; }

QFrame[role="rule"] { background: @border; border: none; }
QFrame[role="popover"] { background: @surface; border: 1px solid @border; border-radius: 8px; }
QFrame[role="card"] { background: @surface; border: 1px solid @border; border-radius: 8px; }
QFrame[role="card"][chosen="true"] { border-color: @accent; }
QFrame[role="chip"] { background: @tint; border: none; border-radius: 8px; }
QFrame[role="composer"] { background: @surface; border: 1px solid @border; border-radius: 10px; }
QFrame[role="composer"][focused="true"] { border-color: @accentSoft; }
QFrame[role="toast"] { background: @strongFill; border-radius: 8px; }
QFrame[role="toast"] QLabel { color: @surface; }
QFrame[role="toast"] QPushButton { color: @toastLink; background: transparent; border: 1px solid transparent;
  padding: 2px 6px; font-weight: 600; }
QFrame[role="toast"] QPushButton:focus { border-color: @toastLink; }

QAbstractScrollArea { background: transparent; border: none; }
QListView, QTableView, QTreeView { background: transparent; border: none; outline: none; }
QHeaderView::section { background: transparent; color: @tertiary; border: none; border-bottom: 1px solid @border;
  padding: 4px 8px; font-size: 11px; font-weight: 500; }
QHeaderView::section:first { padding-left: 0px; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0px; }
QScrollBar::handle:vertical { background: @freeCell; border-radius: 3px; min-height: 32px; margin: 2px; }
QScrollBar::handle:vertical:hover { background: @tertiary; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0px; }
QScrollBar::handle:horizontal { background: @freeCell; border-radius: 3px; min-width: 32px; margin: 2px; }
QScrollBar::handle:horizontal:hover { background: @tertiary; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0px; height: 0px; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QProgressBar { background: @tint; border: none; border-radius: 4px; min-height: 8px; max-height: 8px; }
QProgressBar::chunk { background: @accent; border-radius: 4px; }
QSlider::groove:horizontal { background: @border; height: 2px; border-radius: 1px; }
QSlider::sub-page:horizontal { background: @accent; height: 2px; border-radius: 1px; }
QSlider::handle:horizontal { background: @surface; border: 2px solid @accent; width: 10px; height: 10px;
  border-radius: 7px; margin: -6px 0px; }
)";

} // namespace

QString styleSheet(const Palette &p)
{
    // Longer names first where one begins another.
    const std::initializer_list<std::pair<const char *, QColor>> colours{
        {"@accentHover", mix(p.accent, p.text, 0.12)}, {"@accentSoft", mix(p.accent, p.border, 0.7)},
        {"@accent", p.accent},         {"@onAccent", p.onAccent},   {"@window", p.window},
        {"@surface", p.surface},       {"@text", p.text},           {"@secondary", p.secondary},
        {"@tertiary", p.tertiary},     {"@border", p.border},       {"@selection", p.selection},
        {"@tint", p.tint},             {"@freeCell", p.freeCell},   {"@saved", p.saved},
        {"@lost", p.lost},             {"@strongFill", p.strongFill},
        {"@highlight", mix(p.accent, p.surface, 0.6)},
        {"@toastLink", p.dark ? QColor(0x3b5bdb) : QColor(0x8ea2ff)}};
    QString sheet = QString::fromLatin1(kSheet);
    for (const auto &[name, colour] : colours)
        sheet.replace(QLatin1String(name), colour.name());
    sheet.replace(QLatin1String("@check"), p.dark ? QLatin1String("check-on-light") : QLatin1String("check-on-dark"));
    sheet.replace(QLatin1String("@arrow"), p.dark ? QLatin1String("arrow-on-dark") : QLatin1String("arrow-on-light"));
    return sheet;
}

} // namespace kvilt::ui

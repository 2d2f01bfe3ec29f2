// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/pool_view.h"

#include <QColor>
#include <QFont>
#include <QObject>

#include <cstdint>

class QApplication;

namespace kvilt::ui {

enum class ThemeChoice : std::uint8_t { system, light, dark };

// The roles of the window's colours; every widget paints with these and nothing else. Colour alone never carries
// a meaning: saved, lost and the block states always come with a word, a shape or a texture.
struct Palette {
    bool dark = false;
    QColor window, surface, text, secondary, tertiary, border, accent, selection, tint, freeCell, saved, lost;
    QColor onAccent;   // text on an accent-filled button
    QColor strongFill; // the Stop button: dark on light, light on dark
    QColor codeNumber, codeString, codeComment, codeKeyword;
};

const Palette &lightPalette();
const Palette &darkPalette();

// Okabe–Ito colours of the block states, the same in both themes.
QColor stateColour(api::BlockState state);
QColor ribbonColour(api::RibbonState state);
inline constexpr QRgb kRestoredColour = 0xffcc79a7; // just restored, fades into its state within 2 s
inline constexpr QRgb kEvictedEdge = 0xffd55e00;

// Pixels; the grid is 8.
namespace metrics {
inline constexpr int kGrid = 8;
inline constexpr int kPageMargin = 24;
inline constexpr int kPanelMargin = 16;
inline constexpr int kGroupGap = 24;
inline constexpr int kFieldRadius = 6;
inline constexpr int kCardRadius = 8;
inline constexpr int kMessageRadius = 10;
inline constexpr int kCellRadius = 1;
inline constexpr int kHeaderHeight = 48;
inline constexpr int kColumnWidth = 760;
inline constexpr int kSessionRow = 44;
inline constexpr int kEventRow = 22;
inline constexpr int kTableRow = 40;
inline constexpr int kIcon = 16;
inline constexpr int kChatLine = 22;
} // namespace metrics

enum class TextSize : std::uint8_t { caption, secondary, body, chat, title, headline };

// The look of the whole program: palette, fonts, motion. Follows the system (desktop portal, else the palette the
// platform gave) unless the user chose. One per application, passed by reference; GUI thread only.
class Theme : public QObject {
    Q_OBJECT
public:
    explicit Theme(QObject *parent = nullptr);

    const Palette &palette() const { return *m_palette; }
    ThemeChoice choice() const { return m_choice; }
    void setChoice(ThemeChoice choice);

    // What the system prefers; called by SystemThemeWatcher.
    void setSystemDark(bool dark);

    bool reducedMotion() const { return m_reducedMotion; }
    void setReducedMotion(bool reduced);

    QFont font(TextSize size, QFont::Weight weight = QFont::Normal) const;
    QFont monoFont(TextSize size = TextSize::secondary) const;

    // Palette, style and style sheet of the application; again after each change.
    void apply(QApplication &application);

signals:
    void changed(); // colours, fonts or motion: repaint

private:
    void choosePalette();

    ThemeChoice m_choice = ThemeChoice::system;
    bool m_systemDark = false;
    bool m_reducedMotion = false;
    const Palette *m_palette = nullptr;
    QFont m_base;
    QFont m_mono;
    QApplication *m_application = nullptr;
};

// WCAG contrast ratio of two opaque colours, 1..21.
double contrastRatio(const QColor &a, const QColor &b);
QColor mix(const QColor &a, const QColor &b, double shareOfB);

} // namespace kvilt::ui

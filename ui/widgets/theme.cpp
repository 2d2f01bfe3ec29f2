// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/theme.h"

#include "ui/widgets/style_sheet.h"

#include <QApplication>
#include <QFontDatabase>
#include <QPalette>
#include <QProxyStyle>
#include <QStyleFactory>

#include <cmath>

namespace kvilt::ui {

namespace {

Palette makeLight()
{
    Palette p;
    p.window = QRgb(0xfff5f6f8);
    p.surface = QRgb(0xffffffff);
    p.text = QRgb(0xff1f2328);
    p.secondary = QRgb(0xff57606a);
    p.tertiary = QRgb(0xff7d8590);
    p.border = QRgb(0xffdde1e6);
    p.accent = QRgb(0xff3b5bdb);
    p.selection = QRgb(0xffe8ecfd);
    p.tint = QRgb(0xffeef1f6);
    p.freeCell = QRgb(0xffd3d8df);
    p.saved = QRgb(0xff1a7f37);
    p.lost = QRgb(0xffc2410c);
    p.onAccent = QRgb(0xffffffff);
    p.strongFill = QRgb(0xff1f2328);
    p.codeNumber = QRgb(0xff9a5b00);
    p.codeString = QRgb(0xff1a7f37);
    p.codeComment = QRgb(0xff7d8590);
    p.codeKeyword = QRgb(0xff3b5bdb);
    return p;
}

Palette makeDark()
{
    Palette p;
    p.dark = true;
    p.window = QRgb(0xff16181d);
    p.surface = QRgb(0xff1c1f26);
    p.text = QRgb(0xffe4e7eb);
    p.secondary = QRgb(0xffa3abb6);
    p.tertiary = QRgb(0xff7c8592);
    p.border = QRgb(0xff2d323b);
    p.accent = QRgb(0xff8ea2ff);
    p.selection = QRgb(0xff262e4a);
    p.tint = QRgb(0xff262a33);
    p.freeCell = QRgb(0xff3a414c);
    p.saved = QRgb(0xff56d364);
    p.lost = QRgb(0xffff8a5c);
    p.onAccent = QRgb(0xff16181d);
    p.strongFill = QRgb(0xffe4e7eb);
    p.codeNumber = QRgb(0xfff0a868);
    p.codeString = QRgb(0xff8ddb8c);
    p.codeComment = QRgb(0xff7c8592);
    p.codeKeyword = QRgb(0xff8ea2ff);
    return p;
}

QPalette toQt(const Palette &p)
{
    QPalette q;
    q.setColor(QPalette::Window, p.window);
    q.setColor(QPalette::WindowText, p.text);
    q.setColor(QPalette::Base, p.surface);
    q.setColor(QPalette::AlternateBase, p.tint);
    q.setColor(QPalette::Text, p.text);
    q.setColor(QPalette::PlaceholderText, p.tertiary);
    q.setColor(QPalette::Button, p.surface);
    q.setColor(QPalette::ButtonText, p.text);
    q.setColor(QPalette::BrightText, p.lost);
    q.setColor(QPalette::ToolTipBase, p.surface);
    q.setColor(QPalette::ToolTipText, p.text);
    q.setColor(QPalette::Highlight, mix(p.accent, p.surface, p.dark ? 0.55 : 0.65));
    q.setColor(QPalette::HighlightedText, p.text);
    q.setColor(QPalette::Link, p.accent);
    q.setColor(QPalette::LinkVisited, p.accent);
    q.setColor(QPalette::Light, p.surface);
    q.setColor(QPalette::Midlight, p.tint);
    q.setColor(QPalette::Mid, p.border);
    q.setColor(QPalette::Dark, p.tertiary);
    q.setColor(QPalette::Shadow, p.border);
    for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText})
        q.setColor(QPalette::Disabled, role, p.tertiary);
    return q;
}

int pixels(TextSize size)
{
    switch (size) {
    case TextSize::caption: return 11;
    case TextSize::secondary: return 12;
    case TextSize::body: return 13;
    case TextSize::chat: return 14;
    case TextSize::title: return 15;
    case TextSize::headline: return 22;
    }
    return 13;
}

// Fusion without the lines under menu letters and the coloured signs of dialog buttons: Alt and the letter work, the words stay quiet.
class QuietStyle : public QProxyStyle {
public:
    QuietStyle() : QProxyStyle(QStyleFactory::create(QStringLiteral("Fusion"))) {}
    int styleHint(StyleHint hint, const QStyleOption *option, const QWidget *widget, QStyleHintReturn *data) const override
    {
        return hint == SH_UnderlineShortcut || hint == SH_DialogButtonBox_ButtonsHaveIcons ? 0 : QProxyStyle::styleHint(hint, option, widget, data);
    }
};

// A desktop's font is taken as it is. Without a desktop Qt asks fontconfig for "Sans Serif", which nobody chose:
// there a text face that was made for screens is taken when it is installed.
QFont baseFont()
{
    QFont font = QFontDatabase::systemFont(QFontDatabase::GeneralFont);
    const QString family = font.family();
    const bool nobodyChose = family.isEmpty() || family.compare("Sans Serif", Qt::CaseInsensitive) == 0 ||
                             family.compare("Sans", Qt::CaseInsensitive) == 0 || family == "DejaVu Sans" ||
                             family == "Helvetica";
    if (!nobodyChose)
        return font;
    const QStringList families = QFontDatabase::families();
    for (const char *wanted : {"Inter", "Cantarell", "Noto Sans"}) {
        if (families.contains(QLatin1String(wanted))) {
            font.setFamily(QLatin1String(wanted));
            break;
        }
    }
    return font;
}

double luminance(const QColor &colour)
{
    const auto linear = [](double c) { return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4); };
    return 0.2126 * linear(colour.redF()) + 0.7152 * linear(colour.greenF()) + 0.0722 * linear(colour.blueF());
}

} // namespace

const Palette &lightPalette()
{
    static const Palette palette = makeLight();
    return palette;
}

const Palette &darkPalette()
{
    static const Palette palette = makeDark();
    return palette;
}

QColor stateColour(api::BlockState state)
{
    switch (state) {
    case api::BlockState::free: return Qt::transparent;
    case api::BlockState::inUse: return QRgb(0xff0072b2);
    case api::BlockState::cached: return QRgb(0xff56b4e9);
    case api::BlockState::shared: return QRgb(0xff009e73);
    case api::BlockState::pinned: return QRgb(0xfff0e442);
    case api::BlockState::writing: return QRgb(0xffe69f00);
    case api::BlockState::deadBranch: return QRgb(0xffd55e00);
    }
    return Qt::transparent;
}

QColor ribbonColour(api::RibbonState state)
{
    switch (state) {
    case api::RibbonState::memory: return stateColour(api::BlockState::inUse);
    case api::RibbonState::shared: return stateColour(api::BlockState::shared);
    case api::RibbonState::pinned: return stateColour(api::BlockState::pinned);
    case api::RibbonState::writing: return stateColour(api::BlockState::writing);
    case api::RibbonState::disk: return stateColour(api::BlockState::cached);
    case api::RibbonState::evicted: return QColor::fromRgb(kEvictedEdge);
    case api::RibbonState::droppedByWindow: return stateColour(api::BlockState::inUse);
    case api::RibbonState::unused: return Qt::transparent;
    }
    return Qt::transparent;
}

Theme::Theme(QObject *parent) : QObject(parent), m_palette(&lightPalette())
{
    m_base = baseFont();
    m_mono = QFontDatabase::systemFont(QFontDatabase::FixedFont);
    m_mono.setStyleHint(QFont::Monospace);
}

void Theme::setChoice(ThemeChoice choice)
{
    m_choice = choice;
    choosePalette();
}

void Theme::setSystemDark(bool dark)
{
    m_systemDark = dark;
    choosePalette();
}

void Theme::setReducedMotion(bool reduced)
{
    if (m_reducedMotion == reduced)
        return;
    m_reducedMotion = reduced;
    emit changed();
}

void Theme::choosePalette()
{
    const bool dark = m_choice == ThemeChoice::dark || (m_choice == ThemeChoice::system && m_systemDark);
    const Palette *wanted = dark ? &darkPalette() : &lightPalette();
    if (wanted == m_palette)
        return;
    m_palette = wanted;
    if (m_application)
        apply(*m_application);
    emit changed();
}

QFont Theme::font(TextSize size, QFont::Weight weight) const
{
    QFont font = m_base;
    font.setPixelSize(pixels(size));
    font.setWeight(weight);
    return font;
}

QFont Theme::monoFont(TextSize size) const
{
    QFont font = m_mono;
    font.setPixelSize(pixels(size));
    return font;
}

void Theme::apply(QApplication &application)
{
    if (!m_application) {
        m_application = &application;
        application.setStyle(new QuietStyle);
        application.setFont(font(TextSize::body));
    }
    application.setPalette(toQt(*m_palette));
    application.setStyleSheet(styleSheet(*m_palette));
}

double contrastRatio(const QColor &a, const QColor &b)
{
    const double la = luminance(a), lb = luminance(b);
    return (std::max(la, lb) + 0.05) / (std::min(la, lb) + 0.05);
}

QColor mix(const QColor &a, const QColor &b, double shareOfB)
{
    const double s = std::clamp(shareOfB, 0.0, 1.0);
    return QColor::fromRgbF(float(a.redF() * (1 - s) + b.redF() * s), float(a.greenF() * (1 - s) + b.greenF() * s),
                            float(a.blueF() * (1 - s) + b.blueF() * s), float(a.alphaF() * (1 - s) + b.alphaF() * s));
}

} // namespace kvilt::ui

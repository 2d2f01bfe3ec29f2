// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/notice_bar.h"

#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QAccessible>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>

namespace kvilt::ui {

NoticeBar::NoticeBar(Theme &theme, QWidget *parent) : QFrame(parent), m_theme(theme)
{
    setProperty("role", "card");
    auto *row = new QHBoxLayout(this);
    row->setContentsMargins(14, 10, 8, 10);
    row->setSpacing(10);
    m_icon = new QLabel(this);
    m_icon->setFixedWidth(16);
    m_text = new QLabel(this);
    m_text->setWordWrap(true);
    m_text->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
    m_text->setTextFormat(Qt::PlainText);
    m_text->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_buttons = new QHBoxLayout;
    m_buttons->setSpacing(8);
    m_close = new QToolButton(this);
    m_close->setAccessibleName(tr("Close this notice"));
    m_close->setToolTip(tr("Close"));
    auto *words = new QVBoxLayout;
    words->setSpacing(8);
    words->addWidget(m_text);
    words->addLayout(m_buttons);
    row->addWidget(m_icon, 0, Qt::AlignTop);
    row->addLayout(words, 1);
    row->addWidget(m_close, 0, Qt::AlignTop);
    connect(m_close, &QToolButton::clicked, this, &NoticeBar::dismiss);
    connect(&theme, &Theme::changed, this, &NoticeBar::recolour);
    hide();
}

QString NoticeBar::text() const
{
    return isHidden() ? QString() : m_text->text();
}

void NoticeBar::showNotice(api::update::Severity severity, const QString &text, std::vector<Choice> choices)
{
    m_severity = severity;
    m_lines = {{severity, text}};
    m_text->setText(text);
    setAccessibleName(text);
    while (QLayoutItem *item = m_buttons->takeAt(0)) {
        if (item->widget())
            item->widget()->deleteLater(); // its own click may have led here
        delete item;
    }
    QWidget *before = m_close;
    for (std::size_t i = 0; i < choices.size(); ++i) {
        auto *button = new QPushButton(choices[i].first, this);
        setTabOrder(before, button); // where the notice stands, not where the newest of all widgets would
        before = button;
        if (i == 0)
            button->setProperty("role", "primary");
        connect(button, &QPushButton::clicked, this, choices[i].second);
        m_buttons->addWidget(button);
    }
    if (!choices.empty())
        m_buttons->addStretch(1);
    recolour();
    show();
    QAccessibleEvent alert(this, QAccessible::Alert);
    QAccessible::updateAccessibility(&alert);
}

void NoticeBar::addNotice(api::update::Severity severity, const QString &text)
{
    constexpr std::size_t kMost = 4;
    const Line line{severity, text};
    if (std::find(m_lines.begin(), m_lines.end(), line) != m_lines.end())
        return;
    std::vector<Line> lines = m_lines;
    lines.push_back(line);
    std::stable_sort(lines.begin(), lines.end(), [](const Line &a, const Line &b) { return a.first > b.first; });
    if (lines.size() > kMost) // of those that weigh least the oldest goes
        lines.erase(std::find_if(lines.begin(), lines.end(), [&](const Line &l) { return l.first == lines.back().first; }));
    m_lines = std::move(lines);
    showLines();
}

void NoticeBar::removeNotice(const QString &text)
{
    if (std::erase_if(m_lines, [&](const Line &line) { return line.second == text; }) == 0)
        return;
    if (m_lines.empty())
        dismiss();
    else
        showLines();
}

void NoticeBar::showLines()
{
    QStringList texts;
    for (const Line &line : m_lines)
        texts << line.second;
    std::vector<Line> kept = m_lines;
    showNotice(m_lines.front().first, texts.join(QLatin1Char('\n')));
    m_lines = std::move(kept);
}

void NoticeBar::dismiss()
{
    m_lines.clear();
    hide();
}

void NoticeBar::recolour()
{
    using api::update::Severity;
    const Palette &p = m_theme.palette();
    const QString name = m_severity == Severity::error     ? QStringLiteral("error")
                         : m_severity == Severity::warning ? QStringLiteral("warning")
                                                           : QStringLiteral("info");
    const QColor colour = m_severity == Severity::info ? p.accent : p.lost;
    m_icon->setPixmap(iconPixmap(name, colour, metrics::kIcon + 2, devicePixelRatioF()));
    m_close->setIcon(icon(QStringLiteral("close"), p.secondary));
}

} // namespace kvilt::ui

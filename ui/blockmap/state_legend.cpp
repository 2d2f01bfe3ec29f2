// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/state_legend.h"

#include "ui/blockmap/cell_sprites.h"
#include "ui/blockmap/words.h"
#include "ui/widgets/format.h"

#include <QApplication>
#include <QPainter>

#include <algorithm>

namespace kvilt::ui {

using api::BlockState;

namespace {

constexpr int kChipHeight = 24;
constexpr int kSwatch = 12;
constexpr int kGap = 8;
constexpr std::array kOrder{BlockState::inUse,  BlockState::writing,    BlockState::shared, BlockState::cached,
                            BlockState::pinned, BlockState::deadBranch, BlockState::free};

QString meaning(BlockState state)
{
    switch (state) {
    case BlockState::free: return LegendChip::tr("Really empty: holds nothing.");
    case BlockState::inUse: return LegendChip::tr("One running reply needs it now.");
    case BlockState::cached:
        return LegendChip::tr("Nobody needs it now. Kept for a hit, given up when room is needed.");
    case BlockState::shared: return LegendChip::tr("Two or more replies use it at once.");
    case BlockState::pinned: return LegendChip::tr("Kept on your request.");
    case BlockState::writing: return LegendChip::tr("In use and not full yet.");
    case BlockState::deadBranch: return LegendChip::tr("No branch of a chat leads here any more: goes first.");
    }
    return {};
}

} // namespace

LegendChip::LegendChip(Theme &theme, BlockState state, QWidget *parent)
    : QAbstractButton(parent), m_theme(theme), m_state(state)
{
    setFocusPolicy(Qt::TabFocus);
    setCursor(Qt::PointingHandCursor);
    setToolTip(meaning(state));
    setAccessibleDescription(meaning(state) + QLatin1Char(' ') + tr("Press to show only these."));
    setText(stateWord(state));
    setCount(0);
    connect(&theme, &Theme::changed, this, qOverload<>(&QWidget::update));
}

void LegendChip::setCount(std::uint32_t count)
{
    if (count == m_count && !accessibleName().isEmpty())
        return;
    m_count = count;
    setAccessibleName(text() + QStringLiteral(", ") + kvilt::ui::count(count, tr("block"), tr("blocks")));
    updateGeometry();
    update();
}

void LegendChip::setDimmed(bool dimmed)
{
    if (dimmed == m_dimmed)
        return;
    m_dimmed = dimmed;
    update();
}

QSize LegendChip::sizeHint() const
{
    const QFontMetrics name(m_theme.font(TextSize::secondary));
    const QFontMetrics number(m_theme.font(TextSize::secondary, QFont::Medium));
    return {10 + kSwatch + 7 + name.horizontalAdvance(text()) + 8 + number.horizontalAdvance(grouped(m_count)) + 10,
            kChipHeight};
}

void LegendChip::paintEvent(QPaintEvent *)
{
    const Palette &p = m_theme.palette();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(hasFocus() ? p.accent : p.border);
    painter.setBrush(underMouse() ? p.tint : p.surface);
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), kChipHeight / 2.0, kChipHeight / 2.0);
    if (m_dimmed)
        painter.setOpacity(0.4);
    paintCell(painter, QRectF(10, (height() - kSwatch) / 2.0, kSwatch, kSwatch), p, m_state);
    const QFont name = m_theme.font(TextSize::secondary);
    painter.setFont(name);
    painter.setPen(p.text);
    QRect rest = rect().adjusted(10 + kSwatch + 7, 0, -10, 0);
    painter.drawText(rest, Qt::AlignLeft | Qt::AlignVCenter, text());
    painter.setFont(m_theme.font(TextSize::secondary, QFont::Medium));
    painter.setPen(p.secondary);
    painter.drawText(rest, Qt::AlignRight | Qt::AlignVCenter, grouped(m_count));
}

StateLegend::StateLegend(BlockMapModel &model, Theme &theme, QWidget *parent) : QWidget(parent), m_model(model)
{
    setAccessibleName(tr("States of blocks"));
    QSizePolicy policy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    policy.setHeightForWidth(true);
    setSizePolicy(policy);
    for (const BlockState state : kOrder) {
        auto *chip = new LegendChip(theme, state, this);
        chip->hide();
        connect(chip, &LegendChip::clicked, this, [this, state] { clicked(state); });
        m_chips[std::size_t(state)] = chip;
    }
}

void StateLegend::clicked(BlockState state)
{
    const bool only = m_model.filtered() && m_model.shown(state)
                      && std::none_of(kOrder.begin(), kOrder.end(),
                                      [&](BlockState s) { return s != state && m_model.shown(s); });
    if (QApplication::keyboardModifiers() & Qt::ControlModifier)
        m_model.setShown(state, !m_model.shown(state));
    else if (only)
        m_model.showAll();
    else
        m_model.showOnly(state);
    for (LegendChip *chip : m_chips)
        chip->setDimmed(!m_model.shown(chip->state()));
    emit filterChanged();
}

void StateLegend::forget()
{
    m_occurred.fill(false);
    m_model.showAll();
    for (LegendChip *chip : m_chips) {
        chip->setDimmed(false);
        chip->hide();
    }
}

void StateLegend::refresh(std::size_t group)
{
    bool moved = false;
    for (LegendChip *chip : m_chips) {
        const auto s = std::size_t(chip->state());
        const std::uint32_t count = m_model.empty() ? 0 : m_model.counts(group)[s];
        moved |= QString::number(count).size() != QString::number(chip->count()).size();
        chip->setCount(count);
        const bool permanent = chip->state() == BlockState::free || chip->state() == BlockState::inUse
                               || chip->state() == BlockState::cached;
        if (!m_occurred[s] && (count || permanent)) {
            m_occurred[s] = moved = true;
            chip->show();
        }
    }
    if (moved) {
        updateGeometry();
        place(width(), true);
    }
}

int StateLegend::place(int width, bool move) const
{
    int x = 0, y = 0;
    for (const BlockState state : kOrder) {
        LegendChip *chip = m_chips[std::size_t(state)];
        if (!m_occurred[std::size_t(state)])
            continue;
        const QSize size = chip->sizeHint();
        if (x > 0 && x + size.width() > width) {
            x = 0;
            y += kChipHeight + kGap;
        }
        if (move)
            chip->setGeometry(x, y, size.width(), size.height());
        x += size.width() + kGap;
    }
    return y + kChipHeight;
}

QSize StateLegend::sizeHint() const
{
    return {432, place(std::max(200, width()), false)};
}

void StateLegend::resizeEvent(QResizeEvent *)
{
    place(width(), true);
}

namespace {

constexpr std::size_t kMostOwners = 4;

QStringList endsOf(ColourBy by, std::uint32_t mostUses)
{
    switch (by) {
    case ColourBy::age: return {ScaleLegend::tr("used long ago"), ScaleLegend::tr("just now")};
    case ColourBy::hits: return {ScaleLegend::tr("no hit"), ScaleLegend::tr("%1 hits").arg(grouped(mostUses))};
    case ColourBy::references: return {ScaleLegend::tr("held by none"), ScaleLegend::tr("by 8 or more")};
    case ColourBy::eviction: return {ScaleLegend::tr("stays"), ScaleLegend::tr("goes next")};
    case ColourBy::state:
    case ColourBy::owner: break;
    }
    return {};
}

} // namespace

ScaleLegend::ScaleLegend(BlockMapModel &model, Theme &theme, TitleOf titleOf, QWidget *parent)
    : QWidget(parent), m_model(model), m_theme(theme), m_titleOf(std::move(titleOf))
{
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    connect(&theme, &Theme::changed, this, qOverload<>(&QWidget::update));
    hide();
}

void ScaleLegend::refresh(std::size_t group)
{
    m_owners.clear();
    m_words.clear();
    if (m_model.colourBy() == ColourBy::owner && !m_model.empty()) {
        m_owners = m_model.owners(group);
        const bool more = m_owners.size() > kMostOwners;
        m_owners.resize(std::min(m_owners.size(), kMostOwners));
        for (const SessionId owner : m_owners) {
            const QString title = m_titleOf(owner).left(60);
            m_words << (title.isEmpty() ? tr("a chat that is gone") : title);
        }
        if (more)
            m_words << tr("and others");
    } else if (!m_model.empty()) {
        m_words = endsOf(m_model.colourBy(), m_model.mostUses(group));
    }
    setAccessibleName(m_words.isEmpty() ? QString() : tr("Colours: %1").arg(m_words.join(QStringLiteral(", "))));
    setVisible(!m_words.isEmpty());
    update();
}

void ScaleLegend::paintEvent(QPaintEvent *)
{
    const Palette &p = m_theme.palette();
    const auto colours = colourTable(p, m_model.colourBy());
    QPainter painter(this);
    painter.setFont(m_theme.font(TextSize::secondary));
    painter.setPen(p.secondary);
    const QFontMetrics metrics = painter.fontMetrics();
    int x = 0;
    if (m_model.colourBy() == ColourBy::owner) {
        const int room = m_words.isEmpty() ? 0 : width() / int(m_words.size());
        for (qsizetype i = 0; i < m_words.size(); ++i, x += room) {
            const bool owner = i < qsizetype(m_owners.size());
            if (owner)
                painter.fillRect(QRect(x, (height() - kSwatch) / 2, kSwatch, kSwatch),
                                 colours[std::size_t(code::kFirst + ownerLevel(m_owners[std::size_t(i)]))]);
            const int left = x + (owner ? kSwatch + 6 : 0);
            painter.drawText(QRect(left, 0, x + room - left - 6, height()), Qt::AlignLeft | Qt::AlignVCenter,
                             metrics.elidedText(m_words[i], Qt::ElideRight, x + room - left - 6));
        }
        return;
    }
    if (m_words.size() < 2)
        return;
    painter.drawText(rect(), Qt::AlignLeft | Qt::AlignVCenter, m_words[0]);
    x = metrics.horizontalAdvance(m_words[0]) + kGap;
    for (int level = 0; level < code::kLevels; ++level, x += 4)
        painter.fillRect(QRect(x, (height() - kSwatch) / 2, 4, kSwatch), colours[std::size_t(code::kFirst + level)]);
    painter.drawText(QRect(x + kGap, 0, width() - x - kGap, height()), Qt::AlignLeft | Qt::AlignVCenter, m_words[1]);
}

TierLegend::TierLegend(Theme &theme, QWidget *parent) : QWidget(parent), m_theme(theme)
{
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    connect(&theme, &Theme::changed, this, qOverload<>(&QWidget::update));
    hide();
}

void TierLegend::setCounts(const api::TierCounts &host, const api::TierCounts &disk)
{
    const QStringList before = words();
    m_host = host;
    m_disk = disk;
    const QStringList now = words();
    if (now == before)
        return;
    setAccessibleName(now.join(QStringLiteral(". ")));
    setVisible(!now.isEmpty());
    update();
}

QStringList TierLegend::words() const
{
    QStringList said;
    const auto add = [&](const QString &name, const api::TierCounts &tier) {
        if (tier.blocks > 0)
            said << (tier.onlyHere() > 0 ? tr("%1 %2, %3 only there").arg(name, grouped(tier.blocks), grouped(tier.onlyHere()))
                                         : tr("%1 %2").arg(name, grouped(tier.blocks)));
    };
    add(tr("In host memory"), m_host);
    add(tr("On disk"), m_disk);
    return said;
}

void TierLegend::paintEvent(QPaintEvent *)
{
    const Palette &p = m_theme.palette();
    QPainter painter(this);
    painter.setFont(m_theme.font(TextSize::secondary));
    int x = 0;
    api::Tier tier = m_host.blocks > 0 ? api::Tier::host : api::Tier::disk;
    for (const QString &text : words()) {
        paintCell(painter, QRectF(x, (height() - kSwatch) / 2.0, kSwatch, kSwatch), p, BlockState::cached, tier);
        painter.setPen(p.secondary);
        const int width = painter.fontMetrics().horizontalAdvance(text);
        painter.drawText(QRect(x + kSwatch + 7, 0, width + 2, height()), Qt::AlignLeft | Qt::AlignVCenter, text);
        x += kSwatch + 7 + width + 2 * kGap;
        tier = api::Tier::disk;
    }
}

} // namespace kvilt::ui

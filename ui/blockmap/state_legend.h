// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/blockmap/block_map_model.h"
#include "ui/widgets/theme.h"

#include <QAbstractButton>
#include <QWidget>

#include <array>
#include <functional>
#include <vector>

namespace kvilt::ui {

// One state of the legend: its cell, its name, how many. Checked: its cells show.
class LegendChip : public QAbstractButton {
    Q_OBJECT
public:
    LegendChip(Theme &theme, api::BlockState state, QWidget *parent);

    api::BlockState state() const { return m_state; }
    void setCount(std::uint32_t count);
    std::uint32_t count() const { return m_count; }
    void setDimmed(bool dimmed);
    QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent *event) override;

private:
    Theme &m_theme;
    api::BlockState m_state;
    std::uint32_t m_count = 0;
    bool m_dimmed = false;
};

// The states with their counts, which add up to the pool. A click shows only that state, another click all;
// with Ctrl a state is added or taken away. A state that never occurred takes no room.
class StateLegend : public QWidget {
    Q_OBJECT
public:
    StateLegend(BlockMapModel &model, Theme &theme, QWidget *parent = nullptr);

    void refresh(std::size_t group);
    void forget(); // another model: hide what has not occurred
    bool hasHeightForWidth() const override { return true; }
    int heightForWidth(int width) const override { return place(width, false); }
    QSize sizeHint() const override;
    LegendChip *chip(api::BlockState state) const { return m_chips[std::size_t(state)]; }

signals:
    void filterChanged();

protected:
    void resizeEvent(QResizeEvent *event) override;

private:
    void clicked(api::BlockState state);
    int place(int width, bool move) const;

    BlockMapModel &m_model;
    std::array<LegendChip *, api::kBlockStates> m_chips{};
    std::array<bool, api::kBlockStates> m_occurred{};
};

// What the colours mean when they are not the states: chats by name, or a scale from one end to the other.
class ScaleLegend : public QWidget {
    Q_OBJECT
public:
    using TitleOf = std::function<QString(SessionId)>;

    ScaleLegend(BlockMapModel &model, Theme &theme, TitleOf titleOf, QWidget *parent = nullptr);
    void refresh(std::size_t group);
    QSize sizeHint() const override { return {432, 24}; }
    QStringList words() const { return m_words; } // owners, or the two ends

protected:
    void paintEvent(QPaintEvent *event) override;

private:
    BlockMapModel &m_model;
    Theme &m_theme;
    TitleOf m_titleOf;
    std::vector<SessionId> m_owners; // as m_words names them
    QStringList m_words;
};

// What lies outside of the pool, by tier: the texture, how many blocks, and how many of them only there. A tier that holds
// nothing takes no room.
class TierLegend : public QWidget {
    Q_OBJECT
public:
    explicit TierLegend(Theme &theme, QWidget *parent = nullptr);
    void setCounts(const api::TierCounts &host, const api::TierCounts &disk);
    QSize sizeHint() const override { return {432, 20}; }
    QStringList words() const;

protected:
    void paintEvent(QPaintEvent *event) override;

private:
    Theme &m_theme;
    api::TierCounts m_host, m_disk;
};

} // namespace kvilt::ui

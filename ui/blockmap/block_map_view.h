// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/blockmap/map_raster.h"

#include <QAbstractScrollArea>
#include <QElapsedTimer>
#include <QTimer>

#include <functional>
#include <optional>
#include <vector>

namespace kvilt::ui {

// Shows one group of a BlockMapModel. It holds a picture of the visible part and paints into it only the cells the
// model calls dirty, at most once a frame. Wheel scrolls, Ctrl+wheel and + − zoom, 0 fits, dragging pans,
// arrows move the cell cursor, Enter selects, Escape lets go. The model must outlive the view.
class BlockMapView : public QAbstractScrollArea {
    Q_OBJECT
public:
    BlockMapView(BlockMapModel &model, Theme &theme, QWidget *parent = nullptr);

    // The model changed: paint soon what is dirty.
    void refresh();
    // Paint now what is dirty, without waiting for the next frame.
    void refreshNow() { flush(); }
    // Size, order, colours or group changed: paint everything soon.
    void reset();

    std::size_t group() const { return m_group; }
    void setGroup(std::size_t group);
    ArrangeBy arrangeBy() const { return m_arrangeBy; }
    void setArrangeBy(ArrangeBy by);
    int cellSize() const { return m_geometry.cell(); }
    void setCellSize(int logicalPixels); // 0: as large as fits
    void zoomBy(int steps, QPoint around);
    // At rest so many cells are to be seen without scrolling; the others lie below.
    void setFitted(std::uint32_t cells);

    std::optional<std::uint32_t> selected() const { return m_selected; }
    void select(std::optional<std::uint32_t> block);
    std::optional<std::uint32_t> hovered() const { return m_hovered; }
    // Cells lit up because the pointer is on their text or ribbon cell; cells shown on request stay until changed.
    void setLinked(std::vector<std::uint32_t> blocks);
    void setMarked(std::vector<std::uint32_t> blocks);
    void ensureVisible(std::uint32_t block);
    QRect blockRect(std::uint32_t block) const;  // in the viewport
    std::optional<std::uint32_t> blockAt(QPoint viewportPosition) const;

    // What the tokens of a block say, for cells of 24 pixels and more; empty when not known yet.
    void setTextOf(std::function<QString(std::uint32_t)> textOf) { m_textOf = std::move(textOf); }
    // Visible sealed blocks, for whoever fetches their text. Empty below 24 pixels.
    std::vector<std::uint32_t> visibleTextBlocks() const;

    QSize sizeHint() const override;
    QSize minimumSizeHint() const override;
    bool hasHeightForWidth() const override { return false; }

signals:
    void hoverChanged(qint64 block); // -1: none
    void selectionChanged(qint64 block);
    void viewChanged();              // zoom, scroll or order

protected:
    void paintEvent(QPaintEvent *event) override;
    void resizeEvent(QResizeEvent *event) override;
    void scrollContentsBy(int dx, int dy) override;
    void wheelEvent(QWheelEvent *event) override;
    void keyPressEvent(QKeyEvent *event) override;
    bool viewportEvent(QEvent *event) override;
    void focusInEvent(QFocusEvent *event) override;
    void focusOutEvent(QFocusEvent *event) override;

private:
    MapRaster::Scene scene() const;
    double ratio() const { return viewport()->devicePixelRatioF(); }
    int scroll() const;
    void layOut();
    void order();
    void flush();
    std::uint32_t positionOf(std::uint32_t block) const;
    std::uint32_t blockAtPosition(std::uint32_t position) const;
    void paintOutlines(QPainter &painter);
    void paintFrames(QPainter &painter, const std::vector<std::uint32_t> &blocks, const QColor &ink);
    void paintTexts(QPainter &painter, const QRect &clip);
    void moveCursor(int positions);
    void setHovered(std::optional<std::uint32_t> block);
    void mouse(QMouseEvent *event);
    void describeCursor();

    BlockMapModel &m_model;
    Theme &m_theme;
    MapRaster m_raster;
    MapGeometry m_geometry;
    QImage m_image;
    QTimer m_frame;
    QElapsedTimer m_sinceOrder;
    std::size_t m_group = 0;
    ArrangeBy m_arrangeBy = ArrangeBy::block;
    std::vector<std::uint32_t> m_order, m_positions; // empty when arranged by block
    std::uint64_t m_orderedVersion = 0;
    int m_wantedCell = 0;
    std::uint32_t m_fitted = UINT32_MAX;
    bool m_all = true;
    std::optional<std::uint32_t> m_hovered, m_selected;
    std::vector<std::uint32_t> m_linked, m_marked;
    std::function<QString(std::uint32_t)> m_textOf;
    QPoint m_pressed;
    int m_pressedScroll = 0;
    bool m_panning = false;
};

// "Block 52, cached, idle, tokens 64 to 79": for tooltips and screen readers.
QString describeCell(const BlockMapModel &model, std::size_t group, std::uint32_t block);

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/block_map_view.h"

#include "ui/blockmap/words.h"
#include "ui/widgets/format.h"

#include <QKeyEvent>
#include <QPainter>
#include <QScrollBar>

#include <algorithm>
#include <cmath>

namespace kvilt::ui {

namespace {
constexpr int kFrameMs = 16;
constexpr int kReorderMs = 250; // a new order moves cells under the pointer, so not more often
} // namespace

BlockMapView::BlockMapView(BlockMapModel &model, Theme &theme, QWidget *parent)
    : QAbstractScrollArea(parent), m_model(model), m_theme(theme)
{
    setFocusPolicy(Qt::StrongFocus);
    setFrameShape(QFrame::NoFrame);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setAccessibleName(tr("Block map"));
    viewport()->setMouseTracking(true);
    viewport()->setAttribute(Qt::WA_OpaquePaintEvent);
    m_frame.setSingleShot(true);
    m_frame.setInterval(kFrameMs);
    connect(&m_frame, &QTimer::timeout, this, &BlockMapView::flush);
    connect(&m_theme, &Theme::changed, this, &BlockMapView::reset);
    m_sinceOrder.start();
}

MapRaster::Scene BlockMapView::scene() const
{
    return {m_model, m_group, m_order, m_geometry, scroll()};
}

int BlockMapView::scroll() const
{
    return int(std::lround(verticalScrollBar()->value() * ratio()));
}

// --- Layout ---

void BlockMapView::reset()
{
    m_all = true;
    refresh();
}

void BlockMapView::refresh()
{
    if (!m_frame.isActive())
        m_frame.start();
}

void BlockMapView::setGroup(std::size_t group)
{
    m_group = group;
    m_order.clear();
    m_selected.reset();
    m_linked.clear();
    m_marked.clear();
    reset();
}

void BlockMapView::setArrangeBy(ArrangeBy by)
{
    m_arrangeBy = by;
    m_order.clear();
    m_positions.clear();
    reset();
    emit viewChanged();
}

void BlockMapView::setCellSize(int logicalPixels)
{
    m_wantedCell = logicalPixels;
    reset();
    emit viewChanged();
}

void BlockMapView::setFitted(std::uint32_t cells)
{
    if (cells == m_fitted)
        return;
    m_fitted = cells;
    reset();
}

void BlockMapView::zoomBy(int steps, QPoint around)
{
    const auto size = std::find(kCellSizes.begin(), kCellSizes.end(), m_geometry.cell());
    const auto index = std::clamp<std::ptrdiff_t>((size - kCellSizes.begin()) + steps, 0,
                                                  std::ptrdiff_t(kCellSizes.size()) - 1);
    const auto anchor = blockAt(around);
    m_wantedCell = kCellSizes[std::size_t(index)];
    m_all = true;
    flush();
    if (anchor) { // what was under the pointer stays there
        const QRect rect = blockRect(*anchor);
        verticalScrollBar()->setValue(verticalScrollBar()->value() + rect.center().y() - around.y());
    }
    if (m_hovered) // another cell lies under the pointer now
        setHovered(blockAt(around));
    emit viewChanged();
}

void BlockMapView::order()
{
    if (m_arrangeBy == ArrangeBy::block) {
        m_order.clear();
        m_positions.clear();
        return;
    }
    const bool stale = m_order.size() != m_model.capacity(m_group);
    if (!stale && m_model.structureVersion(m_group) == m_orderedVersion)
        return;
    if (!stale && m_sinceOrder.elapsed() < kReorderMs) {
        QTimer::singleShot(kReorderMs, this, &BlockMapView::refresh);
        return;
    }
    m_order = m_model.arranged(m_group, m_arrangeBy);
    m_positions.assign(m_order.size(), 0);
    for (std::uint32_t p = 0; p < m_order.size(); ++p)
        m_positions[m_order[p]] = p;
    m_orderedVersion = m_model.structureVersion(m_group);
    m_sinceOrder.restart();
    m_all = true;
}

void BlockMapView::layOut()
{
    const double dpr = ratio();
    const QSize size = viewport()->size() * dpr;
    if (m_image.size() != size || m_image.devicePixelRatio() != dpr) {
        m_image = QImage(size.expandedTo({1, 1}), QImage::Format_RGB32);
        m_image.setDevicePixelRatio(dpr);
    }
    const std::uint32_t count = m_model.empty() ? 0 : m_model.capacity(m_group);
    const int cell = m_wantedCell ? m_wantedCell : MapGeometry::fitting(std::min(count, m_fitted), size.width(), size.height(), dpr);
    m_geometry = MapGeometry(count, cell, size.width(), dpr);
    m_raster.setLook(m_theme.palette(), m_model.colourBy(), m_geometry.size(), dpr);
    const int content = int(std::ceil(m_geometry.height() / dpr));
    verticalScrollBar()->setRange(0, std::max(0, content - viewport()->height()));
    verticalScrollBar()->setPageStep(viewport()->height());
    verticalScrollBar()->setSingleStep(m_geometry.cell() + 2);
}

void BlockMapView::flush()
{
    if (!m_model.empty() && m_group >= m_model.groupCount())
        m_group = 0;
    if (m_model.empty()) {
        m_geometry = {};
        m_image.fill(m_theme.palette().window);
        viewport()->update();
        return;
    }
    order();
    const BlockMapModel::Dirty dirty = m_model.takeDirty(m_group);
    if (m_all || dirty.all || m_geometry.count() != m_model.capacity(m_group)) {
        m_all = false;
        layOut();
        m_raster.paintAll(m_image, scene());
        viewport()->update();
        return;
    }
    QRect changed;
    const auto here = scene();
    for (const std::uint32_t block : dirty.blocks)
        changed |= m_raster.paintOne(m_image, here, positionOf(block));
    if (changed.isEmpty())
        return;
    const double dpr = ratio();
    viewport()->update(QRectF(changed.x() / dpr, changed.y() / dpr, changed.width() / dpr, changed.height() / dpr)
                           .toAlignedRect());
}

std::uint32_t BlockMapView::positionOf(std::uint32_t block) const
{
    return m_positions.empty() ? block : m_positions[block];
}

std::uint32_t BlockMapView::blockAtPosition(std::uint32_t position) const
{
    return m_order.empty() ? position : m_order[position];
}

QRect BlockMapView::blockRect(std::uint32_t block) const
{
    if (block >= m_geometry.count())
        return {};
    const std::uint32_t position = positionOf(block);
    const double dpr = ratio();
    const double x = m_geometry.left(m_geometry.columnOf(position)) / dpr;
    const double y = (m_geometry.top(m_geometry.rowOf(position)) - scroll()) / dpr;
    return QRectF(x, y, m_geometry.size() / dpr, m_geometry.size() / dpr).toAlignedRect();
}

std::optional<std::uint32_t> BlockMapView::blockAt(QPoint at) const
{
    const double dpr = ratio();
    const auto position = m_geometry.positionAt(int(at.x() * dpr), int(at.y() * dpr) + scroll());
    if (position < 0 || !viewport()->rect().contains(at))
        return std::nullopt;
    return blockAtPosition(std::uint32_t(position));
}

QSize BlockMapView::sizeHint() const
{
    return {432, 216};
}

QSize BlockMapView::minimumSizeHint() const
{
    return {120, 64};
}

// --- Painting ---

void BlockMapView::paintEvent(QPaintEvent *event)
{
    QPainter painter(viewport());
    const QRect clip = event->rect();
    painter.setClipRect(clip);
    if (m_model.empty())
        return paintOutlines(painter);
    if (m_image.isNull()) {
        painter.fillRect(clip, m_theme.palette().window);
        return;
    }
    painter.drawImage(0, 0, m_image);
    if (m_geometry.cell() >= kTextFrom)
        paintTexts(painter, clip);
    const Palette &p = m_theme.palette();
    paintFrames(painter, m_marked, p.accent);
    paintFrames(painter, m_linked, p.text);
    if (m_selected)
        paintFrames(painter, {*m_selected}, hasFocus() ? p.accent : p.text);
    if (m_hovered)
        paintFrames(painter, {*m_hovered}, p.text);
}

// Before there is a pool: where its cells will be.
void BlockMapView::paintOutlines(QPainter &painter)
{
    const MapGeometry g(512, kRestCell, viewport()->width());
    painter.fillRect(viewport()->rect(), m_theme.palette().window);
    for (std::uint32_t p = 0; p < g.count(); ++p)
        paintCell(painter, QRectF(g.left(g.columnOf(p)), g.top(g.rowOf(p)), g.size(), g.size()), m_theme.palette(),
                  api::BlockState::free);
}

// Drawn over the picture and never into it, so that letting go costs one repaint.
void BlockMapView::paintFrames(QPainter &painter, const std::vector<std::uint32_t> &blocks, const QColor &ink)
{
    painter.setPen(QPen(ink, 2, Qt::SolidLine, Qt::SquareCap, Qt::MiterJoin));
    painter.setBrush(Qt::NoBrush);
    const QRect visible = viewport()->rect().adjusted(-4, -4, 4, 4);
    for (const std::uint32_t block : blocks) {
        const QRect rect = blockRect(block);
        if (rect.intersects(visible))
            painter.drawRect(rect);
    }
}

void BlockMapView::paintTexts(QPainter &painter, const QRect &clip)
{
    if (!m_textOf)
        return;
    QFont font = m_theme.monoFont(TextSize::caption);
    font.setPixelSize(std::clamp(m_geometry.cell() / 4, 7, 11));
    painter.setFont(font);
    for (const std::uint32_t block : visibleTextBlocks()) {
        const QRect rect = blockRect(block);
        const QString text = rect.intersects(clip) ? m_textOf(block) : QString();
        if (text.isEmpty())
            continue;
        const api::BlockState state = m_model.state(m_group, block);
        const bool light = state == api::BlockState::pinned || state == api::BlockState::cached ||
                           state == api::BlockState::writing;
        painter.setPen(light ? QColor(0x1f, 0x23, 0x28) : QColor(Qt::white));
        painter.drawText(rect.adjusted(2, 1, -1, -1), Qt::AlignLeft | Qt::AlignTop | Qt::TextWrapAnywhere, text);
    }
}

std::vector<std::uint32_t> BlockMapView::visibleTextBlocks() const
{
    std::vector<std::uint32_t> blocks;
    if (m_geometry.cell() < kTextFrom || m_model.empty())
        return blocks;
    const int first = m_geometry.firstRow(scroll());
    const int last = m_geometry.lastRow(scroll(), m_image.height());
    const auto end = std::min<std::int64_t>(std::int64_t(last + 1) * m_geometry.columns(), m_geometry.count());
    for (std::int64_t p = std::int64_t(first) * m_geometry.columns(); p < end; ++p) {
        const std::uint32_t block = blockAtPosition(std::uint32_t(p));
        if (m_model.cell(m_group, block).node.value)
            blocks.push_back(block);
    }
    return blocks;
}

void BlockMapView::resizeEvent(QResizeEvent *)
{
    m_all = true;
    flush();
}

void BlockMapView::scrollContentsBy(int, int)
{
    if (m_model.empty())
        return;
    m_raster.paintAll(m_image, scene());
    viewport()->update();
    if (m_hovered)
        setHovered(blockAt(viewport()->mapFromGlobal(QCursor::pos())));
    emit viewChanged();
}

// --- Pointing ---

void BlockMapView::setHovered(std::optional<std::uint32_t> block)
{
    if (block == m_hovered)
        return;
    m_hovered = block;
    viewport()->update();
    emit hoverChanged(block ? qint64(*block) : -1);
}

void BlockMapView::select(std::optional<std::uint32_t> block)
{
    if (block && *block >= m_geometry.count())
        return;
    m_selected = block;
    viewport()->update();
    describeCursor();
    emit selectionChanged(block ? qint64(*block) : -1);
}

void BlockMapView::setLinked(std::vector<std::uint32_t> blocks)
{
    m_linked = std::move(blocks);
    viewport()->update();
}

void BlockMapView::setMarked(std::vector<std::uint32_t> blocks)
{
    m_marked = std::move(blocks);
    viewport()->update();
}

void BlockMapView::ensureVisible(std::uint32_t block)
{
    const QRect rect = blockRect(block);
    QScrollBar *bar = verticalScrollBar();
    if (rect.top() < 0)
        bar->setValue(bar->value() + rect.top() - m_geometry.cell());
    else if (rect.bottom() > viewport()->height())
        bar->setValue(bar->value() + rect.bottom() - viewport()->height() + m_geometry.cell());
}

bool BlockMapView::viewportEvent(QEvent *event)
{
    switch (event->type()) {
    case QEvent::MouseButtonPress:
    case QEvent::MouseMove:
    case QEvent::MouseButtonRelease: mouse(static_cast<QMouseEvent *>(event)); return true;
    case QEvent::Leave: setHovered(std::nullopt); break;
    default: break;
    }
    return QAbstractScrollArea::viewportEvent(event);
}

void BlockMapView::mouse(QMouseEvent *event)
{
    const QPoint at = event->position().toPoint();
    if (event->type() == QEvent::MouseButtonPress) {
        m_pressed = at;
        m_pressedScroll = verticalScrollBar()->value();
        m_panning = false;
        setFocus(Qt::MouseFocusReason);
    } else if (event->type() == QEvent::MouseMove && event->buttons()) {
        m_panning = m_panning || std::abs(at.y() - m_pressed.y()) > 4;
        if (m_panning)
            verticalScrollBar()->setValue(m_pressedScroll - (at.y() - m_pressed.y()));
    } else if (event->type() == QEvent::MouseMove) {
        setHovered(blockAt(at));
    } else if (!m_panning && event->button() == Qt::LeftButton) {
        const auto block = blockAt(at);
        select(block == m_selected ? std::nullopt : block);
    }
}

void BlockMapView::wheelEvent(QWheelEvent *event)
{
    if (!(event->modifiers() & Qt::ControlModifier))
        return QAbstractScrollArea::wheelEvent(event);
    const int delta = event->angleDelta().y();
    if (delta != 0)
        zoomBy(delta > 0 ? 1 : -1, event->position().toPoint());
    event->accept();
}

// --- Keyboard ---

void BlockMapView::moveCursor(int positions)
{
    if (m_geometry.count() == 0)
        return;
    const std::int64_t from = m_selected ? std::int64_t(positionOf(*m_selected)) : -1;
    const std::int64_t to = from < 0 ? 0 : std::clamp<std::int64_t>(from + positions, 0, m_geometry.count() - 1);
    m_hovered.reset(); // what the keyboard is on counts, wherever the pointer rests
    select(blockAtPosition(std::uint32_t(to)));
    ensureVisible(*m_selected);
}

void BlockMapView::keyPressEvent(QKeyEvent *event)
{
    const int columns = m_geometry.columns();
    const int page = columns * std::max(1, viewport()->height() / std::max(1, m_geometry.cell() + 1) - 1);
    const QPoint centre = m_selected ? blockRect(*m_selected).center() : viewport()->rect().center();
    switch (event->key()) {
    case Qt::Key_Left: moveCursor(-1); break;
    case Qt::Key_Right: moveCursor(1); break;
    case Qt::Key_Up: moveCursor(-columns); break;
    case Qt::Key_Down: moveCursor(columns); break;
    case Qt::Key_PageUp: moveCursor(-page); break;
    case Qt::Key_PageDown: moveCursor(page); break;
    case Qt::Key_Home: moveCursor(-int(m_geometry.count())); break;
    case Qt::Key_End: moveCursor(int(m_geometry.count())); break;
    case Qt::Key_Plus:
    case Qt::Key_Equal: zoomBy(1, centre); break;
    case Qt::Key_Minus: zoomBy(-1, centre); break;
    case Qt::Key_0: setCellSize(0); break;
    case Qt::Key_Escape:
        if (!m_selected && m_marked.empty())
            return event->ignore();
        setMarked({});
        select(std::nullopt);
        break;
    default: event->ignore(); return;
    }
    event->accept();
}

void BlockMapView::describeCursor()
{
    setAccessibleDescription(m_selected && !m_model.empty() ? describeCell(m_model, m_group, *m_selected) : QString());
}

void BlockMapView::focusInEvent(QFocusEvent *event)
{
    QAbstractScrollArea::focusInEvent(event);
    viewport()->update();
}

void BlockMapView::focusOutEvent(QFocusEvent *event)
{
    QAbstractScrollArea::focusOutEvent(event);
    viewport()->update();
}

QString describeCell(const BlockMapModel &model, std::size_t group, std::uint32_t block)
{
    const Cell &cell = model.cell(group, block);
    QString text = QStringLiteral("Block %1, %2").arg(grouped(block), lowerFirst(stateWord(model.state(group, block))));
    if (model.state(group, block) != api::BlockState::free && cell.tokens)
        text += QStringLiteral(", tokens %1 to %2").arg(cell.firstToken).arg(cell.firstToken + cell.tokens - 1);
    return text;
}

} // namespace kvilt::ui

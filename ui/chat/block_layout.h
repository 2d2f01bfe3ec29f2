// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/chat/rich_text.h"

#include <QPointF>
#include <QRectF>
#include <QTextLayout>

#include <memory>
#include <optional>
#include <vector>

class QPainter;

namespace kvilt::ui {

class Theme;

// Characters [from, to) of one piece of a block.
struct PieceRange {
    int piece = 0;
    int from = 0;
    int to = 0;
};

// One block of a message, laid out when it comes near the screen and dropped again when it leaves. Between these
// only its height is kept, so that ten thousand messages cost little and a frame lays out what it shows.
// Coordinates are relative to the block's own top left corner.
class BlockLayout {
public:
    explicit BlockLayout(RichBlock block) : m_block(std::move(block)) {}
    BlockLayout(const BlockLayout &) = delete; // pieces point into the block
    BlockLayout &operator=(const BlockLayout &) = delete;

    const RichBlock &block() const { return m_block; }
    // Takes over what did not change (all lines of code but the last, say); the rest is laid out when next needed.
    void replace(RichBlock block);

    bool laidOut() const { return !m_pieces.empty() || m_done; }
    // Returns whether the height changed.
    bool layOut(const Theme &theme, qreal width);
    void release();
    void forgetHeight() { m_height = -1; }
    // Real once laid out at this width, else estimated.
    qreal height(const Theme &theme, qreal width) const;

    struct PaintState {
        std::vector<PieceRange> selected;
        std::vector<PieceRange> linked; // lit up by the map or the ribbon
        bool copyHovered = false;
        bool muted = false;             // thinking: secondary colour
    };
    void paint(QPainter &painter, QPointF origin, const Theme &theme, const PaintState &state) const;

    struct Hit {
        int piece = -1;
        int position = 0;
        bool onText = false; // not only nearest to it
        QString link;
        bool onCopy = false;
    };
    Hit hitTest(QPointF point) const;

    QPointF pointOf(const QString &word) const; // null: not here
    // Where `word` stands, whatever its case; nothing: not here, or not laid out.
    std::optional<PieceRange> rangeOf(const QString &word) const;

    int pieceCount() const { return int(m_pieces.size()); }
    int pieceLength(int piece) const;
    QString pieceText(int piece, int from, int to) const;
    std::int64_t byteAt(int piece, int position) const;
    // What bytes [begin, end) of the message became here.
    std::vector<PieceRange> piecesOf(std::uint32_t begin, std::uint32_t end) const;
    QRectF copyRect() const { return m_copyRect; }

private:
    struct Piece {
        std::unique_ptr<QTextLayout> layout;
        QPointF at;
        const RichText *source = nullptr;
        int start = 0; // in the source's text
    };

    void layOutText(const Theme &theme, qreal width);
    void layOutCode(const Theme &theme, qreal width);
    void layOutTable(const Theme &theme, qreal width);
    void addPiece(const RichText &source, int start, int length, const QFont &font, const Theme &theme);
    qreal flow(Piece &piece, qreal width, qreal lineHeight, bool anywhere, Qt::Alignment align = Qt::AlignLeft);
    void paintMarker(QPainter &painter, QPointF origin, const Theme &theme) const;
    void paintCodeFrame(QPainter &painter, QPointF origin, const Theme &theme, const PaintState &state) const;
    void paintTableLines(QPainter &painter, QPointF origin, const Theme &theme) const;

    RichBlock m_block;
    std::vector<Piece> m_pieces;
    std::vector<qreal> m_rowLines; // y of the lines between a table's rows
    QRectF m_copyRect;
    qreal m_width = -1;
    qreal m_height = -1;
    bool m_done = false;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"
#include "ui/chat/block_layout.h"
#include "ui/chat/markdown.h"
#include "ui/chat/receipt_line.h"

#include <compare>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace kvilt::ui {

// A place in a message's text. Ordered as it is read.
struct TextPlace {
    int block = 0;
    int piece = 0;
    int position = 0;
    auto operator<=>(const TextPlace &) const = default;
};

// One message of the chat: its text as blocks, the box around the user's words, the receipt below a reply. Parsed
// when it first comes on the screen, laid out block by block while it is there. Coordinates: the column's left edge
// and the item's own top.
class MessageItem {
public:
    explicit MessageItem(api::Message message);

    const api::Message &message() const { return m_message; }
    bool fromUser() const { return m_message.role == api::Role::user; }
    void update(api::Message message); // the same message in a newer state
    void append(std::string_view text);
    void setProgress(std::optional<api::update::TurnProgress> progress) { m_progress = std::move(progress); }
    const std::optional<api::update::TurnProgress> &progress() const { return m_progress; }
    void setFirstReply(bool first) { m_firstReply = first; }
    void setLast(bool last) { m_last = last; } // only the last reply of a branch can go on
    void setSpans(std::vector<api::TokenSpan> spans) { m_spans = std::move(spans); }
    const std::vector<api::TokenSpan> &spans() const { return m_spans; }

    qreal height(const Theme &theme, qreal width) const;
    // Lays out what lies between `top` and `bottom`; true when the height changed.
    bool layOut(const Theme &theme, qreal width, qreal top, qreal bottom);
    // How much of its height text that is appended cannot change: all above the last two sections.
    qreal settledHeight(const Theme &theme, qreal width) const;
    void release();  // leaves the screen: only the height stays
    void forget();   // colours or fonts changed

    struct PaintState {
        std::optional<std::pair<TextPlace, TextPlace>> selection;
        std::optional<std::pair<std::uint32_t, std::uint32_t>> linkedBytes;
        int copyHovered = -1; // block whose Copy is under the pointer
        bool current = false; // reached by keyboard
        bool inspected = false;
        bool receiptHovered = false;
        qreal visibleTop = 0, visibleBottom = 1e9;
    };
    void paint(QPainter &painter, QPointF origin, const Theme &theme, qreal width, const PaintState &state);

    struct Hit {
        std::optional<TextPlace> place;
        bool onText = false;
        QString link;
        int copyBlock = -1;
        int fold = -1;       // section whose fold line was hit
        bool receipt = false;
        bool branchBack = false, branchForward = false;
        bool pin = false; // the mark
    };
    Hit hitTest(QPointF point, const Theme &theme, qreal width) const;

    void toggleFold(int section);
    QString codeOf(int block) const;
    QString textBetween(const TextPlace &from, const TextPlace &to) const;
    TextPlace endPlace() const;
    // The middle of the first place where `word` stands; null: not laid out or not there.
    QPointF pointOf(const QString &word, const Theme &theme, qreal width) const;
    // The first place of `word`, whatever its case, in what is laid out and not folded.
    std::optional<std::pair<TextPlace, TextPlace>> rangeOf(const QString &word) const;
    std::int64_t byteAt(const TextPlace &place) const;
    // Where the row of actions goes: in the gap below, left for replies, right for the user's words.
    QRectF actionRow(const Theme &theme, qreal width) const;
    QRectF textBox(const Theme &theme, qreal width) const;
    // Where a pinned message says so, in the row of actions; empty: it is not pinned.
    QRectF pinRect(const Theme &theme, qreal width) const;
    // Everything a screen reader should say of it.
    QString spoken() const;

private:
    struct Entry {
        std::unique_ptr<BlockLayout> layout; // null: what a thinking section or an attached file folds into
        int section = 0;
        bool muted = false;
    };
    void parse();
    void parseTail(std::size_t fromSection);
    void appendSection(std::size_t section);
    bool folded(int section) const { return !m_unfolded.contains(section); }
    bool hidden(const Entry &entry) const;
    qreal gapBefore(std::size_t index) const;
    qreal foldHeight(const Entry &entry) const;
    qreal bodyWidth(qreal width) const;
    qreal bodyHeight(const Theme &theme, qreal width) const;
    qreal tailHeight() const;
    bool showsPrefill() const;
    bool showsReceipt() const;
    QString stateLine() const;
    QString foldText(int section) const;
    QString fileName(int section) const;
    QString fileSize(int section) const;
    QRectF fileRect(int section, qreal y, const Theme &theme, qreal width) const;
    qreal sectionHeight(int section, const Theme &theme, qreal width) const;
    qreal wordsHeight(const Theme &theme, qreal width) const; // of a user's words, without files
    qreal estimate(qreal width) const;
    void paintTail(QPainter &painter, QPointF origin, const Theme &theme, qreal width, const PaintState &state);
    void paintPrefill(QPainter &painter, QPointF origin, const Theme &theme, qreal width);
    void paintReceipt(QPainter &painter, QPointF origin, const Theme &theme, qreal width, const PaintState &state);
    void paintFold(QPainter &painter, QPointF origin, const Theme &theme, int section) const;
    void paintFile(QPainter &painter, const QRectF &rect, const Theme &theme, int section) const;
    void paintBranch(QPainter &painter, const QRectF &rect, const Theme &theme) const;
    void paintPin(QPainter &painter, const QRectF &rect, const Theme &theme) const;
    qreal leftOf(const Entry &entry, const QRectF &box, qreal width) const;
    QRectF branchRect(const Theme &theme, qreal width) const;

    api::Message m_message;
    std::vector<Section> m_sections;
    std::vector<Entry> m_entries;
    std::set<int> m_unfolded;
    std::vector<api::TokenSpan> m_spans;
    std::optional<api::update::TurnProgress> m_progress;
    bool m_parsed = false;
    bool m_firstReply = false, m_last = false;
    mutable qreal m_naturalWidth = -1; // of a user's text, so that its box fits
    mutable qreal m_estimateWidth = -1;
    mutable qreal m_estimate = 0;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/chat/message_item.h"
#include "ui/models/workbench.h"

#include <QAbstractScrollArea>
#include <QTimer>

#include <memory>
#include <optional>
#include <vector>

namespace kvilt::ui {

class LinkPopover;
class MessageActions;
class MessageEditor;

// The conversation: a virtual list of messages in one column of at most 760 px. Only what is near the screen is
// parsed and laid out, heights of the rest are kept or estimated, and the view holds on to the message at its top
// when an estimate turns out wrong. While a reply streams, only the last paragraph is laid out again; the view follows
// until the user scrolls up.
class ChatView : public QAbstractScrollArea {
    Q_OBJECT
public:
    explicit ChatView(Workbench &workbench, QWidget *parent = nullptr);
    ~ChatView() override;

    int messageCount() const { return int(m_items.size()); }
    const api::Message *message(int index) const;
    bool following() const { return m_follow; }
    void scrollToEnd();
    void scrollToMessage(MessageId message);
    QString selectedText() const;
    QRect itemRect(int index) const; // on the viewport
    int laidOutItems() const;        // how many hold a layout now
    int currentIndex() const { return m_current; }
    void copySelection();
    void editLastOwnMessage();
    // The reply that Regenerate or Continue of the menu means; 0: none.
    MessageId lastReply() const;
    // Brings the text of a prompt's token on the screen, if it is a message's.
    void showToken(int token);
    // Goes to the newest message that holds one of the words, and selects it there; false: none on this branch does.
    bool reveal(const QString &words);
    // Where a word of a message stands on the viewport; none: not on the screen.
    std::optional<QPoint> findWord(int index, const QString &word) const;

signals:
    void receiptActivated(kvilt::TurnId turn);
    void messageDeleted(kvilt::MessageId message); // offer undo
    void emptyChanged(bool empty);
    void editEnded(); // sent or not: what one types next belongs into the message box

protected:
    bool viewportEvent(QEvent *event) override;
    void paintEvent(QPaintEvent *event) override;
    void resizeEvent(QResizeEvent *event) override;
    void scrollContentsBy(int dx, int dy) override;
    void mousePressEvent(QMouseEvent *event) override;
    void mouseMoveEvent(QMouseEvent *event) override;
    void mouseReleaseEvent(QMouseEvent *event) override;
    void mouseDoubleClickEvent(QMouseEvent *event) override;
    void contextMenuEvent(QContextMenuEvent *event) override;
    void keyPressEvent(QKeyEvent *event) override;
    void wheelEvent(QWheelEvent *event) override;

private:
    struct Place {
        int item = 0;
        TextPlace text;
        auto operator<=>(const Place &) const = default;
    };

    // Content
    void openSession(const api::update::SessionOpened &opened);
    void addMessage(const api::Message &message);
    void appendText(const api::update::TextAppended &appended);
    void showProgress(const api::update::TurnProgress &progress);
    void finishTurn(const api::update::TurnFinished &finished);
    void setInspected(TurnId turn);
    int indexOf(MessageId id) const;
    bool isLast(int index) const { return index + 1 == messageCount(); } // only the last reply can go on
    void truncate(std::size_t size);
    void markPlaces();
    void itemChanged(int index, qreal settled = 0);
    void goToEnd();

    // Geometry
    static constexpr qreal kAhead = 600; // laid out beyond the screen, so that scrolling shows no estimate
    qreal columnWidth() const;
    qreal columnLeft() const;
    void measureFrom(std::size_t index);
    qreal heightOf(std::size_t index, const Theme &theme, qreal width) const;
    void remeasure(std::size_t index);
    void updateScrollRange();
    void layOutVisible(qreal ahead = kAhead);
    void releaseFar();
    int itemAt(qreal contentY) const; // the item that covers it, or the nearest
    qreal contentY(qreal viewportY) const { return viewportY + m_scroll; }
    void setScroll(qreal value);
    void themeChanged();
    void placeOverlays();
    MessageId contextStart() const;
    void paintContextStart(QPainter &painter, qreal y) const;

    // Pointer
    MessageItem::Hit hitAt(QPointF viewportPoint, int &item) const;
    void updateHover(QPointF point);
    void publishHover(int item, const MessageItem::Hit &hit);
    void linkTargetChanged(const HoverTarget &target, QObject *origin);
    std::optional<std::pair<std::uint32_t, std::uint32_t>> linkedBytes(const MessageItem &item) const;
    void requestSpans(MessageItem &item);
    std::optional<std::pair<TextPlace, TextPlace>> selectionIn(int item) const;
    void activate(int item, const MessageItem::Hit &hit, QPointF point);
    void setCurrent(int index);
    void showActions(int index);
    void runAction(const QString &action, int index);
    void beginEdit(int index);
    void switchBranch(int index, int step);
    void copyText(const QString &text);

    Workbench &m_workbench;
    std::vector<std::unique_ptr<MessageItem>> m_items;
    std::vector<qreal> m_heights;
    std::vector<qreal> m_tops; // one more than items: the last is the end
    SessionId m_session;
    qreal m_scroll = 0;
    int m_liveFirst = 0, m_liveLast = -1; // items that may hold layouts
    bool m_follow = true;
    bool m_settling = false; // a scroll bar change of our own
    int m_hovered = -1;
    int m_current = -1;
    int m_copyItem = -1, m_copyBlock = -1;
    int m_receiptHovered = -1;
    TurnId m_inspected;
    bool m_selecting = false;
    Place m_anchor, m_head;
    bool m_hasSelection = false;
    QPointF m_pressed;
    HoverTarget m_linked;
    std::vector<MessageId> m_spansAsked;
    MessageActions *m_actions = nullptr;
    QTimer m_aheadTimer;
    MessageEditor *m_editor = nullptr;
    LinkPopover *m_linkPopover = nullptr;
};

} // namespace kvilt::ui

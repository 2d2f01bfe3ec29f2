// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/chat_view.h"

#include "ui/chat/link_popover.h"
#include "ui/chat/message_actions.h"
#include "ui/chat/message_editor.h"
#include "ui/chat/message_metrics.h"
#include "ui/widgets/theme.h"

#include <QPainter>
#include <QPaintEvent>
#include <QScrollBar>

#include <algorithm>
#include <cmath>

namespace kvilt::ui {

namespace {
constexpr int kAheadDelayMs = 4; // after the frame that was scrolled to
} // namespace

ChatView::ChatView(Workbench &workbench, QWidget *parent) : QAbstractScrollArea(parent), m_workbench(workbench)
{
    setAccessibleName(tr("Conversation"));
    setFrameShape(QFrame::NoFrame);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setFocusPolicy(Qt::StrongFocus);
    viewport()->setMouseTracking(true);
    verticalScrollBar()->setSingleStep(metrics::kChatLine);
    m_tops = {metrics::kPageMargin};
    m_aheadTimer.setSingleShot(true);
    m_aheadTimer.setInterval(kAheadDelayMs);
    connect(&m_aheadTimer, &QTimer::timeout, this, [this] { layOutVisible(); });
    m_actions = new MessageActions(workbench.theme(), viewport());
    connect(m_actions, &MessageActions::triggered, this, [this](const QString &action) {
        runAction(action, m_hovered >= 0 ? m_hovered : m_current);
    });
    connect(&workbench, &Workbench::sessionOpened, this, &ChatView::openSession);
    connect(&workbench, &Workbench::messageAdded, this, [this](const api::update::MessageAdded &added) {
        if (added.session == m_session)
            addMessage(added.message);
    });
    connect(&workbench, &Workbench::textAppended, this, &ChatView::appendText);
    connect(&workbench, &Workbench::turnProgressed, this, &ChatView::showProgress);
    connect(&workbench, &Workbench::turnFinished, this, &ChatView::finishTurn);
    connect(&workbench, &Workbench::inspectorWanted, this, &ChatView::setInspected);
    connect(&workbench, &Workbench::spansArrived, this, [this](const api::update::MessageSpans &spans) {
        if (const int index = indexOf(spans.message); index >= 0 && spans.session == m_session) {
            m_items[std::size_t(index)]->setSpans(spans.spans);
            viewport()->update();
        }
    });
    connect(&workbench.hover(), &HoverLink::targetChanged, this, &ChatView::linkTargetChanged);
    connect(&workbench.theme(), &Theme::changed, this, &ChatView::themeChanged);
}

ChatView::~ChatView() = default;

const api::Message *ChatView::message(int index) const
{
    return index >= 0 && index < messageCount() ? &m_items[std::size_t(index)]->message() : nullptr;
}

int ChatView::indexOf(MessageId id) const
{
    for (int i = messageCount(); i-- > 0;)
        if (m_items[std::size_t(i)]->message().id == id)
            return i;
    return -1;
}

MessageId ChatView::lastReply() const
{
    for (int i = messageCount(); i-- > 0;)
        if (message(i)->role == api::Role::assistant)
            return message(i)->id;
    return {};
}

std::optional<QPoint> ChatView::findWord(int index, const QString &word) const
{
    if (index < 0 || index >= messageCount())
        return {};
    const auto i = std::size_t(index);
    const QPointF at = m_items[i]->pointOf(word, m_workbench.theme(), columnWidth());
    const QPoint point = (at + QPointF(columnLeft(), m_tops[i] - m_scroll)).toPoint();
    return at.isNull() || !viewport()->rect().contains(point) ? std::nullopt : std::optional(point);
}

void ChatView::truncate(std::size_t size)
{
    if (size >= m_items.size())
        return;
    m_items.resize(size);
    m_heights.resize(size);
    m_tops.resize(size + 1);
    m_hovered = m_current = m_copyItem = m_receiptHovered = -1;
    m_hasSelection = false;
    m_actions->hide();
    if (m_editor)
        m_editor->hide();
}

// The same chat again (a branch was switched, a message deleted) keeps the common beginning and the place.
void ChatView::openSession(const api::update::SessionOpened &opened)
{
    const auto &messages = opened.conversation.messages;
    const int current = opened.conversation.id == m_session ? m_current : -1;
    std::size_t same = 0;
    if (opened.conversation.id == m_session) {
        while (same < messages.size() && same < m_items.size() && messages[same].id == m_items[same]->message().id) {
            m_items[same]->update(messages[same]);
            ++same;
        }
        truncate(same);
    } else {
        truncate(0);
        m_follow = true;
        m_spansAsked.clear();
        m_inspected = {};
    }
    m_session = opened.conversation.id;
    for (; same < messages.size(); ++same) {
        m_items.push_back(std::make_unique<MessageItem>(messages[same]));
        m_heights.push_back(0);
        m_tops.push_back(0);
    }
    markPlaces();
    measureFrom(0);
    updateScrollRange();
    if (m_follow) {
        scrollToEnd();
    } else { // what stands where one reads may be new
        setScroll(m_scroll);
        layOutVisible();
        updateScrollRange();
        placeOverlays();
    }
    if (current >= 0 && m_current < 0) // the keyboard stands where it stood, on another branch
        setCurrent(current);
    viewport()->update();
    emit emptyChanged(m_items.empty());
}

// A message whose parent stands in the middle begins another branch: what followed the parent leaves the screen.
void ChatView::addMessage(const api::Message &message)
{
    if (const int known = indexOf(message.id); known >= 0) {
        m_items[std::size_t(known)]->update(message);
        itemChanged(known);
        return;
    }
    const int parent = message.parent.value == 0 ? -1 : indexOf(message.parent);
    if (message.parent.value == 0 || parent >= 0)
        truncate(std::size_t(parent + 1));
    m_items.push_back(std::make_unique<MessageItem>(message));
    m_heights.push_back(0);
    m_tops.push_back(m_tops.back());
    markPlaces();
    if (messageCount() > 1)
        remeasure(m_items.size() - 2); // it is no longer the last one
    if (message.role == api::Role::user)
        m_follow = true;
    itemChanged(messageCount() - 1);
    emit emptyChanged(false);
}

void ChatView::markPlaces()
{
    bool first = true;
    for (const auto &item : m_items) {
        const bool reply = item->message().role == api::Role::assistant;
        item->setFirstReply(reply && first);
        item->setLast(item == m_items.back());
        first = first && !reply;
    }
}

void ChatView::appendText(const api::update::TextAppended &appended)
{
    if (appended.session != m_session)
        return;
    if (const int index = indexOf(appended.message); index >= 0) {
        MessageItem &item = *m_items[std::size_t(index)];
        const qreal settled = item.settledHeight(m_workbench.theme(), columnWidth());
        item.append(appended.text);
        itemChanged(index, settled);
    }
}

void ChatView::showProgress(const api::update::TurnProgress &progress)
{
    if (progress.session != m_session)
        return;
    if (const int index = indexOf(progress.message); index >= 0) {
        m_items[std::size_t(index)]->setProgress(progress);
        itemChanged(index);
    }
}

void ChatView::finishTurn(const api::update::TurnFinished &finished)
{
    if (finished.session == m_session)
        addMessage(finished.message);
}

void ChatView::setInspected(TurnId turn)
{
    m_inspected = turn;
    viewport()->update();
}

// Paints what lies below the item's first `settled` pixels, and the whole screen only when it has moved: most tokens of a
// reply change one paragraph.
void ChatView::itemChanged(int index, qreal settled)
{
    const qreal before = m_scroll;
    remeasure(std::size_t(index));
    layOutVisible();
    updateScrollRange();
    if (m_follow)
        goToEnd();
    if (m_scroll != before)
        viewport()->update();
    else
        viewport()->update(QRect(0, int(m_tops[std::size_t(index)] + settled - m_scroll) - 4, viewport()->width(), 1 << 20));
    placeOverlays();
}

qreal ChatView::columnWidth() const
{
    return std::max(200, std::min(metrics::kColumnWidth, width() - 2 * metrics::kPageMargin));
}

qreal ChatView::columnLeft() const
{
    return std::floor((width() - columnWidth()) / 2); // of the whole view: a scroll bar that comes moves no text
}

void ChatView::measureFrom(std::size_t index)
{
    const Theme &theme = m_workbench.theme();
    const qreal width = columnWidth();
    if (index == 0)
        m_tops[0] = metrics::kPageMargin;
    for (std::size_t i = index; i < m_items.size(); ++i) {
        m_heights[i] = heightOf(i, theme, width);
        m_tops[i + 1] = m_tops[i] + m_heights[i] + measure::kGapAfter;
    }
}

qreal ChatView::heightOf(std::size_t index, const Theme &theme, qreal width) const
{
    const bool edited = m_editor && m_editor->isVisible() && m_editor->message() == m_items[index]->message().id;
    return edited ? m_editor->wantedHeight() : m_items[index]->height(theme, width);
}

// One message changed: those below move, and nobody asks ten thousand of them how high they are.
void ChatView::remeasure(std::size_t index)
{
    const qreal now = heightOf(index, m_workbench.theme(), columnWidth());
    const qreal shift = m_tops[index] + now + measure::kGapAfter - m_tops[index + 1];
    m_heights[index] = now;
    for (std::size_t i = index + 1; i < m_tops.size(); ++i)
        m_tops[i] += shift;
}

void ChatView::updateScrollRange()
{
    const qreal end = m_tops.back() + 8;
    const int page = viewport()->height();
    m_settling = true;
    verticalScrollBar()->setPageStep(page);
    verticalScrollBar()->setRange(0, std::max(0, int(std::ceil(end)) - page));
    m_settling = false;
}

int ChatView::itemAt(qreal y) const
{
    if (m_items.empty())
        return -1;
    const auto it = std::upper_bound(m_tops.begin(), m_tops.end() - 1, y);
    return std::clamp(int(it - m_tops.begin()) - 1, 0, messageCount() - 1);
}

// Lays out what is on the screen and a little beyond. When an item above turns out taller or shorter than estimated,
// the scroll position moves with it, so that what is read stays where it is.
void ChatView::layOutVisible(qreal ahead)
{
    if (m_items.empty())
        return;
    const Theme &theme = m_workbench.theme();
    const qreal width = columnWidth();
    for (int pass = 0; pass < 4; ++pass) {
        const qreal top = m_scroll - ahead, bottom = m_scroll + viewport()->height() + ahead;
        bool changed = false;
        for (int i = std::max(itemAt(top), 0); i < messageCount() && m_tops[std::size_t(i)] < bottom; ++i) {
            const auto index = std::size_t(i);
            const qreal itemTop = m_tops[index];
            if (!m_items[index]->layOut(theme, width, top - itemTop, bottom - itemTop))
                continue;
            const qreal before = m_heights[index];
            remeasure(index);
            changed = true;
            if (itemTop + before <= m_scroll && !m_follow) {
                m_scroll += m_heights[index] - before;
                updateScrollRange();
                setScroll(m_scroll);
            }
        }
        if (!changed)
            break;
        updateScrollRange();
        if (m_follow)
            setScroll(verticalScrollBar()->maximum());
    }
    releaseFar();
}

// Only what had a layout can have one to give up: ten thousand messages are not asked at every frame.
void ChatView::releaseFar()
{
    const int first = itemAt(m_scroll - 3000), last = itemAt(m_scroll + viewport()->height() + 3000);
    for (int i = m_liveFirst; i <= std::min(m_liveLast, messageCount() - 1); ++i)
        if (i < first || i > last)
            m_items[std::size_t(i)]->release();
    m_liveFirst = std::max(first, 0);
    m_liveLast = last;
}

int ChatView::laidOutItems() const
{
    const qreal bottom = m_scroll + viewport()->height();
    return int(std::count_if(m_tops.begin(), m_tops.end() - 1,
                             [&](qreal top) { return top >= m_scroll - 3000 && top <= bottom + 3000; }));
}

void ChatView::setScroll(qreal value)
{
    m_settling = true;
    m_scroll = std::clamp(value, 0.0, qreal(verticalScrollBar()->maximum()));
    verticalScrollBar()->setValue(int(std::lround(m_scroll)));
    m_scroll = verticalScrollBar()->value();
    m_settling = false;
}

void ChatView::goToEnd()
{
    m_follow = true;
    setScroll(verticalScrollBar()->maximum());
    layOutVisible();
    updateScrollRange();
    setScroll(verticalScrollBar()->maximum());
}

void ChatView::scrollToEnd()
{
    goToEnd();
    viewport()->update();
    placeOverlays();
}

void ChatView::scrollToMessage(MessageId id)
{
    const int index = indexOf(id);
    if (index < 0)
        return;
    m_follow = false;
    setScroll(m_tops[std::size_t(index)] - metrics::kPageMargin);
    layOutVisible();
    setScroll(m_tops[std::size_t(index)] - metrics::kPageMargin);
    setCurrent(index);
}

void ChatView::showToken(int token)
{
    for (const api::Ribbon::MessageSpan &span : m_workbench.ribbon().messages) {
        const int index = token >= span.firstToken && token < span.endToken ? indexOf(span.message) : -1;
        if (index < 0)
            continue;
        // Tokens are spread evenly enough over a message to find the screen that theirs is on.
        const auto i = std::size_t(index);
        const qreal y = m_tops[i] + m_heights[i] * (token - span.firstToken) / (span.endToken - span.firstToken);
        if (y >= m_scroll && y <= m_scroll + viewport()->height() - metrics::kChatLine)
            return;
        m_follow = false;
        setScroll(y - viewport()->height() / 3.0);
        layOutVisible();
        viewport()->update();
        placeOverlays();
        return;
    }
}

bool ChatView::reveal(const QString &words)
{
    for (const QString &word : words.split(QLatin1Char(' '), Qt::SkipEmptyParts)) {
        for (int i = messageCount(); i-- > 0;) {
            if (!QString::fromStdString(message(i)->text).contains(word, Qt::CaseInsensitive))
                continue;
            scrollToMessage(message(i)->id);
            if (const auto found = m_items[std::size_t(i)]->rangeOf(word)) {
                m_anchor = {i, found->first};
                m_head = {i, found->second};
                m_hasSelection = true;
            }
            viewport()->update();
            return true;
        }
    }
    return false;
}

void ChatView::scrollContentsBy(int, int)
{
    if (m_settling)
        return;
    m_scroll = verticalScrollBar()->value();
    m_follow = m_scroll >= verticalScrollBar()->maximum() - 4;
    layOutVisible(0); // a jump shows a screen at once; what lies beyond is made ready between the frames
    m_aheadTimer.start();
    viewport()->update();
    placeOverlays();
}

void ChatView::resizeEvent(QResizeEvent *)
{
    const int anchor = itemAt(m_scroll);
    const qreal into = anchor >= 0 ? m_scroll - m_tops[std::size_t(anchor)] : 0;
    measureFrom(0);
    updateScrollRange();
    if (m_follow)
        scrollToEnd();
    else if (anchor >= 0)
        setScroll(m_tops[std::size_t(anchor)] + into);
    layOutVisible();
    placeOverlays();
}

void ChatView::themeChanged()
{
    for (const auto &item : m_items)
        item->forget();
    measureFrom(0);
    layOutVisible();
    updateScrollRange();
    viewport()->update();
}

QRect ChatView::itemRect(int index) const
{
    const auto i = std::size_t(index);
    return QRectF(columnLeft(), m_tops[i] - m_scroll, columnWidth(), m_heights[i]).toAlignedRect();
}

void ChatView::placeOverlays()
{
    if (m_editor && m_editor->isVisible()) {
        if (const int index = indexOf(m_editor->message()); index >= 0)
            m_editor->setGeometry(itemRect(index));
    }
    if (m_actions->isVisible())
        showActions(m_hovered >= 0 ? m_hovered : m_current);
}

void ChatView::paintEvent(QPaintEvent *event)
{
    const Theme &theme = m_workbench.theme();
    QPainter painter(viewport());
    painter.fillRect(event->rect(), theme.palette().surface);
    painter.setClipRect(event->rect());
    const qreal width = columnWidth();
    const MessageId start = contextStart();
    for (int i = std::max(itemAt(m_scroll + event->rect().top()), 0); i < messageCount(); ++i) {
        const auto index = std::size_t(i);
        const qreal y = m_tops[index] - m_scroll;
        if (y > event->rect().bottom())
            break;
        MessageItem &item = *m_items[index];
        if (m_editor && m_editor->isVisible() && m_editor->message() == item.message().id)
            continue;
        MessageItem::PaintState state;
        state.selection = selectionIn(i);
        state.linkedBytes = linkedBytes(item);
        state.copyHovered = m_copyItem == i ? m_copyBlock : -1;
        state.current = m_current == i && hasFocus();
        state.inspected = m_inspected.value != 0 && item.message().hasReceipt && item.message().receipt.turn == m_inspected;
        state.receiptHovered = m_receiptHovered == i;
        state.visibleTop = event->rect().top() - y;
        state.visibleBottom = event->rect().bottom() - y;
        item.paint(painter, {columnLeft(), y}, theme, width, state);
        if (i > 0 && item.message().id == start)
            paintContextStart(painter, y);
    }
}

// Where the prompt begins now that the oldest turns were dropped; 0: at the first message.
MessageId ChatView::contextStart() const
{
    for (int i = messageCount(); i-- > 0;)
        if (message(i)->hasReceipt)
            return message(i)->receipt.contextStart;
    return {};
}

void ChatView::paintContextStart(QPainter &painter, qreal y) const
{
    const Theme &theme = m_workbench.theme();
    const QString words = tr("What stands above is no longer in the prompt");
    const QRectF gap(columnLeft(), y - measure::kGapAfter, columnWidth(), measure::kGapAfter);
    painter.setFont(theme.font(TextSize::caption));
    const qreal half = QFontMetricsF(painter.font()).horizontalAdvance(words) / 2 + 12;
    painter.fillRect(QRectF(gap.left(), gap.center().y(), gap.width() / 2 - half, 1), theme.palette().border);
    painter.fillRect(QRectF(gap.center().x() + half, gap.center().y(), gap.width() / 2 - half, 1), theme.palette().border);
    painter.setPen(theme.palette().tertiary);
    painter.drawText(gap, Qt::AlignCenter, words);
}

} // namespace kvilt::ui

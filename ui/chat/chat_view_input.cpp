// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/chat_view.h"

#include "ui/chat/attachments.h"
#include "ui/chat/link_popover.h"
#include "ui/chat/message_actions.h"
#include "ui/chat/message_editor.h"
#include "ui/chat/message_metrics.h"
#include "ui/widgets/theme.h"

#include <QAccessible>
#include <QClipboard>
#include <QContextMenuEvent>
#include <QGuiApplication>
#include <QKeyEvent>
#include <QMenu>
#include <QMouseEvent>
#include <QScrollBar>

#include <algorithm>

namespace kvilt::ui {

namespace {

// Files stay as they are when a message is edited; only its words are shown in the editor.
std::vector<Attachment> filesOf(const api::Message &message)
{
    std::vector<Attachment> files;
    if (message.role != api::Role::user)
        return files;
    for (const Section &s : userSections(message.text))
        if (s.file())
            files.push_back({QString::fromStdString(message.text.substr(s.nameBegin, s.nameEnd - s.nameBegin)),
                             message.text.substr(s.begin, s.end - s.begin)});
    return files;
}

std::string wordsOf(const api::Message &message)
{
    if (filesOf(message).empty())
        return message.text;
    std::string words;
    for (const Section &s : userSections(message.text))
        if (!s.file())
            words += (words.empty() ? "" : "\n\n") + message.text.substr(s.begin, s.end - s.begin);
    return words;
}

} // namespace

MessageItem::Hit ChatView::hitAt(QPointF point, int &item) const
{
    const qreal y = contentY(point.y());
    item = itemAt(y);
    if (item < 0)
        return {};
    const auto index = std::size_t(item);
    return m_items[index]->hitTest({point.x() - columnLeft(), y - m_tops[index]}, m_workbench.theme(), columnWidth());
}

void ChatView::updateHover(QPointF point)
{
    int item = -1;
    const MessageItem::Hit hit = hitAt(point, item);
    const int copyItem = hit.copyBlock >= 0 ? item : -1, receipt = hit.receipt ? item : -1;
    if (copyItem != m_copyItem || hit.copyBlock != m_copyBlock || receipt != m_receiptHovered)
        viewport()->update();
    m_copyItem = copyItem;
    m_copyBlock = hit.copyBlock;
    m_receiptHovered = receipt;
    const bool hand = hit.receipt || hit.copyBlock >= 0 || hit.fold >= 0 || !hit.link.isEmpty() || hit.branchBack ||
                      hit.branchForward;
    viewport()->setCursor(hand ? Qt::PointingHandCursor : hit.onText ? Qt::IBeamCursor : Qt::ArrowCursor);
    viewport()->setToolTip(!hit.link.isEmpty() ? LinkPopover::shown(hit.link).toHtmlEscaped()
                           : hit.pin           ? tr("Stays in the prompt, and its blocks stay in memory")
                                               : QString());
    const bool inside = item >= 0 && contentY(point.y()) < m_tops[std::size_t(item)] + m_heights[std::size_t(item)] + measure::kGapAfter;
    if (const int now = inside ? item : -1; now != m_hovered) {
        m_hovered = now;
        if (now >= 0)
            showActions(now);
        else
            m_actions->hide();
    }
    publishHover(item, hit);
}

// The tokens under the pointer, rounded to their block: what the ribbon and the map light up.
void ChatView::publishHover(int item, const MessageItem::Hit &hit)
{
    HoverLink &link = m_workbench.hover();
    if (item < 0 || !hit.onText || !hit.place) {
        link.clear(this);
        return;
    }
    MessageItem &message = *m_items[std::size_t(item)];
    requestSpans(message);
    const std::int64_t byte = message.byteAt(*hit.place);
    const auto &spans = message.spans();
    const auto it = std::find_if(spans.begin(), spans.end(), [&](const api::TokenSpan &s) {
        return byte >= s.begin && byte < std::int64_t(s.begin) + s.bytes;
    });
    const int blockSize = std::max<int>(m_workbench.ribbon().blockSize, 1);
    if (byte < 0 || it == spans.end()) {
        link.clear(this);
        return;
    }
    HoverTarget target;
    target.session = m_session;
    target.firstToken = it->token / blockSize * blockSize;
    target.endToken = target.firstToken + blockSize;
    for (const api::RibbonCell &cell : m_workbench.ribbon().cells) {
        if (cell.firstToken == target.firstToken) {
            target.node = cell.node;
            target.block = cell.block;
        }
    }
    link.setTarget(target, this);
}

void ChatView::linkTargetChanged(const HoverTarget &target, QObject *)
{
    m_linked = target;
    if (target.session == m_session && target.firstToken >= 0) {
        for (const api::Ribbon::MessageSpan &span : m_workbench.ribbon().messages)
            if (span.firstToken < target.endToken && span.endToken > target.firstToken)
                if (const int index = indexOf(span.message); index >= 0)
                    requestSpans(*m_items[std::size_t(index)]);
    }
    viewport()->update();
}

void ChatView::requestSpans(MessageItem &item)
{
    const MessageId id = item.message().id;
    const bool asked = std::find(m_spansAsked.begin(), m_spansAsked.end(), id) != m_spansAsked.end();
    if (asked || item.message().state == api::MessageState::streaming)
        return;
    m_spansAsked.push_back(id);
    m_workbench.post(api::command::TokenSpans{m_session, id});
}

std::optional<std::pair<std::uint32_t, std::uint32_t>> ChatView::linkedBytes(const MessageItem &item) const
{
    if (m_linked.session != m_session || m_linked.firstToken < 0)
        return {};
    std::optional<std::pair<std::uint32_t, std::uint32_t>> bytes;
    for (const api::TokenSpan &span : item.spans()) {
        if (span.token < m_linked.firstToken || span.token >= m_linked.endToken || span.bytes == 0)
            continue;
        const std::uint32_t begin = span.begin, end = span.begin + span.bytes;
        bytes = bytes ? std::pair{std::min(bytes->first, begin), std::max(bytes->second, end)} : std::pair{begin, end};
    }
    return bytes;
}

std::optional<std::pair<TextPlace, TextPlace>> ChatView::selectionIn(int item) const
{
    if (!m_hasSelection)
        return {};
    const Place from = std::min(m_anchor, m_head), to = std::max(m_anchor, m_head);
    if (item < from.item || item > to.item)
        return {};
    return std::pair{item == from.item ? from.text : TextPlace{},
                     item == to.item ? to.text : m_items[std::size_t(item)]->endPlace()};
}

QString ChatView::selectedText() const
{
    QStringList parts;
    for (int i = 0; i < messageCount(); ++i)
        if (const auto range = selectionIn(i))
            parts << m_items[std::size_t(i)]->textBetween(range->first, range->second);
    return parts.join(QStringLiteral("\n\n"));
}

void ChatView::copyText(const QString &text)
{
    if (!text.isEmpty())
        QGuiApplication::clipboard()->setText(text);
}

void ChatView::copySelection()
{
    copyText(selectedText());
}

bool ChatView::viewportEvent(QEvent *event)
{
    if (event->type() == QEvent::Leave) {
        m_workbench.hover().clear(this);
        m_copyItem = m_copyBlock = m_receiptHovered = -1;
        const QPoint at = viewport()->mapFromGlobal(QCursor::pos());
        if (!m_actions->geometry().contains(at)) {
            m_hovered = -1;
            m_actions->hide();
        }
        viewport()->update();
    }
    return QAbstractScrollArea::viewportEvent(event);
}

void ChatView::mousePressEvent(QMouseEvent *event)
{
    if (event->button() != Qt::LeftButton)
        return;
    int item = -1;
    const MessageItem::Hit hit = hitAt(event->position(), item);
    m_pressed = event->position();
    m_hasSelection = false;
    m_selecting = item >= 0 && hit.place.has_value() && !hit.receipt && hit.copyBlock < 0;
    if (m_selecting)
        m_anchor = m_head = {item, *hit.place};
    m_current = -1;
    viewport()->update();
}

void ChatView::mouseMoveEvent(QMouseEvent *event)
{
    if (!m_selecting || !(event->buttons() & Qt::LeftButton)) {
        updateHover(event->position());
        return;
    }
    int item = -1;
    const MessageItem::Hit hit = hitAt(event->position(), item);
    if (item < 0 || !hit.place)
        return;
    m_head = {item, *hit.place};
    m_hasSelection = m_head != m_anchor;
    const qreal y = event->position().y();
    if (y < 0 || y > viewport()->height())
        verticalScrollBar()->setValue(verticalScrollBar()->value() + int(y < 0 ? y : y - viewport()->height()) / 2);
    viewport()->update();
}

void ChatView::mouseReleaseEvent(QMouseEvent *event)
{
    m_selecting = false;
    if (event->button() != Qt::LeftButton || m_hasSelection)
        return;
    if ((event->position() - m_pressed).manhattanLength() > 6)
        return;
    int item = -1;
    const MessageItem::Hit hit = hitAt(event->position(), item);
    if (item >= 0)
        activate(item, hit, event->globalPosition());
}

void ChatView::activate(int item, const MessageItem::Hit &hit, QPointF globalPoint)
{
    MessageItem &message = *m_items[std::size_t(item)];
    if (hit.copyBlock >= 0) {
        copyText(message.codeOf(hit.copyBlock));
    } else if (hit.fold >= 0) {
        message.toggleFold(hit.fold);
        itemChanged(item);
    } else if (!hit.link.isEmpty()) {
        if (!m_linkPopover)
            m_linkPopover = new LinkPopover(this);
        m_linkPopover->ask(hit.link, globalPoint.toPoint());
    } else if (hit.branchBack || hit.branchForward) {
        switchBranch(item, hit.branchBack ? -1 : 1);
    } else if (hit.receipt && message.message().hasReceipt) {
        emit receiptActivated(message.message().receipt.turn);
    }
}

// A double click takes the word.
void ChatView::mouseDoubleClickEvent(QMouseEvent *event)
{
    int item = -1;
    const MessageItem::Hit hit = hitAt(event->position(), item);
    if (item < 0 || !hit.onText || !hit.place)
        return;
    const MessageItem &message = *m_items[std::size_t(item)];
    const auto letter = [&](int position) {
        const QString c = message.textBetween({hit.place->block, hit.place->piece, position},
                                              {hit.place->block, hit.place->piece, position + 1});
        return !c.isEmpty() && (c[0].isLetterOrNumber() || c[0] == u'_');
    };
    int from = hit.place->position, to = from;
    while (from > 0 && letter(from - 1))
        --from;
    while (letter(to))
        ++to;
    m_anchor = {item, {hit.place->block, hit.place->piece, from}};
    m_head = {item, {hit.place->block, hit.place->piece, to}};
    m_hasSelection = from < to;
    viewport()->update();
}

void ChatView::wheelEvent(QWheelEvent *event)
{
    QAbstractScrollArea::wheelEvent(event);
    updateHover(event->position());
}

void ChatView::contextMenuEvent(QContextMenuEvent *event)
{
    const int index = event->reason() == QContextMenuEvent::Keyboard ? m_current : m_hovered;
    if (index < 0)
        return;
    const bool reply = message(index)->role == api::Role::assistant;
    const bool busy = m_workbench.busy(m_session);
    QMenu menu(this);
    if (m_hasSelection)
        menu.addAction(tr("Copy selection"), this, &ChatView::copySelection);
    const auto add = [&](const QString &label, const char *action, bool enabled) {
        QAction *a = menu.addAction(label, this, [this, action, index] { runAction(QLatin1String(action), index); });
        a->setEnabled(enabled);
    };
    add(tr("Copy message"), "copy", true);
    add(tr("Edit…"), "edit", !busy);
    if (reply) {
        add(tr("Regenerate"), "regenerate", !busy);
        add(tr("Continue"), "continue", !busy && isLast(index));
        add(tr("Why was this reused, and not more?"), "inspect", message(index)->hasReceipt);
    }
    add(message(index)->pinned ? tr("Unpin") : tr("Pin"), "pin", true);
    menu.addSeparator();
    add(tr("Delete"), "delete", !busy);
    menu.exec(event->globalPos());
}

void ChatView::setCurrent(int index)
{
    m_current = messageCount() == 0 ? -1 : std::clamp(index, 0, messageCount() - 1);
    if (m_current < 0)
        return;
    const QRect rect = itemRect(m_current);
    if (rect.top() < 0 || rect.height() > viewport()->height())
        verticalScrollBar()->setValue(int(m_tops[std::size_t(m_current)]) - metrics::kPageMargin);
    else if (rect.bottom() > viewport()->height())
        verticalScrollBar()->setValue(int(m_scroll) + rect.bottom() - viewport()->height() + metrics::kPageMargin);
    m_hovered = -1;
    showActions(m_current);
    setAccessibleDescription(m_items[std::size_t(m_current)]->spoken());
    QAccessibleEvent changed(this, QAccessible::DescriptionChanged);
    QAccessible::updateAccessibility(&changed);
    viewport()->update();
}

void ChatView::keyPressEvent(QKeyEvent *event)
{
    if (event->matches(QKeySequence::Copy)) {
        m_hasSelection ? copySelection() : runAction(QStringLiteral("copy"), m_current);
        return;
    }
    if (event->matches(QKeySequence::SelectAll) && messageCount() > 0) {
        m_anchor = {};
        m_head = {messageCount() - 1, m_items.back()->endPlace()};
        m_hasSelection = true;
        viewport()->update();
        return;
    }
    QScrollBar *bar = verticalScrollBar();
    switch (event->key()) {
    case Qt::Key_Up: setCurrent(m_current < 0 ? messageCount() - 1 : m_current - 1); return;
    case Qt::Key_Down: setCurrent(m_current < 0 ? messageCount() - 1 : m_current + 1); return;
    case Qt::Key_PageUp: bar->setValue(bar->value() - bar->pageStep() + 44); return;
    case Qt::Key_PageDown: bar->setValue(bar->value() + bar->pageStep() - 44); return;
    case Qt::Key_Home: bar->setValue(0); return;
    case Qt::Key_End: scrollToEnd(); return;
    case Qt::Key_Left: switchBranch(m_current, -1); return;
    case Qt::Key_Right: switchBranch(m_current, 1); return;
    case Qt::Key_Return:
    case Qt::Key_Enter: runAction(QStringLiteral("inspect"), m_current); return;
    case Qt::Key_E: runAction(QStringLiteral("edit"), m_current); return;
    case Qt::Key_R: runAction(QStringLiteral("regenerate"), m_current); return;
    case Qt::Key_C: runAction(QStringLiteral("continue"), m_current); return;
    case Qt::Key_P: runAction(QStringLiteral("pin"), m_current); return;
    case Qt::Key_Delete: runAction(QStringLiteral("delete"), m_current); return;
    default: break;
    }
    QAbstractScrollArea::keyPressEvent(event);
}

void ChatView::showActions(int index)
{
    if (index < 0 || index >= messageCount() || m_selecting)
        return;
    const MessageItem &item = *m_items[std::size_t(index)];
    if (item.message().state == api::MessageState::streaming) {
        m_actions->hide();
        return;
    }
    m_actions->showFor(item.message(), m_workbench.busy(m_session), isLast(index));
    const QRectF row = item.actionRow(m_workbench.theme(), columnWidth());
    const qreal x = columnLeft() + (item.fromUser() ? row.right() - m_actions->width() : row.left());
    const qreal y = m_tops[std::size_t(index)] - m_scroll + row.top();
    m_actions->move(int(x), int(y));
}

void ChatView::switchBranch(int index, int step)
{
    const api::Message *m = message(index);
    if (!m || m_workbench.busy(m_session))
        return;
    const int wanted = m->branchIndex + step;
    if (wanted >= 0 && wanted < m->branchCount)
        m_workbench.post(api::command::SwitchBranch{m_session, m->id, wanted});
}

void ChatView::runAction(const QString &action, int index)
{
    const api::Message *m = message(index);
    if (!m)
        return;
    const bool reply = m->role == api::Role::assistant, idle = !m_workbench.busy(m_session);
    if (action == u"copy")
        copyText(QString::fromStdString(m->text));
    else if (action == u"edit" && idle)
        beginEdit(index);
    else if (action == u"regenerate" && reply && idle)
        m_workbench.post(api::command::Regenerate{m_session, m->id});
    else if (action == u"continue" && reply && idle && isLast(index))
        m_workbench.post(api::command::Continue{m_session, m->id});
    else if (action == u"pin")
        m_workbench.post(api::command::PinMessage{m_session, m->id, !m->pinned});
    else if (action == u"back" || action == u"forward")
        switchBranch(index, action == u"back" ? -1 : 1);
    else if (action == u"inspect" && m->hasReceipt)
        emit receiptActivated(m->receipt.turn);
    else if (action == u"delete" && idle) {
        const MessageId id = m->id;
        m_workbench.post(api::command::DeleteMessage{m_session, id});
        emit messageDeleted(id);
    }
}

void ChatView::editLastOwnMessage()
{
    for (int i = messageCount(); i-- > 0;) {
        if (message(i)->role == api::Role::user) {
            beginEdit(i);
            return;
        }
    }
}

void ChatView::beginEdit(int index)
{
    if (!m_editor) {
        m_editor = new MessageEditor(m_workbench.theme(), viewport());
        const auto close = [this] {
            m_editor->hide();
            measureFrom(0);
            updateScrollRange();
            layOutVisible();
            viewport()->update();
            emit editEnded();
        };
        connect(m_editor, &MessageEditor::cancelled, this, close);
        connect(m_editor, &MessageEditor::accepted, this, [this, close](MessageId id, const QString &text) {
            close();
            const int at = indexOf(id);
            if (at < 0 || text.trimmed().isEmpty())
                return;
            const std::string edited = withAttachments(text.toStdString(), filesOf(*message(at)));
            if (edited != message(at)->text)
                m_workbench.post(api::command::EditMessage{m_session, id, edited});
        });
        connect(m_editor, &MessageEditor::grew, this, [this] {
            measureFrom(0);
            updateScrollRange();
            placeOverlays();
            viewport()->update();
        });
    }
    const api::Message &m = *message(index);
    m_actions->hide();
    m_editor->begin(m.id, QString::fromStdString(wordsOf(m)), m.role == api::Role::user);
    measureFrom(0);
    updateScrollRange();
    const auto i = std::size_t(index);
    if (m_tops[i] < m_scroll || m_tops[i] + m_heights[i] > m_scroll + viewport()->height()) { // nobody types blindly
        m_follow = false;
        setScroll(m_tops[i] - metrics::kPageMargin);
        layOutVisible();
        updateScrollRange();
    }
    placeOverlays();
    viewport()->update();
}

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/session_delegate.h"

#include "ui/models/session_list_model.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QLineEdit>
#include <QPainter>

#include <algorithm>

namespace kvilt::ui {

namespace {

constexpr int kMostShown = 300; // characters: eliding shapes the whole text first
constexpr int kSide = 8;   // the selection's distance from the panel's edge
constexpr int kText = 20;  // the text's
constexpr int kHeading = 29;
} // namespace

SessionDelegate::SessionDelegate(Workbench &workbench, QObject *parent)
    : QStyledItemDelegate(parent), m_workbench(workbench)
{
}

QSize SessionDelegate::sizeHint(const QStyleOptionViewItem &, const QModelIndex &index) const
{
    return {100, index.data(SessionListModel::HeadingRole).toBool() ? kHeading : metrics::kSessionRow};
}

void SessionDelegate::paintHeading(QPainter *painter, const QRect &rect, const QModelIndex &index) const
{
    const Theme &theme = m_workbench.theme();
    painter->setFont(theme.font(TextSize::secondary, QFont::Medium));
    painter->setPen(theme.palette().tertiary);
    int left = rect.left() + kText;
    if (index.data(SessionListModel::FolderRole).toBool()) {
        painter->drawPixmap(left - 1, rect.bottom() - 20,
                            iconPixmap(QStringLiteral("folder"), theme.palette().tertiary, 14,
                                       painter->device()->devicePixelRatioF()));
        left += 18;
    }
    painter->drawText(QRect(left, rect.top(), rect.width() - left - 8, rect.height() - 5),
                      Qt::AlignBottom | Qt::AlignLeft, index.data(Qt::DisplayRole).toString());
}

namespace {
QString plain(QString html)
{
    html.replace(QLatin1String("&lt;"), QLatin1String("<")).replace(QLatin1String("&gt;"), QLatin1String(">"));
    html.replace(QLatin1String("&quot;"), QLatin1String("\"")).replace(QLatin1String("&#39;"), QLatin1String("'"));
    return html.replace(QLatin1String("&amp;"), QLatin1String("&"));
}
} // namespace

// <b>…</b> marks what was found; everything else is plain text.
void SessionDelegate::paintSnippet(QPainter *painter, const QRect &rect, const QString &snippet) const
{
    const Theme &theme = m_workbench.theme();
    int x = rect.left();
    const QStringList parts = QString(snippet).replace(QLatin1Char('\n'), QLatin1Char(' ')).split(QStringLiteral("<b>"));
    const auto fontOf = [&](bool found) { return theme.font(TextSize::caption, found ? QFont::DemiBold : QFont::Normal); };
    const auto put = [&](const QString &text, bool found) {
        painter->setFont(fontOf(found));
        painter->setPen(found ? theme.palette().accent : theme.palette().secondary);
        painter->drawText(QRect(x, rect.top(), rect.right() - x, rect.height()), Qt::AlignVCenter | Qt::AlignLeft, text);
        x += painter->fontMetrics().horizontalAdvance(text);
    };
    painter->save();
    painter->setClipRect(rect);
    // What was found is what one wants to see: the words before it give way from their beginning.
    const QString hit = plain(parts.value(1).section(QStringLiteral("</b>"), 0, 0));
    const int room = rect.width() - QFontMetrics(fontOf(true)).horizontalAdvance(hit) - 4;
    put(QFontMetrics(fontOf(false)).elidedText(plain(parts.value(0)), Qt::ElideLeft, std::max(room, 0)), false);
    for (qsizetype i = 1; i < parts.size(); ++i) {
        put(plain(parts[i].section(QStringLiteral("</b>"), 0, 0)), true);
        put(plain(parts[i].section(QStringLiteral("</b>"), 1)), false);
    }
    painter->restore();
}

void SessionDelegate::paint(QPainter *painter, const QStyleOptionViewItem &option, const QModelIndex &index) const
{
    painter->save();
    if (index.data(SessionListModel::HeadingRole).toBool()) {
        paintHeading(painter, option.rect, index);
        painter->restore();
        return;
    }
    const Theme &theme = m_workbench.theme();
    const Palette &p = theme.palette();
    const QRect row = option.rect.adjusted(kSide, 2, -kSide, -2);
    const bool open = index.data(SessionListModel::SessionRole).toLongLong() == m_workbench.session().value;
    const bool keyboard = (option.state & QStyle::State_HasFocus) && option.widget && option.widget->hasFocus();
    painter->setRenderHint(QPainter::Antialiasing, true);
    painter->setPen(keyboard ? QPen(p.accent, 1) : QPen(Qt::NoPen));
    painter->setBrush(open ? p.selection : (option.state & QStyle::State_MouseOver) ? p.tint : QColor(Qt::transparent));
    painter->drawRoundedRect(QRectF(row).adjusted(0.5, 0.5, -0.5, -0.5), metrics::kFieldRadius, metrics::kFieldRadius);
    painter->setRenderHint(QPainter::Antialiasing, false);

    const QRect text = option.rect.adjusted(kText, 5, -kText + 2, -4);
    const QString size = index.data(SessionListModel::SizeRole).toString();
    painter->setFont(theme.font(TextSize::secondary));
    painter->setPen(p.secondary);
    const int sizeWidth = painter->fontMetrics().horizontalAdvance(size);
    painter->drawText(QRect(text.right() - sizeWidth, text.top(), sizeWidth + 1, 18), Qt::AlignVCenter, size);
    painter->setFont(theme.font(TextSize::body, open ? QFont::DemiBold : QFont::Medium));
    painter->setPen(p.text);
    const int titleWidth = text.width() - sizeWidth - 12;
    painter->drawText(QRect(text.left(), text.top(), titleWidth, 18), Qt::AlignVCenter,
                      painter->fontMetrics().elidedText(index.data(Qt::DisplayRole).toString().left(kMostShown), Qt::ElideRight, titleWidth));
    const QRect below(text.left(), text.top() + 18, text.width(), 16);
    const QString snippet = index.data(SessionListModel::SnippetRole).toString();
    if (!snippet.isEmpty()) {
        paintSnippet(painter, below, snippet);
    } else {
        const SessionId session{index.data(SessionListModel::SessionRole).toLongLong()};
        const QString writing = m_workbench.busy(session) ? tr("answering · ") : QString();
        painter->setFont(theme.font(TextSize::caption));
        painter->setPen(open ? p.secondary : p.tertiary);
        painter->drawText(below, Qt::AlignVCenter,
                          painter->fontMetrics().elidedText(writing + index.data(SessionListModel::SubtitleRole).toString(),
                                                            Qt::ElideRight, below.width()));
    }
    painter->restore();
}

QWidget *SessionDelegate::createEditor(QWidget *parent, const QStyleOptionViewItem &, const QModelIndex &) const
{
    auto *editor = new QLineEdit(parent);
    editor->setAccessibleName(tr("Title of the chat"));
    editor->setMaxLength(200);
    return editor;
}

void SessionDelegate::updateEditorGeometry(QWidget *editor, const QStyleOptionViewItem &option, const QModelIndex &) const
{
    editor->setGeometry(option.rect.adjusted(kSide, 6, -kSide, -6));
}

} // namespace kvilt::ui

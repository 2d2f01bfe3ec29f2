// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/session_list_model.h"

#include "ui/widgets/format.h"

#include <QDateTime>
#include <QLocale>

#include <algorithm>

namespace kvilt::ui {

QString SessionListModel::groupOf(std::int64_t updatedMs, const QDate &today)
{
    const QDate day = QDateTime::fromMSecsSinceEpoch(updatedMs).date();
    const qint64 days = day.daysTo(today);
    if (days <= 0)
        return tr("Today");
    if (days == 1)
        return tr("Yesterday");
    if (days <= 7)
        return tr("Last week");
    if (days <= 31 && day.month() == today.month())
        return tr("This month");
    const QString month = QLocale::c().standaloneMonthName(day.month());
    return day.year() == today.year() ? month : month + QLatin1Char(' ') + QString::number(day.year());
}

QString SessionListModel::subtitleOf(const api::SessionSummary &s)
{
    QString text;
    if (s.blocksInMemory > 0 && s.blocksOnDisk > s.blocksInMemory)
        text = tr("%1 in memory, %2 on disk").arg(grouped(s.blocksInMemory), grouped(s.blocksOnDisk));
    else if (s.blocksInMemory > 0)
        text = count(s.blocksInMemory, tr("block in memory"), tr("blocks in memory"));
    else if (s.blocksOnDisk > 0)
        text = count(s.blocksOnDisk, tr("block on disk"), tr("blocks on disk"));
    else
        text = s.messages == 0 ? tr("empty") : tr("text only");
    for (const std::string &tag : s.tags)
        text += QStringLiteral(" · ") + QString::fromStdString(tag);
    return text;
}

void SessionListModel::setSessions(std::vector<api::SessionSummary> sessions, bool search, const QDate &today)
{
    beginResetModel();
    m_sessions = std::move(sessions);
    m_rows.clear();
    if (!search)
        std::stable_sort(m_sessions.begin(), m_sessions.end(), [](const auto &a, const auto &b) {
            if (a.folder.empty() != b.folder.empty())
                return a.folder.empty();
            return a.folder != b.folder ? a.folder < b.folder : a.updatedMs > b.updatedMs;
        });
    QString last;
    for (std::size_t i = 0; i < m_sessions.size(); ++i) {
        const api::SessionSummary &s = m_sessions[i];
        const bool folder = !s.folder.empty();
        const QString group = folder ? QString::fromStdString(s.folder) : groupOf(s.updatedMs, today);
        if (!search && (i == 0 || group != last || folder != !m_sessions[i - 1].folder.empty()))
            m_rows.push_back({group, -1, folder});
        last = group;
        m_rows.push_back({{}, int(i), folder});
    }
    endResetModel();
}

void SessionListModel::setBytesPerBlock(std::uint64_t bytes)
{
    if (bytes == m_bytesPerBlock)
        return;
    m_bytesPerBlock = bytes;
    if (!m_rows.empty())
        emit dataChanged(index(0), index(int(m_rows.size()) - 1), {SizeRole});
}

const api::SessionSummary *SessionListModel::session(const QModelIndex &index) const
{
    if (!index.isValid() || index.row() >= int(m_rows.size()))
        return nullptr;
    const Row &row = m_rows[std::size_t(index.row())];
    return row.session < 0 ? nullptr : &m_sessions[std::size_t(row.session)];
}

QModelIndex SessionListModel::indexOf(SessionId session) const
{
    for (std::size_t i = 0; i < m_rows.size(); ++i)
        if (m_rows[i].session >= 0 && m_sessions[std::size_t(m_rows[i].session)].id == session)
            return index(int(i));
    return {};
}

QModelIndex SessionListModel::firstSession() const
{
    for (std::size_t i = 0; i < m_rows.size(); ++i)
        if (m_rows[i].session >= 0)
            return index(int(i));
    return {};
}

QStringList SessionListModel::folders() const
{
    QStringList names;
    for (const api::SessionSummary &s : m_sessions)
        if (!s.folder.empty())
            names << QString::fromStdString(s.folder);
    names.removeDuplicates();
    return names;
}

int SessionListModel::rowCount(const QModelIndex &parent) const
{
    return parent.isValid() ? 0 : int(m_rows.size());
}

QVariant SessionListModel::data(const QModelIndex &index, int role) const
{
    if (!index.isValid() || index.row() >= int(m_rows.size()))
        return {};
    const Row &row = m_rows[std::size_t(index.row())];
    const api::SessionSummary *s = session(index);
    switch (role) {
    case HeadingRole: return row.session < 0;
    case FolderRole: return row.folder;
    case Qt::DisplayRole: return s ? QString::fromStdString(s->title.empty() ? "New chat" : s->title) : row.heading;
    case Qt::EditRole: return s ? QString::fromStdString(s->title) : QString();
    case SubtitleRole: return s ? subtitleOf(*s) : QString();
    case SnippetRole: return s ? QString::fromStdString(s->snippet) : QString();
    case SessionRole: return s ? QVariant::fromValue<qint64>(s->id.value) : QVariant();
    case SizeRole: {
        const std::uint64_t size = s ? std::max(s->kvBytes, s->blocksInMemory * m_bytesPerBlock) : 0;
        return size > 0 ? bytes(size) : QStringLiteral("–");
    }
    case Qt::AccessibleTextRole:
        return s ? QString::fromStdString(s->title) + QStringLiteral(", ") + subtitleOf(*s) : row.heading;
    default: return {};
    }
}

Qt::ItemFlags SessionListModel::flags(const QModelIndex &index) const
{
    return session(index) ? Qt::ItemIsEnabled | Qt::ItemIsSelectable | Qt::ItemIsEditable : Qt::NoItemFlags;
}

bool SessionListModel::setData(const QModelIndex &index, const QVariant &value, int role)
{
    const api::SessionSummary *s = session(index);
    const QString title = value.toString().simplified().left(200);
    if (!s || role != Qt::EditRole || title.isEmpty() || title.toStdString() == s->title)
        return false;
    m_sessions[std::size_t(m_rows[std::size_t(index.row())].session)].title = title.toStdString();
    emit dataChanged(index, index);
    emit renamed(s->id, title);
    return true;
}

} // namespace kvilt::ui

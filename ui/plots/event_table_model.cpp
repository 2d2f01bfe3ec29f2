// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/event_table_model.h"

#include "ui/widgets/format.h"

namespace kvilt::ui {

EventTableModel::EventTableModel(EventLog &log, EventContext context, QObject *parent)
    : QAbstractTableModel(parent), m_log(log), m_context(std::move(context)), m_rows(log)
{
    m_soon.setSingleShot(true);
    m_soon.setInterval(50);
    connect(&m_soon, &QTimer::timeout, this, &EventTableModel::takeIn);
    connect(&log, &EventLog::appended, this, [this] {
        if (!m_held && !m_soon.isActive())
            m_soon.start();
    });
    connect(&log, &EventLog::cleared, this, [this] { setFilter(m_rows.filter()); });
    m_rows.rebuild();
    m_count = int(m_rows.size());
}

int EventTableModel::rowCount(const QModelIndex &parent) const
{
    return parent.isValid() ? 0 : m_count;
}

int EventTableModel::columnCount(const QModelIndex &parent) const
{
    return parent.isValid() ? 0 : int(columns);
}

const EventRow &EventTableModel::row(int row) const
{
    return m_rows[m_rows.size() - 1 - std::size_t(row)];
}

// The first event of a row that reaches back beyond the log may be gone; its last one is of the same kind.
const api::CacheEvent &EventTableModel::event(int at) const
{
    const EventRow &r = row(at);
    return m_log.at(std::max(r.first, std::min(r.last, m_log.begin())));
}

QVariant EventTableModel::data(const QModelIndex &index, int role) const
{
    if (!index.isValid() || std::size_t(index.row()) >= m_rows.size())
        return {};
    const EventRow &r = row(index.row());
    if (r.last < m_log.begin())
        return {};
    const api::CacheEvent &e = event(index.row());
    if (role == Qt::ToolTipRole)
        return sentence(index.row());
    if (role == Qt::AccessibleTextRole && index.column() == detail)
        return eventDetail(r, e, m_context);
    if (role != Qt::DisplayRole)
        return {};
    switch (index.column()) {
    case time: return clockTime(e.timeNs); // of the first: rows stand in the order in which they began
    case kind: return kindWord(e.kind);
    case object: return eventObject(r, e, m_context);
    case detail: return eventDetail(r, e, m_context);
    default: return {};
    }
}

QVariant EventTableModel::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal || role != Qt::DisplayRole)
        return {};
    switch (section) {
    case time: return tr("Time");
    case kind: return tr("Kind");
    case object: return tr("What");
    case detail: return tr("Why");
    default: return {};
    }
}

QString EventTableModel::sentence(int at) const
{
    const EventRow &r = row(at);
    const api::CacheEvent &e = event(at);
    QString text = QStringLiteral("%1  %2 %3: %4").arg(clockTime(e.timeNs), kindWord(e.kind),
                                                       eventObject(r, e, m_context), eventDetail(r, e, m_context));
    if (r.count > 1)
        text += tr(" (%1 events)").arg(grouped(r.count));
    return text;
}

void EventTableModel::setFilter(const EventFilter &filter)
{
    beginResetModel();
    m_rows.setFilter(filter);
    m_count = int(m_rows.size());
    endResetModel();
}

void EventTableModel::setContext(EventContext context)
{
    m_context = std::move(context);
    if (m_count > 0)
        emit dataChanged(index(0, 0), index(m_count - 1, columns - 1));
}

void EventTableModel::setHeld(bool held)
{
    m_held = held;
    if (!held)
        m_soon.start();
}

void EventTableModel::takeIn()
{
    if (m_held)
        return;
    const EventRows::Change change = m_rows.update();
    if (change.dropped) {
        beginRemoveRows({}, m_count - int(change.dropped), m_count - 1);
        m_count -= int(change.dropped);
        endRemoveRows();
    }
    if (change.added) {
        beginInsertRows({}, 0, int(change.added) - 1);
        m_count += int(change.added);
        endInsertRows();
    }
    const int touched = std::min(m_count, int(change.added + change.touched));
    if (touched > int(change.added))
        emit dataChanged(index(int(change.added), 0), index(touched - 1, columns - 1));
}

} // namespace kvilt::ui

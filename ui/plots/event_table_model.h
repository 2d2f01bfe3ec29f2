// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/event_log.h"
#include "ui/models/event_rows.h"
#include "ui/models/event_words.h"

#include <QAbstractTableModel>
#include <QTimer>

namespace kvilt::ui {

// The rows of an event log, newest first, as a table of time, kind, object and reason. Takes in what came at most
// twenty times a second, and nothing while held.
class EventTableModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { time, kind, object, detail, columns };
    EventTableModel(EventLog &log, EventContext context, QObject *parent = nullptr);

    int rowCount(const QModelIndex &parent = {}) const override;
    int columnCount(const QModelIndex &parent = {}) const override;
    QVariant data(const QModelIndex &index, int role = Qt::DisplayRole) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

    void setFilter(const EventFilter &filter);
    const EventFilter &filter() const { return m_rows.filter(); }
    void setContext(EventContext context);
    void setHeld(bool held);
    void takeIn(); // now

    const EventRow &row(int row) const;
    const api::CacheEvent &event(int row) const; // the first of the row
    QString sentence(int row) const;

private:
    EventLog &m_log;
    EventContext m_context;
    EventRows m_rows;
    QTimer m_soon;
    int m_count = 0;
    bool m_held = false;
};

} // namespace kvilt::ui

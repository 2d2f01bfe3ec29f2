// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/conversation.h"

#include <QAbstractListModel>
#include <QDate>

#include <vector>

namespace kvilt::ui {

// The sidebar's rows: headings and chats. Chats in folders stand under their folder, the others under when they were
// last used: Today, Yesterday, Last week, then months. A search keeps the order of its hits, without headings.
class SessionListModel : public QAbstractListModel {
    Q_OBJECT
public:
    enum Role { HeadingRole = Qt::UserRole + 1, SessionRole, SubtitleRole, SizeRole, SnippetRole, FolderRole };

    using QAbstractListModel::QAbstractListModel;

    void setSessions(std::vector<api::SessionSummary> sessions, bool search, const QDate &today);
    // For the size of KV that is in memory only.
    void setBytesPerBlock(std::uint64_t bytes);
    const api::SessionSummary *session(const QModelIndex &index) const;
    QModelIndex indexOf(SessionId session) const;
    QModelIndex firstSession() const;
    int sessionCount() const { return int(m_sessions.size()); }
    QStringList folders() const;

    int rowCount(const QModelIndex &parent = {}) const override;
    QVariant data(const QModelIndex &index, int role) const override;
    Qt::ItemFlags flags(const QModelIndex &index) const override;
    bool setData(const QModelIndex &index, const QVariant &value, int role) override;

    static QString groupOf(std::int64_t updatedMs, const QDate &today);
    static QString subtitleOf(const api::SessionSummary &session);

signals:
    void renamed(kvilt::SessionId session, const QString &title);

private:
    struct Row {
        QString heading; // or
        int session = -1;
        bool folder = false;
    };
    std::vector<api::SessionSummary> m_sessions;
    std::vector<Row> m_rows;
    std::uint64_t m_bytesPerBlock = 0;
};

} // namespace kvilt::ui

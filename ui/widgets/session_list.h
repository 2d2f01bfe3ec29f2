// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/session_list_model.h"
#include "ui/models/workbench.h"

#include <QTimer>
#include <QWidget>

#include <functional>
#include <set>

class QFrame;
class QLabel;
class QLineEdit;
class QListView;
class QToolButton;

namespace kvilt::ui {

// The left side: search over titles and text, the chats, New chat. A click or Enter opens, F2 renames in place,
// Delete deletes (with undo), the menu key has the rest.
class SessionList : public QWidget {
    Q_OBJECT
public:
    explicit SessionList(Workbench &workbench, QWidget *parent = nullptr);

    // The search; stands above the list until someone else gives it a place.
    QWidget *header() { return m_header; }
    void focusSearch();
    void refresh();
    SessionListModel &model() { return *m_model; }
    QListView *view() { return m_view; }
    void renameCurrent();
    void deleteSession(SessionId session);

signals:
    void newChatWanted();
    // A chat: what one types next belongs into its message box. `searched`: the words it was found by; empty: none.
    void chosen(kvilt::SessionId session, const QString &searched);
    void exportWanted(kvilt::SessionId session);
    void deleted(kvilt::SessionId session, const QString &title); // offer undo

protected:
    bool eventFilter(QObject *object, QEvent *event) override;

private:
    void showSessions(const api::update::Sessions &sessions);
    void openIndex(const QModelIndex &index);
    void showMenu(const QPoint &position);
    void fileInto(const api::SessionSummary &session, const QString &folder);
    void editTags(const api::SessionSummary &session);
    void askFolder(const api::SessionSummary &session);
    void recolour();
    bool editing() const;

    Workbench &m_workbench;
    SessionListModel *m_model = nullptr;
    QWidget *m_header = nullptr;
    QLineEdit *m_search = nullptr;
    QLabel *m_searchIcon = nullptr;
    QLabel *m_searchKeys = nullptr;
    QListView *m_view = nullptr;
    QLabel *m_empty = nullptr;
    QToolButton *m_newChat = nullptr;
    QLabel *m_newKeys = nullptr;
    QFrame *m_inputRow = nullptr;
    QLineEdit *m_input = nullptr;
    std::function<void(const QString &)> m_inputDone;
    QTimer m_refreshTimer;
    QTimer m_growth;
    std::set<SessionId> m_writing; // chats whose replies are being written
    SessionId m_menuSession;
};

} // namespace kvilt::ui

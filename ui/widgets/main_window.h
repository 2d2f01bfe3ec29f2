// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"
#include "ui/widgets/command_palette.h"
#include "ui/widgets/side_panel.h"
#include "ui/widgets/window_options.h"

#include <QMainWindow>

#include <map>
#include <optional>
#include <string>

class QActionGroup;
class QDockWidget;
class QMenu;

namespace kvilt::ui {

class ChatPage;
class KeyList;
class PolicyView;
class SessionList;
class StallWatch;
class StatusStrip;
class Toast;

// The window: chats left, the chat in the middle, the cache right, status below. Left and right are docks that move,
// float and close; their places are kept, and Reset layout brings the first arrangement back.
class MainWindow : public QMainWindow {
    Q_OBJECT
public:
    MainWindow(Workbench &workbench, WindowOptions options, QWidget *parent = nullptr);
    ~MainWindow() override;

    // Opens the last session and loads the model; called once after the first frame is on the screen.
    void begin();
    ChatPage &page() { return *m_page; }
    SidePanel &side() { return *m_side; }
    SessionList &sessions() { return *m_sessions; }
    StallWatch &stallWatch() { return *m_stallWatch; }
    void loadModel(const QString &path);
    void resetLayout();

signals:
    void optionsChanged(const kvilt::ui::WindowOptions &options); // to be saved
    void firstFramePainted();

protected:
    bool event(QEvent *event) override;
    void closeEvent(QCloseEvent *event) override;
    bool eventFilter(QObject *object, QEvent *event) override;
    void dragEnterEvent(QDragEnterEvent *event) override;
    void dropEvent(QDropEvent *event) override;

private:
    void buildDocks();
    void buildMenus();
    void buildFileMenu();
    void buildEditMenu();
    void buildViewMenu();
    void buildSessionMenu();
    void buildCacheMenu();
    void buildLabMenu();
    void buildHelpMenu();
    QAction *add(QMenu *menu, const QString &text, const QKeySequence &keys, std::function<void()> run);
    void connectWorkbench();
    void restoreLayout();
    bool mayClose();
    void saveLayout();
    void openPalette();
    void showKeys();
    void newChat();
    void exportSession(SessionId session);
    void exportEvents();
    void importSession();
    void dropKv();
    void setTheme(ThemeChoice choice);
    void setQuota();
    void changeEngine();
    bool endTrial(const api::update::ModelState &state);
    void sessionDeleted(SessionId session, const QString &title);
    void sessionGone(SessionId session);
    void offerUndo(const QString &what, std::function<void()> undo);
    void undoLast();
    void refreshUndo();
    void comparePolicies();
    void showSearched();
    void showSide(SidePanel::Page page);
    void inspectLast();
    void showStalls(bool show);
    void aboutKvilt();

    Workbench &m_workbench;
    WindowOptions m_options;
    SessionList *m_sessions = nullptr;
    ChatPage *m_page = nullptr;
    SidePanel *m_side = nullptr;
    StatusStrip *m_status = nullptr;
    Toast *m_toast = nullptr;
    StallWatch *m_stallWatch = nullptr;
    // Settings of the engine that are being tried, and what stands while they are: kept once the model runs with them.
    std::optional<api::EngineSettings> m_tried;
    std::string m_triedPath;
    QString m_searched; // the words of the search that the next chat is opened from
    CommandPalette *m_palette = nullptr;
    KeyList *m_keys = nullptr;
    QDockWidget *m_leftDock = nullptr;
    QDockWidget *m_rightDock = nullptr;
    QByteArray m_firstLayout;
    QAction *m_undoAction = nullptr;
    std::vector<std::pair<QString, std::function<void()>>> m_undo; // what was deleted, and how it comes back
    std::map<SessionId, QString> m_deleting; // asked for, not answered yet
    PolicyView *m_policies = nullptr;
    bool m_begun = false;
    bool m_painted = false;
    bool m_chosenByUser = false; // remember the model once it is ready
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"
#include "ui/widgets/window_options.h"

#include <QWidget>

#include <optional>

class QLabel;
class QStackedWidget;
class QToolButton;

namespace kvilt::ui {

class ChatView;
class Composer;
class FirstStart;
class NoticeBar;
class SettingsPopover;

// The middle of the window: title, model and settings above; the chat, or the page that chooses a model; the message
// box below. Notices stand between the chat and the box, where they concern.
class ChatPage : public QWidget {
    Q_OBJECT
public:
    ChatPage(Workbench &workbench, const WindowOptions &options, QWidget *parent = nullptr);

    ChatView &chat() { return *m_chat; }
    Composer &composer() { return *m_composer; }
    FirstStart &firstStart();
    void showModels(bool show);
    bool modelsShown() const;
    void openSettings();
    void openModelMenu();
    void showNotice(const api::update::Notice &notice);
    // Why what was written in this window will be gone with it; empty: it is on the disk.
    QString unsavedWords() const { return m_unsavedWords ? m_unsaved : QString(); }

signals:
    void modelChosen(const QString &path);
    void unloadWanted();
    void usedForNewChats(const kvilt::api::SessionSettings &settings);

protected:
    void resizeEvent(QResizeEvent *event) override;
    bool eventFilter(QObject *object, QEvent *event) override;

private:
    QWidget *buildHeader();
    QWidget *buildChat();
    void refreshHeader();
    void showOverflow(const std::optional<api::update::PromptPreview> &overflow);
    void noteStored(api::update::Severity severity, const QString &text);
    void placeColumn();
    void fitTitle();

    Workbench &m_workbench;
    WindowOptions m_options;
    QLabel *m_title = nullptr;
    QString m_fullTitle;
    QToolButton *m_model = nullptr;
    QToolButton *m_gear = nullptr;
    QStackedWidget *m_stack = nullptr;
    QWidget *m_chatSide = nullptr;
    FirstStart *m_first = nullptr;
    ChatView *m_chat = nullptr;
    QLabel *m_empty = nullptr;
    Composer *m_composer = nullptr;
    NoticeBar *m_notice = nullptr;
    NoticeBar *m_profileNotice = nullptr;
    QString m_unsaved;           // why chats are not on the disk now; empty: they are
    bool m_unsavedWords = false; // and something was written since
    NoticeBar *m_overflow = nullptr;
    QWidget *m_bottom = nullptr;
    SettingsPopover *m_settings = nullptr;
    std::vector<api::ModelFacts> m_found;
};

} // namespace kvilt::ui

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/chat/attachments.h"
#include "ui/models/workbench.h"

#include <QFrame>
#include <QTimer>

#include <map>
#include <optional>

class QPlainTextEdit;
class QToolButton;

namespace kvilt::ui {

class AttachmentBar;
class RibbonWidget;

// The message box: grows with its text up to a third of the window, Enter sends, Shift+Enter breaks the line; Send
// turns into Stop while a reply is made. Below it this chat's ribbon and what the next prompt will take of the
// context. Text files can go with the message. Drafts are kept for each chat.
class Composer : public QFrame {
    Q_OBJECT
public:
    explicit Composer(Workbench &workbench, QWidget *parent = nullptr);

    QString text() const;
    void setText(const QString &text);
    // Takes a text file into the message; a problem is told through `refused`.
    void attach(const QString &path);
    void askForFile();
    void insert(const QString &text);
    void focusText();
    std::string draft() const; // words and files, as they would be sent
    const std::optional<api::update::PromptPreview> &preview() const { return m_preview; }
    // Sends; `dropOldest` when the user agreed to it. Does nothing without text or while a reply is made.
    void send(bool dropOldest);
    void stop();

signals:
    void textWanted(int token); // of the prompt: where a cell of the ribbon begins
    void refused(const QString &sentence);
    // The draft does not fit into the context: the user has to choose before it is sent.
    void overflowChanged(const std::optional<kvilt::api::update::PromptPreview> &overflow);

protected:
    bool eventFilter(QObject *object, QEvent *event) override;
    void resizeEvent(QResizeEvent *event) override;

private:
    struct Draft {
        QString text;
        std::vector<Attachment> files;
    };

    QWidget *buildTop();
    QWidget *buildStrip();
    void connectWorkbench();
    void setFiles(std::vector<Attachment> files);
    bool takeAsFile(const QString &text);
    void textChanged();
    QString refusal() const;
    void trySend();
    void giveBack(const QString &words);
    void takeBack(const api::update::Notice &notice);
    void refreshButton();
    void refreshCount();
    void refreshPlaceholder();
    void recolour();
    void fitHeight();
    void sessionChanged(SessionId session);
    void askPreview();
    void takePreview(const api::update::PromptPreview &preview);
    void followProgress(const api::update::TurnProgress &progress);

    Workbench &m_workbench;
    QPlainTextEdit *m_edit = nullptr;
    AttachmentBar *m_bar = nullptr;
    QToolButton *m_attach = nullptr;
    QToolButton *m_button = nullptr;
    RibbonWidget *m_ribbon = nullptr;
    QTimer m_previewTimer;
    SessionId m_session;
    std::map<SessionId, Draft> m_drafts;
    std::vector<Attachment> m_files;
    std::optional<Draft> m_sent; // until the engine has it
    std::optional<api::update::PromptPreview> m_preview;
    std::optional<api::update::TurnProgress> m_progress;
    bool m_sendWhenReady = false;
};

} // namespace kvilt::ui

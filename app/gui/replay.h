// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/support/error.h"
#include "ui/widgets/main_window.h"

#include <QJsonObject>
#include <QObject>
#include <QTimer>

#include <vector>

namespace kvilt::gui {

// Plays a recording: what a user did, one JSON object a line, done in order against the real engine. That is how the
// program draws its own screenshots and how the event loop is measured under load.
//   {"send":"text"}            writes and sends; the next step waits until the reply is there
//   {"send":"text","wait":false}   goes on at once, so that the picture shows it being written
//   {"type":"text"}            only writes
//   {"new":true}               a new chat          {"open":"title"}   an earlier one
//   {"system":"text"}          this chat's system prompt      {"max_tokens":64}
//   {"page":"map|plots|events|inspector"}   {"inspect":"last"}   {"theme":"dark"}
//   {"regenerate":true}  {"models":true}  {"settings":true}  {"probe":"file.gguf"}  {"load":"file.gguf"}  {"attach":"file.txt"}
//   {"press":"Ctrl+Up"}  {"write":"text"}  {"click":"name"}  {"hover":"name","at":[x,y]}   as app/gui/replay_input.h says
//   {"hover_message":-1,"word":"blue"}   the pointer rests on a word of a message, counted from the last
//   {"wait_ms":500}            or {"wait_characters":20}: until the running reply has so many characters
// The model is waited for before the first step.
class Replay : public QObject {
    Q_OBJECT
public:
    static Result<std::vector<QJsonObject>> read(const QString &path);
    Replay(std::vector<QJsonObject> steps, ui::Workbench &workbench, ui::MainWindow &window);
    void start();

signals:
    void finished();

private:
    void advance();
    void run(const QJsonObject &step);
    void runSettings(const QJsonObject &step);
    void open(const QString &title);
    void runView(const QJsonObject &step);
    bool ready() const;

    std::vector<QJsonObject> m_steps;
    ui::Workbench &m_workbench;
    ui::MainWindow &m_window;
    std::size_t m_next = 0;
    QTimer m_timer;
    bool m_waitIdle = true;
    bool m_waitOpened = false;
    int m_waitCharacters = 0;
    int m_characters = 0;
    api::SessionSettings m_settings;
};

} // namespace kvilt::gui

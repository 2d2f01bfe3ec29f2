// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/replay.h"

#include "app/gui/replay_input.h"
#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/widgets/chat_page.h"
#include "ui/widgets/first_start.h"
#include "ui/widgets/session_list.h"
#include "ui/widgets/side_panel.h"

#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>

#include <cstdio>

namespace kvilt::gui {

namespace {
constexpr int kPollMs = 20; // between looks at whether a step's end has come
}

Result<std::vector<QJsonObject>> Replay::read(const QString &path)
{
    QFile file(path);
    if (!file.open(QIODevice::ReadOnly))
        return tl::unexpected(Error{ErrorCode::badInput, "the recording " + path.toStdString() + " cannot be read: " +
                                                             file.errorString().toStdString()});
    std::vector<QJsonObject> steps;
    int number = 0;
    while (!file.atEnd()) {
        const QByteArray line = file.readLine(1 << 20).trimmed();
        ++number;
        if (line.isEmpty() || line.startsWith('#'))
            continue;
        const QJsonDocument document = QJsonDocument::fromJson(line);
        if (!document.isObject())
            return tl::unexpected(Error{ErrorCode::badInput, "line " + std::to_string(number) + " of the recording " +
                                                                 path.toStdString() + " is not a JSON object"});
        steps.push_back(document.object());
    }
    return steps;
}

Replay::Replay(std::vector<QJsonObject> steps, ui::Workbench &workbench, ui::MainWindow &window)
    : m_steps(std::move(steps)), m_workbench(workbench), m_window(window)
{
    m_timer.setInterval(kPollMs);
    connect(&m_timer, &QTimer::timeout, this, &Replay::advance);
    connect(&workbench, &ui::Workbench::textAppended, this, [this](const api::update::TextAppended &appended) {
        m_characters += int(appended.text.size());
    });
    connect(&workbench, &ui::Workbench::sessionOpened, this, [this](const api::update::SessionOpened &opened) {
        m_waitOpened = false;
        m_settings = opened.conversation.settings;
    });
}

void Replay::start()
{
    m_waitOpened = m_workbench.session().value == 0;
    m_timer.start();
}

bool Replay::ready() const
{
    const auto phase = m_workbench.model().phase;
    const bool modelComes = phase == api::update::ModelPhase::loading ||
                            (phase == api::update::ModelPhase::none && !m_window.page().modelsShown());
    if (m_waitOpened || modelComes)
        return false;
    if (m_waitCharacters > 0)
        return m_characters >= m_waitCharacters || !m_workbench.busy(m_workbench.session());
    return !m_waitIdle || !m_workbench.busy(m_workbench.session());
}

void Replay::advance()
{
    if (!ready())
        return;
    m_timer.setInterval(kPollMs);
    m_waitIdle = true;
    m_waitCharacters = 0;
    if (m_next >= m_steps.size()) {
        m_timer.stop();
        emit finished();
        return;
    }
    run(m_steps[m_next++]);
    // What follows a step that does not wait comes at once, or after its own pause.
    if (m_next >= m_steps.size() && !m_waitIdle && m_timer.interval() == kPollMs)
        m_timer.setInterval(1);
}

void Replay::run(const QJsonObject &step)
{
    const SessionId session = m_workbench.session();
    if (step.contains(u"send")) {
        m_characters = 0;
        m_waitIdle = step.value(u"wait").toBool(true);
        m_window.page().composer().setText(step.value(u"send").toString());
        m_window.page().composer().send(false);
    } else if (step.contains(u"type")) {
        m_window.page().composer().setText(step.value(u"type").toString());
    } else if (step.contains(u"new")) {
        m_waitOpened = true;
        m_workbench.post(api::command::CreateSession{m_settings});
    } else if (step.contains(u"open")) {
        open(step.value(u"open").toString());
    } else if (step.contains(u"system") || step.contains(u"max_tokens") || step.contains(u"temperature") || step.contains(u"seed")) {
        runSettings(step);
    } else if (step.contains(u"regenerate")) {
        m_workbench.post(api::command::Regenerate{session, m_window.page().chat().lastReply()});
    } else if (step.contains(u"wait_characters")) {
        m_waitCharacters = step.value(u"wait_characters").toInt();
    } else if (step.contains(u"wait_ms")) {
        m_timer.setInterval(std::max(step.value(u"wait_ms").toInt(), 1));
        m_waitIdle = false;
    } else {
        runView(step);
    }
}

void Replay::open(const QString &title)
{
    const ui::SessionListModel &list = m_window.sessions().model();
    for (int row = 0; row < list.rowCount(); ++row) {
        const auto *found = list.session(list.index(row));
        if (!found || QString::fromStdString(found->title) != title)
            continue;
        m_waitOpened = found->id != m_workbench.session();
        m_workbench.post(api::command::OpenSession{found->id});
        return;
    }
    std::fprintf(stderr, "kvilt: the recording opens \"%s\", which is not in the list of chats\n", qPrintable(title));
}

void Replay::runSettings(const QJsonObject &step)
{
    api::SamplingSettings &sampling = m_settings.sampling;
    if (step.contains(u"system"))
        m_settings.systemPrompt = step.value(u"system").toString().toStdString();
    sampling.maxTokens = step.value(u"max_tokens").toInt(sampling.maxTokens);
    sampling.temperature = step.value(u"temperature").toDouble(sampling.temperature);
    sampling.seed = std::uint64_t(step.value(u"seed").toInteger(qint64(sampling.seed)));
    m_workbench.post(api::command::SetSessionSettings{m_workbench.session(), m_settings});
}

void Replay::runView(const QJsonObject &step)
{
    const QString page = step.value(u"page").toString();
    const QStringList pages{"map", "plots", "events", "inspector"};
    if (pages.contains(page))
        m_window.side().showPage(ui::SidePanel::Page(pages.indexOf(page)));
    if (step.contains(u"inspect")) {
        const MessageId reply = m_window.page().chat().lastReply();
        m_workbench.inspect(TurnId{reply.value});
    }
    if (step.contains(u"theme"))
        m_workbench.theme().setChoice(step.value(u"theme").toString() == u"dark" ? ui::ThemeChoice::dark
                                                                                   : ui::ThemeChoice::light);
    if (step.contains(u"models"))
        m_window.page().showModels(step.value(u"models").toBool());
    if (step.contains(u"settings"))
        m_window.page().openSettings();
    if (step.contains(u"probe")) {
        m_window.page().showModels(true);
        m_window.page().firstStart().probe(step.value(u"probe").toString());
    }
    if (step.contains(u"attach"))
        m_window.page().composer().attach(step.value(u"attach").toString());
    if (step.contains(u"load"))
        m_window.loadModel(step.value(u"load").toString());
    if (step.contains(u"hover_message")) {
        ui::ChatView &chat = m_window.page().chat();
        const int index = chat.messageCount() + step.value(u"hover_message").toInt();
        if (const auto at = chat.findWord(index, step.value(u"word").toString()))
            runInput({{"hover", chat.accessibleName()}, {"at", QJsonArray{at->x(), at->y()}}}, m_window);
    }
    runInput(step, m_window);
    m_waitIdle = false;
}

} // namespace kvilt::gui

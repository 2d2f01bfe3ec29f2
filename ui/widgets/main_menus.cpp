// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/lab/policy_view.h"
#include "ui/widgets/chat_page.h"
#include "ui/widgets/engine_dialog.h"
#include "ui/widgets/first_start.h"
#include "ui/widgets/format.h"
#include "ui/widgets/key_list.h"
#include "ui/widgets/main_window.h"
#include "ui/widgets/quota_dialog.h"
#include "ui/widgets/session_list.h"
#include "ui/widgets/side_panel.h"

#include <QActionGroup>
#include <QApplication>
#include <QDockWidget>
#include <QMenuBar>
#include <QMessageBox>

#include <utility>

namespace kvilt::ui {

QAction *MainWindow::add(QMenu *menu, const QString &text, const QKeySequence &keys, std::function<void()> run)
{
    QAction *action = menu->addAction(text);
    if (run) // an entry that ticks is heard by its tick
        connect(action, &QAction::triggered, this, std::move(run));
    action->setShortcut(keys);
    return action;
}

void MainWindow::buildMenus()
{
    buildFileMenu();
    buildEditMenu();
    buildViewMenu();
    buildSessionMenu();
    buildCacheMenu();
    buildLabMenu();
    buildHelpMenu();
}

void MainWindow::buildFileMenu()
{
    QMenu *menu = menuBar()->addMenu(tr("&File"));
    add(menu, tr("&New chat"), QKeySequence::New, [this] { newChat(); });
    add(menu, tr("&Open a GGUF file…"), QKeySequence::Open, [this] {
        m_page->showModels(true);
        m_page->firstStart().openFile();
    });
    add(menu, tr("&Models…"), QKeySequence(tr("Ctrl+M")), [this] { m_page->showModels(!m_page->modelsShown()); });
    menu->addSeparator();
    add(menu, tr("&Import a chat…"), QKeySequence(tr("Ctrl+I")), [this] { importSession(); });
    add(menu, tr("&Export this chat…"), QKeySequence(tr("Ctrl+E")), [this] { exportSession(m_workbench.session()); });
    add(menu, tr("Export cache e&vents…"), {}, [this] { exportEvents(); });
    menu->addSeparator();
    add(menu, tr("&Quit"), QKeySequence::Quit, [this] { close(); });
}

void MainWindow::buildEditMenu()
{
    QMenu *menu = menuBar()->addMenu(tr("&Edit"));
    m_undoAction = add(menu, {}, QKeySequence::Undo, [this] { undoLast(); });
    refreshUndo();
    menu->addSeparator();
    add(menu, tr("&Find a chat"), QKeySequence::Find, [this] {
        m_leftDock->show();
        m_sessions->focusSearch();
    });
    add(menu, tr("&Command…"), QKeySequence(tr("Ctrl+K")), [this] { openPalette(); });
    menu->addSeparator();
    add(menu, tr("&Edit my last message"), QKeySequence(tr("Ctrl+Up")), [this] { m_page->chat().editLastOwnMessage(); });
    add(menu, tr("Copy &selection"), QKeySequence(tr("Ctrl+Shift+C")), [this] { m_page->chat().copySelection(); });
    add(menu, tr("&Attach a text file…"), QKeySequence(tr("Ctrl+Shift+A")), [this] { m_page->composer().askForFile(); });
    add(menu, tr("&Message box"), QKeySequence(tr("Ctrl+L")), [this] { m_page->composer().focusText(); });
    add(menu, tr("C&onversation"), QKeySequence(tr("Ctrl+J")), [this] { m_page->chat().setFocus(); });
}

void MainWindow::buildViewMenu()
{
    QMenu *menu = menuBar()->addMenu(tr("&View"));
    const QString names[] = {tr("&Map"), tr("&Plots"), tr("&Events"), tr("&Inspector")};
    for (int i = 0; i < 4; ++i)
        add(menu, names[i], QKeySequence(QStringLiteral("Ctrl+%1").arg(i + 1)), [this, i] { showSide(SidePanel::Page(i)); });
    menu->addSeparator();
    QAction *left = m_leftDock->toggleViewAction();
    left->setShortcut(QKeySequence(tr("Ctrl+B")));
    menu->addAction(left);
    QAction *right = m_rightDock->toggleViewAction();
    right->setShortcut(QKeySequence(tr("Ctrl+Shift+B")));
    menu->addAction(right);
    add(menu, tr("Chats in a window of their own"), {}, [this] { m_leftDock->setFloating(!m_leftDock->isFloating()); });
    add(menu, tr("Cache in a window of its own"), {}, [this] { m_rightDock->setFloating(!m_rightDock->isFloating()); });
    add(menu, tr("&Reset layout"), {}, [this] { resetLayout(); });
    menu->addSeparator();
    auto *group = new QActionGroup(this);
    const std::pair<QString, ThemeChoice> themes[] = {
        {tr("Light or dark as the &system"), ThemeChoice::system}, {tr("&Light"), ThemeChoice::light}, {tr("&Dark"), ThemeChoice::dark}};
    for (const auto &[name, choice] : themes) {
        QAction *action = add(menu, name, {}, [this, choice = choice] { setTheme(choice); });
        action->setCheckable(true);
        action->setChecked(m_options.theme == choice);
        group->addAction(action);
    }
    QAction *motion = add(menu, tr("Reduced &motion"), {}, {});
    motion->setCheckable(true);
    motion->setChecked(m_options.reducedMotion);
    connect(motion, &QAction::toggled, this, [this](bool on) {
        m_options.reducedMotion = on;
        m_workbench.theme().setReducedMotion(on);
        emit optionsChanged(m_options);
    });
}

void MainWindow::buildSessionMenu()
{
    QMenu *menu = menuBar()->addMenu(tr("&Session"));
    add(menu, tr("&Rename"), QKeySequence(tr("Shift+F2")), [this] { m_sessions->renameCurrent(); });
    add(menu, tr("&Settings of this chat…"), QKeySequence(tr("Ctrl+,")), [this] { m_page->openSettings(); });
    menu->addSeparator();
    add(menu, tr("Re&generate the last reply"), QKeySequence(tr("Ctrl+R")), [this] {
        const MessageId reply = m_page->chat().lastReply();
        if (reply.value != 0 && !m_workbench.busy(m_workbench.session()))
            m_workbench.post(api::command::Regenerate{m_workbench.session(), reply});
    });
    add(menu, tr("&Continue the last reply"), QKeySequence(tr("Ctrl+Return")), [this] {
        const MessageId reply = m_page->chat().lastReply();
        const api::Message *last = m_page->chat().message(m_page->chat().messageCount() - 1);
        if (last && last->id == reply && !m_workbench.busy(m_workbench.session()))
            m_workbench.post(api::command::Continue{m_workbench.session(), reply});
    });
    add(menu, tr("S&top"), {}, [this] { m_page->composer().stop(); });
    menu->addSeparator();
    add(menu, tr("&Delete this chat"), {}, [this] { m_sessions->deleteSession(m_workbench.session()); });
}

void MainWindow::buildCacheMenu()
{
    QMenu *menu = menuBar()->addMenu(tr("&Cache"));
    add(menu, tr("&Pause the views"), {}, [this] { m_workbench.setPaused(!m_workbench.paused()); });
    add(menu, tr("&Why was the last turn reused as it was?"), QKeySequence(tr("Ctrl+Shift+I")), [this] { inspectLast(); });
    menu->addSeparator();
    add(menu, tr("&Drop the KV of this chat, keep the text"), {}, [this] { dropKv(); });
    add(menu, tr("&Quota on disk…"), {}, [this] { setQuota(); });
    add(menu, tr("&Engine and cache…"), QKeySequence(tr("Ctrl+Shift+E")), [this] { changeEngine(); });
    add(menu, tr("&Unload the model"), {}, [this] { m_workbench.post(api::command::UnloadModel{}); });
}

void MainWindow::buildLabMenu()
{
    QMenu *menu = menuBar()->addMenu(tr("&Lab"));
    add(menu, tr("What would another &policy have done?"), QKeySequence(tr("Ctrl+Shift+P")), [this] { comparePolicies(); });
    add(menu, tr("Why was the last turn reused as it was?"), {}, [this] { inspectLast(); });
    menu->addSeparator();
    add(menu, tr("Cache &events"), {}, [this] { showSide(SidePanel::Page::events); });
    add(menu, tr("&Plots over time"), {}, [this] { showSide(SidePanel::Page::plots); });
    add(menu, tr("E&xport cache events for a replay…"), {}, [this] { exportEvents(); });
    menu->addSeparator();
    QAction *stalls = add(menu, tr("Watch the event &loop"), {}, {});
    stalls->setCheckable(true);
    connect(stalls, &QAction::toggled, this, &MainWindow::showStalls);
}

void MainWindow::buildHelpMenu()
{
    QMenu *menu = menuBar()->addMenu(tr("&Help"));
    add(menu, tr("&Keys"), QKeySequence(Qt::Key_F1), [this] { showKeys(); });
    add(menu, tr("&About Kvilt"), {}, [this] { aboutKvilt(); });
}

void MainWindow::showSide(SidePanel::Page page)
{
    m_rightDock->show();
    m_side->showPage(page);
}

void MainWindow::inspectLast()
{
    const MessageId reply = m_page->chat().lastReply();
    if (reply.value == 0)
        return;
    m_rightDock->show();
    m_workbench.inspect(TurnId{reply.value});
}

void MainWindow::comparePolicies()
{
    if (!m_policies)
        m_policies = new PolicyView(m_workbench, this);
    m_policies->compare();
    m_policies->show();
    m_policies->raise();
}

void MainWindow::setQuota()
{
    const auto &counts = m_workbench.counts();
    QuotaDialog dialog(m_workbench.theme(), counts ? counts->quota : m_options.engine.diskQuota, counts ? counts->bytesOnDisk : 0, this);
    if (dialog.exec() != QDialog::Accepted)
        return;
    m_options.engine.diskQuota = dialog.quota();
    m_workbench.post(api::command::SetQuota{m_options.engine.diskQuota});
    emit optionsChanged(m_options);
}

void MainWindow::changeEngine()
{
    const auto &model = m_workbench.model();
    EngineDialog dialog(m_workbench.theme(), m_options.engine, m_workbench.modelReady() ? model.facts : api::ModelFacts{}, this);
    if (dialog.exec() != QDialog::Accepted)
        return;
    if (m_workbench.modelReady() && !model.facts.path.empty()) { // kept when the model runs with them, not before
        m_tried = dialog.settings();
        m_triedPath = model.facts.path;
        m_workbench.post(api::command::LoadModel{m_triedPath, *m_tried});
        return;
    }
    m_options.engine = dialog.settings();
    m_options.engineChosen = true;
    emit optionsChanged(m_options);
}

// The model runs with what was tried: it is kept. Or it does not: what was set before is loaded again, and said why.
bool MainWindow::endTrial(const api::update::ModelState &state)
{
    using api::update::ModelPhase;
    if (!m_tried || (state.phase != ModelPhase::ready && state.phase != ModelPhase::failed))
        return false;
    const api::EngineSettings tried = *std::exchange(m_tried, std::nullopt);
    if (state.phase == ModelPhase::ready) {
        m_options.engine = tried;
        m_options.engineChosen = true;
        emit optionsChanged(m_options);
        return false;
    }
    m_workbench.post(api::command::LoadModel{m_triedPath, m_options.engine});
    m_page->showNotice({api::update::Severity::warning, "settings",
                        tr("The model cannot run with these settings (%1); it is loaded again as it was. Cache, Engine and cache… "
                           "(Ctrl+Shift+E) has them.").arg(QString::fromStdString(state.problem)).toStdString()});
    return true;
}

void MainWindow::openPalette()
{
    std::vector<CommandPalette::Entry> entries;
    for (QAction *top : menuBar()->actions()) {
        for (QAction *action : top->menu()->actions()) {
            if (action->isSeparator() || !action->isEnabled())
                continue;
            const QString name = action->text().remove(QLatin1Char('&'));
            entries.push_back({name, action->shortcut().toString(QKeySequence::NativeText), [action] { action->trigger(); }});
        }
    }
    const SessionListModel &model = m_sessions->model();
    for (int row = 0; row < model.rowCount(); ++row) {
        if (const api::SessionSummary *session = model.session(model.index(row)))
            entries.push_back({tr("Open “%1”").arg(QString::fromStdString(session->title)), {},
                               [this, id = session->id] { m_workbench.post(api::command::OpenSession{id}); }});
    }
    if (!m_palette)
        m_palette = new CommandPalette(m_workbench.theme(), this);
    m_palette->open(std::move(entries));
}

void MainWindow::showKeys()
{
    if (!m_keys)
        m_keys = new KeyList(m_workbench.theme(),
                             {{tr("Enter"), tr("Send")},
                              {tr("Shift+Enter"), tr("New line")},
                              {tr("Esc"), tr("Stop the reply")},
                              {tr("Ctrl+N"), tr("New chat")},
                              {tr("Ctrl+F"), tr("Search chats")},
                              {tr("Ctrl+K"), tr("Any command")},
                              {tr("Ctrl+L"), tr("Message box")},
                              {tr("Ctrl+J"), tr("Conversation: ↑ ↓ a message")},
                              {tr("E R C P Del"), tr("on a message: edit, regenerate, continue, pin, delete")},
                              {tr("← →"), tr("on a message: branches")},
                              {tr("Ctrl+1 … 4"), tr("Map, Plots, Events, Inspector")},
                              {tr("Space"), tr("Pause the map (outside of text)")},
                              {tr("Ctrl+E"), tr("Export")},
                              {tr("Ctrl+Z"), tr("Bring back what was deleted last")},
                              {tr("Ctrl+Shift+A"), tr("Attach a text file")},
                              {tr("Ctrl+Shift+I"), tr("Why was the last turn reused as it was?")},
                              {tr("Ctrl+R"), tr("Regenerate the last reply")},
                              {tr("Ctrl+Up"), tr("Edit my last message")},
                              {tr("Ctrl+,"), tr("Settings of this chat")},
                              {tr("Ctrl+M"), tr("Models")},
                              {tr("F2, Del"), tr("on a chat: rename, delete")},
                              {tr("?"), tr("This list")}},
                             this);
    m_keys->open();
}

void MainWindow::aboutKvilt()
{
    QMessageBox box(this);
    box.setWindowTitle(tr("About Kvilt"));
    box.setTextFormat(Qt::PlainText);
    box.setText(tr("Kvilt %1").arg(QApplication::applicationVersion()));
    box.setInformativeText(tr("A workbench for local language models that shows what their KV cache does.\n"
                              "The window is free software under the GNU GPL, version 3 or later; engine, kernels and "
                              "command line under the Apache License 2.0."));
    box.exec();
}

} // namespace kvilt::ui

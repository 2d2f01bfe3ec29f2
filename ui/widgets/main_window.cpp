// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/main_window.h"

#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/widgets/chat_page.h"
#include "ui/widgets/dock_title.h"
#include "ui/widgets/export_dialog.h"
#include "ui/widgets/first_start.h"
#include "ui/widgets/format.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/notice_bar.h"
#include "ui/widgets/session_list.h"
#include "ui/widgets/side_panel.h"
#include "ui/widgets/stall_watch.h"
#include "ui/widgets/status_strip.h"
#include "ui/widgets/toast.h"

#include <QAbstractButton>
#include <QApplication>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QKeyEvent>
#include <QLabel>
#include <QLayout>
#include <QMenuBar>
#include <QMessageBox>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSettings>
#include <QStatusBar>
#include <QTimer>

namespace kvilt::ui {

namespace {
constexpr int kLeftWidth = 264;
constexpr int kRightWidth = 463;
constexpr int kLayoutVersion = 1;

// Space and ? belong to text while something is being written.
bool writesText(const QWidget *widget)
{
    return widget && (widget->inherits("QLineEdit") || widget->inherits("QPlainTextEdit") ||
                      widget->inherits("QAbstractSpinBox") || widget->inherits("QTextEdit"));
}
} // namespace

MainWindow::MainWindow(Workbench &workbench, WindowOptions options, QWidget *parent)
    : QMainWindow(parent), m_workbench(workbench), m_options(std::move(options))
{
    setWindowTitle(QStringLiteral("Kvilt"));
    setWindowIcon(QIcon(iconPixmap(QStringLiteral("kvilt"), Qt::black, 128, 1.0)));
    setAcceptDrops(true);
    setDockOptions(AllowNestedDocks | AllowTabbedDocks);
    resize(1440, 900);
    m_page = new ChatPage(workbench, m_options, this);
    setCentralWidget(m_page);
    buildDocks();
    m_status = new StatusStrip(workbench, this);
    statusBar()->addWidget(m_status, 1);
    statusBar()->setSizeGripEnabled(false);
    statusBar()->setContentsMargins(0, 0, 0, 0);
    statusBar()->layout()->setContentsMargins(0, 0, 0, 0);
    m_toast = new Toast(this);
    m_toast->setAnchor(&m_page->composer());
    m_stallWatch = new StallWatch(this);
    buildMenus();
    connectWorkbench();
    m_firstLayout = saveState(kLayoutVersion);
    restoreLayout();
    qApp->installEventFilter(this);
    m_page->composer().focusText();
}

MainWindow::~MainWindow() = default;

void MainWindow::buildDocks()
{
    m_sessions = new SessionList(m_workbench, this);
    m_side = new SidePanel(m_workbench, this);
    const auto dock = [this](const QString &title, const QString &name, auto *inside, Qt::DockWidgetArea area) {
        auto *d = new QDockWidget(title, this);
        d->setObjectName(name);
        d->setWidget(inside);
        d->setTitleBarWidget(new DockTitle(inside->header(), m_workbench.theme(), d));
        addDockWidget(area, d);
        return d;
    };
    m_leftDock = dock(tr("Chats"), QStringLiteral("chats"), m_sessions, Qt::LeftDockWidgetArea);
    m_rightDock = dock(tr("Cache"), QStringLiteral("cache"), m_side, Qt::RightDockWidgetArea);
    setCorner(Qt::BottomLeftCorner, Qt::LeftDockWidgetArea);
    setCorner(Qt::BottomRightCorner, Qt::RightDockWidgetArea);
    m_sessions->setMinimumWidth(200);
    m_side->setMinimumWidth(340);
    m_page->setMinimumWidth(420);
    resizeDocks({m_leftDock, m_rightDock}, {kLeftWidth, kRightWidth}, Qt::Horizontal);
}

void MainWindow::connectWorkbench()
{
    connect(m_sessions, &SessionList::newChatWanted, this, &MainWindow::newChat);
    connect(m_sessions, &SessionList::chosen, this, [this](SessionId session, const QString &searched) {
        if (m_page->modelsShown() && m_workbench.modelReady())
            m_page->showModels(false);
        m_page->composer().focusText();
        m_searched = searched;
        if (session == m_workbench.session())
            showSearched();
    });
    connect(m_sessions, &SessionList::exportWanted, this, &MainWindow::exportSession);
    connect(m_sessions, &SessionList::deleted, this, &MainWindow::sessionDeleted);
    connect(m_page, &ChatPage::modelChosen, this, [this](const QString &path) {
        m_chosenByUser = true;
        loadModel(path);
    });
    connect(m_page, &ChatPage::unloadWanted, this, [this] { m_workbench.post(api::command::UnloadModel{}); });
    connect(m_page, &ChatPage::usedForNewChats, this, [this](const api::SessionSettings &settings) {
        m_options.newSession = settings;
        emit optionsChanged(m_options);
        m_toast->say(tr("New chats start with these settings."));
    });
    connect(&m_page->chat(), &ChatView::messageDeleted, this, [this](MessageId message) {
        const SessionId session = m_workbench.session();
        offerUndo(tr("Message deleted."), [this, session, message] {
            m_workbench.post(api::command::UndoDeleteMessage{session, message});
        });
    });
    connect(&m_workbench, &Workbench::inspectorWanted, m_rightDock, &QDockWidget::show);
    connect(&m_workbench, &Workbench::mapWanted, m_rightDock, &QDockWidget::show);
    connect(&m_workbench, &Workbench::exported, this,
            [this](const QString &path) { m_toast->say(tr("Written to %1").arg(path)); });
    connect(&m_workbench, &Workbench::noticed, this, [this](const api::update::Notice &notice) {
        if (notice.place == "export" && notice.severity != api::update::Severity::error)
            m_toast->say(QString::fromStdString(notice.text));
    });
    connect(&m_workbench, &Workbench::modelChanged, this, [this](const api::update::ModelState &state) {
        using api::update::ModelPhase;
        if (endTrial(state))
            return;
        if (state.phase == ModelPhase::ready && m_chosenByUser) {
            m_chosenByUser = false;
            m_options.model = state.facts.path;
            emit optionsChanged(m_options);
        }
        if (state.phase == ModelPhase::ready && m_page->modelsShown())
            m_page->showModels(false);
        if (state.phase == ModelPhase::failed || (state.phase == ModelPhase::none && m_begun && m_options.model.empty()))
            m_page->showModels(true);
        if (state.phase == ModelPhase::failed)
            m_page->firstStart().notices().showNotice(api::update::Severity::error, QString::fromStdString(state.problem));
    });
    connect(&m_workbench, &Workbench::sessionClosed, this, [this](SessionId session) {
        sessionGone(session);
        if (session == m_workbench.session())
            m_workbench.post(api::command::OpenLastSession{});
    });
    connect(&m_workbench, &Workbench::sessionOpened, this, [this](const api::update::SessionOpened &opened) {
        const QString title = QString::fromStdString(opened.conversation.title);
        setWindowTitle(title.isEmpty() ? QStringLiteral("Kvilt") : title + QStringLiteral(" – Kvilt"));
        showSearched();
    });
}

// A chat that was found by its words opens where they stand.
void MainWindow::showSearched()
{
    const QString words = std::exchange(m_searched, {});
    if (!words.isEmpty() && !m_page->chat().reveal(words))
        m_toast->say(tr("These words stand on another branch of this chat, or in its title."));
}

void MainWindow::begin()
{
    m_begun = true;
    m_workbench.post(api::command::OpenLastSession{});
    m_workbench.post(api::command::ListSessions{});
    if (m_options.model.empty())
        m_page->showModels(true);
    else
        loadModel(QString::fromStdString(m_options.model));
    for (const QString &notice : m_options.notices)
        m_page->showNotice({api::update::Severity::warning, "settings", notice.toStdString()});
    QTimer::singleShot(0, this, [this] { m_side->showPage(m_side->page()); }); // what was posted is on its way first
}

void MainWindow::loadModel(const QString &path)
{
    m_workbench.post(api::command::LoadModel{path.toStdString(), m_options.engine});
}

// The first frame is what the user waits for: only after it the views of the cache are built and the model is read.
bool MainWindow::event(QEvent *event)
{
    const bool result = QMainWindow::event(event);
    if (event->type() == QEvent::UpdateRequest && !m_painted && isVisible()) {
        m_painted = true;
        emit firstFramePainted();
        if (!m_begun)
            QMetaObject::invokeMethod(this, &MainWindow::begin, Qt::QueuedConnection);
    }
    return result;
}

bool MainWindow::eventFilter(QObject *object, QEvent *event)
{
    if (event->type() != QEvent::KeyPress || QApplication::activePopupWidget() || QApplication::activeModalWidget())
        return QMainWindow::eventFilter(object, event);
    const QWidget *focus = QApplication::focusWidget();
    if (object != focus || !focus || focus->window() != this)
        return QMainWindow::eventFilter(object, event);
    const auto *key = static_cast<QKeyEvent *>(event);
    if (key->key() == Qt::Key_Escape && m_workbench.busy(m_workbench.session())) {
        m_page->composer().stop();
        return true;
    }
    if (key->key() == Qt::Key_Escape && m_page->modelsShown() && m_workbench.modelReady()) {
        m_page->showModels(false);
        return true;
    }
    if ((key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter) && focus->inherits("QPushButton")) {
        static_cast<QAbstractButton *>(QApplication::focusWidget())->click(); // Qt does it in dialogs only
        return true;
    }
    const bool plain = !(key->modifiers() & (Qt::ControlModifier | Qt::AltModifier | Qt::MetaModifier));
    if (!plain || writesText(focus))
        return QMainWindow::eventFilter(object, event);
    if (key->key() == Qt::Key_Question) {
        showKeys();
        return true;
    }
    const bool button = focus->inherits("QAbstractButton");
    if (key->key() == Qt::Key_Space && !button) {
        m_workbench.setPaused(!m_workbench.paused());
        return true;
    }
    return QMainWindow::eventFilter(object, event);
}

void MainWindow::newChat()
{
    // One that is still untouched is the new chat that was asked for.
    const bool untouched = m_workbench.session().value != 0 && m_workbench.liveBranch().messages().empty() &&
                           !m_workbench.busy(m_workbench.session()) && m_page->composer().draft().empty();
    if (!untouched)
        m_workbench.post(api::command::CreateSession{m_options.newSession});
    if (m_workbench.modelReady())
        m_page->showModels(false);
    m_page->composer().focusText();
}

void MainWindow::exportSession(SessionId session)
{
    const api::SessionSummary *summary = m_sessions->model().session(m_sessions->model().indexOf(session));
    const QString title = summary ? QString::fromStdString(summary->title) : m_workbench.sessionTitle();
    ExportDialog dialog(m_workbench.theme(), title, summary ? summary->kvBytes : 0, this);
    if (dialog.exec() != QDialog::Accepted)
        return;
    const auto format = dialog.format();
    QString path = QFileDialog::getSaveFileName(this, tr("Export chat"), ExportDialog::fileName(title, format));
    if (path.isEmpty())
        return;
    if (QFileInfo(path).suffix().isEmpty())
        path += ExportDialog::suffix(format);
    m_workbench.post(api::command::ExportSession{session, path.toStdString(), format, dialog.withKv()});
}

void MainWindow::importSession()
{
    const QString path = QFileDialog::getOpenFileName(this, tr("Import a chat"), {},
                                                      tr("Chats (*.kvilt *.json);;All files (*)"));
    if (!path.isEmpty())
        m_workbench.post(api::command::ImportSession{path.toStdString()});
}

void MainWindow::exportEvents()
{
    const QString path = QFileDialog::getSaveFileName(
        this, tr("Export cache events"), QStringLiteral("events.jsonl"),
        tr("JSON lines (*.jsonl);;JSON (*.json);;Perfetto trace (*.pftrace);;SQLite (*.sqlite)"));
    if (path.isEmpty())
        return;
    const QString suffix = QFileInfo(path).suffix().toLower();
    const char *format = suffix == u"pftrace" || suffix == u"perfetto" ? "perfetto"
                         : suffix == u"sqlite" || suffix == u"db"      ? "sqlite"
                         : suffix == u"json"                           ? "json"
                                                                       : "jsonl";
    m_workbench.post(api::command::ExportEvents{path.toStdString(), format, {}});
}

void MainWindow::sessionDeleted(SessionId session, const QString &title)
{
    m_deleting[session] = title;
}

// Only now is it true.
void MainWindow::sessionGone(SessionId session)
{
    const auto deleted = m_deleting.find(session);
    if (deleted == m_deleting.end())
        return;
    const QString title = deleted->second;
    m_deleting.erase(deleted);
    offerUndo(title.isEmpty() ? tr("Chat deleted.") : tr("“%1” deleted.").arg(title), [this, session] {
        m_workbench.post(api::command::UndoDelete{session});
        m_workbench.post(api::command::OpenSession{session});
        m_sessions->refresh();
    });
}

// The toast goes by itself; Ctrl+Z brings back what was deleted, the last first, for as long as the program runs.
void MainWindow::offerUndo(const QString &what, std::function<void()> undo)
{
    m_undo.push_back({what, std::move(undo)});
    const std::size_t size = m_undo.size();
    refreshUndo();
    m_toast->say(what, tr("Undo"), [this, size] {
        if (m_undo.size() == size)
            undoLast();
    });
}

void MainWindow::undoLast()
{
    if (m_undo.empty())
        return;
    const auto undo = std::move(m_undo.back().second);
    m_undo.pop_back();
    refreshUndo();
    m_toast->hide();
    undo();
}

void MainWindow::refreshUndo()
{
    m_undoAction->setEnabled(!m_undo.empty());
    m_undoAction->setText(m_undo.empty() ? tr("&Undo deleting") : tr("&Undo: %1").arg(m_undo.back().first));
}

void MainWindow::dropKv()
{
    m_workbench.post(api::command::DropKv{m_workbench.session()});
    m_sessions->refresh(); // what became of it is said in the chat
}

void MainWindow::setTheme(ThemeChoice choice)
{
    m_options.theme = choice;
    m_workbench.theme().setChoice(choice);
    emit optionsChanged(m_options);
}

void MainWindow::restoreLayout()
{
    if (m_options.layoutFile.isEmpty())
        return;
    const QSettings file(m_options.layoutFile, QSettings::IniFormat);
    const QByteArray geometry = file.value(QStringLiteral("geometry")).toByteArray();
    if (!geometry.isEmpty())
        restoreGeometry(geometry);
    const QByteArray state = file.value(QStringLiteral("docks")).toByteArray();
    if (!state.isEmpty())
        restoreState(state, kLayoutVersion);
}

void MainWindow::saveLayout()
{
    if (m_options.layoutFile.isEmpty())
        return;
    QSettings file(m_options.layoutFile, QSettings::IniFormat);
    file.setValue(QStringLiteral("geometry"), saveGeometry());
    file.setValue(QStringLiteral("docks"), saveState(kLayoutVersion));
}

void MainWindow::resetLayout()
{
    restoreState(m_firstLayout, kLayoutVersion);
    for (QDockWidget *dock : {m_leftDock, m_rightDock}) {
        dock->setFloating(false);
        dock->show();
    }
    resizeDocks({m_leftDock, m_rightDock}, {kLeftWidth, kRightWidth}, Qt::Horizontal);
    m_side->showPage(SidePanel::Page::map);
}

// Nothing is asked twice, but this once: what was written would be gone.
bool MainWindow::mayClose()
{
    const QString why = m_page->unsavedWords();
    if (why.isEmpty())
        return true;
    QMessageBox box(this);
    box.setWindowTitle(tr("Chats are not stored"));
    box.setTextFormat(Qt::PlainText);
    box.setText(tr("What you wrote in this window is not on the disk."));
    box.setInformativeText(why);
    QPushButton *stay = box.addButton(tr("Keep the window open"), QMessageBox::RejectRole);
    const QAbstractButton *leave = box.addButton(tr("Close and lose it"), QMessageBox::DestructiveRole);
    box.setDefaultButton(stay);
    box.exec();
    return box.clickedButton() == leave;
}

void MainWindow::closeEvent(QCloseEvent *event)
{
    if (!mayClose()) {
        event->ignore();
        return;
    }
    saveLayout();
    QMainWindow::closeEvent(event);
}

void MainWindow::dragEnterEvent(QDragEnterEvent *event)
{
    const QList<QUrl> urls = event->mimeData()->urls();
    if (urls.isEmpty() ? event->mimeData()->hasText() : urls.first().isLocalFile())
        event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent *event)
{
    const QString path = event->mimeData()->urls().value(0).toLocalFile();
    const auto is = [&](const char *suffix) { return path.endsWith(QLatin1String(suffix), Qt::CaseInsensitive); };
    if (path.isEmpty()) {
        if (event->mimeData()->hasText())
            m_page->composer().insert(event->mimeData()->text());
    } else if (is(".gguf")) {
        m_page->showModels(true);
        m_page->firstStart().probe(path);
    } else if (is(".kvilt") || is(".json")) {
        m_workbench.post(api::command::ImportSession{path.toStdString()});
    } else {
        m_page->composer().attach(path);
    }
}

void MainWindow::showStalls(bool show)
{
    if (!show) {
        m_stallWatch->stop();
        m_status->setStallText({});
        return;
    }
    m_stallWatch->start();
    auto *ticker = new QTimer(m_stallWatch);
    connect(ticker, &QTimer::timeout, this, [this] {
        m_status->setStallText(tr("%1, longest %2 ms")
                                   .arg(count(m_stallWatch->stalls(), tr("stall"), tr("stalls")))
                                   .arg(m_stallWatch->longestMs(), 0, 'f', 1));
    });
    ticker->start(500);
}

} // namespace kvilt::ui

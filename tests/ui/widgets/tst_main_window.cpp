// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "tests/ui/support/scripted_port.h"
#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/lab/policy_view.h"
#include "ui/widgets/chat_page.h"
#include "ui/widgets/command_palette.h"
#include "ui/widgets/engine_dialog.h"
#include "ui/widgets/export_dialog.h"
#include "ui/widgets/first_start.h"
#include "ui/widgets/main_window.h"
#include "ui/widgets/notice_bar.h"
#include "ui/widgets/quota_dialog.h"
#include "ui/widgets/session_list.h"
#include "ui/widgets/settings_popover.h"
#include "ui/widgets/side_panel.h"

#include <QAbstractButton>
#include <QAbstractItemView>
#include <QAbstractSpinBox>
#include <QAction>
#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QDockWidget>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QListView>
#include <QMenu>
#include <QMimeData>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTemporaryDir>
#include <QTest>
#include <QTimer>

#include <algorithm>

using namespace kvilt;
using namespace kvilt::ui;
using api::Role;
using test::message;

namespace {

struct Stage {
    test::ScriptedPort port;
    Theme theme;
    Workbench workbench{port, theme};
    MainWindow window;

    explicit Stage(WindowOptions options = withModel()) : window(workbench, std::move(options))
    {
        window.show();
        const bool begun = QTest::qWaitForWindowExposed(&window) &&
                           QTest::qWaitFor([&] { return !port.asked<api::command::OpenLastSession>().empty(); });
        if (!begun)
            qFatal("the window did not begin");
        say(test::readyModel());
        say(test::opened(1, {message(1, 0, Role::user, "Hi"), message(2, 1, Role::assistant, "Hello")}));
    }
    static WindowOptions withModel()
    {
        WindowOptions options;
        options.model = "/models/tiny.gguf";
        return options;
    }
    void say(api::Update update)
    {
        port.say(std::move(update));
        workbench.pull();
    }
    QPlainTextEdit *box() { return window.page().composer().findChild<QPlainTextEdit *>(); }
};

} // namespace

class MainWindowTest : public QObject {
    Q_OBJECT
private slots:
    void beginsAfterTheFirstFrame()
    {
        Stage stage;
        QCOMPARE(stage.port.asked<api::command::OpenLastSession>().size(), 1u);
        QCOMPARE(stage.port.asked<api::command::LoadModel>().at(0).path, "/models/tiny.gguf");
        QVERIFY(!stage.window.page().modelsShown());
        QVERIFY(stage.box()->hasFocus());
    }

    void withoutAModelItAsksForOneAndNothingElse()
    {
        Stage stage{WindowOptions{}};
        QVERIFY(stage.port.asked<api::command::LoadModel>().empty());
        QCOMPARE(stage.port.asked<api::command::ScanModels>().size(), 1u);
        QVERIFY(!QApplication::activeModalWidget());
    }

    // Who starts from the desktop reads no standard error.
    void whatIsWrongWithTheProfileIsSaidOnEveryPage()
    {
        WindowOptions options;
        options.notices = QStringList{"The settings file s is not a JSON object; the defaults are used."};
        Stage stage{options};
        const auto saidOn = [](QWidget &page) {
            QStringList said;
            for (NoticeBar *bar : page.findChildren<NoticeBar *>())
                said << bar->text();
            return said.join(QLatin1Char('|'));
        };
        stage.window.page().showModels(true);
        QVERIFY(saidOn(stage.window.page().firstStart()).contains("not a JSON object"));
        stage.say(api::update::Notice{api::update::Severity::warning, "storage", "Another Kvilt uses this profile."});
        const QString welcome = saidOn(stage.window.page().firstStart());
        QVERIFY2(welcome.contains("not a JSON object") && welcome.contains("Another Kvilt"), qPrintable(welcome));
        stage.window.page().showModels(false);
        const QString chat = saidOn(stage.window.page());
        QVERIFY2(chat.contains("not a JSON object") && chat.contains("Another Kvilt"), qPrintable(chat));
        stage.say(test::opened(2, {})); // it holds in every chat
        QCOMPARE(saidOn(stage.window.page()), chat);
    }

    void aNoticeBeforeThePageIsThereIsSaidThereToo()
    {
        Stage stage;
        stage.say(api::update::Notice{api::update::Severity::warning, "storage", "Another Kvilt uses this profile."});
        stage.window.page().showModels(true);
        QCOMPARE(stage.window.page().firstStart().notices().text(), "Another Kvilt uses this profile.");
    }

    // Whatever the keyboard can reach says what it is.
    void everyControlHasAnAccessibleName()
    {
        Stage stage;
        stage.window.page().firstStart();
        stage.window.page().openSettings();
        for (int page = 0; page < 4; ++page)
            stage.window.side().showPage(SidePanel::Page(page));
        QCoreApplication::processEvents();
        EngineDialog engine(stage.theme, {}, test::readyModel().facts, &stage.window);
        ExportDialog exported(stage.theme, "Title", 1 << 20, &stage.window);
        QuotaDialog quota(stage.theme, 1 << 30, 1 << 20, &stage.window);
        PolicyView policies(stage.workbench, &stage.window);
        CommandPalette palette(stage.theme, &stage.window);
        NoticeBar notice(stage.theme, &stage.window);
        notice.showNotice(api::update::Severity::info, "Something", {{"Do it", [] {}}});
        QStringList nameless;
        int reachable = 0;
        for (QWidget *widget : stage.window.findChildren<QWidget *>()) {
            // Parts of Qt's own controls are named by the control that holds them; a menu bar by its menus.
            const bool part = widget->objectName().startsWith("qt_") || qobject_cast<QAbstractSpinBox *>(widget->parent()) ||
                              qobject_cast<QComboBox *>(widget->parent()) || widget->inherits("QComboBoxPrivateContainer") ||
                              widget->inherits("QComboBoxListView") || widget->inherits("QTableCornerButton") ||
                              widget->inherits("QHeaderView") || widget->inherits("QLineEditIconButton") ||
                              widget->inherits("QMenuBar") || widget->inherits("QMenu") || widget->inherits("QScrollBar");
            const bool control = (widget->focusPolicy() & Qt::TabFocus) || qobject_cast<QAbstractButton *>(widget);
            if (!control || part)
                continue;
            ++reachable;
            const auto *button = qobject_cast<QAbstractButton *>(widget);
            if (widget->accessibleName().isEmpty() && !(button && !button->text().isEmpty()))
                nameless << QStringLiteral("%1 %2 in %3").arg(widget->metaObject()->className(), widget->objectName(),
                                                             widget->parent()->metaObject()->className());
        }
        QApplication::activePopupWidget()->close();
        QVERIFY2(nameless.isEmpty(), qPrintable(nameless.join(", ")));
        QVERIFY2(reachable > 60, qPrintable(QString::number(reachable))); // the walk saw the window
    }

    void aChoiceStandsInTheWayOfTheKeyboard()
    {
        Stage stage;
        stage.say(api::update::MessageAdded{SessionId{1}, message(3, 2, Role::user, "It waits for its answer.")});
        stage.say(api::update::PromptPreview{.session = SessionId{1}, .promptTokens = 499, .contextTokens = 512,
                                             .replyReserve = 90, .overflows = true, .dropMessages = 4, .dropTokens = 172,
                                             .recomputeTokens = 323, .recomputeSeconds = 1.07});
        QString said;
        for (NoticeBar *bar : stage.window.page().findChildren<NoticeBar *>())
            said += bar->text();
        QVERIFY2(said.contains("The chat needs 589 of 512 tokens, 90 of them for the reply."), qPrintable(said));
        QVERIFY(said.contains(QStringLiteral("about 1.07\u00a0s.")));
        QTest::keyClick(stage.box(), Qt::Key_Backtab);
        const auto *choice = qobject_cast<QAbstractButton *>(QApplication::focusWidget());
        QVERIFY(choice);
        QCOMPARE(choice->text(), "Do not send");
        QTest::keyClick(QApplication::focusWidget(), Qt::Key_Backtab);
        QCOMPARE(qobject_cast<QAbstractButton *>(QApplication::focusWidget())->text(), "Drop and send");
    }

    void aSpeedThatNobodyMeasuredIsNotNought()
    {
        Stage stage;
        QTest::keyClicks(stage.box(), "more");
        stage.say(api::update::PromptPreview{.session = SessionId{1}, .promptTokens = 499, .contextTokens = 512,
                                             .replyReserve = 90, .overflows = true, .dropMessages = 4, .dropTokens = 172,
                                             .recomputeTokens = 323, .recomputeSeconds = 0});
        QString said;
        for (NoticeBar *bar : stage.window.page().findChildren<NoticeBar *>())
            said += bar->text();
        QVERIFY2(said.contains("What follows is computed again: 323 tokens."), qPrintable(said));
    }

    // Qt paints the words of an empty box anew only when they come or go.
    void theBoxSaysWhenTheModelIsReady()
    {
        Stage stage;
        api::update::ModelState loading = test::readyModel();
        loading.phase = api::update::ModelPhase::loading;
        stage.say(loading);
        QCOMPARE(stage.box()->placeholderText(), "The model is loading; write already");
        QTest::qWait(50);
        struct Painted : QObject {
            int count = 0;
            bool eventFilter(QObject *, QEvent *event) override { return count += event->type() == QEvent::Paint, false; }
        } painted;
        stage.box()->viewport()->installEventFilter(&painted);
        stage.say(test::readyModel());
        QCOMPARE(stage.box()->placeholderText(), "Ask anything");
        QTRY_VERIFY(painted.count > 0);
    }

    void nothingIsTakenFromTheBoxThatNoModelCanAnswer()
    {
        Stage stage;
        api::update::ModelState base = test::readyModel();
        base.facts.chatTemplate = false;
        for (const auto &[state, why] : {std::pair{base, "no chat template"}, std::pair{api::update::ModelState{}, "Choose a model first"}}) {
            stage.say(state);
            stage.window.page().showModels(false);
            stage.box()->setPlainText("a question");
            QAbstractButton *send = nullptr;
            for (auto *button : stage.window.page().composer().findChildren<QAbstractButton *>())
                send = button->accessibleName() == "Send" ? button : send;
            QVERIFY(send && !send->isEnabled());
            QTest::keyClick(stage.box(), Qt::Key_Return);
            QVERIFY(stage.port.asked<api::command::Send>().empty());
            QCOMPARE(stage.box()->toPlainText(), "a question");
            QString said;
            for (NoticeBar *bar : stage.window.page().findChildren<NoticeBar *>())
                said += bar->text();
            QVERIFY2(said.contains(why), qPrintable(said));
        }
        stage.say(test::readyModel());
        QTest::keyClick(stage.box(), Qt::Key_Return);
        QCOMPARE(stage.port.asked<api::command::Send>().at(0).text, "a question");
    }

    // A clipboard without any format, as it is until something is copied.
    void pastingNothingDoesNothing()
    {
        Stage stage;
        struct Empty : QMimeData {
            QStringList formats() const override { return {}; }
            bool hasFormat(const QString &) const override { return false; }
        };
        const auto paste = [](QPlainTextEdit *edit) {
            QGuiApplication::clipboard()->setMimeData(new Empty);
            edit->setPlainText("kept");
            edit->paste();
            return edit->toPlainText();
        };
        QCOMPARE(paste(stage.box()), "kept");
        stage.window.page().chat().editLastOwnMessage();
        auto *editor = stage.window.page().chat().findChild<QPlainTextEdit *>();
        QVERIFY(editor);
        QCOMPARE(paste(editor), "kept");
        stage.window.page().openSettings();
        auto *prompt = QApplication::activePopupWidget()->findChild<QPlainTextEdit *>();
        QVERIFY(prompt);
        QCOMPARE(paste(prompt), "kept");
        QGuiApplication::clipboard()->setText("words");
        prompt->paste();
        QCOMPARE(prompt->toPlainText().count("words"), 1);
        QApplication::activePopupWidget()->close();
    }

    void whatIsNotStoredStandsFirstUntilItIs()
    {
        using api::update::Severity;
        Stage stage;
        const auto said = [&] {
            for (NoticeBar *bar : stage.window.page().findChildren<NoticeBar *>())
                if (!bar->text().isEmpty())
                    return bar->text();
            return QString();
        };
        stage.say(api::update::Notice{Severity::warning, "storage", "The settings are not saved."});
        stage.say(api::update::Notice{Severity::error, "storage:chats", "The disk is full."});
        stage.say(api::update::Notice{Severity::warning, "storage", "Cache events are not recorded."});
        QCOMPARE(said(), "The disk is full.\nThe settings are not saved.\nCache events are not recorded.");
        QVERIFY(stage.window.page().unsavedWords().isEmpty()); // nothing was written yet
        stage.say(api::update::MessageAdded{SessionId{1}, message(3, 2, Role::user, "Lost?")});
        QCOMPARE(stage.window.page().unsavedWords(), "The disk is full.");
        stage.say(api::update::Notice{Severity::warning, "storage:chats", "Chats are stored on the disk again."});
        QVERIFY(!said().contains("The disk is full."));
        QVERIFY(stage.window.page().unsavedWords().isEmpty());
    }

    void settingsThatCannotRunAreNotKept()
    {
        Stage stage;
        api::ModelFacts facts = test::readyModel().facts;
        facts.contextLength = 8192;
        EngineDialog dialog(stage.theme, {}, facts);
        auto *context = dialog.findChildren<QSpinBox *>().at(1);
        context->setValue(100'000);
        QCOMPARE(context->value(), 8192); // the model has no more

        QSignalSpy kept(&stage.window, &MainWindow::optionsChanged);
        const auto loads = [&] { return stage.port.asked<api::command::LoadModel>(); };
        const auto before = loads().size();
        QTimer::singleShot(0, &stage.window, [] {
            auto *open = qobject_cast<EngineDialog *>(QApplication::activeModalWidget());
            open->findChildren<QSpinBox *>().at(0)->setValue(3);
            open->accept();
        });
        for (QAction *action : stage.window.findChildren<QAction *>())
            if (action->shortcut() == QKeySequence("Ctrl+Shift+E"))
                action->trigger();
        QCOMPARE(loads().size(), before + 1);
        QCOMPARE(loads().back().settings.threads, 3);
        QCOMPARE(kept.size(), 0);
        api::update::ModelState failed = test::readyModel();
        failed.phase = api::update::ModelPhase::failed;
        failed.problem = "no room";
        stage.say(failed);
        QCOMPARE(loads().size(), before + 2); // as it was
        QCOMPARE(loads().back().settings.threads, 0);
        QCOMPARE(kept.size(), 0);
        QVERIFY(!stage.window.page().modelsShown());
    }

    void everyEntryThatTicksCanBeTicked()
    {
        Stage stage;
        int ticking = 0;
        for (QAction *action : stage.window.findChildren<QAction *>()) {
            const QList<QObject *> places = action->associatedObjects();
            const bool ofMenu = std::any_of(places.begin(), places.end(), [](QObject *o) { return qobject_cast<QMenu *>(o); });
            if (!action->isCheckable() || !ofMenu || action->actionGroup())
                continue;
            const bool before = action->isChecked();
            action->trigger();
            QCOMPARE(action->isChecked(), !before);
            action->trigger();
            QCOMPARE(action->isChecked(), before);
            ++ticking;
        }
        QVERIFY(ticking >= 2); // reduced motion, the watch of the event loop
    }

    void theQuotaSaysWhatGoes()
    {
        Theme theme;
        QuotaDialog dialog(theme, 2ull << 30, 3ull << 28); // 2 GiB, 0.75 GiB used
        QCOMPARE(dialog.quota(), 2ull << 30);
        auto *box = dialog.findChild<QDoubleSpinBox *>();
        box->setValue(0.25);
        QCOMPARE(dialog.quota(), 1ull << 28);
        QStringList said;
        for (const QLabel *label : dialog.findChildren<QLabel *>())
            said << label->text();
        QVERIFY2(said.join('|').contains("768 MiB are used: the least recently used 512 MiB go"), qPrintable(said.join('|')));
    }

    void enterSendsAndShiftEnterBreaksTheLine()
    {
        Stage stage;
        QTest::keyClicks(stage.box(), "one");
        QTest::keyClick(stage.box(), Qt::Key_Return, Qt::ShiftModifier);
        QTest::keyClicks(stage.box(), "two");
        QVERIFY(stage.port.asked<api::command::Send>().empty());
        QTest::keyClick(stage.box(), Qt::Key_Return);
        QCOMPARE(stage.port.asked<api::command::Send>().at(0).text, "one\ntwo");
        QVERIFY(stage.box()->toPlainText().isEmpty());
    }

    void sendBecomesStopAndEscStops()
    {
        Stage stage;
        QTest::keyClicks(stage.box(), "go");
        QTest::keyClick(stage.box(), Qt::Key_Return);
        const auto buttons = stage.window.page().composer().findChildren<QAbstractButton *>();
        const auto found = std::find_if(buttons.begin(), buttons.end(),
                                        [](const auto *b) { return b->accessibleName() == QStringLiteral("Stop"); });
        QVERIFY(found != buttons.end());
        auto *button = *found;
        QTest::keyClicks(stage.box(), "next");
        QTest::keyClick(stage.box(), Qt::Key_Return); // cannot send yet
        QCOMPARE(stage.port.asked<api::command::Send>().size(), 1u);
        QTest::keyClick(stage.box(), Qt::Key_Escape);
        QCOMPARE(stage.port.asked<api::command::Stop>().size(), 1u);
        stage.say(api::update::TurnFinished{SessionId{1}, message(4, 3, Role::assistant, "done")});
        QCOMPARE(button->accessibleName(), "Send");
    }

    void aFullContextAsksBeforeSending()
    {
        Stage stage;
        QTest::keyClicks(stage.box(), "long");
        QTRY_VERIFY(!stage.port.asked<api::command::PreviewPrompt>().empty());
        api::update::PromptPreview preview;
        preview.session = SessionId{1};
        preview.promptTokens = 8200;
        preview.contextTokens = 8192;
        preview.overflows = true;
        preview.dropMessages = 3;
        preview.dropTokens = 2300;
        stage.say(preview);
        QTest::keyClick(stage.box(), Qt::Key_Return);
        QVERIFY(stage.port.asked<api::command::Send>().empty());
        QAbstractButton *drop = nullptr;
        for (auto *button : stage.window.page().findChildren<QAbstractButton *>())
            drop = button->text() == "Drop and send" ? button : drop;
        QVERIFY(drop);
        QTRY_VERIFY(drop->isVisible());
        drop->click();
        QVERIFY(stage.port.asked<api::command::Send>().at(0).dropOldest);
    }

    void draftsBelongToTheirChat()
    {
        Stage stage;
        QTest::keyClicks(stage.box(), "unfinished");
        stage.say(test::opened(2, {}));
        QVERIFY(stage.box()->toPlainText().isEmpty());
        stage.say(test::opened(1, {}));
        QCOMPARE(stage.box()->toPlainText(), "unfinished");
    }

    void aNewChatThatNobodyTouchedIsNotMadeTwice()
    {
        Stage stage;
        stage.say(test::opened(2, {}));
        QTest::keyClick(stage.box(), Qt::Key_N, Qt::ControlModifier);
        QCOMPARE(stage.port.asked<api::command::CreateSession>().size(), 0u);
        QTest::keyClicks(stage.box(), "a draft");
        QTest::keyClick(stage.box(), Qt::Key_N, Qt::ControlModifier);
        QCOMPARE(stage.port.asked<api::command::CreateSession>().size(), 1u);
    }

    void theKeysOfTheWindow()
    {
        Stage stage;
        QTest::keyClick(stage.box(), Qt::Key_N, Qt::ControlModifier);
        QCOMPARE(stage.port.asked<api::command::CreateSession>().size(), 1u);
        QTest::keyClick(stage.box(), Qt::Key_3, Qt::ControlModifier);
        QCOMPARE(stage.window.side().page(), SidePanel::Page::events);
        QTest::keyClick(stage.box(), Qt::Key_F, Qt::ControlModifier);
        QVERIFY(stage.window.focusWidget()->inherits("QLineEdit"));
        QTest::keyClick(stage.window.focusWidget(), Qt::Key_K, Qt::ControlModifier);
        QVERIFY(qobject_cast<CommandPalette *>(QApplication::activePopupWidget()));
        QApplication::activePopupWidget()->close();
    }

    void spacePausesTheMapOutsideOfText()
    {
        Stage stage;
        QTest::keyClick(stage.box(), Qt::Key_Space);
        QVERIFY(!stage.workbench.paused());
        stage.window.page().chat().setFocus();
        QTest::keyClick(&stage.window.page().chat(), Qt::Key_Space);
        QVERIFY(stage.workbench.paused());
    }

    void deletingAChatCanBeUndone()
    {
        Stage stage;
        stage.window.sessions().deleteSession(SessionId{1});
        QCOMPARE(stage.port.asked<api::command::DeleteSession>().size(), 1u);
        stage.say(api::update::SessionClosed{SessionId{1}});
        for (auto *button : stage.window.findChildren<QAbstractButton *>())
            if (button->text() == "Undo")
                button->click();
        QCOMPARE(stage.port.asked<api::command::UndoDelete>().at(0).session, SessionId{1});
    }

    void whatWasDeletedComesBackByKey()
    {
        Stage stage;
        const auto undoOf = [](const QList<QAction *> &actions) {
            return *std::find_if(actions.begin(), actions.end(), [](const QAction *a) { return a->shortcut() == QKeySequence::Undo; });
        };
        QAction *undo = undoOf(stage.window.findChildren<QAction *>());
        stage.window.sessions().deleteSession(SessionId{1});
        QVERIFY(!undo->isEnabled()); // asked for, but not true yet
        stage.say(api::update::SessionClosed{SessionId{1}});
        stage.window.sessions().deleteSession(SessionId{2});
        stage.say(api::update::SessionClosed{SessionId{2}});
        undo->trigger();
        undo->trigger();
        const auto undone = stage.port.asked<api::command::UndoDelete>();
        QCOMPARE(undone.size(), 2u);
        QCOMPARE(undone[0].session, SessionId{2}); // the last first
        QCOMPARE(undone[1].session, SessionId{1});
        QVERIFY(!undo->isEnabled());
    }

    void aLongPasteGoesAlongAsAFile()
    {
        Stage stage;
        Composer &composer = stage.window.page().composer();
        composer.insert(QString(20'000, QLatin1Char('a')));
        QVERIFY(composer.text().isEmpty());
        composer.insert(QStringLiteral("What is this?"));
        QTest::keyClick(stage.box(), Qt::Key_Return);
        const auto sent = stage.port.asked<api::command::Send>();
        QCOMPARE(sent.size(), 1u);
        QVERIFY(sent[0].text.starts_with("What is this?\n\n<file name=\""));
        QVERIFY(sent[0].text.size() > 20'000);
        QVERIFY(composer.draft().empty());
    }

    void escapeLeavesTheModelsPage()
    {
        Stage stage;
        stage.window.page().showModels(true);
        stage.window.sessions().view()->show();
        stage.window.sessions().view()->setFocus();
        QTest::keyClick(stage.window.sessions().view(), Qt::Key_Escape);
        QVERIFY(!stage.window.page().modelsShown());
    }

    void aModelIsReadBeforeItIsLoaded()
    {
        Stage stage;
        stage.window.page().showModels(true);
        stage.window.page().firstStart().probe("/models/other.gguf");
        QCOMPARE(stage.port.asked<api::command::ProbeModel>().at(0).path, "/models/other.gguf");
        api::ModelFacts facts = test::readyModel().facts;
        facts.path = "/models/other.gguf";
        facts.longestContext = 1000;
        stage.say(api::update::ModelProbed{facts});
        const auto before = stage.port.asked<api::command::LoadModel>().size();
        for (auto *button : stage.window.page().findChildren<QAbstractButton *>())
            if (button->text() == "Load it")
                button->click();
        QCOMPARE(stage.port.asked<api::command::LoadModel>().size(), before + 1);
    }

    void aBadFileSaysWhyInPlace()
    {
        Stage stage;
        stage.window.page().showModels(true);
        stage.window.page().firstStart().probe("/models/bad.gguf");
        api::ModelFacts facts;
        facts.path = "/models/bad.gguf";
        facts.usable = false;
        facts.problem = "bad.gguf is not a GGUF file: it begins with \"PK\".";
        stage.say(api::update::ModelProbed{facts});
        bool said = false;
        for (auto *label : stage.window.page().findChildren<QWidget *>())
            said = said || (label->isVisible() && label->property("text").toString().contains("begins with"));
        QVERIFY(said);
        QVERIFY(!QApplication::activeModalWidget());
    }

    void settingsAreTakenWhenThePopoverCloses()
    {
        Stage stage;
        stage.window.page().openSettings();
        auto *popover = qobject_cast<SettingsPopover *>(QApplication::activePopupWidget());
        QVERIFY(popover);
        popover->close();
        QVERIFY(stage.port.asked<api::command::SetSessionSettings>().empty()); // nothing was changed
        stage.window.page().openSettings();
        popover->findChild<QPlainTextEdit *>()->setPlainText("Be brief.");
        popover->close();
        QCOMPARE(stage.port.asked<api::command::SetSessionSettings>().at(0).settings.systemPrompt, "Be brief.");
    }

    void theLayoutIsKeptAndCanBeReset()
    {
        QTemporaryDir folder;
        WindowOptions options = Stage::withModel();
        options.layoutFile = folder.filePath("layout.ini");
        {
            Stage stage(options);
            stage.window.findChild<QDockWidget *>("cache")->hide();
            stage.window.close();
        }
        Stage stage(options);
        auto *dock = stage.window.findChild<QDockWidget *>("cache");
        QVERIFY(!dock->isVisible());
        stage.window.resetLayout();
        QVERIFY(dock->isVisible() && !dock->isFloating());
    }

    void bothThemesPaintTheWholeWindow()
    {
        Stage stage;
        stage.theme.apply(*qApp);
        for (const auto choice : {ThemeChoice::light, ThemeChoice::dark}) {
            stage.theme.setChoice(choice);
            QCoreApplication::processEvents();
            const QImage image = stage.window.grab().toImage();
            const Palette &p = stage.theme.palette();
            const QPoint middle = stage.window.page().chat().viewport()->mapTo(&stage.window, QPoint(4, 40));
            QCOMPARE(QColor(image.pixel(middle)).name(), p.surface.name());
            QCOMPARE(QColor(image.pixel(QPoint(4, image.height() / 2))).name(), p.window.name());
        }
        qApp->setStyleSheet({});
    }

    void thePaletteFindsByLettersInOrder()
    {
        QVERIFY(CommandPalette::score("new", "New chat") > CommandPalette::score("nch", "New chat"));
        QVERIFY(CommandPalette::score("nch", "New chat") > 0);
        QCOMPARE(CommandPalette::score("xyz", "New chat"), -1);
    }

    void exportedFilesHaveNamesThatAnyDiskTakes()
    {
        using api::command::ExportFormat;
        QCOMPARE(ExportDialog::fileName("a/b: \"c\"?", ExportFormat::markdown), "a_b_ _c__.md");
        QCOMPARE(ExportDialog::fileName("...", ExportFormat::json), "chat.json");
        QCOMPARE(ExportDialog::fileName("Über", ExportFormat::kvilt), "Über.kvilt");
    }
};

KVILT_TEST_CLASS(MainWindowTest)
#include "tst_main_window.moc"

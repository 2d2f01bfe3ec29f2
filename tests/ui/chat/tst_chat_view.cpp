// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "tests/ui/support/scripted_port.h"
#include "ui/chat/chat_view.h"
#include "ui/chat/message_actions.h"
#include "ui/chat/message_metrics.h"
#include "ui/widgets/theme.h"

#include <QAbstractButton>
#include <QClipboard>
#include <QGuiApplication>
#include <QPaintEvent>
#include <QPlainTextEdit>
#include <QScrollBar>
#include <QSignalSpy>
#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;
using api::Role;
using test::message;

namespace {

struct Stage {
    test::ScriptedPort port;
    Theme theme;
    Workbench workbench{port, theme};
    ChatView view{workbench};

    explicit Stage(std::vector<api::Message> messages = {})
    {
        view.resize(700, 600);
        view.show();
        port.say(test::opened(1, std::move(messages)));
        workbench.pull();
    }
    void say(api::Update update)
    {
        port.say(std::move(update));
        workbench.pull();
    }
};

std::vector<api::Message> manyMessages(int count)
{
    std::vector<api::Message> messages;
    for (int i = 0; i < count; ++i) {
        std::string text = "Message " + std::to_string(i);
        for (int k = 0; k < i % 7; ++k)
            text += " and some more words that make the line break somewhere else than the one above";
        messages.push_back(message(i + 1, i, i % 2 == 0 ? Role::user : Role::assistant, text));
    }
    return messages;
}

api::Message streaming(std::int64_t id, std::int64_t parent)
{
    api::Message m = message(id, parent, Role::assistant, "");
    m.state = api::MessageState::streaming;
    return m;
}

} // namespace

class ChatViewTest : public QObject {
    Q_OBJECT
private slots:
    void opensAtTheEnd()
    {
        Stage stage(manyMessages(200));
        QCOMPARE(stage.view.messageCount(), 200);
        QVERIFY(stage.view.following());
        QCOMPARE(stage.view.verticalScrollBar()->value(), stage.view.verticalScrollBar()->maximum());
        QVERIFY(stage.view.itemRect(199).bottom() <= stage.view.viewport()->height());
    }

    void laysOutOnlyWhatIsNear()
    {
        Stage stage(manyMessages(10'000));
        QVERIFY(stage.view.laidOutItems() < 200);
        for (int i = 0; i <= 100; ++i) {
            stage.view.verticalScrollBar()->setValue(stage.view.verticalScrollBar()->maximum() * i / 100);
            stage.view.grab();
        }
        QVERIFY(stage.view.laidOutItems() < 200);
    }

    void streamsAndFollows()
    {
        Stage stage(manyMessages(40));
        stage.say(api::update::MessageAdded{SessionId{1}, message(41, 40, Role::user, "Go on")});
        stage.say(api::update::MessageAdded{SessionId{1}, streaming(42, 41)});
        for (int i = 0; i < 300; ++i)
            stage.say(api::update::TextAppended{SessionId{1}, MessageId{42}, "word number " + std::to_string(i) + " "});
        QVERIFY(stage.view.following());
        QVERIFY(stage.view.itemRect(41).bottom() <= stage.view.viewport()->height());
        QVERIFY(stage.view.message(41)->text.ends_with("number 299 "));
    }

    void scrollingUpStopsTheFollowing()
    {
        Stage stage(manyMessages(60));
        stage.say(api::update::MessageAdded{SessionId{1}, streaming(62, 60)});
        QScrollBar *bar = stage.view.verticalScrollBar();
        bar->setValue(bar->maximum() - 300);
        QVERIFY(!stage.view.following());
        const int before = bar->value();
        for (int i = 0; i < 50; ++i)
            stage.say(api::update::TextAppended{SessionId{1}, MessageId{62}, "more and more text \n\n"});
        QCOMPARE(bar->value(), before);
        bar->setValue(bar->maximum());
        QVERIFY(stage.view.following());
    }

    // A token changes a paragraph: neither the screen nor the whole reply is painted anew for it.
    void aTokenPaintsTheLastParagraphsOnly()
    {
        Stage stage({message(1, 0, Role::user, "q"), streaming(2, 1)});
        for (int i = 0; i < 8; ++i)
            stage.say(api::update::TextAppended{SessionId{1}, MessageId{2}, "A paragraph that stays as it is.\n\n"});
        stage.say(api::update::TextAppended{SessionId{1}, MessageId{2}, "The last"});
        QTest::qWait(50);
        struct Painted : QObject {
            QRect area;
            bool eventFilter(QObject *, QEvent *event) override
            {
                if (event->type() == QEvent::Paint)
                    area |= static_cast<QPaintEvent *>(event)->rect();
                return false;
            }
        } painted;
        stage.view.viewport()->installEventFilter(&painted);
        stage.say(api::update::TextAppended{SessionId{1}, MessageId{2}, " one"});
        QTRY_VERIFY(!painted.area.isEmpty());
        const QRect reply = stage.view.itemRect(1);
        QVERIFY2(painted.area.top() > reply.bottom() - 100, qPrintable(QStringLiteral("%1 of %2").arg(painted.area.top()).arg(reply.bottom())));
        QVERIFY(painted.area.bottom() >= reply.bottom());
    }

    void streamedTextLooksAsIfItHadComeAtOnce_data()
    {
        QTest::addColumn<QString>("written");
        QTest::newRow("markdown") << "# A\n\nSome *text* here.\n\n- one\n- two\n\n```py\na = 1\nb = 2\n```\n\n| x | y |\n|--|--|\n| 1 | 2 |\n";
        QTest::newRow("thinking") << "Well.\n\n<think>One.\n\nTwo.</think>\n\nSo:\n\n<think>Three</think>\n\n```\n\n<x>\n\n```\n\nEnd.";
        QTest::newRow("blank lines") << "\n\n  \nA\n\n\n1. x\n\n   y\n\n2. z\n\nB\n\n~~~\n```\n\n~~~\n\nC";
    }
    void streamedTextLooksAsIfItHadComeAtOnce()
    {
        QFETCH(QString, written);
        const std::string text = written.toStdString();
        Stage streamed({message(1, 0, Role::user, "q"), streaming(2, 1)});
        for (const char c : text)
            streamed.say(api::update::TextAppended{SessionId{1}, MessageId{2}, std::string(1, c)});
        streamed.say(api::update::TurnFinished{SessionId{1}, message(2, 1, Role::assistant, text)});
        Stage whole({message(1, 0, Role::user, "q"), message(2, 1, Role::assistant, text)});
        QCOMPARE(streamed.view.itemRect(1), whole.view.itemRect(1));
        QCOMPARE(streamed.view.viewport()->grab().toImage(), whole.view.viewport()->grab().toImage());
    }

    void anEditBeginsAnotherBranch()
    {
        Stage stage(manyMessages(6));
        api::Message edited = message(100, 2, Role::user, "another question");
        edited.branchCount = 2;
        edited.branchIndex = 1;
        stage.say(api::update::MessageAdded{SessionId{1}, edited});
        QCOMPARE(stage.view.messageCount(), 3);
        QCOMPARE(stage.view.message(2)->id, MessageId{100});
    }

    void aKnownMessageIsReplacedInPlace()
    {
        Stage stage(manyMessages(4));
        api::Message pinned = *stage.view.message(1);
        pinned.pinned = true;
        stage.say(api::update::MessageAdded{SessionId{1}, pinned});
        QCOMPARE(stage.view.messageCount(), 4);
        QVERIFY(stage.view.message(1)->pinned);
    }

    void aPinnedMessageShowsIt()
    {
        Stage stage(manyMessages(4));
        const auto pinned = [&](int index) {
            api::Message m = *stage.view.message(index);
            m.pinned = true;
            return m;
        };
        // Below the message: the cell of the map in the colour of a pinned block.
        const auto marks = [&](int index) {
            const QImage seen = stage.view.viewport()->grab().toImage();
            const QRect below(0, stage.view.itemRect(index).bottom() + 1, seen.width(), 28);
            int found = 0;
            for (int y = below.top(); y <= below.bottom(); ++y)
                for (int x = 0; x < seen.width(); ++x)
                    found += seen.pixelColor(x, y) == stateColour(api::BlockState::pinned);
            return found;
        };
        for (const int index : {1, 2}) { // a reply, a question
            QCOMPARE(marks(index), 0);
            stage.say(api::update::MessageAdded{SessionId{1}, pinned(index)});
            QVERIFY2(marks(index) > 40, qPrintable(QString::number(marks(index))));
            QCOMPARE(marks(index - 1) > 0, index == 2);
        }
        stage.view.setFocus();
        for (int i = 0; i < 2; ++i)
            QTest::keyClick(&stage.view, Qt::Key_Up);
        QCOMPARE(stage.view.currentIndex(), 2);
        QVERIFY(stage.view.accessibleDescription().endsWith(". Pinned"));
        QAbstractButton *pin = nullptr;
        for (QAbstractButton *button : stage.view.findChildren<QAbstractButton *>())
            if (button->accessibleName() == "Unpin")
                pin = button;
        QVERIFY(pin && pin->isVisible() && pin->isChecked());
        pin->click(); // asks; it stays pressed until the message says otherwise
        QCOMPARE(stage.port.asked<api::command::PinMessage>().at(0).pinned, false);
        QVERIFY(pin->isChecked());
        api::Message free = *stage.view.message(2);
        free.pinned = false;
        stage.say(api::update::MessageAdded{SessionId{1}, free});
        QVERIFY(!pin->isChecked());
        QCOMPARE(pin->accessibleName(), "Pin");
    }

    // A jump lays out one screen; what lies around it follows when the frame is out, and moves nothing.
    void whatLiesAroundFollowsTheJump()
    {
        Stage stage(manyMessages(400));
        QTest::qWait(20); // the scroll bar has come
        QScrollBar *bar = stage.view.verticalScrollBar();
        bar->setValue(bar->maximum() / 2);
        const QImage jumped = stage.view.viewport()->grab().toImage();
        const int top = bar->value();
        QTest::qWait(60);
        QCOMPARE(stage.view.viewport()->grab().toImage(), jumped);
        QVERIFY(std::abs(bar->value() - top) < 4000); // the place in the text is kept, not the number
    }

    void onlyTheLastReplyCanGoOn()
    {
        Stage stage(manyMessages(4));
        for (const int ups : {3, 1}) { // the second message, then the last one
            QTest::keyClick(&stage.view, Qt::Key_End);
            while (stage.view.currentIndex() >= 0 && stage.view.currentIndex() < 3)
                QTest::keyClick(&stage.view, Qt::Key_Down);
            for (int i = stage.view.currentIndex() < 0 ? 0 : 1; i < ups; ++i)
                QTest::keyClick(&stage.view, Qt::Key_Up);
            QCOMPARE(stage.view.currentIndex(), 4 - ups);
            QTest::keyClick(&stage.view, Qt::Key_C);
        }
        const auto asked = stage.port.asked<api::command::Continue>();
        QCOMPARE(asked.size(), 1u);
        QCOMPARE(asked[0].message, MessageId{4});
    }

    void aReplyToldAnewLosesNothingThatWasShown()
    {
        Stage stage({message(1, 0, Role::user, "q"), streaming(2, 1)});
        stage.say(api::update::TextAppended{SessionId{1}, MessageId{2}, "Half of the answer"});
        stage.say(test::opened(1, {message(1, 0, Role::user, "q"), streaming(2, 1)}));
        QCOMPARE(stage.view.message(1)->text, std::string("Half of the answer"));
    }

    void aReplyThatWasCutSaysSo()
    {
        auto messages = manyMessages(2);
        messages[1].hasReceipt = true;
        messages[1].receipt.completionTokens = 60;
        Stage whole(messages);
        messages[1].receipt.finish = api::FinishReason::length;
        Stage cut(messages);
        QCOMPARE(cut.view.itemRect(1).height(), whole.view.itemRect(1).height() + int(measure::kStateHeight));
        cut.view.setFocus();
        QTest::keyClick(&cut.view, Qt::Key_Up);
        QVERIFY2(cut.view.accessibleDescription().contains("Reached the limit of 60 tokens."), qPrintable(cut.view.accessibleDescription()));
        cut.say(api::update::MessageAdded{SessionId{1}, message(3, 2, Role::user, "And then?")}); // no longer the last
        QCOMPARE(cut.view.itemRect(1).height(), whole.view.itemRect(1).height());
        QVERIFY(cut.view.itemRect(2).top() > cut.view.itemRect(1).bottom());
    }

    void otherSessionsChangeNothing()
    {
        Stage stage(manyMessages(4));
        stage.say(api::update::MessageAdded{SessionId{2}, message(50, 4, Role::user, "elsewhere")});
        stage.say(api::update::TextAppended{SessionId{2}, MessageId{2}, "elsewhere"});
        QCOMPARE(stage.view.messageCount(), 4);
        QVERIFY(stage.view.message(1)->text.find("elsewhere") == std::string::npos);
    }

    void selectsAndCopiesAcrossMessages()
    {
        Stage stage({message(1, 0, Role::user, "Question"), message(2, 1, Role::assistant, "First.\n\nSecond.")});
        stage.view.setFocus();
        QTest::keyClick(&stage.view, Qt::Key_A, Qt::ControlModifier);
        QCOMPARE(stage.view.selectedText(), "Question\n\nFirst.\n\nSecond.");
        QTest::keyClick(&stage.view, Qt::Key_C, Qt::ControlModifier);
        QCOMPARE(QGuiApplication::clipboard()->text(), "Question\n\nFirst.\n\nSecond.");
    }

    void everythingByKeyboard()
    {
        Stage stage(manyMessages(4));
        stage.view.setFocus();
        QTest::keyClick(&stage.view, Qt::Key_Up);
        QCOMPARE(stage.view.currentIndex(), 3);
        QVERIFY(stage.view.accessibleDescription().startsWith("Reply: Message 3"));
        QTest::keyClick(&stage.view, Qt::Key_R);
        QCOMPARE(stage.port.asked<api::command::Regenerate>().at(0).message, MessageId{4});
        stage.say(api::update::TurnFinished{SessionId{1}, *stage.view.message(3)});
        QTest::keyClick(&stage.view, Qt::Key_P);
        QCOMPARE(stage.port.asked<api::command::PinMessage>().at(0).pinned, true);
        QSignalSpy deleted(&stage.view, &ChatView::messageDeleted);
        QTest::keyClick(&stage.view, Qt::Key_Delete);
        QCOMPARE(deleted.size(), 1);
        QTest::keyClick(&stage.view, Qt::Key_Up);
        QTest::keyClick(&stage.view, Qt::Key_C); // continue is for replies only
        QVERIFY(stage.port.asked<api::command::Continue>().empty());
    }

    void branchesSwitchWithinTheirRange()
    {
        auto messages = manyMessages(2);
        messages[1].branchCount = 3;
        messages[1].branchIndex = 1;
        Stage stage(messages);
        stage.view.setFocus();
        QTest::keyClick(&stage.view, Qt::Key_Up);
        QTest::keyClick(&stage.view, Qt::Key_Right);
        QCOMPARE(stage.port.asked<api::command::SwitchBranch>().at(0).branchIndex, 2);
        QTest::keyClick(&stage.view, Qt::Key_Left);
        QCOMPARE(stage.port.asked<api::command::SwitchBranch>().at(1).branchIndex, 0);
    }

    void theKeyboardStaysOnTheMessageWhoseBranchItSwitched()
    {
        auto messages = manyMessages(4);
        messages[2].branchCount = 2;
        messages[2].branchIndex = 1;
        Stage stage(messages);
        stage.view.setFocus();
        QTest::keyClick(&stage.view, Qt::Key_Up);
        QTest::keyClick(&stage.view, Qt::Key_Up);
        QTest::keyClick(&stage.view, Qt::Key_Left);
        QCOMPARE(stage.port.asked<api::command::SwitchBranch>().size(), 1u);
        auto other = manyMessages(3);
        other[2].id = MessageId{33};
        other[2].branchCount = 2;
        stage.say(test::opened(1, other));
        QCOMPARE(stage.view.currentIndex(), 2);
        QTest::keyClick(&stage.view, Qt::Key_Right);
        QCOMPARE(stage.port.asked<api::command::SwitchBranch>().at(1).message, MessageId{33});
        stage.say(test::opened(1, manyMessages(1))); // what it stood on is gone
        QCOMPARE(stage.view.currentIndex(), 0);
    }

    void anEditBoxComesIntoSightAndCtrlEnterSendsIt()
    {
        std::string reply;
        for (int i = 0; i < 120; ++i)
            reply += "A paragraph of the reply.\n\n";
        Stage stage({message(1, 0, Role::user, "q"), message(2, 1, Role::assistant, reply)});
        QVERIFY(stage.view.verticalScrollBar()->value() > 1000);
        stage.view.editLastOwnMessage();
        auto *edit = stage.view.findChild<QPlainTextEdit *>();
        QVERIFY(edit && edit->isVisible());
        const QRect box(edit->mapTo(stage.view.viewport(), QPoint()), edit->size());
        QVERIFY(stage.view.viewport()->rect().contains(box));
        QKeyEvent shortcut(QEvent::ShortcutOverride, Qt::Key_Return, Qt::ControlModifier);
        shortcut.ignore();
        QCoreApplication::sendEvent(edit, &shortcut);
        QVERIFY(shortcut.isAccepted()); // else the menu's Ctrl+Return would continue the reply
        edit->setPlainText("another");
        QTest::keyClick(edit, Qt::Key_Return, Qt::ControlModifier);
        QCOMPARE(stage.port.asked<api::command::EditMessage>().at(0).text, "another");
    }

    void anotherBranchIsShownWhereOneReads()
    {
        auto messages = manyMessages(60);
        Stage stage(messages);
        stage.view.verticalScrollBar()->setValue(0);
        messages[1].id = MessageId{200};
        messages[1].text = "Otherwise";
        stage.say(test::opened(1, messages));
        QCOMPARE(stage.view.verticalScrollBar()->value(), 0);
        QVERIFY(stage.view.findWord(1, "Otherwise").has_value());
    }

    void hoveringTextAsksForItsTokensAndLightsThemUp()
    {
        Stage stage({message(1, 0, Role::user, "Why is the sky blue?")});
        api::Ribbon ribbon;
        ribbon.session = SessionId{1};
        ribbon.blockSize = 16;
        ribbon.cells.push_back({api::RibbonState::memory, NodeId{9}, BlockId{3}, 16, 16});
        stage.say(api::update::RibbonChanged{ribbon});
        const QPoint at(stage.view.itemRect(0).right() - 60, stage.view.itemRect(0).center().y());
        QTest::mouseMove(stage.view.viewport(), at);
        QTRY_COMPARE(stage.port.asked<api::command::TokenSpans>().size(), 1u);
        stage.say(api::update::MessageSpans{SessionId{1}, MessageId{1}, {{20, 0, 20}}});
        QTest::mouseMove(stage.view.viewport(), at + QPoint(2, 0));
        QTRY_COMPARE(stage.workbench.hover().target().block, BlockId{3});
        QCOMPARE(stage.workbench.hover().target().firstToken, 16);
        const QImage lit = stage.view.viewport()->grab().toImage();
        stage.workbench.hover().clear(this);
        QVERIFY(lit != stage.view.viewport()->grab().toImage());
    }

    void aTokenOfThePromptIsBroughtOnTheScreen()
    {
        Stage stage(manyMessages(300));
        api::Ribbon ribbon;
        ribbon.session = SessionId{1};
        ribbon.messages = {{MessageId{0}, 0, 20}, {MessageId{41}, 20, 60}, {MessageId{300}, 5000, 5040}};
        stage.say(api::update::RibbonChanged{ribbon});
        const int end = stage.view.verticalScrollBar()->value();
        for (const int nowhere : {3, 700, 5010}) { // the system prompt, no message, a message on the screen
            stage.view.showToken(nowhere);
            QCOMPARE(stage.view.verticalScrollBar()->value(), end);
        }
        stage.view.showToken(30);
        QVERIFY(stage.view.viewport()->rect().contains(stage.view.itemRect(40)));
        QVERIFY(!stage.view.following());
    }

    void goesToWhereWordsStand()
    {
        auto messages = manyMessages(300);
        messages[40].text = "Somewhere a Lighthouse stands.";
        Stage stage(messages);
        QVERIFY(!stage.view.reveal("compass"));
        QVERIFY(stage.view.following());
        QVERIFY(stage.view.reveal("compass lighthouse"));
        QCOMPARE(stage.view.selectedText(), "Lighthouse");
        QCOMPARE(stage.view.currentIndex(), 40);
        QVERIFY(stage.view.viewport()->rect().contains(stage.view.itemRect(40)));
    }

    void thinkingFoldsToOneLine()
    {
        std::string text = "<think>";
        for (int i = 0; i < 200; ++i)
            text += "step " + std::to_string(i) + "\n\n";
        Stage stage({message(1, 0, Role::user, "q"), message(2, 1, Role::assistant, text + "</think>\n\nDone.")});
        QVERIFY(stage.view.itemRect(1).height() < 80);
        const QRect rect = stage.view.itemRect(1);
        QTest::mouseClick(stage.view.viewport(), Qt::LeftButton, {}, QPoint(rect.left() + 30, rect.top() + 12));
        QVERIFY(stage.view.itemRect(1).height() > 2000);
    }
};

KVILT_TEST_CLASS(ChatViewTest)
#include "tst_chat_view.moc"

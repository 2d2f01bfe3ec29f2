// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "tests/ui/support/sample_cache.h"
#include "ui/inspector/inspector_text.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;
using api::EventReason;

class InspectorTextTest : public QObject {
    Q_OBJECT
private slots:
    void explainsAnEditedPrompt();
    void praisesAFullHit();
    void titlesFollowWhatWasReused_data();
    void titlesFollowWhatWasReused();
    void everyReasonOfAMissHasASentence();
    void offersToUndoAnEdit();
    void engineRemediesWin();
    void badByteRangesDoNoHarm();
    void excerptsKeepTheToken();
    void answersWhatAChatCosts();
};

void InspectorTextTest::explainsAnEditedPrompt()
{
    const auto text = inspectorText(test::sampleMiss(), {.blockSize = 16, .bytesPerBlock = 368640});
    QCOMPARE(text.title, QStringLiteral("Why was so little reused?"));
    QCOMPARE(text.turn, QStringLiteral("Turn 2 of 2"));
    QCOMPARE(text.numbers.size(), std::size_t(4));
    QCOMPARE(text.numbers[0].value, QStringLiteral("16"));
    QCOMPARE(text.numbers[1].value, QStringLiteral("412"));
    QCOMPARE(text.numbers[2].value, QStringLiteral("0.31 s"));
    QCOMPARE(text.numbers[2].label, QStringLiteral("lost"));
    QCOMPARE(text.numbers[3].value, QStringLiteral("26"));
    QCOMPARE(text.blocks, QStringLiteral("27 blocks"));
    QCOMPARE(text.stripCaption,
             QStringLiteral("Above: computed now. Below: what the cache held. They part at block 1, token 19."));
    QCOMPARE(text.differenceTitle, QStringLiteral("First difference, token 19"));
    QCOMPARE(text.cached.token, QStringLiteral("named"));
    QCOMPARE(text.asked.token, QStringLiteral("who"));
    QVERIFY(text.cached.before.endsWith(QStringLiteral("assistant ")));
    QCOMPARE(text.fates.size(), std::size_t(3));
    QCOMPARE(text.fates[0].value, QStringLiteral("20 blocks, dead branch"));
    QVERIFY(text.fates[1].note.endsWith(QStringLiteral(", lru, for Heap sort")));
    QCOMPARE(text.fates[2].value, QStringLiteral("26 blocks, 9.1 MiB"));
    QVERIFY(text.paragraph.contains(QStringLiteral("named by everything before them")));
}

void InspectorTextTest::praisesAFullHit()
{
    api::update::TurnInspected turn;
    turn.receipt.promptTokens = 1105;
    turn.receipt.fromMemory = 1024;
    turn.receipt.fromDisk = 64;
    turn.receipt.computed = 17;
    turn.receipt.recomputed = 3;
    turn.receipt.savedSeconds = 0.52;
    turn.receipt.miss.reason = EventReason::lastToken;
    const auto text = inspectorText(turn, {});
    QCOMPARE(text.title, QStringLiteral("Everything that could be reused was"));
    QCOMPARE(text.numbers[0].value, QStringLiteral("1,088"));
    QCOMPARE(text.numbers[2].label, QStringLiteral("saved"));
    QCOMPARE(text.tiers, QStringLiteral("1,024 from memory, 64 from disk, 17 computed, 3 again after a preemption"));
    QVERIFY(text.differenceTitle.isEmpty());
    QVERIFY(text.fates.empty());
    QVERIFY(text.remedies.empty());
}

void InspectorTextTest::titlesFollowWhatWasReused_data()
{
    QTest::addColumn<int>("matched");
    QTest::addColumn<int>("reason");
    QTest::addColumn<QString>("title");
    QTest::newRow("nothing") << 0 << int(EventReason::neverStored) << "Why was nothing reused?";
    QTest::newRow("little") << 16 << int(EventReason::evicted) << "Why was so little reused?";
    QTest::newRow("half") << 80 << int(EventReason::evicted) << "Why was not more reused?";
    QTest::newRow("new words") << 80 << int(EventReason::neverStored) << "Everything that could be reused was";
}

void InspectorTextTest::titlesFollowWhatWasReused()
{
    QFETCH(int, matched);
    QFETCH(int, reason);
    QFETCH(QString, title);
    api::update::TurnInspected turn;
    turn.receipt.promptTokens = 100;
    turn.receipt.fromMemory = std::uint32_t(matched);
    turn.receipt.computed = 100 - turn.receipt.fromMemory;
    turn.receipt.miss.reason = EventReason(reason);
    QCOMPARE(inspectorText(turn, {}).title, title);
}

void InspectorTextTest::everyReasonOfAMissHasASentence()
{
    api::update::TurnInspected turn;
    turn.receipt.promptTokens = 10;
    for (int r = 0; r <= int(EventReason::corruptPayload); ++r) {
        turn.receipt.miss.reason = EventReason(r);
        QVERIFY2(inspectorText(turn, {}).paragraph.endsWith(QLatin1Char('.')), qPrintable(QString::number(r)));
    }
    turn.explanation = "The system prompt was edited.";
    QCOMPARE(inspectorText(turn, {}).paragraph, QStringLiteral("The system prompt was edited."));
}

void InspectorTextTest::offersToUndoAnEdit()
{
    api::Message user;
    user.id = MessageId{8};
    user.branchIndex = 1;
    user.branchCount = 2;
    api::Message reply;
    reply.id = MessageId{9};
    reply.role = api::Role::assistant;
    const std::vector<api::Message> messages{user, reply};
    const auto text = inspectorText(test::sampleMiss(), {.blockSize = 16, .messages = &messages});
    QCOMPARE(text.remedies.size(), std::size_t(2));
    QCOMPARE(text.remedies[0].title, std::string("Undo the edit"));
    const auto *undo = std::get_if<api::command::SwitchBranch>(&text.remedies[0].commands.at(0));
    QVERIFY(undo);
    QCOMPARE(undo->message, MessageId{8});
    QCOMPARE(undo->branchIndex, 0);
    QVERIFY(text.remedies[1].commands.empty()); // advice
}

void InspectorTextTest::engineRemediesWin()
{
    auto turn = test::sampleMiss();
    turn.remedies.push_back({"Do this", "it helps", {}});
    const auto text = inspectorText(turn, {});
    QCOMPARE(text.remedies.size(), std::size_t(1));
    QCOMPARE(text.remedies[0].title, std::string("Do this"));
}

void InspectorTextTest::badByteRangesDoNoHarm()
{
    auto turn = test::sampleMiss();
    turn.receipt.miss.cachedBegin = 5000;
    turn.receipt.miss.cachedEnd = 2;
    turn.receipt.miss.askedEnd = 4'000'000'000u;
    const auto text = inspectorText(turn, {});
    QVERIFY(text.cached.token.isEmpty());
    QVERIFY(text.asked.token.startsWith(QStringLiteral("who")));
}

void InspectorTextTest::excerptsKeepTheToken()
{
    InspectorText::Excerpt long_{QString(200, QLatin1Char('a')) + QLatin1Char(' '), QStringLiteral("token"), QString(200, QLatin1Char('b'))};
    for (const int room : {5, 10, 40, 80}) {
        const auto fitted = fitExcerpt(long_, room);
        QCOMPARE(fitted.token, QStringLiteral("token"));
        if (room >= 40)
            QVERIFY(fitted.before.size() + fitted.token.size() + fitted.after.size() <= room + 1);
    }
    const InspectorText::Excerpt brief{QStringLiteral("a "), QStringLiteral("b"), QStringLiteral(" c")};
    QCOMPARE(fitExcerpt(brief, 40).before, brief.before);
    QCOMPARE(fitExcerpt(brief, 40).after, brief.after);
}

void InspectorTextTest::answersWhatAChatCosts()
{
    ChatFacts facts{.kvBytes = 9'500'000, .blocksOnDisk = 26, .tokens = 412, .restoreBytesPerSecond = 1e9,
                    .prefillTokensPerSecond = 1300, .previewKnown = true};
    facts.preview.contextTokens = 8192;
    facts.preview.promptTokens = 446;
    facts.preview.thinkingTokens = 312;
    facts.preview.thinkingStripSeconds = 0.2;
    const auto rows = chatRows(facts);
    QCOMPARE(rows.size(), std::size_t(5));
    QCOMPARE(rows[0].value, QStringLiteral("9.1 MiB, 26 blocks"));
    QCOMPARE(rows[1].note, QStringLiteral("worth it, 33.4× faster"));
    QCOMPARE(rows[2].note, QStringLiteral("room for 7,746 tokens"));
    QCOMPARE(rows[3].note, QStringLiteral("stripping them costs 0.20 s"));
    QCOMPARE(rows[4].value, QStringLiteral("nothing computed again"));
    facts.preview.dropMessages = 4;
    facts.preview.dropTokens = 1204;
    facts.preview.recomputeSeconds = 0.9;
    QCOMPARE(chatRows(facts)[2].value, QStringLiteral("drops 4 messages, 1,204 tokens"));
    QCOMPARE(chatRows({})[0].value, QStringLiteral("nothing stored"));
}

KVILT_TEST_CLASS(InspectorTextTest)
#include "tst_inspector_text.moc"
